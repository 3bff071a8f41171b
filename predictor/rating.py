"""Rating every node for a pod: by the model if there is one, else by enhanced scoring. Pure."""

from dataclasses import dataclass
from itertools import repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.contract import ClusterState
from predictor.calibration import Calibration
from predictor.contract import NodePrediction
from predictor.features import FEATURES, ClusterColumns, NodeColumns, feature_matrix
from predictor.forest import PackedForest
from predictor.scoring import PARTS, EnhancedScores, Weights, enhanced_scores, load_scores

BIAS: Final = "bias"
"""The part of a score that is due to no feature: what the model answers before it looks."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Model:
    """A trained model that may answer."""

    version: int
    forest: PackedForest
    calibration: Calibration

    def predict_p_success(self, matrix: NDArray[np.float32]) -> Floats:
        """Estimate p(success), calibrated; *matrix* has shape ``(n_rows, 13)``."""
        return self.calibration.apply(self.forest.predict_p_success(matrix))

    def explain(self, matrix: NDArray[np.float32]) -> list[dict[str, float]]:
        """Say what each feature adds to 100 · p(success); each row's values sum up to it."""
        bias, added = self.forest.explain(matrix)
        share = bias + added.sum(axis=1)
        start, end = self.calibration.apply(np.array([bias])), self.calibration.apply(share)
        # Calibration bends the scale; each feature keeps its part of the whole way.
        way = share - bias
        has_moved = np.abs(way) > 1e-12
        stretch = np.divide(end - start, way, out=np.zeros_like(way), where=has_moved)
        points = 100.0 * added * stretch[:, np.newaxis]
        return [
            {BIAS: float(100.0 * start[0]), **dict(zip(FEATURES, row.tolist(), strict=True))}
            for row in points
        ]


@dataclass(frozen=True, slots=True)
class Rating:
    """Nodes rated for one shape of pod."""

    nodes: NodeColumns
    matrix: NDArray[np.float32]
    """Shape ``(n_nodes, 13)``."""
    enhanced: EnhancedScores
    p_success: Floats | None
    """Shape ``(n_nodes,)``; ``None`` without a model."""
    load: Floats
    """Shape ``(n_nodes,)``, 0–100: how little the node is loaded, once the pod runs there."""

    @property
    def value(self) -> Floats:
        """What nodes are compared by, 0–1."""
        return self.enhanced.score / 100.0 if self.p_success is None else self.p_success

    @property
    def scores(self) -> NDArray[np.int64]:
        """Shape ``(n_nodes,)``, 0–100."""
        return np.rint(100.0 * self.value).astype(np.int64)

    def best_first(self) -> NDArray[np.intp]:
        """Order positions: ready nodes first, then by value, resource score and name."""
        # The last key is the first that counts.
        return np.lexsort(
            (
                np.array(self.nodes.names),
                -self.enhanced.resource_score,
                -self.value,
                ~self.nodes.is_ready,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodShape:
    """What a pod asks for, and what is known of its workload."""

    cpu_milli: int
    memory_bytes: int
    workload_failure_rate: float
    usual_cpu_milli: int | None = None
    """What a replica usually uses, if that is known; so is the next."""
    usual_memory_bytes: int | None = None

    @property
    def expected(self) -> tuple[int, int]:
        """What the pod will use, millicores and bytes: its workload's usual, else its request."""
        if self.usual_cpu_milli is None or self.usual_memory_bytes is None:
            return self.cpu_milli, self.memory_bytes
        return self.usual_cpu_milli, self.usual_memory_bytes


def rate(
    shapes: list[PodShape],
    *,
    nodes: NodeColumns,
    cluster: ClusterState,
    weights: Weights,
    model: Model | None,
) -> list[Rating]:
    """Rate all nodes for all shapes; the model is asked once."""
    columns = ClusterColumns.of([cluster])
    matrices = [
        feature_matrix(
            nodes,
            cpu_milli=shape.cpu_milli,
            memory_bytes=shape.memory_bytes,
            cluster=columns,
            workload_failure_rate=shape.workload_failure_rate,
        )
        for shape in shapes
    ]
    p_success: list[Floats] | list[None] = [None] * len(shapes)
    if model is not None:
        p_success = np.split(model.predict_p_success(np.concatenate(matrices)), len(shapes))
    return [
        Rating(
            nodes=nodes,
            matrix=matrix,
            enhanced=enhanced_scores(
                nodes, cpu_milli=shape.cpu_milli, memory_bytes=shape.memory_bytes, weights=weights
            ),
            p_success=p,
            load=load_scores(nodes, cpu_milli=shape.expected[0], memory_bytes=shape.expected[1]),
        )
        for shape, matrix, p in zip(shapes, matrices, p_success, strict=True)
    ]


def node_predictions(
    rating: Rating, *, order: NDArray[np.intp], model: Model | None, explain: bool
) -> list[NodePrediction]:
    """Write a rating down, nodes in the given order."""
    enhanced, p_success = rating.enhanced, rating.p_success
    columns = zip(
        (rating.nodes.names[i] for i in order),
        enhanced.resource_score[order].tolist(),
        enhanced.readiness_score[order].tolist(),
        enhanced.stability_score[order].tolist(),
        repeat(None) if p_success is None else p_success[order].tolist(),
        rating.scores[order].tolist(),
        _contributions(rating, order=order, model=model) if explain else repeat(None),
        strict=False,
    )
    return [
        NodePrediction(
            node_name=name,
            resource_score=resource,
            readiness_score=readiness,
            stability_score=stability,
            ml_confidence=p,
            score=score,
            contributions=contributions,
        )
        for name, resource, readiness, stability, p, score, contributions in columns
    ]


def _contributions(
    rating: Rating, *, order: NDArray[np.intp], model: Model | None
) -> list[dict[str, float]]:
    if model is not None:
        return model.explain(rating.matrix[order])
    rows = rating.enhanced.contributions[order].tolist()
    return [dict(zip(PARTS, row, strict=True)) for row in rows]
