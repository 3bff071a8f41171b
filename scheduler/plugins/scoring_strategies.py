"""How NodeResourcesFit rates nodes: by what would be left on them, or by what would be used."""

from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
import numpy as np

from kube.edge.settings import Settings
from kube.quantity import CPU, MEMORY
from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, ScoreColumn
from scheduler.model import EPHEMERAL_STORAGE, PodFacts

NATIVE: Final = (CPU, MEMORY, EPHEMERAL_STORAGE)
"""Resources that count even for pods that do not ask for them."""

_FULL: Final = 100
"""Percent."""
_MAX_SHAPE_SCORE: Final = 10


class ResourceSpec(Settings, frozen=True):
    """A resource that takes part in a score."""

    name: str
    weight: Annotated[int, msgspec.Meta(ge=0, le=100)] = 1
    """0 takes the default, as upstream."""

    @property
    def effective_weight(self) -> int:
        """The weight to reckon with."""
        return self.weight or 1


CPU_AND_MEMORY: Final = (ResourceSpec(name=CPU), ResourceSpec(name=MEMORY))


class UtilizationShapePoint(Settings, frozen=True):
    """What a utilization is worth."""

    utilization: Annotated[int, msgspec.Meta(ge=0, le=_FULL)]
    """Percent."""
    score: Annotated[int, msgspec.Meta(ge=0, le=_MAX_SHAPE_SCORE)]


class RequestedToCapacityRatio(Settings, frozen=True, rename="camel"):
    """Argument of the strategy of that name."""

    shape: Annotated[tuple[UtilizationShapePoint, ...], msgspec.Meta(min_length=1)]
    """Straight lines in between, flat outside."""

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            ValueError: The utilizations do not grow.
        """
        utilizations = [point.utilization for point in self.shape]
        if utilizations != sorted(set(utilizations)):
            raise ValueError("the utilizations of shape must grow from point to point")


class ScoringStrategy(Settings, frozen=True, rename="camel"):
    """How NodeResourcesFit rates nodes."""

    type: Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"] = "LeastAllocated"
    resources: tuple[ResourceSpec, ...] = CPU_AND_MEMORY
    """None named is as the default, as upstream; so it is of other plugins' lists."""
    requested_to_capacity_ratio: RequestedToCapacityRatio | None = None
    """Needed by the strategy of that name, and by no other."""

    def __post_init__(self) -> None:
        """Check that there is a shape where one is needed.

        Raises:
            ValueError: The strategy lacks its shape.
        """
        is_shaped = self.type == "RequestedToCapacityRatio"
        if is_shaped and self.requested_to_capacity_ratio is None:
            raise ValueError("RequestedToCapacityRatio needs requestedToCapacityRatio.shape")


class StrategyScore:
    """Rates nodes by a strategy: a weighted mean over its resources.

    Args:
        strategy: The strategy.
    """

    def __init__(self, strategy: ScoringStrategy) -> None:
        self._type = strategy.type
        resources = strategy.resources or CPU_AND_MEMORY
        self._weights = {each.name: each.effective_weight for each in resources}
        ratio = strategy.requested_to_capacity_ratio
        self._worth = worth_by_percent(ratio.shape if ratio is not None else ())

    def rate(self, pod: PodFacts, *, snapshot: Snapshot) -> ScoreColumn:
        """Rate every node, as if the pod were on it.

        Returns:
            Shape ``(n_nodes,)``, 0 to 100.
        """
        total = np.zeros(snapshot.n_nodes, dtype=np.int64)
        weights: IntColumn | int = 0
        is_shaped = self._type == "RequestedToCapacityRatio"
        for resource, weight in self._weights.items():
            if resource not in NATIVE and not pod.requests.get(resource):
                continue
            allocatable, requested = _columns(pod, snapshot=snapshot, resource=resource)
            rated = self._rate_one(requested, allocatable=allocatable)
            counts = np.not_equal(allocatable, 0)
            if is_shaped:
                # What is worth nothing does not lower the mean, either: as upstream.
                counts &= rated > 0
            # Nearly always it counts everywhere, and then the weights are one number.
            is_everywhere = np.count_nonzero(counts) == counts.size
            share: IntColumn | int = weight if is_everywhere else weight * counts
            total += share * rated
            weights = weights + share
        if is_shaped:
            # Rounded half up, which is away from zero here.
            return (2 * total + weights) // np.maximum(2 * weights, 1)
        return total // np.maximum(weights, 1)

    def _rate_one(self, requested: IntColumn, *, allocatable: IntColumn) -> ScoreColumn:
        whole = np.maximum(allocatable, 1)
        if self._type == "LeastAllocated":
            free_percent: IntColumn = np.maximum(allocatable - requested, 0) * _FULL // whole
            return free_percent
        used_percent: IntColumn = np.minimum(requested, allocatable) * _FULL // whole
        return used_percent if self._type == "MostAllocated" else self._worth[used_percent]


def worth_by_percent(shape: tuple[UtilizationShapePoint, ...]) -> IntColumn:
    """Tabulate the score (0 to 100) of every utilization in percent, shape ``(101,)``."""
    worth = np.zeros(_FULL + 1, dtype=np.int64)
    points = [
        (point.utilization, point.score * MAX_NODE_SCORE // _MAX_SHAPE_SCORE) for point in shape
    ]
    if not points:
        return worth
    worth[: points[0][0] + 1] = points[0][1]
    worth[points[-1][0] :] = points[-1][1]
    for (start, low), (end, high) in pairwise(points):
        for percent in range(start + 1, end + 1):
            # Truncated toward zero, as Go divides; Python would floor on the way down.
            climb = abs(high - low) * (percent - start) // (end - start)
            worth[percent] = low + climb if high >= low else low - climb
    return worth


def _columns(pod: PodFacts, *, snapshot: Snapshot, resource: str) -> tuple[IntColumn, IntColumn]:
    """Return allocatable, and requested with the pod; defaults stand in for missing requests."""
    if resource in (CPU, MEMORY):
        requested = snapshot.scored_requested[resource] + pod.scored_requests.get(resource, 0)
    else:
        requested = snapshot.requested[resource] + pod.requests.get(resource, 0)
    return snapshot.allocatable[resource], requested
