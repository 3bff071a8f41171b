"""What the predictor promises to those who ask it.

Requests with unknown fields are refused, except inside ``pod_spec``, which may be any Kubernetes
pod spec.
"""

from typing import Annotated, Any, Literal

import msgspec

Algorithm = Literal["ml_prediction", "enhanced_scoring"]
TrainingResult = Literal["activated", "not_better", "not_trusted", "skipped", "failed"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Workload = Annotated[str, msgspec.Meta(max_length=1024)]
"""``namespace/kind/name``, if a pod belongs to one."""
Quantities = dict[
    str, Annotated[Any, msgspec.Meta(extra_json_schema={"type": ["string", "number"]})]
]
"""Amounts by resource. Of any type here, so that a refusal can name the resource."""
Amount = Annotated[int, msgspec.Meta(ge=0)]
Ratio = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]

MAX_NODES = 20_000
MAX_SHAPES = 500


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request body of ours."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """An answer body; clients ignore fields they do not know."""


class ContainerResources(msgspec.Struct, frozen=True):
    """Requests and limits as quantities; the only part of a container that matters here."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class PodContainer(msgspec.Struct, frozen=True, rename="camel"):
    """A container of a pod spec."""

    name: str = ""
    resources: ContainerResources | None = None
    restart_policy: str | None = None


class PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    """A Kubernetes pod spec; other fields are ignored."""

    containers: Annotated[list[PodContainer], msgspec.Meta(min_length=1, max_length=1000)]
    init_containers: Annotated[list[PodContainer], msgspec.Meta(max_length=1000)] | None = None
    resources: ContainerResources | None = None
    overhead: Quantities | None = None


class PredictRequest(Request, frozen=True, kw_only=True):
    """``POST /predict``."""

    pod_name: Name
    pod_namespace: Name = "default"
    pod_spec: PodSpec
    workload: Workload = ""
    candidate_nodes: Annotated[list[Name], msgspec.Meta(max_length=MAX_NODES)] | None = None
    """All ready nodes when absent."""


class PodRequirements(Answer, frozen=True, kw_only=True):
    """What the pod asks for: cores and MiB."""

    cpu_request: float
    memory_request: float


class ClusterSummary(Answer, frozen=True, kw_only=True):
    """The cluster in percent."""

    avg_cpu_usage: float
    avg_memory_usage: float
    health_score: float
    resource_pressure: float


class AiFeatures(Answer, frozen=True, kw_only=True):
    """What the prediction rests on."""

    pod_requirements: PodRequirements
    cluster_state: ClusterSummary


