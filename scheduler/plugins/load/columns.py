"""What the plugins of this family read of a snapshot, on the base that each of them counts on."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU
from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, BoolColumn, ScoreColumn
from scheduler.framework.unseen import CONTAINERS_UNSET_MILLI, CPU_LIMITED, CPU_REQUESTED
from scheduler.model import CpuTerms, PodFacts

FloatColumn = NDArray[np.float64]


class CpuForecast:
    """What pods will use of the cpu: their limits, or something more than their requests.

    Args:
        default_milli: Of a container with neither.
        multiplier: How much more than their requests.
    """

    def __init__(self, *, default_milli: int = 1000, multiplier: float = 1.5) -> None:
        self._default_milli = default_milli
        self._multiplier = multiplier

    def of_pod(self, pod: PodFacts) -> int:
        """Foresee a pod's, in millicores; rounded half up."""
        terms: CpuTerms = pod.cpu_terms
        requested = math.floor(self._multiplier * terms.requested_milli + 0.5)
        return terms.limited_milli + requested + self._default_milli * terms.n_unset

    def used(self, snapshot: Snapshot) -> FloatColumn:
        """Return what is measured, and foreseen of the pods that are too new for that.

        Returns:
            Shape ``(n_nodes,)``, in millicores.
        """
        unseen = snapshot.unseen
        used: FloatColumn = (
            snapshot.usage_mean[CPU]
            + unseen[CPU_LIMITED]
            + self._multiplier * unseen[CPU_REQUESTED]
            + self._default_milli / 1000.0 * unseen[CONTAINERS_UNSET_MILLI]
        )
        return used


def stacked(columns: Sequence[IntColumn | FloatColumn]) -> FloatColumn:
    """Make rows of columns, shape ``(n_columns, n_nodes)``.

    To reckon for several resources at once: for mostly there is one node, and it is the number of
    calls that costs.
    """
    return np.array(columns, dtype=np.float64)


def used_as_requested(snapshot: Snapshot, *, resource: str) -> IntColumn:
    """Return what is measured, and what pods request that are too new for that.

    Returns:
        Shape ``(n_nodes,)``.
    """
    return snapshot.usage_mean[resource] + snapshot.unseen[resource]


def ratio_of_capacity(amounts: FloatColumn, *, snapshot: Snapshot, resource: str) -> FloatColumn:
    """Divide by all that the machines have, which is the base that usage is measured on.

    Returns:
        Shape ``(n_nodes,)``; not held to 0..1.
    """
    return amounts / np.maximum(snapshot.capacity[resource], 1)


def is_known(snapshot: Snapshot, *resources: str) -> BoolColumn:
    """Tell which nodes' usage is known, and a share of what."""
    known = snapshot.is_measured
    for resource in resources:
        known = known & (snapshot.capacity[resource] > 0)
    return known


def as_scores(scores: FloatColumn, *, known: BoolColumn) -> ScoreColumn:
    """Round half up, and give the lowest score to nodes of which nothing is known."""
    rounded = np.floor(held_to(scores, MIN_NODE_SCORE, MAX_NODE_SCORE) + 0.5)
    return np.where(known, rounded, MIN_NODE_SCORE).astype(np.int64)


def held_to(values: FloatColumn, lowest: float, highest: float) -> FloatColumn:
    """Do as ``np.clip`` does, in a third of its time where there are few values."""
    held: FloatColumn = np.minimum(np.maximum(values, lowest), highest)
    return held
