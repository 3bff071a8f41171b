"""NodeResourcesFit and NodeResourcesBalancedAllocation: what is asked for, and what is left."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.edge.settings import Settings
from kube.quantity import CPU, MEMORY
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreScorePlugin,
    ScorePlugin,
)
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
from scheduler.model import EPHEMERAL_STORAGE, PODS, PodFacts

_NATIVE: Final = (CPU, MEMORY, EPHEMERAL_STORAGE)


class ResourceSpec(Settings, frozen=True):
    """A resource that takes part in a score."""

    name: str
    weight: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


_CPU_AND_MEMORY: Final = (ResourceSpec(name=CPU), ResourceSpec(name=MEMORY))


class ScoringStrategy(Settings, frozen=True):
    """How NodeResourcesFit rates nodes."""

    type: Literal["LeastAllocated"] = "LeastAllocated"
    resources: Annotated[tuple[ResourceSpec, ...], msgspec.Meta(min_length=1)] = _CPU_AND_MEMORY


class NodeResourcesFitArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourcesFit."""

    ignored_resources: tuple[str, ...] = ()
    ignored_resource_groups: tuple[str, ...] = ()
    """What stands before the ``/`` of resources not to look at."""
    scoring_strategy: ScoringStrategy = ScoringStrategy()


class NodeResourcesFit(FilterPlugin, ScorePlugin):
    """Refuses nodes with too little left; rates by what would be left (LeastAllocated).

    Score: for each resource ``(allocatable - requested) * 100 // allocatable``, weighted mean.
    """

    name = "NodeResourcesFit"
    args_type: ClassVar[type[PluginArgs]] = NodeResourcesFitArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_ALLOCATABLE
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: NodeResourcesFitArgs) -> None:
        super().__init__(args)
        self._ignored = frozenset(args.ignored_resources)
        self._ignored_groups = frozenset(args.ignored_resource_groups)
        self._weights = {each.name: each.weight for each in args.scoring_strategy.resources}

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes; every reason is named, not just the first."""
        reasons: list[tuple[str, BoolColumn]] = []
        unresolvable = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        full = snapshot.requested[PODS] + 1 > snapshot.allocatable[PODS]
        if full.any():
            reasons.append(("Too many pods", full))
        for resource, amount in pod.requests.items():
            if amount == 0 or self._is_ignored(resource):
                continue
            allocatable = snapshot.allocatable[resource]
            short = amount > allocatable - snapshot.requested[resource]
            if short.any():
                reasons.append((f"Insufficient {resource}", short))
                unresolvable |= amount > allocatable
        if not reasons:
            return None
        refused = np.logical_or.reduce([nodes for _, nodes in reasons])
        codes = np.where(unresolvable, Code.UNSCHEDULABLE_AND_UNRESOLVABLE, Code.UNSCHEDULABLE)
        return Verdicts(np.where(refused, codes, Code.SUCCESS).astype(np.uint8), reasons)

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate by what would be left."""
        total = np.zeros(snapshot.n_nodes, dtype=np.int64)
        weights = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for resource, weight in self._weights.items():
            native = resource in _NATIVE
            if not native and not pod.requests.get(resource):
                continue
            allocatable, requested = _score_columns(pod, snapshot=snapshot, resource=resource)
            free = np.maximum(allocatable - requested, 0)
            total += weight * (free * MAX_NODE_SCORE // np.maximum(allocatable, 1))
            weights += weight * (allocatable != 0)
        return total // np.maximum(weights, 1)

    def _is_ignored(self, resource: str) -> bool:
        if resource in self._ignored:
            return True
        group, slash, _ = resource.partition("/")
        return bool(slash) and group in self._ignored_groups


def _score_columns(
    pod: PodFacts, *, snapshot: Snapshot, resource: str
) -> tuple[IntColumn, IntColumn]:
    """Return allocatable, and requested with the pod; defaults stand in for missing requests."""
    if resource in (CPU, MEMORY):
        requested = snapshot.scored_requested[resource] + pod.scored_requests.get(resource, 0)
    else:
        requested = snapshot.requested[resource] + pod.requests.get(resource, 0)
    return snapshot.allocatable[resource], requested


class NodeResourcesBalancedAllocationArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourcesBalancedAllocation."""

    resources: Annotated[tuple[ResourceSpec, ...], msgspec.Meta(min_length=1)] = _CPU_AND_MEMORY


class NodeResourcesBalancedAllocation(PreScorePlugin, ScorePlugin):
    """Prefers nodes whose resources the pod would leave more evenly used (as of 1.36).

    Balance is ``100 * (1 - std)`` of the used fractions; the score is 75 where the pod changes
    nothing, more where balance improves and less where it worsens.
    """

    name = "NodeResourcesBalancedAllocation"
    args_type: ClassVar[type[PluginArgs]] = NodeResourcesBalancedAllocationArgs

    def __init__(self, args: NodeResourcesBalancedAllocationArgs) -> None:
        super().__init__(args)
        self._resources = tuple(each.name for each in args.resources)

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods that ask for none of the resources: they change no balance."""
        return SUCCESS if any(pod.requests.get(r) for r in self._resources) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Compare each node's balance with and without the pod."""
        resources = [r for r in self._resources if r in _NATIVE or pod.requests.get(r)]
        allocatable = [snapshot.allocatable[r] for r in resources]
        requested = [snapshot.requested[r] for r in resources]
        with_pod = [
            column + pod.requests.get(r, 0) for r, column in zip(resources, requested, strict=True)
        ]
        before = _balance(requested, allocatable=allocatable)
        after = _balance(with_pod, allocatable=allocatable)
        half = MAX_NODE_SCORE // 2
        # Truncated toward zero, as Go divides; the sum is never negative here.
        return half + (half + after - before) // 2


def _balance(requested: Sequence[IntColumn], *, allocatable: Sequence[IntColumn]) -> ScoreColumn:
    """Rate how even the used fractions are.

    Args:
        requested: By resource, shape ``(n_nodes,)`` each.
        allocatable: The same; a resource of which a node has none does not count there.

    Returns:
        Shape ``(n_nodes,)``, 0 to 100.
    """
    fractions = [
        np.minimum(used / np.maximum(whole, 1), 1.0)
        for used, whole in zip(requested, allocatable, strict=True)
    ]
    std: NDArray[np.float64]
    if len(fractions) == 2 and all(whole.all() for whole in allocatable):
        # By far the most frequent case, and the deviation of two is half their difference.
        std = np.abs(fractions[0] - fractions[1]) / 2
    else:
        std = _deviation(np.stack(fractions), counts=np.stack(allocatable) != 0)
    balance: ScoreColumn = ((1.0 - std) * MAX_NODE_SCORE).astype(np.int64)
    return balance


def _deviation(fractions: NDArray[np.float64], *, counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation over the resources that count, shape ``(n_nodes,)``."""
    n = counts.sum(axis=0)
    mean = (fractions * counts).sum(axis=0) / np.maximum(n, 1)
    variance = (((fractions - mean) * counts) ** 2).sum(axis=0) / np.maximum(n, 1)
    # Of two, half the difference is the same but for rounding, and what upstream computes.
    highest = np.where(counts, fractions, 0.0).max(axis=0)
    lowest = np.where(counts, fractions, 1.0).min(axis=0)
    deviation: NDArray[np.float64] = np.where(n == 2, (highest - lowest) / 2, np.sqrt(variance))
    return deviation