class NodePrediction(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """One node's rating."""

    node_name: str
    resource_score: float
    readiness_score: float
    stability_score: float
    ml_confidence: float | None
    """p(success) by the forest; ``null`` without a trusted model."""
    score: int
    """0–100."""
    contributions: dict[str, float] | None = None
    """With ``?explain=true``: what each feature adds to the score; sums up to it."""
    summary: str | None = None
    """With ``?explain=true``: how the node would fare and has fared, in plain words."""


class PredictResponse(Answer, frozen=True, kw_only=True):
    """The answer of ``POST /predict``; nodes are sorted best first."""

    prediction_id: str
    predicted_node: str
    confidence: float
    algorithm: Algorithm
    model_version: int
    """0: no model."""
    ai_features: AiFeatures
    node_predictions: list[NodePrediction]


class Shape(Request, frozen=True, kw_only=True):
    """Pods that need the same and belong to the same workload: one question."""

    cpu_milli: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    memory_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    pod_namespace: Name = "default"
    workload: Workload = ""


class BatchRequest(Request, frozen=True, kw_only=True):
    """``POST /predict/batch``: every shape on every node."""

    shapes: Annotated[list[Shape], msgspec.Meta(min_length=1, max_length=MAX_SHAPES)]
    candidate_nodes: Annotated[list[Name], msgspec.Meta(max_length=MAX_NODES)] | None = None
    """All ready nodes when absent."""


class ShapePrediction(Answer, frozen=True, kw_only=True):
    """One shape's rating; lists are aligned with ``BatchResponse.nodes``."""

    prediction_id: str
    scores: list[int]
    """0–100."""
    p_success: list[float] | None
    """``null`` without a trusted model."""
    load_scores: list[int] | None = None
    """0–100: how little a node is loaded, of which a probability does not tell as long as it has
    enough of all; ``null`` without a trusted model, when ``scores`` weigh the load."""
    usual_cpu_milli: Amount | None = None
    """Mean usage of a running replica of the workload, by which to count what is placed until the
    next answer; ``null``: never sampled."""
    usual_memory_bytes: Amount | None = None


class BatchResponse(Answer, frozen=True, kw_only=True):
    """The answer of ``POST /predict/batch``."""

    algorithm: Algorithm
    model_version: int
    snapshot_version: int
    snapshot_at_s: float
    nodes: list[str]
    predictions: list[ShapePrediction]
    """Aligned with the shapes asked."""


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """``POST /feedback``: how a placement went.

    Unlike the other requests it may carry more than is read, as the original service's did.
    ``prediction_result`` is the ``PredictResponse`` as the original service took it back; only its
    ``prediction_id`` is read.
    """

    actual_node: Name
    success: bool
    pod_status: Annotated[str, msgspec.Meta(max_length=64)] = ""
    prediction_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    prediction_result: dict[str, msgspec.Raw] | None = None
    pod_uid: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """One outcome per pod: a second feedback for it replaces the first."""
    pod_namespace: Annotated[str, msgspec.Meta(max_length=253)] = ""
    pod_name: Annotated[str, msgspec.Meta(max_length=253)] = ""
    reason: Annotated[str, msgspec.Meta(max_length=256)] = ""
    """A word of ``collector.contract.OutcomeReason``, or the reporter's own."""
    observed_at_s: float | None = None
    """Unix seconds of the cluster's clock; the newest snapshot's time if absent."""


class FeedbackAnswer(Answer, frozen=True, kw_only=True):
    """What became of it."""

    accepted: bool
    n_feedback: int
    """Feedback since the model in service was trained."""
    retraining: bool
    """Whether this one started a retraining."""


class RollbackRequest(Request, frozen=True, kw_only=True):
    """``POST /model/rollback``; the trusted version before the active one if absent."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None


class RetrainRequest(Request, frozen=True, kw_only=True):
    """``POST /model/retrain``; the body may be left out."""


class RetrainAnswer(Answer, frozen=True, kw_only=True):
    """A retraining has begun."""

    status: Literal["started"] = "started"


class Quality(Answer, frozen=True, kw_only=True):
    """How well an estimator told success from failure on rows later than those it learnt from."""

    roc_auc: float | None
    """``null`` if the rows held one outcome only."""
    brier: float
    """Mean squared error of p(success); lower is better."""
    expected_calibration_error: float


class SliceQuality(Answer, frozen=True, kw_only=True):
    """A model beside its baselines on some rows, none of which they had learnt from."""

    n_rows: int
    n_failures: int
    success_rate: float
    """Share of successes among these rows."""
    model: Quality
    base_rate: Quality
    enhanced_scoring: Quality


class Validation(Answer, frozen=True, kw_only=True):
    """A model beside its baselines, all on the same rows, none of which they had learnt from."""

    n_rows: int
    n_failures: int
    n_folds: int
    outcomes_known_in_time: bool
    """Whether every fold learnt only from outcomes known when its first row was decided."""
    model: Quality
    base_rate: Quality
    """Answers the share of successes seen so far, whatever the node."""
    enhanced_scoring: Quality
    gain: float
    """How much smaller the model's Brier score is than the base rate's."""
    gain_standard_error: float
    """How much of the gain may be chance: its standard error over the rows."""
    newest: SliceQuality | None = None
    """The same on the newest slice of these rows alone; ``null`` in records of earlier releases."""


class Challenge(Answer, frozen=True, kw_only=True):
    """A candidate beside the model then in service, on the newest rows that neither had seen."""

    champion: int
    """The version then in service."""
    n_rows: int
    n_failures: int
    brier: float
    """Of the candidate, fitted on what was known before the first of these rows."""
    champion_brier: float
    gain: float
    """How much smaller the candidate's Brier score is."""
    gain_standard_error: float


class ModelVersion(Answer, frozen=True, kw_only=True):
    """A trained model."""

    version: int
    trained_at_s: float
    """Unix seconds of the cluster's clock."""
    n_rows: int
    n_failures: int
    base_rate: float
    """Share of successes among the rows."""
    is_trusted: bool
    why_not_trusted: str
    """Empty if it is."""
    validation: Validation | None
    """``null`` if the rows were too few to validate on."""
    importances: dict[str, float]
    hyperparameters: dict[str, int]
    challenge: Challenge | None = None
    """``null`` if no other model was in service, or too few rows were new to both."""
    why_not_in_service: str = ""
    """Why it did not replace the one in service, although it is trusted; else empty."""


class ModelVersions(Answer, frozen=True, kw_only=True):
    """``GET /model/versions``, newest first."""

    active: int
    """0: no model is in service."""
    versions: list[ModelVersion]


class TrainingReport(Answer, frozen=True, kw_only=True):
    """How the last attempt to train ended."""

    at_s: float
    trigger: str
    result: TrainingResult
    detail: str


class ModelInfo(Answer, frozen=True, kw_only=True):
    """``GET /model/info``."""

    type: Literal["random_forest"]
    algorithm: Algorithm
    version: int
    """0: no model is in service."""
    features: list[str]
    importances: dict[str, float]
    rows: int
    base_rate: float | None
    trained_at_s: float | None
    scores: Validation | None
    is_trusted: bool
    why_not_trusted: str
    """Of the newest candidate, or why there is none; empty if that is trusted."""
    why_not_in_service: str
    """Why the newest candidate does not replace the model in service; empty if it is that."""
    is_training: bool
    last_training: TrainingReport | None


class DailyPerformance(Answer, frozen=True, kw_only=True):
    """A day (UTC) of the cluster's clock."""

    day: str
    """``2026-01-31``."""
    n_predictions: int
    n_feedback: int
    n_successes: int
    success_rate: float | None
    """``null`` without feedback."""
    brier: float | None
    """Of the model's p(success); ``null`` without feedback on a prediction by a model."""


class DriftReport(Answer, frozen=True, kw_only=True):
    """The errors of the model in service grew beyond chance; times by the cluster's clock."""

    at_s: float
    """When it was noticed."""
    since_s: float
    """When the first prediction was made of which that is true."""
    model_version: int
    brier_before: float
    brier_after: float


class Performance(Answer, frozen=True, kw_only=True):
    """``GET /performance``, oldest first."""

    days: list[DailyPerformance]
    drifts: list[DriftReport]
    """The newest two hundred."""
    trainings: list[TrainingReport]
    """Likewise; those that ended."""


class Health(Answer, frozen=True, kw_only=True):
    """``GET /health``."""

    status: Literal["healthy", "degraded"]
    accuracy: float | None
    """Share of reported placements that stayed healthy; ``null`` before the first report."""
    total_predictions: int
    successful_predictions: int
    collector_reachable: bool
    snapshot_age_s: float | None
    algorithm: Algorithm
    model_version: int
