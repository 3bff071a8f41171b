"""From what is seen of pods and samples to placements, outcomes and histories.

Pure and single-threaded, like the view it keeps: events go in, and what is worth storing collects
until it is drained.

What a placement met is told by the view as it was before the pod entered it. Changes of pods come
in the order in which they were made, so nothing newer can have entered that way; samples come by
another way, so newer ones are left out by their timestamps.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from collector.cluster_view import ClusterView
from collector.contract import Outcome, PlacementState
from collector.facts import NodeFacts, PodFacts
from collector.history import History, Tally
from collector.outcomes import Fate, Marks, Progress, Trial, incidents, is_throttled, judge
from collector.records import Batch, PlacementRow, SampleRow, Tick
from collector.samples import Usage

_MAX_AHEAD_S: Final = 300.0
"""Samples from further in the future come from a broken clock."""

_FATES: Final = {True: Fate.SUCCEEDED, False: Fate.FAILED}


@dataclass(slots=True)
class _Tracked:
    row: PlacementRow
    trial: Trial


class Tracker:
    """Follows every pod from its placement to its outcome.

    Args:
        view: The current state; the tracker is the only one to change it.
        history: The tallies; the tracker is the only one to change them.
        window_s: The observation window, in seconds of the cluster's clock.
        max_lag_s: Placements seen later than this are not recorded.
    """

    def __init__(
        self, view: ClusterView, *, history: History, window_s: float, max_lag_s: float
    ) -> None:
        self.view = view
        self.history = history
        self._window_s = window_s
        self._max_lag_s = max_lag_s
        self._is_synced = False
        self._marks: dict[str, Marks] = {}
        self._tracked: dict[str, _Tracked] = {}
        self._changes = Batch()
        self.n_outcomes: dict[str, int] = {}
        """Outcomes so far, by reason; ``unknown``: deleted too early."""
        self.n_placements: dict[str, int] = {"recorded": 0, "late": 0}
        """Placements so far: recorded, or not because they were seen too late."""

    @property
    def n_open(self) -> int:
        """How many placements have no outcome yet."""
        return len(self._tracked)

    def load_marks(self, marks: Iterable[tuple[str, Marks]]) -> None:
        """Take in what earlier runs have counted already, by pod uid."""
        self._marks.update(marks)

    def load_open(self, row: PlacementRow, *, samples: Iterable[tuple[float, bool]]) -> None:
        """Go on with a placement whose outcome was pending when an earlier run ended."""
        trial = Trial(row.placed_at_s, samples=list(samples))
        self._tracked[row.pod_uid] = _Tracked(row, trial)

    def see_node(self, node: NodeFacts) -> None:
        """Take in a node that was added or changed."""
        self.view.put_node(node)

    def lose_node(self, name: str) -> None:
        """Take in that a node was deleted."""
        self.view.remove_node(name)

    def see_pod(self, pod: PodFacts, *, now_s: float) -> None:
        """Take in a pod that was added or changed."""
        before = self.view.pods.get(pod.uid)
        if pod == before:
            return
        if self._is_placement(pod, before=before):
            self._record(pod, now_s=now_s)
        # Only now: what befell a pod before we saw it placed is no past of its placement.
        self._count_incidents(pod, now_s=now_s)
        if pod.is_terminal and not (before is not None and before.is_terminal):
            self._note_end(pod, at_s=now_s if pod.ended_at_s is None else pod.ended_at_s)
        self.view.put_pod(pod)
        self._settle(pod, now_s=now_s)

    def lose_pod(self, pod: PodFacts, *, now_s: float) -> None:
        """Take in that a pod was deleted, with its last known state."""
        last = replace(pod, is_deleting=True)
        if pod.uid in self.view.pods:
            self.see_pod(last, now_s=now_s)
            self.view.remove_pod(pod.uid)
            if not pod.is_terminal:
                self._note_end(pod, at_s=now_s)
        self._forget(pod.uid)

    def synced(self) -> None:
        """Take in that all pods that are there have been told.

        What was still pending of pods that vanished unseen stays unknown.
        """
        self._is_synced = True
        for uid in [uid for uid in self._tracked if uid not in self.view.pods]:
            self._close(uid, Progress.CENSORED)
        for uid in [uid for uid in self._marks if uid not in self.view.pods]:
            self._forget(uid)

    def take(self, usage: Usage, *, now_s: float) -> Tick:
        """Take in samples; give back those that were news."""
        news = Tick()
        for node_sample in usage.nodes:
            if node_sample.at_s > now_s + _MAX_AHEAD_S or not self.view.take_node_sample(
                node_sample
            ):
                news.n_skipped += 1
                continue
            news.nodes[node_sample.node] = SampleRow(
                node_sample.at_s,
                node_sample.cpu_milli,
                node_sample.memory_bytes,
                self.view.is_saturated(node_sample.node),
            )
        self._take_pods(usage, news=news, now_s=now_s)
        self.view.touch_all()
        if news.nodes or news.pods:
            self._changes.ticks.append(news)
        return news

    def judge_all(self, *, now_s: float) -> None:
        """Judge every placement whose window may have ended."""
        for uid in list(self._tracked):
            pod = self.view.pods.get(uid)
            if pod is not None:
                self._settle(pod, now_s=now_s)

    def drain(self) -> Batch:
        """Hand over what awaits storing; it no longer changes."""
        changes, self._changes = self._changes, Batch()
        changes.tallies = self.history.drain()
        return changes.copy()

    def _share_ratios(self, usage: Usage) -> dict[str, float]:
        """Say of each saturated node what its pods got, as a ratio of what they request."""
        used: Counter[str] = Counter()
        requested: Counter[str] = Counter()
        for sample in usage.pods:
            pod = self.view.pod_named(f"{sample.namespace}/{sample.name}")
            if pod is not None and self.view.is_saturated(pod.node):
                used[pod.node] += sample.cpu_milli
                requested[pod.node] += pod.cpu_milli
        return {node: n / max(1, requested[node]) for node, n in used.items()}

    def _take_pods(self, usage: Usage, *, news: Tick, now_s: float) -> None:
        shares = self._share_ratios(usage)
        for sample in usage.pods:
            pod = None
            if sample.at_s <= now_s + _MAX_AHEAD_S:
                pod = self.view.take_pod_sample(sample)
            if pod is None:
                news.n_skipped += 1
                continue
            is_starved = is_throttled(sample, pod=pod, share_ratio=shares.get(pod.node))
            news.pods[pod.uid] = SampleRow(
                sample.at_s, sample.cpu_milli, sample.memory_bytes, is_starved, pod.workload
            )
            self.history.count_usage(
                pod.workload,
                at_s=sample.at_s,
                cpu_milli=sample.cpu_milli,
                memory_bytes=sample.memory_bytes,
            )
            if pod.uid in self._tracked:
                trial = self._tracked[pod.uid].trial
                trial.take(at_s=sample.at_s, is_starved=is_starved)

    def _count_incidents(self, pod: PodFacts, *, now_s: float) -> None:
        marks = self._marks.get(pod.uid)
        if marks is None:
            # What befell a pod before we first listed it has no known time; it is not counted.
            marks = Marks() if self._is_synced else incidents(pod, marks=Marks())[1]
            self._mark(pod.uid, marks)
        tally, marks = incidents(pod, marks=marks)
        if tally == Tally():
            return
        self._mark(pod.uid, marks)
        if pod.node:
            self._count(tally, node=pod.node, workload=pod.workload, at_s=now_s)

    def _is_placement(self, pod: PodFacts, *, before: PodFacts | None) -> bool:
        return (
            self._is_synced
            and bool(pod.node)
            and not (before is not None and before.node)
            and not pod.is_terminal
            and not pod.is_deleting
            and self._marks.get(pod.uid, Marks()).fate is Fate.UNTRACKED
        )

    def _record(self, pod: PodFacts, *, now_s: float) -> None:
        placed_at_s = now_s if pod.scheduled_at_s is None else pod.scheduled_at_s
        state = None
        if now_s - placed_at_s <= self._max_lag_s:
            state = self.view.state_at(pod.node, until_s=placed_at_s)
        if state is None:
            self.n_placements["late"] += 1
            return
        row = PlacementRow(
            pod_uid=pod.uid,
            pod_namespace=pod.namespace,
            pod_name=pod.name,
            workload=pod.workload,
            node=pod.node,
            cpu_milli=pod.cpu_milli,
            memory_bytes=pod.memory_bytes,
            placed_at_s=placed_at_s,
            created_at_s=pod.created_at_s,
            state=msgspec.json.encode(
                PlacementState(
                    node=state[0],
                    cluster=state[1],
                    workload=self.view.workload(pod.workload, now_s=placed_at_s),
                )
            ),
        )
        self._tracked[pod.uid] = _Tracked(row, Trial(placed_at_s))
        self._changes.placements[pod.uid] = row
        self._mark(pod.uid, replace(self._marks.get(pod.uid, Marks()), fate=Fate.OPEN))
        self.n_placements["recorded"] += 1

    def _settle(self, pod: PodFacts, *, now_s: float) -> None:
        """Judge a pod's placement if it is pending; count a success that fails later."""
        tracked = self._tracked.get(pod.uid)
        if tracked is None:
            return self._settle_late(pod, now_s=now_s)
        trial = tracked.trial
        if trial.ready_at_s is None and pod.ready_at_s is not None:
            trial.ready_at_s = max(pod.ready_at_s, trial.placed_at_s)
        verdict = judge(
            trial,
            pod=pod,
            is_node_lost=self._is_node_lost(pod.node),
            now_s=now_s,
            window_s=self._window_s,
        )
        if verdict is Progress.OPEN:
            return None
        self._close(pod.uid, verdict)
        return self._settle_late(pod, now_s=now_s)

    def _settle_late(self, pod: PodFacts, *, now_s: float) -> None:
        marks = self._marks.get(pod.uid)
        if marks is None or marks.fate is not Fate.SUCCEEDED or pod.failure is None:
            return
        if pod.is_deleting and not pod.is_evicted:
            return
        self._mark(pod.uid, replace(marks, fate=Fate.FAILED))
        self._count(Tally(n_failures=1), node=pod.node, workload=pod.workload, at_s=now_s)

    def _close(self, uid: str, verdict: Outcome | Progress) -> None:
        row = self._tracked.pop(uid).row
        self._changes.placements[uid] = row
        marks = self._marks.get(uid, Marks())
        if not isinstance(verdict, Outcome):
            row.fate = Fate.CENSORED
            self._note_outcome("unknown")
        else:
            row.fate, row.outcome = _FATES[verdict.success], verdict
            self._note_outcome(verdict.reason)
            n_failed = int(not verdict.success)
            # Starvation tells of the load, which is seen by itself, and not of what the node is.
            n_faults = 0 if verdict.reason == "starved" else n_failed
            self.history.count(
                Tally(n_observations=1, n_unstable=n_failed, n_failures=n_failed),
                of_node=Tally(n_observations=1, n_unstable=n_faults, n_failures=n_faults),
                node=row.node,
                workload=row.workload,
                at_s=verdict.decided_at_s,
            )
            self.view.touch(row.node)
        self._mark(uid, replace(marks, fate=row.fate))

    def _note_end(self, pod: PodFacts, *, at_s: float) -> None:
        if self._marks.get(pod.uid, Marks()).fate is not Fate.UNTRACKED:
            self._changes.ends[pod.uid] = at_s

    def _count(self, tally: Tally, *, node: str, workload: str, at_s: float) -> None:
        self.history.count(tally, node=node, workload=workload, at_s=at_s)
        self.view.touch(node)

    def _note_outcome(self, reason: str) -> None:
        self.n_outcomes[reason] = self.n_outcomes.get(reason, 0) + 1

    def _is_node_lost(self, name: str) -> bool:
        node = self.view.node(name)
        return node is None or not node.is_ready

    def _mark(self, uid: str, marks: Marks) -> None:
        self._marks[uid] = marks
        self._changes.marks[uid] = marks

    def _forget(self, uid: str) -> None:
        if self._marks.pop(uid, None) is not None:
            self._changes.marks[uid] = None
