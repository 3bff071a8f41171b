"""Answering predictions: the newest state of the cluster, the model in service, nodes rated."""

import uuid
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.edge.problems import ProblemError
from predictor.contract import (
    AiFeatures,
    Algorithm,
    BatchRequest,
    BatchResponse,
    ClusterSummary,
    NodePrediction,
    PodRequirements,
    PredictRequest,
    PredictResponse,
    ShapePrediction,
)
from predictor.features import MIB, ClusterColumns
from predictor.feedback import FeedbackStore, StoredPrediction
from predictor.metrics import Metrics
from predictor.rating import Model, PodShape, Rating, node_predictions, rate
from predictor.registry import Registry
from predictor.requirements import pod_requests
from predictor.scoring import Weights
from predictor.snapshots import ClusterView, NoSnapshotError, Snapshots
from predictor.summary import summaries

_NO_READY_NODE = "No ready node"
_NONE_READY = "none of the nodes is ready and schedulable now"
_P_DECIMALS = 6
"""More digits of a probability would only make a large answer larger."""


def algorithm(model: Model | None) -> Algorithm:
    """Name the way in which nodes are rated."""
    return "enhanced_scoring" if model is None else "ml_prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Answers ``/predict`` and ``/predict/batch``."""

    snapshots: Snapshots
    registry: Registry
    store: FeedbackStore
    weights: Weights
    metrics: Metrics

    def predict(self, request: PredictRequest, *, explain: bool) -> PredictResponse:
        """Rate nodes for one pod and remember it for feedback.

        Raises:
            ProblemError: The request names what is not there, there is no ready node, or nothing
                is known of the cluster.
        """
        cpu_milli, memory_bytes = pod_requests(request.pod_spec)
        view = self._view()
        if request.candidate_nodes is None:
            index = _ready(view)
        else:
            index = _named(request.candidate_nodes, view=view)
        if not view.nodes.is_ready[index].any():
            raise ProblemError(409, _NO_READY_NODE, detail=_NONE_READY)
        model = self.registry.model
        shape = pod_shape(
            request.workload, cpu_milli=cpu_milli, memory_bytes=memory_bytes, view=view
        )
        [rating] = self._rate([shape], view=view, index=index, model=model)
        order = rating.best_first()
        nodes = node_predictions(rating, order=order, model=model, explain=explain)
        if explain:
            nodes = _summarized(nodes, view=view, shape=shape)
        stored = _stored(rating, made_at_s=view.snapshot.at_s)
        self._remember([stored], model=model)
        return PredictResponse(
            prediction_id=stored.id,
            predicted_node=nodes[0].node_name,
            confidence=float(rating.value[order[0]]),
            algorithm=algorithm(model),
            model_version=0 if model is None else model.version,
            ai_features=AiFeatures(
                pod_requirements=PodRequirements(
                    cpu_request=cpu_milli / 1000, memory_request=memory_bytes / MIB
                ),
                cluster_state=_summary(view),
            ),
            node_predictions=nodes,
        )

    def predict_batch(self, request: BatchRequest) -> BatchResponse:
        """Rate nodes for many shapes of pods and remember it for feedback.

        A scheduler may know a node some seconds before the collector does: such nodes are left
        out of the answer, which names the nodes that it rates.

        Raises:
            ProblemError: None of the nodes is known or ready, or nothing is known of the cluster.
        """
        view = self._view()
        index = _ready(view)
        if request.candidate_nodes is not None:
            index = _known(request.candidate_nodes, view=view)
        if not len(index):
            raise ProblemError(409, _NO_READY_NODE, detail=_NONE_READY)
        model = self.registry.model
        ratings = self._rate(
            [
                pod_shape(
                    shape.workload,
                    cpu_milli=shape.cpu_milli,
                    memory_bytes=shape.memory_bytes,
                    view=view,
                )
                for shape in request.shapes
            ],
            view=view,
            index=index,
            model=model,
        )
        stored = [_stored(rating, made_at_s=view.snapshot.at_s) for rating in ratings]
        self._remember(stored, model=model)
        return BatchResponse(
            algorithm=algorithm(model),
            model_version=0 if model is None else model.version,
            snapshot_version=view.snapshot.version,
            snapshot_at_s=view.snapshot.at_s,
            nodes=list(ratings[0].nodes.names),
            predictions=[
                shape_prediction(
                    rating, workload=shape.workload, prediction_id=prediction.id, view=view
                )
                for shape, rating, prediction in zip(request.shapes, ratings, stored, strict=True)
            ],
        )

    def _view(self) -> ClusterView:
        try:
            return self.snapshots.current()
        except NoSnapshotError as error:
            raise ProblemError(503, "State of the cluster unknown", detail=str(error)) from error

    def _rate(
        self,
        shapes: list[PodShape],
        *,
        view: ClusterView,
        index: NDArray[np.intp],
        model: Model | None,
    ) -> list[Rating]:
        return rate(
            shapes,
            nodes=view.nodes.take(index),
            cluster=view.snapshot.cluster,
            weights=self.weights,
            model=model,
        )

    def _remember(self, stored: list[StoredPrediction], *, model: Model | None) -> None:
        self.store.add_predictions(stored)
        self.metrics.predictions.labels(algorithm(model)).inc(len(stored))


