"""NodeResourceTopologyMatch: keeps pods from nodes whose kubelet would not find them one zone."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from kube.custom import CustomResource, NodeResourceTopology
from kube.qos import Qos
from scheduler.framework.columns import Rows
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PostBindPlugin,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    ReservePlugin,
    ScorePlugin,
)
from scheduler.framework.kept_columns import KeptColumns
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MIN_NODE_SCORE,
    SKIP,
    SUCCESS,
    BoolColumn,
    Code,
    ScoreColumn,
    Status,
    Verdicts,
)
from scheduler.model import ContainerFacts, PodFacts
from scheduler.plugins.numa.alignment import cannot_align
from scheduler.plugins.numa.arguments import NodeResourceTopologyMatchArgs, NumaCache
from scheduler.plugins.numa.books import BookRules, Books, has_topologies
from scheduler.plugins.numa.demand import Demand, matters_to
from scheduler.plugins.numa.fewest_zones import rate_fewest_zones
from scheduler.plugins.numa.reports import says_the_same
from scheduler.plugins.numa.strategies import (
    Strategy,
    balanced_allocation,
    least_allocated,
    most_allocated,
    rate_zones,
)
from scheduler.plugins.numa.zones import Zones

T = TypeVar("T", bound=np.generic)

_NONE: Final = 0
_INVALID: Final = 1
_CONTAINER: Final = 2
_POD: Final = 3
_REASONS: Final = {
    _INVALID: "invalid node topology data",
    _CONTAINER: "cannot align container",
    _POD: "cannot align pod",
}
_BY_ZONE: Final[Mapping[str, Strategy]] = {
    "LeastAllocated": least_allocated,
    "MostAllocated": most_allocated,
    "BalancedAllocation": balanced_allocation,
}


class NodeResourceTopologyMatch(
    PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin, ReservePlugin, PostBindPlugin
):
    """Goes by what nodes' agents report of their NUMA zones (``NodeResourceTopology``).

    Filter refuses nodes whose kubelet takes only what fits one zone (``single-numa-node``) where
    the pod, or a container of it, does not. Score rates the zones of the others. Nodes without a
    report pass.
    """

    name = "NodeResourceTopologyMatch"
    args_type: ClassVar[type[PluginArgs]] = NodeResourceTopologyMatchArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.CUSTOM
        | ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_ALLOCATABLE
        | ClusterEvent.ASSIGNED_POD_ADD
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.ASSIGNED_POD_SCALE_DOWN
        | ClusterEvent.POD_UPDATE
    )
    """The appearance of a pod may show that a report, which knew of it, holds."""
    reads: ClassVar[tuple[type[CustomResource], ...]] = (NodeResourceTopology,)

    def __init__(self, args: NodeResourceTopologyMatchArgs) -> None:
        super().__init__(args)
        self._is_discarding = args.discard_reserved_nodes
        self._strategy = _BY_ZONE.get(args.scoring_strategy.type)
        self._weights = {r.name: r.effective_weight for r in args.scoring_strategy.resources}
        cache = args.cache or NumaCache()
        self._books = Books(
            BookRules(
                is_cached=bool(args.cache_resync_period_seconds) and not self._is_discarding,
                foreign=cache.foreign_pods_detect,
                counted=cache.resync_method,
            )
        )
        self._refusals: KeptColumns[Demand, np.uint8] = KeptColumns(self._books.changes)
        self._ratings: KeptColumns[Demand, np.int64] = KeptColumns(self._books.changes)
        self._reserved: dict[str, set[str]] = {}
        """Uids by node, of pods that are being bound."""

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign pods to which zones do not matter: what is said of others depends on reports."""
        return None if matters_to(pod) else ()

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Skip pods to which zones do not matter, and all where no zones are known."""
        demand = Demand.of(pod)
        if not demand.is_any or not has_topologies(snapshot.objects):
            return PreFilterResult(SKIP)
        state.write(demand)
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes that cannot align the pod, and those of which too little is known."""
        demand = state.read(Demand) or Demand.of(pod)
        if not demand.is_any or not has_topologies(snapshot.objects):
            return None
        zones = self._zones(pod, snapshot)
        find = partial(_refuse, demand, snapshot, zones)
        found = self._find(self._refusals, demand, snapshot=snapshot, find=find)
        held = self._discarded(snapshot, zones)
        if held is not None:
            found = np.where(held, _INVALID, found)
        if not np.count_nonzero(found):
            return None
        reasons = [(why, np.equal(found, number)) for number, why in _REASONS.items()]
        codes = np.not_equal(found, _NONE) * np.uint8(Code.UNSCHEDULABLE)
        return Verdicts(codes, [(why, nodes) for why, nodes in reasons if nodes.any()])

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods that are not guaranteed: to them all nodes are alike."""
        is_rated = pod.qos is Qos.GUARANTEED and matters_to(pod)
        return SUCCESS if is_rated and has_topologies(snapshot.objects) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate nodes by the strategy; 0 where it has nothing to go by."""
        demand = state.read(Demand) or Demand.of(pod)
        zones = self._zones(pod, snapshot)
        find = partial(self._rate, demand, zones)
        found = self._find(self._ratings, demand, snapshot=snapshot, find=find)
        held = self._discarded(snapshot, zones)
        return found.copy() if held is None else np.where(held, MIN_NODE_SCORE, found)

    def reserve(self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot) -> Status:
        """Note that the pod is being bound; what it takes is seen in the snapshot."""
        if self._is_discarding:
            self._reserved.setdefault(node, set()).add(pod.uid)
        return SUCCESS

    def unreserve(self, state: CycleState, *, pod: PodFacts, node: str) -> None:
        """Note that it is not."""
        self._release(pod, node)

    def post_bind(self, pod: PodFacts, *, node: str) -> None:
        """Note that it is no longer: from now on reports are to be relied on."""
        self._release(pod, node)

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """A report helps if it says anything new; agents send the same one again and again."""
        before, after = change.before, change.after
        if isinstance(before, NodeResourceTopology) and isinstance(after, NodeResourceTopology):
            return not says_the_same(before, after)
        return True

    def _zones(self, pod: PodFacts, snapshot: Snapshot) -> Zones:
        self._books.note_own(pod.scheduler_name)
        return self._books.zones(snapshot)

    def _find(
        self,
        kept: KeptColumns[Demand, T],
        demand: Demand,
        *,
        snapshot: Snapshot,
        find: Callable[[Rows], NDArray[T]],
    ) -> NDArray[T]:
        is_actual = self._books.is_actual(snapshot)
        return kept.of(demand, n_rows=snapshot.n_nodes, is_actual=is_actual, find=find)

    def _discarded(self, snapshot: Snapshot, zones: Zones) -> BoolColumn | None:
        """Tell on which nodes with zones a pod is being bound; ``None``: on none."""
        rows = [row for name in self._reserved if (row := snapshot.rows.get(name)) is not None]
        if not rows:
            return None
        nodes = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        nodes[rows] = True
        return nodes & zones.is_reported

    def _release(self, pod: PodFacts, node: str) -> None:
        uids = self._reserved.get(node, set())
        uids.discard(pod.uid)
        if not uids:
            self._reserved.pop(node, None)

    def _rate(self, demand: Demand, zones: Zones, rows: Rows) -> NDArray[np.int64]:
        """Rate some nodes."""
        is_rated = zones.is_reported[rows] & zones.is_valid[rows]
        if self._strategy is not None:
            is_rated &= zones.is_single[rows]
        scores = np.zeros(rows.size, dtype=np.int64)
        for containers, among in _by_scope(demand, zones=zones, rows=rows, among=is_rated):
            scores[among] = self._rate_zones(containers, zones, rows[among])
        return scores

    def _rate_zones(
        self, containers: Sequence[ContainerFacts], zones: Zones, rows: Rows
    ) -> ScoreColumn:
        if self._strategy is None:
            return rate_fewest_zones(containers, zones=zones, rows=rows)
        return rate_zones(
            containers, strategy=self._strategy, weights=self._weights, zones=zones, rows=rows
        )


