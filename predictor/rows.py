"""Rows to learn from: what was known at the decision, joined to what came of it. Pure.

A row's vector is computed from the state that the collector recorded when the pod was placed, or,
of a pod that the collector did not judge, is what ``/predict`` stored when it answered. Nothing
later can get into it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.contract import Placement
from predictor.features import N_FEATURES, ClusterColumns, NodeColumns, feature_matrix
from predictor.scoring import Weights, enhanced_scores

Vector = NDArray[np.float32]
Matrix = NDArray[np.float32]

_ALMOST_ALL: Final = 0.95
"""Not the slowest success: a report may come by hand, and late."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One placement."""

    made_at_s: float
    """When the decision was made; Unix seconds of the cluster's clock."""
    decided_at_s: float
    """When the outcome was known."""
    success: bool
    vector: Vector
    """Shape ``(14,)``: the features, then the enhanced score."""


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """One report; ``vector`` is ``None`` if no prediction is known for it."""

    pod_uid: str
    made_at_s: float
    decided_at_s: float
    success: bool
    vector: Vector | None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSet:
    """Rows as columns, oldest decision first."""

    X: NDArray[np.float32]
    """Shape ``(n_rows, 13)``."""
    y: NDArray[np.bool_]
    """Shape ``(n_rows,)``: whether the pod stayed healthy."""
    enhanced_ratio: NDArray[np.float64]
    """Shape ``(n_rows,)``: the enhanced score, 0–1."""
    made_at_s: NDArray[np.float64]
    decided_at_s: NDArray[np.float64]

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.y)

    @property
    def n_failures(self) -> int:
        """How many of them failed."""
        return int((~self.y).sum())

    @property
    def maturity_s(self) -> float:
        """How long after its decision a placement's outcome is known, whatever it is; in seconds.

        Failures are known at once, successes only when the time of observation is over. Among
        younger placements the known outcomes are therefore mostly failures, and whoever learns
        from those takes recent placements for doomed.
        """
        took_s = (self.decided_at_s - self.made_at_s)[self.y]
        return float(np.quantile(took_s, _ALMOST_ALL)) if len(took_s) else 0.0

    def mature_at(self, now_s: float) -> "TrainingSet":
        """Leave out the placements that are too young to be judged fairly at *now_s*."""
        n_mature = int(np.searchsorted(self.made_at_s, now_s - self.maturity_s, side="right"))
        return self._part(slice(n_mature))

    def made_since(self, since_s: float) -> "TrainingSet":
        """Leave out the placements made before an instant, Unix seconds."""
        return self._part(slice(int(np.searchsorted(self.made_at_s, since_s)), None))

    def _part(self, rows: slice) -> "TrainingSet":
        return TrainingSet(
            X=self.X[rows],
            y=self.y[rows],
            enhanced_ratio=self.enhanced_ratio[rows],
            made_at_s=self.made_at_s[rows],
            decided_at_s=self.decided_at_s[rows],
        )


def placement_vectors(placements: Sequence[Placement], *, weights: Weights) -> Matrix:
    """Describe placements by the states in which they were made.

    Returns:
        Shape ``(n_placements, 14)``: the features, then the enhanced score.
    """
    states = [placement.state for placement in placements]
    nodes = NodeColumns.of([state.node for state in states])
    cpu_milli = np.array([placement.cpu_milli for placement in placements], dtype=np.float64)
    memory_bytes = np.array([placement.memory_bytes for placement in placements], dtype=np.float64)
    vectors = np.empty((len(placements), N_FEATURES + 1), dtype=np.float32)
    vectors[:, :N_FEATURES] = feature_matrix(
        nodes,
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        cluster=ClusterColumns.of([state.cluster for state in states]),
        workload_failure_rate=np.array([state.workload.failure_rate for state in states]),
    )
    vectors[:, N_FEATURES] = enhanced_scores(
        nodes, cpu_milli=cpu_milli, memory_bytes=memory_bytes, weights=weights
    ).score
    return vectors


def placement_rows(placements: Sequence[Placement], *, weights: Weights) -> dict[str, Row]:
    """Make rows of the placements whose outcome is known, all at once.

    Returns:
        Rows by pod uid.
    """
    known = [(p, p.outcome) for p in placements if p.outcome is not None]
    vectors = placement_vectors([placement for placement, _ in known], weights=weights)
    return {
        placement.pod_uid: Row(
            made_at_s=placement.placed_at_s,
            decided_at_s=outcome.decided_at_s,
            success=outcome.success,
            vector=vector,
        )
        for (placement, outcome), vector in zip(known, vectors, strict=True)
    }


def placement_row(placement: Placement, *, weights: Weights) -> Row | None:
    """Make a row of a placement; ``None`` while its outcome is not known."""
    return placement_rows([placement], weights=weights).get(placement.pod_uid)


def training_set(
    placements: Mapping[str, Row], *, feedback: Iterable[FeedbackRow], since_s: float, max_rows: int
) -> TrainingSet:
    """Join both sources. Of a pod known to both, a failure that either knows of is a failure.

    The vector is then the collector's, which describes the placement itself: one prediction
    answers for all pods of a shape for a while, and each that is placed makes it staler. A report
    about a pod that the collector did not judge comes with its prediction's vector, or is left out.

    Args:
        placements: The collector's rows by pod uid.
        feedback: Reports.
        since_s: Older decisions are left out.
        max_rows: How many of the newest decisions to keep.
    """
    rows = dict(placements)
    unnamed = []
    for report in feedback:
        seen = rows.get(report.pod_uid) if report.pod_uid else None
        row = _joined(report, seen=seen)
        if row is None:
            continue
        if report.pod_uid:
            rows[report.pod_uid] = row
        else:
            unnamed.append(row)
    usable = [row for row in (*rows.values(), *unnamed) if row.made_at_s >= since_s]
    usable.sort(key=lambda row: row.made_at_s)
    return _columns(usable[-max_rows:])


def _joined(report: FeedbackRow, *, seen: Row | None) -> Row | None:
    # Each may know of a failure that the other cannot: the collector sees starvation and lost
    # nodes, whoever reports may know what the application's users saw.
    outcome = seen if seen is not None and report.success and not seen.success else report
    if seen is not None:
        return Row(seen.made_at_s, outcome.decided_at_s, outcome.success, seen.vector)
    if report.vector is not None:
        return Row(report.made_at_s, report.decided_at_s, report.success, report.vector)
    return None


def _columns(rows: list[Row]) -> TrainingSet:
    vectors = (
        np.stack([row.vector for row in rows])
        if rows
        else np.empty((0, N_FEATURES + 1), dtype=np.float32)
    )
    return TrainingSet(
        X=np.ascontiguousarray(vectors[:, :N_FEATURES]),
        y=np.array([row.success for row in rows], dtype=np.bool_),
        enhanced_ratio=vectors[:, N_FEATURES].astype(np.float64) / 100.0,
        made_at_s=np.array([row.made_at_s for row in rows]),
        decided_at_s=np.array([row.decided_at_s for row in rows]),
    )
