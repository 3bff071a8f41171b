"""The simulated API server without its sockets: requests go straight to the dispatcher."""

from typing import Any

import msgspec

from scheduler.simulator.apiserver.dispatch import Dispatcher
from scheduler.simulator.apiserver.errors import ApiError
from scheduler.simulator.apiserver.requests import Request, error_response, parse_query
from scheduler.simulator.apiserver.settings import ApiServerSettings, NoMetrics
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.resources import Object
from scheduler.simulator.store import Store

PODS_PATH = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Api:
    """A server over a store of its own."""

    def __init__(self, *, log_size: int = 1000) -> None:
        self.clock = Clock()
        self.store = Store(now_s=self.clock, log_size=log_size)
        for resource, obj in bootstrap_objects():
            self.store.create(resource, obj)
        self._dispatcher = Dispatcher(
            self.store, settings=ApiServerSettings(), metrics_source=NoMetrics()
        )

    def __call__(self, method: str, path: str, body: Any = None, **given: str) -> tuple[int, Any]:
        """Status and decoded body of the answer."""
        head, _, query = path.partition("?")
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        )
        request = Request(
            method=method,
            path=head,
            query=parse_query(query.encode()),
            accept=given.get("accept", ""),
            content_type=given.get("content_type", "application/json"),
            user_agent=given.get("user_agent", "test/1"),
            body=raw,
        )
        try:
            response = self._dispatcher.answer(request)
        except ApiError as error:
            response = error_response(error)
        return response.status, msgspec.json.decode(response.body)

    def made(self, path: str, body: Object) -> Object:
        """Create an object that must be accepted."""
        status, obj = self("POST", path, body)
        assert status == 201, obj
        return obj


def pod(name: str = "web", **spec: Any) -> Object:
    """A minimal pod as a client writes it."""
    spec.setdefault("containers", [{"name": "app", "image": "nginx:1.27"}])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def container(**fields: Any) -> Object:
    """A container of a pod as a client writes it."""
    return {"name": "app", "image": "nginx:1.27"} | fields
