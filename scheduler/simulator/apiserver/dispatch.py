"""Which part of the server answers which request."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from scheduler.simulator import resources as r
from scheduler.simulator.apiserver.answers import answer_metrics, answer_review
from scheduler.simulator.apiserver.custom import CustomResources
from scheduler.simulator.apiserver.deleting import Deleter
from scheduler.simulator.apiserver.discovery import VERSION, Discovery
from scheduler.simulator.apiserver.errors import (
    ApiError,
    NoSuchObjectError,
    NoSuchPathError,
    NotAllowedError,
)
from scheduler.simulator.apiserver.namespaces import NamespaceCleaner
from scheduler.simulator.apiserver.openapi import OpenApi
from scheduler.simulator.apiserver.pods import PodActions
from scheduler.simulator.apiserver.reading import Reader
from scheduler.simulator.apiserver.requests import Request, Response, Stream, json_response
from scheduler.simulator.apiserver.routes import Registry, Target, allowed_methods
from scheduler.simulator.apiserver.scaling import read_scale, write_scale
from scheduler.simulator.apiserver.settings import ApiServerSettings, MetricsSource
from scheduler.simulator.apiserver.watching import Watches
from scheduler.simulator.apiserver.writing import Writer, Written
from scheduler.simulator.resources import Object, Resource
from scheduler.simulator.store import Store

_NOT_FOUND_TEXT = b"404 page not found\n"
_TEXT = "text/plain; charset=utf-8"
_UNSIMULATED = frozenset({"attach", "exec", "log", "portforward", "proxy", "token"})


class Dispatcher:
    """Puts the parts of the server together, and hands each request to one of them.

    Args:
        store: The cluster's objects.
        settings: See there.
        metrics_source: Answers ``metrics.k8s.io``.
        drops_watch: Tells of the watch that a request began, after each event, whether it ends.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: ApiServerSettings,
        metrics_source: MetricsSource,
        drops_watch: Callable[[Request], bool] | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics_source = metrics_source
        self._registry = Registry()
        CustomResources(store, self._registry)
        if settings.clears_namespaces:
            NamespaceCleaner(store, self._registry.namespaced)
        self._discovery = Discovery(self._registry, address=settings.advertised_address)
        self._openapi = OpenApi(self._registry)
        self._reader = Reader(store)
        self._writer = Writer(store)
        self._deleter = Deleter(store, reader=self._reader)
        self._pods = PodActions(store, deleter=self._deleter)
        self.watches = Watches(
            store,
            reader=self._reader,
            settings=settings,
            drops_watch=drops_watch or _keeps_watch,
        )
        self._verbs: Mapping[str, Callable[[Target, Request], Response | Stream]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._deleter.delete,
            "deletecollection": self._deleter.delete_collection,
        }

    def resource_of(self, kind: str, *, api_version: str) -> Resource | None:
        """The resource whose objects are of that kind; None when none is served."""
        found = (
            each
            for each in self._registry.all()
            if (each.kind, each.api_version) == (kind, api_version) and "create" in each.verbs
        )
        return next(found, None)

    def target(self, request: Request) -> Target | None:
        """What the request is about; None when it is about no resource."""
        return self._registry.target(request.path)

    def answer(self, request: Request) -> Response | Stream:
        """Answer a request that is let in.

        Raises:
            NotAllowedError: 405, of the ways to fail that are known here.
        """
        target = self.target(request)
        if target is None:
            return self._answer_elsewhere(request)
        method = "GET" if request.method == "HEAD" else request.method
        verb = allowed_methods(target).get(method)
        if verb is None:
            raise NotAllowedError()
        special = self._special(target, request)
        return self._verbs[verb](target, request) if special is None else special

    # --- details

    def _answer_elsewhere(self, request: Request) -> Response:
        path = request.path
        found = self._discovery.answer(request)
        if path in ("/version", "/version/"):
            found = json_response(VERSION)
        elif path == "/openapi/v3":
            found = self._openapi.index()
        elif path.startswith("/openapi/v3/"):
            found = self._openapi.document(path)
        elif path == "/":
            found = json_response({"paths": ["/api", "/apis", "/healthz", "/metrics", "/version"]})
        if found is not None:
            if request.method not in ("GET", "HEAD"):
                raise NotAllowedError()
            return found
        if self._is_served_version(path):
            raise NoSuchPathError()
        return Response(status=404, body=_NOT_FOUND_TEXT, content_type=_TEXT)

    def _is_served_version(self, path: str) -> bool:
        parts = [*path.strip("/").split("/"), "", "", ""]
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        return parts[0] in ("api", "apis") and bool(self._registry.in_version(group, version))

    def _special(self, target: Target, request: Request) -> Response | None:
        """Answers of resources and subresources that are not simply stored.

        Raises:
            ApiError: It is not simulated.
        """
        resource, sub = target.resource, target.subresource
        if resource in (r.NODE_METRICS, r.POD_METRICS):
            return answer_metrics(target, request, self._metrics_source)
        if resource in r.REVIEWS:
            return answer_review(target, request, self._settings.tokens)
        if resource is r.BINDINGS or sub == "binding":
            return self._pods.bind(target, request)
        if sub == "eviction":
            return self._pods.evict(target, request)
        if sub == "scale":
            return self._scale(target, request)
        if sub in _UNSIMULATED:
            raise ApiError(501, f"{resource.plural}/{sub} is not simulated", details={})
        return None

    def _scale(self, target: Target, request: Request) -> Response:
        obj = self._store.find(target.resource, target.namespace, target.name)
        if obj is None:
            raise NoSuchObjectError(target.resource, target.name)
        if request.method in ("GET", "HEAD"):
            return read_scale(obj)
        return write_scale(target, request, obj, self._writer)

    def _get(self, target: Target, request: Request) -> Response | Stream:
        if not request.flag("watch"):
            return self._reader.get(target, request)
        one = {**request.query, "fieldSelector": f"metadata.name={target.name}"}
        return self.watches.start(replace(target, name=""), replace(request, query=one))

    def _list(self, target: Target, request: Request) -> Response | Stream:
        if request.flag("watch"):
            return self.watches.start(target, request)
        return self._reader.list(target, request)

    def _create(self, target: Target, request: Request) -> Response:
        return self._shown(target, request, self._writer.create(target, request))

    def _update(self, target: Target, request: Request) -> Response:
        return self._shown(target, request, self._writer.update(target, request))

    def _patch(self, target: Target, request: Request) -> Response:
        return self._shown(target, request, self._writer.patch(target, request))

    def _shown(self, target: Target, request: Request, written: Written) -> Response:
        warnings = tuple(("Warning", _warning(text)) for text in written.warnings)
        obj: Object = written.obj
        return self._reader.answer(
            target.resource, obj, request, status=written.status, headers=warnings
        )


def _keeps_watch(_: Request) -> bool:
    return False


def _warning(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{escaped}"'
