"""The collector's own eyes and memory, without its threads and its database.

It is told what the watches of a running collector would say, looks at ``metrics.k8s.io`` as often,
and answers with the same contract: ``Snapshot`` and ``Placement``.
"""

from typing import Final

import msgspec

from collector.cluster_view import MAX_WINDOW_S, ClusterView
from collector.contract import Placement, PlacementState, Snapshot
from collector.facts import node_facts, pod_facts
from collector.history import History
from collector.records import PlacementRow
from collector.settings import ScoringSettings
from collector.snapshots import snapshot_of
from collector.sources import MetricsApi
from collector.tracking import Tracker
from collector.usage_windows import metrics_of
from kube.objects import Node, Pod
from scheduler.simulator.door import LocalClient
from scheduler.simulator.experiments.news import News
from scheduler.simulator.experiments.scenario import Observation

_KEEP_S: Final = 7 * 86_400.0


class Observer:
    """Follows a cluster as the collector does. It can be copied.

    Args:
        observation: How often it looks, and for how long a placement must stay healthy.
        start_s: When it begins, Unix seconds.
    """

    def __init__(self, observation: Observation, *, start_s: float) -> None:
        scoring = ScoringSettings()
        history = History(
            half_life_s=scoring.half_life,
            stability_half_life_s=scoring.stability_half_life,
            keep_s=_KEEP_S,
            prior_failure_rate=scoring.prior_failure_rate,
            prior_weight=scoring.prior_weight,
        )
        self._interval_s = float(observation.collection_interval)
        self._tracker = Tracker(
            ClusterView(history, version=1),
            history=history,
            window_s=float(observation.window),
            max_lag_s=scoring.placement_max_lag,
        )
        self._tracker.synced()  # it watches an empty cluster from the first day on
        self._snapshot: Snapshot | None = None
        self._changed_at_s = start_s
        self.next_look_s = start_s + self._interval_s
        """When it next asks for samples."""
        self.placements: dict[str, Placement] = {}
        """By pod uid, with their outcomes as far as they are known; oldest first."""

    def see(self, news: News, *, now_s: float) -> None:
        """Take in what a watch would tell."""
        match news.found:
            case Node() as node if news.is_gone:
                self._tracker.lose_node(node.metadata.name)
            case Node() as node:
                self._tracker.see_node(node_facts(node))
            case Pod() as pod if news.is_gone:
                self._tracker.lose_pod(pod_facts(pod), now_s=now_s)
            case Pod() as pod:
                self._tracker.see_pod(pod_facts(pod), now_s=now_s)
            case None:
                return
        self._changed_at_s = now_s

    def look(self, client: LocalClient) -> None:
        """Ask for samples, and judge the placements whose time is over."""
        now_s = client.now_s()
        self.next_look_s = now_s + self._interval_s
        self._tracker.take(MetricsApi(client).fetch(), now_s=now_s)
        self._tracker.judge_all(now_s=now_s)
        self._tracker.history.forget(now_s)
        self._changed_at_s = now_s
        for row in self._tracker.drain().placements.values():
            self.placements[row.pod_uid] = _placement(row, number=len(self.placements) + 1)
        self._forget(now_s - _KEEP_S)

    def snapshot(self, *, now_s: float) -> Snapshot:
        """Give the present as the predictor is given it."""
        version = self._tracker.view.version
        if self._snapshot is None or self._snapshot.version != version:
            self._snapshot = snapshot_of(
                self._tracker.view, self._tracker.history, at_s=self._changed_at_s, now_s=now_s
            )
        return self._snapshot

    def metrics(self, *, now_s: float) -> bytes:
        """Tell what nodes use, and have used, in the collector's own words (JSON)."""
        metrics = metrics_of(
            self._tracker.view, at_s=self._changed_at_s, now_s=now_s, window_s=MAX_WINDOW_S
        )
        return msgspec.json.encode(metrics)

    def _forget(self, before_s: float) -> None:
        while self.placements:
            uid = next(iter(self.placements))
            if self.placements[uid].placed_at_s >= before_s:
                return
            del self.placements[uid]


def _placement(row: PlacementRow, *, number: int) -> Placement:
    return Placement(
        id=number,
        pod_uid=row.pod_uid,
        pod_namespace=row.pod_namespace,
        pod_name=row.pod_name,
        workload=row.workload,
        node=row.node,
        cpu_milli=row.cpu_milli,
        memory_bytes=row.memory_bytes,
        placed_at_s=row.placed_at_s,
        state=msgspec.json.decode(row.state, type=PlacementState),
        outcome=row.outcome,
    )
