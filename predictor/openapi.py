"""The OpenAPI document, made from the contract itself."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kube.edge.problems import ProblemDetails
from predictor import contract

_REF: Final = "#/components/schemas/{name}"
_PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    answer: type | None = None
    """``None``: plain text."""
    body: type | None = None
    is_body_required: bool = True
    status: int = 200
    problems: tuple[int, ...] = ()
    has_explain: bool = False


OPERATIONS: Final = (
    Operation(
        method="post",
        path="/predict",
        summary="Rate nodes for a pod",
        body=contract.PredictRequest,
        answer=contract.PredictResponse,
        problems=(400, 409, 413, 422, 503),
        has_explain=True,
    ),
    Operation(
        method="post",
        path="/predict/batch",
        summary="Rate nodes for many shapes of pods",
        body=contract.BatchRequest,
        answer=contract.BatchResponse,
        problems=(400, 409, 413, 422, 503),
    ),
    Operation(
        method="post",
        path="/feedback",
        summary="Report how a placement went",
        body=contract.Feedback,
        answer=contract.FeedbackAnswer,
        problems=(400, 404, 413, 422, 503),
    ),
    Operation(
        method="get",
        path="/model/info",
        summary="The model in service, beside its baselines",
        answer=contract.ModelInfo,
    ),
    Operation(
        method="get",
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
        problems=(400, 409, 413, 422),
    ),
    Operation(
        method="post",
        path="/model/rollback",
        summary="Put an earlier model in service",
        body=contract.RollbackRequest,
        is_body_required=False,
        answer=contract.ModelInfo,
        problems=(400, 404, 409, 413, 422),
    ),
    Operation(
        method="get",
        path="/performance",
        summary="Predictions and outcomes by day",
        answer=contract.Performance,
    ),
    Operation(method="get", path="/health", summary="How it fares", answer=contract.Health),
    Operation(method="get", path="/healthz", summary="Alive"),
    Operation(method="get", path="/readyz", summary="Able to predict", problems=(503,)),
    Operation(method="get", path="/metrics", summary="Prometheus metrics"),
)


def document(version: str) -> dict[str, Any]:
    """Describe the predictor's HTTP interface in OpenAPI 3.1."""
    types = [t for o in OPERATIONS for t in (o.body, o.answer) if t is not None]
    unique = list(dict.fromkeys([*types, ProblemDetails]))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    by_type = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        described = _describe(operation, by_type=by_type)
        paths.setdefault(operation.path, {})[operation.method] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Predictor",
            "version": version,
            "description": (contract.__doc__ or "").partition("\n")[0],
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _describe(operation: Operation, *, by_type: dict[type, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{operation.path.replace('/', '_')}",
        "responses": {str(operation.status): _answer(operation, by_type=by_type)},
    }
    for status in operation.problems:
        described["responses"][str(status)] = {
            "description": "A problem document (RFC 9457)",
            "content": {_PROBLEM: {"schema": by_type[ProblemDetails]}},
        }
    if operation.path == "/readyz":
        described["responses"]["503"] = {
            "description": "Why it cannot predict yet",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.is_body_required,
            "content": {"application/json": {"schema": by_type[operation.body]}},
        }
    if operation.has_explain:
        described["parameters"] = [
            {
                "name": "explain",
                "in": "query",
                "description": "Whether to say what each feature adds to each score",
                "schema": {"type": "boolean", "default": False},
            }
        ]
    return described


def _answer(operation: Operation, *, by_type: dict[type, dict[str, Any]]) -> dict[str, Any]:
    if operation.answer is None:
        content = {"text/plain": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": by_type[operation.answer]}}
    return {"description": operation.summary, "content": content}
