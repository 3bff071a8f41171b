"""NodeResourceTopologyMatch: keeps pods from nodes whose kubelet would not find them one zone."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
import numpy as np

from kube.custom import CustomResource, NodeResourceTopology
from kube.edge.settings import Settings
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
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
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
from scheduler.plugins.numa.books import BookRules, Books, has_topologies
from scheduler.plugins.numa.demand import Demand
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
from scheduler.plugins.scoring_strategies import CPU_AND_MEMORY, ResourceSpec

_INVALID: Final = "invalid node topology data"
_BY_ZONE: Final[Mapping[str, Strategy]] = {
    "LeastAllocated": least_allocated,
    "MostAllocated": most_allocated,
    "BalancedAllocation": balanced_allocation,
}

PodsDetected = Literal["All", "None", "OnlyExclusiveResources"]
PodsCounted = Literal["Autodetect", "All", "OnlyExclusiveResources"]


class NumaScoringStrategy(Settings, frozen=True):
    """How nodes are rated."""

    type: Literal["LeastAllocated", "MostAllocated", "BalancedAllocation", "LeastNUMANodes"] = (
        "LeastAllocated"
    )
    resources: tuple[ResourceSpec, ...] = CPU_AND_MEMORY
    """Weights, for the first two; what is not named weighs 1."""


class NumaCache(Settings, frozen=True, rename="camel"):
    """What is made of pods that reports do not know of."""

    foreign_pods_detect: PodsDetected = "All"
    """Whose appearance makes a node unknown until its next report, if others placed them."""
    resync_method: PodsCounted = "Autodetect"
    """Which pods are in fingerprints; by default as each report says."""
    informer_mode: Literal["Dedicated", "Shared"] = "Dedicated"
    """Of no effect: there is one watch of pods, which shows all that run."""
    resync_scope: Literal["All", "OnlyResources"] = "All"
    """What of a report is taken over."""

    def __post_init__(self) -> None:
        """Refuse what would have no effect.

        Raises:
            ValueError: Policies are to be left as they were first reported.
        """
        if self.resync_scope != "All":
            raise ValueError(
                "resyncScope: only All is supported; a report is taken over with its policies"
            )


class NodeResourceTopologyMatchArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourceTopologyMatch."""

    scoring_strategy: NumaScoringStrategy = NumaScoringStrategy()
    cache_resync_period_seconds: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """More than 0: pods count until a report knows of them. How much more is of no effect: every
    report is looked at when it comes."""
    discard_reserved_nodes: bool = False
    """Instead of that: nodes take no pod while another one is being bound to them."""
    cache: NumaCache | None = None
    preemption_mode: str = "Disabled"

    def __post_init__(self) -> None:
        """Refuse what would have no effect.

        Raises:
            ValueError: Names the field.
        """
        if self.preemption_mode != "Disabled":
            raise ValueError(
                "preemptionMode: only Disabled is supported; reports are not read for the zones"
                " that containers are in"
            )


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
        self._reserved: dict[str, set[str]] = {}
        """Uids by node, of pods that are being bound."""

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign pods to which zones do not matter: what is said of others depends on reports."""
        return None if Demand.of(pod).is_any else ()

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
        unknown = (zones.is_single & ~zones.is_valid) | self._discarded(snapshot, zones)
        asked = zones.is_single & ~unknown
        refused = {_INVALID: unknown}
        for is_pod_scope, containers in ((False, demand.as_containers), (True, demand.as_pod)):
            rows = np.flatnonzero(asked & (zones.is_pod_scope == is_pod_scope))
            nodes = np.zeros(snapshot.n_nodes, dtype=np.bool_)
            nodes[rows] = cannot_align(
                containers, zones=zones, allocatable=snapshot.allocatable, rows=rows
            )
            refused["cannot align pod" if is_pod_scope else "cannot align container"] = nodes
        reasons = [(reason, nodes) for reason, nodes in refused.items() if nodes.any()]
        if not reasons:
            return None
        codes = np.logical_or.reduce([nodes for _, nodes in reasons]) * np.uint8(Code.UNSCHEDULABLE)
        return Verdicts(codes, reasons)

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods that are not guaranteed: to them all nodes are alike."""
        is_rated = pod.qos is Qos.GUARANTEED and Demand.of(pod).is_any
        return SUCCESS if is_rated and has_topologies(snapshot.objects) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate nodes by the strategy; 0 where it has nothing to go by."""
        demand = state.read(Demand) or Demand.of(pod)
        zones = self._zones(pod, snapshot)
        rated = zones.is_reported & zones.is_valid & ~self._discarded(snapshot, zones)
        rate = self._rate_fewest if self._strategy is None else self._rate_zones(self._strategy)
        if self._strategy is not None:
            rated &= zones.is_single
        scores = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for is_pod_scope, containers in ((False, demand.as_containers), (True, demand.as_pod)):
            rows = np.flatnonzero(rated & (zones.is_pod_scope == is_pod_scope))
            if rows.size and containers:
                scores[rows] = rate(containers, zones, rows)
        return scores

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

    def _discarded(self, snapshot: Snapshot, zones: Zones) -> BoolColumn:
        """Tell on which nodes with zones a pod is being bound."""
        nodes = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        nodes[[row for name in self._reserved if (row := snapshot.rows.get(name)) is not None]] = (
            True
        )
        return nodes & zones.is_reported

    def _release(self, pod: PodFacts, node: str) -> None:
        uids = self._reserved.get(node, set())
        uids.discard(pod.uid)
        if not uids:
            self._reserved.pop(node, None)

    def _rate_fewest(
        self, containers: Sequence[ContainerFacts], zones: Zones, rows: Rows
    ) -> ScoreColumn:
        return rate_fewest_zones(containers, zones=zones, rows=rows)

    def _rate_zones(
        self, strategy: Strategy
    ) -> Callable[[Sequence[ContainerFacts], Zones, Rows], ScoreColumn]:
        def rate(containers: Sequence[ContainerFacts], zones: Zones, rows: Rows) -> ScoreColumn:
            return rate_zones(
                containers, strategy=strategy, weights=self._weights, zones=zones, rows=rows
            )

        return rate
