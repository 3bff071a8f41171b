"""NodeResourcesAllocatable: small machines first, or large ones, whatever is on them."""

from collections.abc import Hashable
from typing import Annotated, ClassVar, Final, Literal

import msgspec
import numpy as np

from kube.edge.settings import Settings
from kube.quantity import CPU, MEMORY
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, ScorePlugin, min_max_normalize
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import ScoreColumn
from scheduler.model import PodFacts

_MAX_SUM: Final = 2**61
"""Sums of weighted amounts stay below: an int64 holds them."""


class AllocatableResource(Settings, frozen=True):
    """A resource that takes part in the score."""

    name: str
    weight: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    """Per millicore of cpu, per byte of memory, per unit of others."""


_RESOURCES: Final = (
    AllocatableResource(name=CPU, weight=2**20),
    AllocatableResource(name=MEMORY, weight=1),
)


class NodeResourcesAllocatableArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourcesAllocatable."""

    mode: Literal["Least", "Most"] = "Least"
    resources: tuple[AllocatableResource, ...] = _RESOURCES
    """By default a millicore weighs as much as a MiB."""


class NodeResourcesAllocatable(ScorePlugin):
    """Prefers nodes that have the least to give (or the most), however much of it is taken.

    The weighted mean of what is allocatable is stretched over the feasible nodes: the preferred
    end gets 100, the other 0; where all are alike, all get 0.
    """

    name = "NodeResourcesAllocatable"
    args_type: ClassVar[type[PluginArgs]] = NodeResourcesAllocatableArgs
    reads_pods = False

    def __init__(self, args: NodeResourcesAllocatableArgs) -> None:
        super().__init__(args)
        self._weights = {each.name: each.weight for each in args.resources or _RESOURCES}
        self._prefers_small = args.mode == "Least"

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Say that all pods are alike."""
        return ()

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Return the weighted mean, negative where small is good."""
        total = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for resource, weight in self._weights.items():
            largest = _MAX_SUM // (len(self._weights) * weight)
            total += np.minimum(snapshot.allocatable[resource], largest) * weight
        # Divided before the sign: toward zero, as Go does.
        mean: ScoreColumn = total // sum(self._weights.values())
        return -mean if self._prefers_small else mean

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Stretch from the lowest (0) to the highest (100)."""
        return min_max_normalize(scores)
