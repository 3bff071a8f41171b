"""The scheduler's HTTP interface: health, metrics, and why pods are where they are."""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from flask import Flask, Response, request
from prometheus_client import CollectorRegistry

from kube.edge.openapi import Operation, install_openapi
from kube.edge.problems import ProblemError, install
from kube.edge.queries import Query, read_query
from kube.edge.serve import JSON, install_health, install_timing, request_durations
from scheduler.cluster.decisions import DecisionLog
from scheduler.contract import DecisionAnswer, DecisionList, view
from scheduler.extender import routes as extender_routes
from scheduler.extender.routes import Extender, install_extender

_MAX_BODY_BYTES: Final = 64 * 1024


class DecisionsQuery(Query, frozen=True, kw_only=True):
    """How many decisions to tell."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100


OPERATIONS: Final = (
    Operation(
        path="/api/v1/decisions",
        summary="The newest decisions",
        query=DecisionsQuery,
        answer=DecisionList,
    ),
    Operation(
        path="/api/v1/decisions/{namespace}/{name}",
        summary="Why a pod is where it is",
        answer=DecisionAnswer,
        problems=(404,),
    ),
    *extender_routes.OPERATIONS,
)


def make_app(
    decisions: DecisionLog,
    *,
    registry: CollectorRegistry,
    not_ready: Callable[[], str],
    extender: Extender,
) -> Flask:
    """Make the application.

    Args:
        decisions: What to tell.
        registry: What ``/metrics`` shows.
        not_ready: Says why nothing can be scheduled yet; empty when it can.
        extender: How to answer kube-scheduler.
    """
    app = Flask("scheduler", static_folder=None)
    paths = [operation.path for operation in OPERATIONS]
    duration = request_durations("scheduler", registry=registry)
    install_timing(app, duration=duration, paths=paths)
    large = {
        operation.path: extender_routes.MAX_BODY_BYTES for operation in extender_routes.OPERATIONS
    }
    install(app, max_body_bytes=_MAX_BODY_BYTES, max_body_bytes_at=large)
    install_health(app, registry=registry, not_ready=not_ready)
    install_openapi(app, title="scheduler", operations=OPERATIONS)

    install_extender(app, extender=extender)

    @app.get("/api/v1/decisions")
    def list_decisions() -> Response:
        latest = decisions.latest(read_query(request.args, DecisionsQuery).limit)
        return _json(DecisionList(items=[view(decision) for decision in latest]))

    @app.get("/api/v1/decisions/<namespace>/<name>")
    def show_decision(namespace: str, name: str) -> Response:
        decision = decisions.find(f"{namespace}/{name}")
        if decision is None:
            detail = (
                f"nothing was decided lately about the pod {namespace}/{name}: it is not there, is"
                " another scheduler's, has scheduling gates, or waits for more of its gang"
            )
            raise ProblemError(404, "Unknown pod", detail=detail)
        return _json(view(decision))

    return app


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), mimetype=JSON)
