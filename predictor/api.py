"""The predictor over HTTP."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from flask import Flask, Response, request
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from kube.edge import problems
from kube.edge.logs import facts
from kube.edge.openapi import install_openapi
from kube.edge.problems import ProblemError, decode_body
from kube.edge.queries import read_query
from kube.edge.serve import JSON, install_health, install_timing
from predictor.contract import (
    Answer,
    BatchRequest,
    Feedback,
    Health,
    ModelInfo,
    ModelVersions,
    Performance,
    PredictRequest,
    RetrainAnswer,
    RetrainRequest,
    RollbackRequest,
)
from predictor.features import FEATURES
from predictor.feedback import FeedbackStore
from predictor.history import LearningHistory
from predictor.learning import Learner
from predictor.metrics import Metrics
from predictor.openapi import OPERATIONS, ExplainQuery
from predictor.predictions import Predictions, algorithm
from predictor.registry import Registry, UnknownVersionError, UnusableModelError
from predictor.reports import Reports
from predictor.snapshots import Snapshots

_FLUSH_TIMEOUT_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the endpoints speak for."""

    predictions: Predictions
    reports: Reports
    learner: Learner
    registry: Registry
    store: FeedbackStore
    history: LearningHistory
    snapshots: Snapshots
    metrics: Metrics
    not_ready: Callable[[], str]
    """Says why nothing can be predicted yet; an empty text when it can."""


def create_app(parts: Parts, *, max_body_bytes: int) -> Flask:
    """Make the application.

    Args:
        parts: What it speaks for.
        max_body_bytes: Larger requests are refused.
    """
    app = Flask("predictor", static_folder=None)
    registry = parts.metrics.registry
    paths = [operation.path for operation in OPERATIONS]
    install_timing(app, duration=parts.metrics.request_duration, paths=paths)
    problems.install(app, max_body_bytes=max_body_bytes)
    install_health(app, registry=registry, not_ready=parts.not_ready)
    install_openapi(app, title="predictor", operations=OPERATIONS)
    _install_predictions(app, parts=parts)
    _install_models(app, parts=parts)
    _install_performance(app, parts=parts)

    @app.errorhandler(SQLAlchemyError)
    def on_database(error: SQLAlchemyError) -> Response:
        reason = str(error.orig if isinstance(error, DBAPIError) else error)
        log.error("database failed", extra=facts(path=request.path, reason=reason))
        return problems.answer(
            problems.ProblemDetails(title="Cannot store", status=503, detail=reason)
        )

    return app


def _install_predictions(app: Flask, *, parts: Parts) -> None:
    @app.post("/predict")
    def predict() -> Response:
        query = read_query(request.args, ExplainQuery)
        asked = decode_body(request, PredictRequest)
        return _json(parts.predictions.predict(asked, explain=query.explain))

    @app.post("/predict/batch")
    def predict_batch() -> Response:
        asked = decode_body(request, BatchRequest)
        return _json(parts.predictions.predict_batch(asked))

    @app.post("/feedback")
    def feedback() -> Response:
        try:
            return _json(parts.reports.take(decode_body(request, Feedback)))
        except ProblemError:
            parts.metrics.feedback.labels("rejected").inc()
            raise


def _install_models(app: Flask, *, parts: Parts) -> None:
    registry, learner = parts.registry, parts.learner

    @app.get("/model/info")
    def info() -> Response:
        return _json(model_info(registry, learner=learner))

    @app.get("/model/versions")
    def versions() -> Response:
        model = registry.model
        return _json(
            ModelVersions(
                active=0 if model is None else model.version,
                versions=[record.about for record in registry.versions()],
            )
        )

    @app.post("/model/retrain")
    def retrain() -> Response:
        if request.get_data():
            decode_body(request, RetrainRequest)
        if not learner.train("request"):
            raise ProblemError(409, "Training under way", detail="ask again when it has ended")
        return _json(RetrainAnswer(), status=202)

    @app.post("/model/rollback")
    def rollback() -> Response:
        asked = RollbackRequest()
        if request.get_data():
            asked = decode_body(request, RollbackRequest)
        _roll_back(registry, version=asked.version)
        return _json(model_info(registry, learner=learner))


def _install_performance(app: Flask, *, parts: Parts) -> None:
    @app.get("/performance")
    def performance() -> Response:
        parts.store.flush(timeout_s=_FLUSH_TIMEOUT_S)
        history = parts.history
        return _json(
            Performance(
                days=parts.store.performance(),
                drifts=list(history.drifts().values()),
                trainings=list(history.trainings().values()),
            )
        )

    @app.get("/health")
    def health() -> Response:
        parts.store.flush(timeout_s=_FLUSH_TIMEOUT_S)
        days = parts.store.performance()
        n_feedback = sum(day.n_feedback for day in days)
        n_successes = sum(day.n_successes for day in days)
        model = parts.registry.model
        return _json(
            Health(
                status="degraded" if parts.not_ready() else "healthy",
                accuracy=n_successes / n_feedback if n_feedback else None,
                total_predictions=sum(day.n_predictions for day in days),
                successful_predictions=n_successes,
                collector_reachable=parts.snapshots.is_reachable,
                snapshot_age_s=parts.snapshots.age_s,
                algorithm=algorithm(model),
                model_version=0 if model is None else model.version,
            )
        )


def model_info(registry: Registry, *, learner: Learner) -> ModelInfo:
    """Describe the model in service, or, without one, the newest candidate."""
    active = registry.record
    newest = next(iter(registry.versions()), None)
    shown = registry.shown
    about = None if shown is None else shown.about
    last = learner.last_training
    if newest is not None:
        why_not, why_not_in_service = newest.about.why_not_trusted, newest.about.why_not_in_service
    else:
        why_not = "no model has been trained yet" if last is None else last.detail
        why_not_in_service = ""
    return ModelInfo(
        type="random_forest",
        algorithm=algorithm(registry.model),
        version=0 if active is None else active.about.version,
        features=list(FEATURES),
        importances={} if about is None else about.importances,
        rows=0 if about is None else about.n_rows,
        base_rate=None if about is None else about.base_rate,
        trained_at_s=None if about is None else about.trained_at_s,
        scores=None if about is None else about.validation,
        is_trusted=active is not None,
        why_not_trusted=why_not,
        why_not_in_service=why_not or why_not_in_service,
        is_training=learner.is_training,
        last_training=last,
    )


def _roll_back(registry: Registry, *, version: int | None) -> None:
    try:
        if version is None:
            registry.roll_back()
        else:
            registry.activate(version)
    except UnknownVersionError as error:
        raise ProblemError(404, "Unknown version", detail=str(error), field="version") from error
    except UnusableModelError as error:
        raise ProblemError(409, "Cannot roll back", detail=str(error), field="version") from error


def _json(answer: Answer, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(answer), status=status, mimetype=JSON)
