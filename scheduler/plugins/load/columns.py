"""What the plugins of this family read of a snapshot, on the base that each of them counts on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU, MEMORY
from scheduler.framework.columns import Amounts
from scheduler.framework.cycle import CycleState
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, BoolColumn, ScoreColumn
from scheduler.framework.unseen import CONTAINERS_UNSET_MILLI, CPU_LIMITED, CPU_REQUESTED
from scheduler.model import CpuTerms, PodFacts

FloatColumn = NDArray[np.float64]


RESOURCES: Final = (CPU, MEMORY)
"""The rows of columns of shape ``(2, n_nodes)``: mostly there is one node, and it is the number of
calls that costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuForecast:
    """What pods will use of the cpu: their limits, or something more than their requests."""

    default_milli: int = 1000
    """Of a container with neither."""
    multiplier: float = 1.5
    """How much more than their requests."""

    def of_pod(self, pod: PodFacts) -> int:
        """Foresee a pod's, in millicores; rounded half up."""
        terms: CpuTerms = pod.cpu_terms
        requested = math.floor(self.multiplier * terms.requested_milli + 0.5)
        return terms.limited_milli + requested + self.default_milli * terms.n_unset


class Loads:
    """What machines have, and what of it is used; of shape ``(2, n_nodes)`` by resource.

    Args:
        snapshot: Not to change for as long as this is read.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._foreseen: dict[CpuForecast, FloatColumn] = {}
        capacity, mean, unseen, std = stacked(
            snapshot.capacity, snapshot.usage_mean, snapshot.unseen, snapshot.usage_std
        )
        is_there = capacity > 0.0
        self.capacity = np.maximum(capacity, 1.0)
        """All that the machines have, on which usage is measured; at least 1, by resource."""
        self.used = mean + unseen
        """What is measured, and what pods request that are too new for that; by resource."""
        self.std_ratio = np.minimum(std / self.capacity, 1.0)
        """The standard deviation of what is measured, as a share of the capacity; by resource."""
        self.is_cpu_known: BoolColumn = snapshot.is_measured & is_there[0]
        """Of which nodes it is known what share of their cpu is used; shape ``(n_nodes,)``."""
        self.is_known: BoolColumn = self.is_cpu_known & is_there[1]
        """As ``is_cpu_known``, of cpu and memory."""

    @classmethod
    def of(cls, state: CycleState, *, snapshot: Snapshot) -> "Loads":
        """Share them among the plugins of a cycle."""
        found = state.read(Loads)
        if found is None or found._snapshot is not snapshot:  # noqa: SLF001 - one of us
            found = cls(snapshot)
            state.write(found)
        return found

    def foreseen(self, forecast: CpuForecast) -> FloatColumn:
        """Return the millicores measured, and foreseen of pods that are too new for that.

        Returns:
            Shape ``(n_nodes,)``.
        """
        found = self._foreseen.get(forecast)
        if found is None:
            unseen = self._snapshot.unseen
            found = self._foreseen[forecast] = (
                self._snapshot.usage_mean[CPU]
                + unseen[CPU_LIMITED]
                + forecast.multiplier * unseen[CPU_REQUESTED]
                + forecast.default_milli / 1000.0 * unseen[CONTAINERS_UNSET_MILLI]
            )
        return found


def stacked(*amounts: Amounts[str]) -> FloatColumn:
    """Return the columns of cpu and memory, of shape ``(n_amounts, 2, n_nodes)``."""
    columns = [each[resource] for each in amounts for resource in RESOURCES]
    return np.array(columns, dtype=np.float64).reshape(len(amounts), len(RESOURCES), -1)


def asked(pod_amounts: Mapping[str, int]) -> FloatColumn:
    """Return what a pod asks for of cpu and memory, shape ``(2, 1)``."""
    return np.array([[pod_amounts.get(resource, 0)] for resource in RESOURCES], dtype=np.float64)


def as_scores(scores: FloatColumn, *, known: BoolColumn) -> ScoreColumn:
    """Round half up, and give the lowest score to nodes of which nothing is known."""
    rounded = np.floor(held_to(scores, MIN_NODE_SCORE, MAX_NODE_SCORE) + 0.5)
    return np.where(known, rounded, MIN_NODE_SCORE).astype(np.int64)


def held_to(values: FloatColumn, lowest: float, highest: float) -> FloatColumn:
    """Do as ``np.clip`` does, in a third of its time where there are few values."""
    held: FloatColumn = np.minimum(np.maximum(values, lowest), highest)
    return held
