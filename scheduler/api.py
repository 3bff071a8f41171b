"""The scheduler's HTTP interface: health, metrics, and why pods are where they are."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry

from kube.edge.problems import ProblemDetails, ProblemError, install
from kube.edge.serve import JSON, install_health
from scheduler.cluster.decisions import DecisionLog
from scheduler.contract import DecisionAnswer, DecisionList, view

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1_000
_MAX_BODY_BYTES: Final = 64 * 1024
_REF: Final = "#/components/schemas/{name}"


def make_app(
    decisions: DecisionLog, *, registry: CollectorRegistry, not_ready: Callable[[], str]
) -> Flask:
    """Make the application.

    Args:
        decisions: What to tell.
        registry: What ``/metrics`` shows.
        not_ready: Says why nothing can be scheduled yet; empty when it can.
    """
    app = Flask("scheduler")
    install(app, max_body_bytes=_MAX_BODY_BYTES)
    install_health(app, registry=registry, not_ready=not_ready)

    @app.get("/api/v1/decisions")
    def list_decisions() -> Response:
        latest = decisions.latest(_limit())
        return _json(DecisionList(items=[view(decision) for decision in latest]))

    @app.get("/api/v1/decisions/<namespace>/<name>")
    def show_decision(namespace: str, name: str) -> Response:
        decision = decisions.find(f"{namespace}/{name}")
        if decision is None:
            detail = f"nothing was decided lately about the pod {namespace}/{name}"
            raise ProblemError(404, "Unknown pod", detail=detail)
        return _json(view(decision))

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _json(openapi_document())

    return app


def _limit() -> int:
    """Read ``?limit=``.

    Raises:
        ProblemError: It is no number within bounds.
    """
    text = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_LIMIT):
        raise ProblemError(422, "Invalid request", detail=f"1 to {MAX_LIMIT}", field="limit")
    return int(text)


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), mimetype=JSON)


def openapi_document() -> dict[str, Any]:
    """Describe the interface; the schemas are made from the contract itself."""
    answers = (DecisionList, DecisionAnswer, ProblemDetails)
    _, components = msgspec.json.schema_components(answers, ref_template=_REF)
    limit = {
        "name": "limit",
        "in": "query",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_LIMIT,
            "default": DEFAULT_LIMIT,
        },
    }
    pod = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("namespace", "name")
    ]
    plain = {"200": {"description": "Good", "content": {"text/plain": {}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "scheduler", "version": "1"},
        "paths": {
            "/api/v1/decisions": {
                "get": {
                    "summary": "The newest decisions",
                    "parameters": [limit],
                    "responses": {"200": _content(DecisionList), "422": _content(ProblemDetails)},
                }
            },
            "/api/v1/decisions/{namespace}/{name}": {
                "get": {
                    "summary": "Why a pod is where it is",
                    "parameters": pod,
                    "responses": {
                        "200": _content(DecisionAnswer),
                        "404": _content(ProblemDetails),
                    },
                }
            },
            "/healthz": {"get": {"summary": "Alive", "responses": plain}},
            "/readyz": {
                "get": {
                    "summary": "Able to schedule",
                    "responses": {**plain, "503": {"description": "Not yet; says why"}},
                }
            },
            "/metrics": {"get": {"summary": "Prometheus metrics", "responses": plain}},
        },
        "components": {"schemas": components},
    }


def _content(answer: type) -> dict[str, Any]:
    kind = "application/problem+json" if answer is ProblemDetails else JSON
    reference = {"$ref": _REF.format(name=answer.__name__)}
    return {"description": answer.__name__, "content": {kind: {"schema": reference}}}
