"""The OpenAPI document of a program, made from the very types of its requests and answers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec
from flask import Flask, Response, request

from kube.edge.problems import PROBLEM, ProblemDetails
from kube.edge.queries import NoQuery, Query, read_query
from kube.edge.serve import JSON

_REF: Final = "#/components/schemas/{name}"
_TEXT: Final[dict[str, Any]] = {"text/plain": {"schema": {"type": "string"}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    path: str
    """With ``{name}`` where a part may be chosen."""
    summary: str
    method: str = "get"
    answer: type | None = None
    """``None``: plain text."""
    query: type[Query] = NoQuery
    body: type | None = None
    is_body_required: bool = True
    status: int = 200
    problems: tuple[int, ...] = ()
    """Statuses of problem documents, beside 413 and 422, which any request may earn."""
    has_etag: bool = False


_OF_EVERY_PROGRAM: Final = (
    Operation(path="/healthz", summary="Alive"),
    Operation(path="/readyz", summary="Able to serve"),
    Operation(path="/metrics", summary="Prometheus metrics"),
    Operation(path="/openapi.json", summary="This document", answer=dict[str, Any]),
)


def install_openapi(app: Flask, *, title: str, operations: Sequence[Operation]) -> None:
    """Add ``/openapi.json``, and refuse parameters that an operation does not have (422).

    Args:
        app: Where to add it.
        title: The program's name.
        operations: What it serves, beside what every program does.
    """
    described = msgspec.json.encode(document(title=title, operations=operations))
    queries = {(o.method.upper(), o.path): o.query for o in operations}

    @app.before_request
    def check_parameters() -> None:
        if request.url_rule is not None and request.args:
            path = request.url_rule.rule.replace("<", "{").replace(">", "}")
            query = queries.get((request.method, path))
            if query is not None:
                read_query(request.args, query)

    @app.get("/openapi.json")
    def openapi_json() -> Response:
        return Response(described, mimetype=JSON)


def document(*, title: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """Describe a program's HTTP interface in OpenAPI 3.1."""
    all_operations = (*operations, *_OF_EVERY_PROGRAM)
    types = [t for o in all_operations for t in (o.body, o.answer) if t is not None]
    unique = list(dict.fromkeys([*types, ProblemDetails]))
    schemas, components = msgspec.json.schema_components(unique, ref_template=_REF)
    by_type = dict(zip(unique, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in all_operations:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": _version()},
        "paths": paths,
        "components": {"schemas": components},
    }


def _version() -> str:
    try:
        return version("ai-scheduler")
    except PackageNotFoundError:  # run from a clone, without being installed
        return "0+source"


def _describe(operation: Operation, by_type: Mapping[type, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.method + re.sub(r"\W+", "_", operation.path).rstrip("_"),
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation, by_type),
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.is_body_required,
            "content": {JSON: {"schema": by_type[operation.body]}},
        }
    return described


def _responses(operation: Operation, by_type: Mapping[type, dict[str, Any]]) -> dict[str, Any]:
    answer = operation.answer
    good: dict[str, Any] = {
        "description": operation.summary,
        "content": _TEXT if answer is None else {JSON: {"schema": by_type[answer]}},
    }
    responses = {str(operation.status): good}
    if operation.has_etag:
        good["headers"] = {"ETag": {"description": "The version", "schema": {"type": "string"}}}
        responses["304"] = {"description": "Nothing has changed since the version asked about"}
    if operation.path == "/readyz":
        responses["503"] = {"description": "Why it cannot yet", "content": _TEXT}
    for status in (*operation.problems, 413, 422):
        responses[str(status)] = {
            "description": "A problem document (RFC 9457)",
            "content": {PROBLEM: {"schema": by_type[ProblemDetails]}},
        }
    return responses


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    [fields] = msgspec.json.schema(operation.query)["$defs"].values()
    for name, schema in fields["properties"].items():
        parameters.append({"name": name, "in": "query", "required": False, "schema": schema})
    if operation.has_etag:
        etag = {"name": "If-None-Match", "in": "header", "required": False}
        parameters.append({**etag, "schema": {"type": "string"}})
    return parameters
