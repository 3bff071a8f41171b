"""NetworkOverhead: pods near those that they talk to."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from kube.custom import AppGroup, AppGroupDependency, CustomResource, NetworkTopology
from kube.selectors import labels_query
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    ScorePlugin,
)
from scheduler.framework.pod_counts import PodQuery
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    SKIP,
    SUCCESS,
    BoolColumn,
    Code,
    ScoreColumn,
    Status,
    Verdicts,
)
from scheduler.model import PodFacts
from scheduler.plugins.network.app_groups import (
    APP_GROUP_LABEL,
    DEFAULT_NAMESPACES,
    WORKLOAD_LABEL,
    AppGroupArgs,
    Name,
    app_group_of,
    dependencies_of,
    find_in,
    is_status_alone,
)
from scheduler.plugins.network.costs import Places

_REASON: Final = "node(s) are too far from pods that the workload depends on"


class NetworkOverheadArgs(AppGroupArgs, frozen=True):
    """Arguments of NetworkOverhead."""

    weights_name: Name = "UserDefined"
    """Which of the NetworkTopology's ``weights`` count."""
    network_topology_name: Name = "nt-default"
    """Looked for in the same namespaces."""


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a pod's workload depends on, found out in PreFilter."""

    group: str
    dependencies: tuple[AppGroupDependency, ...]


@dataclass(frozen=True, slots=True)
class Distances:
    """How far each node is from the pods that a workload talks to; shape ``(n_nodes,)`` each."""

    satisfied: IntColumn
    """How many of these pods are near enough."""
    violated: IntColumn
    """How many are too far, or nowhere; of the others it cannot be said."""
    cost: IntColumn


@dataclass(frozen=True, slots=True)
class _Found:
    """What holds in this cycle, as long as nothing changes."""

    snapshot: Snapshot
    version: int
    distances: Distances


class NetworkOverhead(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    """Refuses nodes from which more of these pods are too far than near; prefers low costs.

    For each dependency of the pod's workload, and each placed pod of the workload depended on: on
    the node itself it costs 0, in the same zone 1, else what the NetworkTopology says, from zone to
    zone of one region or from region to region; that is near enough up to ``maxNetworkCost``. A
    cost that is not given counts 100, and neither for nor against; where one of both nodes has
    neither region nor zone it counts 100, and as too far.
    """

    name = "NetworkOverhead"
    args_type: ClassVar[type[PluginArgs]] = NetworkOverheadArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.ASSIGNED_POD_ADD
        | ClusterEvent.ASSIGNED_POD_LABEL
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_LABEL
        | ClusterEvent.CUSTOM
        | ClusterEvent.POD_UPDATE
    )
    reads: ClassVar[tuple[type[CustomResource], ...]] = (AppGroup, NetworkTopology)
    keeps: ClassVar[tuple[type[CustomResource], ...]] = (AppGroup,)

    def __init__(self, args: NetworkOverheadArgs) -> None:
        super().__init__(args)
        self._namespaces = args.namespaces or DEFAULT_NAMESPACES
        self._topology_name = args.network_topology_name
        self._places = Places(weights_name=args.weights_name)

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Find whom the pod's workload talks to; skip if that is nobody."""
        found = app_group_of(pod, namespaces=self._namespaces, objects=snapshot.objects)
        dependencies = () if found is None else dependencies_of(pod, group=found)
        if not dependencies:
            return PreFilterResult(SKIP)
        state.write(_Needs(pod.labels[APP_GROUP_LABEL], dependencies))
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse where more is violated than satisfied."""
        needs = state.read(_Needs)
        if needs is None:
            return None
        distances = self._distances(state, needs=needs, snapshot=snapshot)
        refused = np.greater(distances.violated, distances.satisfied)
        return Verdicts.refuse(refused, reason=_REASON, code=Code.UNSCHEDULABLE)

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip where nothing that the pod needs is placed: all nodes would be alike."""
        needs = state.read(_Needs)
        if needs is None:
            self.pre_filter(state, pod=pod, snapshot=snapshot)
            needs = state.read(_Needs)
        if needs is None:
            return SKIP
        return SUCCESS if any(c.any() for c in _placed(needs, snapshot=snapshot)) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Return the costs."""
        needs = state.read(_Needs)
        if needs is None:
            return np.zeros(snapshot.n_nodes, dtype=np.int64)
        return self._distances(state, needs=needs, snapshot=snapshot).cost

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Stretch from the highest cost (0) to the lowest (100); all 100 where they are alike.

        Where there are no costs at all, all get 0.
        """
        if not scores.any():
            return scores
        lowest, highest = int(scores.min()), int(scores.max())
        stretched: ScoreColumn = MAX_NODE_SCORE * (scores - lowest) // max(1, highest - lowest)
        return MAX_NODE_SCORE - stretched

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Of pods and AppGroups, only those of the same application matter."""
        if is_status_alone(change):
            return False
        both = (change.before, change.after)
        others = [each for each in both if isinstance(each, PodFacts) and each.uid != pod.uid]
        group = pod.labels.get(APP_GROUP_LABEL)
        return not others or any(each.labels.get(APP_GROUP_LABEL) == group for each in others)

    def _distances(self, state: CycleState, *, needs: _Needs, snapshot: Snapshot) -> Distances:
        """Find them once for what is, for Filter and Score, and each time for what might be."""
        if snapshot.actual is not snapshot:
            return self._find_distances(needs, snapshot=snapshot)
        known, version = state.read(_Found), snapshot.changes.version
        if known is None or known.snapshot is not snapshot or known.version != version:
            distances = self._find_distances(needs, snapshot=snapshot)
            known = _Found(snapshot, version, distances)
            state.write(known)
        return known.distances

    def _find_distances(self, needs: _Needs, *, snapshot: Snapshot) -> Distances:
        """Sum up over dependencies; of a what-if, each row's own changes count for that row."""
        topology = find_in(
            self._namespaces, NetworkTopology, name=self._topology_name, objects=snapshot.objects
        )
        self._places.update(snapshot, topology=topology)
        counted = _placed(needs, snapshot=snapshot)
        is_actual = snapshot.actual is snapshot
        actual = counted if is_actual else _placed(needs, snapshot=snapshot.actual)
        n_places = self._places.n_places
        to_places = np.zeros((3, n_places), dtype=np.int64)
        for dependency, counts in zip(needs.dependencies, actual, strict=True):
            at_place = np.bincount(self._places.of_node, weights=counts, minlength=n_places)
            most = dependency.max_network_cost or 0
            for place in np.flatnonzero(at_place).tolist():
                to_places += int(at_place[place]) * self._places.judge(place, most=most)
        # Ten times as fast as to_places[:, of_node].
        total = to_places.take(self._places.of_node, axis=1)
        # What is on the node itself is no way off, and was counted above as if it were.
        total -= np.add.reduce(actual) * self._places.own
        total[0] += np.add.reduce(counted)
        return Distances(total[0], total[1], total[2])


def _placed(needs: _Needs, *, snapshot: Snapshot) -> list[IntColumn]:
    """Count the pods of each workload depended on, on each node."""
    return [
        snapshot.count(_pods_of(needs.group, selector=each.workload.selector))
        for each in needs.dependencies
    ]


def _pods_of(group: str, *, selector: str) -> PodQuery:
    query = labels_query({APP_GROUP_LABEL: group, WORKLOAD_LABEL: selector})
    return PodQuery(((None, query),))