def _refuse(demand: Demand, snapshot: Snapshot, zones: Zones, rows: Rows) -> NDArray[np.uint8]:
    """Number the reasons for which some nodes are refused."""
    is_known = zones.is_valid[rows]
    is_single = zones.is_single[rows]
    found = np.where(is_single & ~is_known, np.uint8(_INVALID), np.uint8(_NONE))
    for containers, among in _by_scope(demand, zones=zones, rows=rows, among=is_single & is_known):
        refused = cannot_align(
            containers, zones=zones, allocatable=snapshot.allocatable, rows=rows[among]
        )
        reason = np.uint8(_POD if containers is demand.as_pod else _CONTAINER)
        found[among] = np.where(refused, reason, np.uint8(_NONE))
    return found


def _by_scope(
    demand: Demand, *, zones: Zones, rows: Rows, among: BoolColumn
) -> Iterator[tuple[tuple[ContainerFacts, ...], Rows]]:
    """Say what is aligned on which of some rows, by their places: containers, or the pod."""
    is_pod_scope = zones.is_pod_scope[rows]
    scopes = ((demand.as_containers, among & ~is_pod_scope), (demand.as_pod, among & is_pod_scope))
    for containers, where in scopes:
        places = np.flatnonzero(where)
        if places.size and containers:
            yield containers, places
