"""The OpenAPI document, made from the very types that requests and answers are made of."""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from collector import answers, contract
from collector.queries import HistoryQuery, NoQuery, PlacementsQuery, PodsQuery, Query
from kube.edge.problems import ProblemDetails

_REF: Final = "#/components/schemas/{name}"
_PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One GET."""

    path: str
    summary: str
    answer: type | None = None
    """``None``: plain text, or this document."""
    query: type[Query] = NoQuery
    problems: tuple[int, ...] = ()
    has_etag: bool = False


OPERATIONS: Final = (
    Operation(
        path="/api/v1/metrics",
        summary="Usage of all nodes now",
        answer=answers.Metrics,
        problems=(422, 503),
    ),
    Operation(path="/api/v1/nodes", summary="All nodes", answer=answers.Nodes, problems=(422, 503)),
    Operation(
        path="/api/v1/nodes/{name}/history",
        summary="A node's usage in the past",
        answer=answers.NodeHistory,
        query=HistoryQuery,
        problems=(404, 422, 503),
    ),
    Operation(
        path="/api/v1/pods",
        summary="All pods, or some",
        answer=answers.Pods,
        query=PodsQuery,
        problems=(422, 503),
    ),
    Operation(
        path="/api/v1/workloads/{namespace}/{kind}/{name}",
        summary="What the last seven days say of a workload",
        answer=contract.WorkloadHistory,
        problems=(404, 422, 503),
    ),
    Operation(
        path="/api/v1/snapshot",
        summary="All that a prediction needs",
        answer=contract.Snapshot,
        problems=(422, 503),
        has_etag=True,
    ),
    Operation(
        path="/api/v1/placements",
        summary="Placements, the state they met, and their outcome once it is known",
        answer=contract.Placements,
        query=PlacementsQuery,
        problems=(422, 503),
    ),
    Operation(path="/health", summary="How the collector fares", answer=answers.Health),
    Operation(path="/healthz", summary="Alive"),
    Operation(path="/readyz", summary="Has listed the cluster once"),
    Operation(path="/metrics", summary="Prometheus metrics"),
    Operation(path="/openapi.json", summary="This document"),
)


def document(version: str) -> dict[str, Any]:
    """Describe the collector's HTTP interface in OpenAPI 3.1."""
    types = [*(o.answer for o in OPERATIONS if o.answer is not None), ProblemDetails]
    unique = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    by_type = dict(zip(unique, schemas, strict=True))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Collector",
            "version": version,
            "description": (contract.__doc__ or "").partition("\n")[0],
        },
        "paths": {o.path: {"get": _describe(o, by_type)} for o in OPERATIONS},
        "components": {"schemas": components},
    }


def _describe(operation: Operation, by_type: dict[type, Any]) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": "The answer"}
    if operation.answer is not None:
        ok["content"] = {"application/json": {"schema": by_type[operation.answer]}}
    responses: dict[str, Any] = {"200": ok}
    if operation.has_etag:
        ok["headers"] = {"ETag": {"description": "The version", "schema": {"type": "string"}}}
        responses["304"] = {"description": "Nothing has changed since the version asked about"}
    for status in (*operation.problems, 413):
        responses[str(status)] = {
            "description": "A problem document",
            "content": {_PROBLEM: {"schema": by_type[ProblemDetails]}},
        }
    if operation.path == "/readyz":
        responses["503"] = {"description": "Not yet, and why"}
    return {
        "operationId": re.sub(r"\W+", "_", operation.path).strip("_"),
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": responses,
    }


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    schema = msgspec.json.schema(operation.query)
    [fields] = schema["$defs"].values()
    for name, field in fields["properties"].items():
        parameters.append({"name": name, "in": "query", "required": False, "schema": field})
    if operation.has_etag:
        parameters.append(
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "schema": {"type": "string"},
            }
        )
    return parameters
