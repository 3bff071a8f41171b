"""All that the predictor answers; its OpenAPI document is made of this."""

from typing import Final

from kube.edge.openapi import Operation
from kube.edge.queries import Query
from predictor import contract


class ExplainQuery(Query, frozen=True, kw_only=True):
    """What to tell beside the prediction."""

    explain: bool = False
    """Whether to say what each feature adds to each score, and what it is about in words."""


OPERATIONS: Final = (
    Operation(
        method="post",
        path="/predict",
        summary="Rate nodes for a pod",
        body=contract.PredictRequest,
        answer=contract.PredictResponse,
        problems=(400, 409, 503),
        query=ExplainQuery,
    ),
    Operation(
        method="post",
        path="/predict/batch",
        summary="Rate nodes for many shapes of pods",
        body=contract.BatchRequest,
        answer=contract.BatchResponse,
        problems=(400, 409, 503),
    ),
    Operation(
        method="post",
        path="/feedback",
        summary="Report how a placement went",
        body=contract.Feedback,
        answer=contract.FeedbackAnswer,
        problems=(400, 404, 503),
    ),
    Operation(
        path="/model/info",
        summary="The model in service, beside its baselines",
        answer=contract.ModelInfo,
    ),
    Operation(
        path="/model/versions",
        summary="All models that are kept",
        answer=contract.ModelVersions,
    ),
    Operation(
        method="post",
        path="/model/retrain",
        summary="Start a training",
        body=contract.RetrainRequest,
        is_body_required=False,
        answer=contract.RetrainAnswer,
        status=202,
        problems=(400, 409),
    ),
    Operation(
        method="post",
        path="/model/rollback",
        summary="Put an earlier model in service",
        body=contract.RollbackRequest,
        is_body_required=False,
        answer=contract.ModelInfo,
        problems=(400, 404, 409),
    ),
    Operation(
        path="/performance",
        summary="Predictions and outcomes by day",
        answer=contract.Performance,
    ),
    Operation(path="/health", summary="How it fares", answer=contract.Health),
)