def shape_prediction(
    rating: Rating, *, workload: str, prediction_id: str, view: ClusterView
) -> ShapePrediction:
    """Write down how nodes were rated for one shape of a workload's pods."""
    seen = view.workloads.get(workload)
    p_success = rating.p_success
    return ShapePrediction(
        prediction_id=prediction_id,
        scores=rating.scores.tolist(),
        p_success=None if p_success is None else p_success.round(_P_DECIMALS).tolist(),
        load_scores=None if p_success is None else np.rint(rating.load).astype(np.int64).tolist(),
        usual_cpu_milli=None if seen is None else seen.usual_cpu_milli,
        usual_memory_bytes=None if seen is None else seen.usual_memory_bytes,
    )


def pod_shape(workload: str, *, cpu_milli: int, memory_bytes: int, view: ClusterView) -> PodShape:
    """Put together what is known of a workload's pods that ask for so much."""
    seen = view.workloads.get(workload)
    return PodShape(
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        workload_failure_rate=view.failure_rate(workload),
        usual_cpu_milli=None if seen is None else seen.usual_cpu_milli,
        usual_memory_bytes=None if seen is None else seen.usual_memory_bytes,
    )


def _ready(view: ClusterView) -> NDArray[np.intp]:
    return np.flatnonzero(view.nodes.is_ready & view.nodes.is_schedulable)


def _named(candidates: list[str], *, view: ClusterView) -> NDArray[np.intp]:
    if not candidates:
        raise ProblemError(
            422,
            "Invalid request",
            detail="name at least one node, or leave the field out for all ready nodes",
            field="candidate_nodes",
        )
    for i, name in enumerate(candidates):
        if name not in view.position:
            raise ProblemError(
                422,
                "Unknown node",
                detail=f"the cluster has no node {name!r}",
                field=f"candidate_nodes[{i}]",
            )
    return np.array([view.position[name] for name in dict.fromkeys(candidates)], dtype=np.intp)


def _known(candidates: list[str], *, view: ClusterView) -> NDArray[np.intp]:
    known = [name for name in candidates if name in view.position]
    if not known:
        return _named(candidates, view=view)
    return _named(known, view=view)


def _summarized(
    nodes: list[NodePrediction], *, view: ClusterView, shape: PodShape
) -> list[NodePrediction]:
    states = [view.snapshot.nodes[view.position[node.node_name]] for node in nodes]
    said = summaries(states, cpu_milli=shape.cpu_milli, memory_bytes=shape.memory_bytes)
    return [
        msgspec.structs.replace(node, summary=summary)
        for node, summary in zip(nodes, said, strict=True)
    ]


def _stored(rating: Rating, *, made_at_s: float) -> StoredPrediction:
    score = rating.enhanced.score.astype(np.float32)
    p_success = rating.p_success
    return StoredPrediction(
        id=uuid.uuid4().hex,
        made_at_s=made_at_s,
        nodes=rating.nodes.names,
        vectors=np.column_stack([rating.matrix, score]),
        p_success=None if p_success is None else p_success.astype(np.float32),
    )


def _summary(view: ClusterView) -> ClusterSummary:
    cluster = view.snapshot.cluster
    columns = ClusterColumns.of([cluster])
    ready = cluster.n_ready / cluster.n_nodes if cluster.n_nodes else 0.0
    return ClusterSummary(
        avg_cpu_usage=100.0 * float(columns.cpu_ratio[0]),
        avg_memory_usage=100.0 * float(columns.memory_ratio[0]),
        health_score=100.0 * ready,
        resource_pressure=100.0 * float(columns.pressure[0]),
    )
