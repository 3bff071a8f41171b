"""Resources that are answered and not stored: measurements, and questions about access."""

from collections.abc import Sequence

from scheduler.simulator.apiserver.bodies import read_body
from scheduler.simulator.apiserver.errors import NoSuchObjectError
from scheduler.simulator.apiserver.label_selectors import matches_all, parse_label_selector
from scheduler.simulator.apiserver.requests import Request, Response, json_response
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.settings import MetricsSource
from scheduler.simulator.resources import (
    NODE_METRICS,
    SELF_SUBJECT_REVIEWS,
    TOKEN_REVIEWS,
    Object,
)

_USER = {"username": "system:admin", "groups": ["system:masters", "system:authenticated"]}


def answer_metrics(target: Target, request: Request, source: MetricsSource) -> Response:
    """``metrics.k8s.io``: one measurement, or those that a label selector picks.

    Raises:
        NoSuchObjectError: 404: nothing of that name was measured.
    """
    resource = target.resource
    measured: Sequence[Object] = (
        source.node_metrics() if resource is NODE_METRICS else source.pod_metrics()
    )
    if target.namespace:
        measured = [m for m in measured if m["metadata"].get("namespace") == target.namespace]
    if target.name:
        for each in measured:
            if each["metadata"]["name"] == target.name:
                return json_response(each)
        raise NoSuchObjectError(resource, target.name)
    wanted = parse_label_selector(request.query.get("labelSelector", ""))
    items = [m for m in measured if matches_all(wanted, m["metadata"].get("labels"))]
    body = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": {}}
    return json_response(body | {"items": items})


def answer_review(target: Target, request: Request, tokens: frozenset[str]) -> Response:
    """Access reviews: whoever is let in may do everything.

    Raises:
        ApiError: The review cannot be read.
    """
    review, _ = read_body(request, target.resource)
    if target.resource is SELF_SUBJECT_REVIEWS:
        status: Object = {"userInfo": _USER}
    elif target.resource is TOKEN_REVIEWS:
        is_known = (review.get("spec") or {}).get("token") in tokens
        status = {"authenticated": True, "user": _USER} if is_known else {"authenticated": False}
    else:
        status = {"allowed": True, "reason": "the simulated cluster allows everything"}
    head = {"kind": target.resource.kind, "apiVersion": target.resource.api_version}
    return json_response({**review, **head, "status": status}, status=201)
