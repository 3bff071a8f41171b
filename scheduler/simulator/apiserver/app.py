"""The ASGI application: from a request's bytes to the part that answers it."""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry

from kube.instants import http_date
from scheduler.simulator.apiserver.dispatch import Dispatcher
from scheduler.simulator.apiserver.errors import ApiError
from scheduler.simulator.apiserver.faults import FaultInjector
from scheduler.simulator.apiserver.health import answer_health
from scheduler.simulator.apiserver.requests import (
    Request,
    Response,
    Stream,
    error_response,
    parse_query,
)
from scheduler.simulator.apiserver.settings import ApiServerSettings, MetricsSource
from scheduler.simulator.apiserver.telemetry import Telemetry, exposition_stream
from scheduler.simulator.kube_state.exposition import KubeState
from scheduler.simulator.store import Store

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_OPEN_TO_ALL = ("/healthz", "/livez", "/readyz", "/version")
_READS = ("GET", "HEAD")


class ApiServer:
    """A Kubernetes API server over a store, as an ASGI application.

    Run it with uvicorn's own date header off: the ``Date`` of answers is the cluster's.

    Args:
        store: The cluster's objects.
        settings: See there.
        metrics_source: Answers ``metrics.k8s.io``.
        registry: What else ``/metrics`` shows.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: ApiServerSettings,
        metrics_source: MetricsSource,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics_source = metrics_source
        self._kube_state = KubeState(store)
        self._telemetry = Telemetry(
            CollectorRegistry() if registry is None else registry,
            store=store,
            n_watches=lambda: self.dispatcher.watches.n_open,
        )
        self._faults = FaultInjector(settings.faults, on_strike=self._telemetry.failed_on_purpose)
        self.dispatcher = Dispatcher(
            store,
            settings=settings,
            metrics_source=metrics_source,
            drops_watch=self._faults.drops_watch,
        )

    def close(self) -> None:
        """End all watches, so that the server can stop at once."""
        self.dispatcher.watches.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's start and stop."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()
        verb, resource = scope["method"], ""
        answer: Response | Stream
        try:
            request = await self._read(scope, receive)
            target = self.dispatcher.target(request)
            resource = target.resource.qualified_name if target else ""
            answer = await self._answer(request)
        except ApiError as error:
            answer = error_response(error)
        if isinstance(answer, Stream):
            self._telemetry.answered(answer.verb, resource, code=200, took_s=0.0)
            await self._stream(answer, receive, send)
            return
        took_s = time.perf_counter() - began_s
        self._telemetry.answered(verb, resource, code=answer.status, took_s=took_s)
        await send(
            self._start(answer.status, answer.content_type, answer.headers, len(answer.body))
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _read(self, scope: Scope, receive: Receive) -> Request:
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        limit = self._settings.max_body_bytes
        body = b""
        if scope["method"] not in _READS:
            parts: list[bytes] = []
            n_bytes, more = 0, True
            while more:
                message = await receive()
                part = message.get("body", b"")
                n_bytes += len(part)
                if n_bytes > limit:
                    raise ApiError(
                        413,
                        f"Request entity too large: limit is {limit}",
                        reason="RequestEntityTooLarge",
                    )
                parts.append(part)
                more = message.get("more_body", False)
            body = b"".join(parts)
        return Request(
            method=scope["method"],
            path=scope["path"],
            query=parse_query(scope["query_string"]),
            accept=headers.get(b"accept", ""),
            content_type=headers.get(b"content-type", ""),
            user_agent=headers.get(b"user-agent", ""),
            authorization=headers.get(b"authorization", ""),
            body=body,
        )

    async def _answer(self, request: Request) -> Response | Stream:
        self._check_access(request)
        health = answer_health(request)
        if health is not None:
            return health
        if request.path.startswith("/metrics"):
            exposed = self._expose(request.path)
            if exposed is not None:
                return exposed
        about_faults = self._faults.answer(request)
        if about_faults is not None:
            return about_faults
        await self._faults.before(request)
        answer = self.dispatcher.answer(request)
        self._faults.after(request)
        return answer

    def _expose(self, path: str) -> Response | Stream | None:
        match path:
            case "/metrics":
                return self._telemetry.exposition()
            case "/metrics/cadvisor":
                return exposition_stream(_taking_turns(self._metrics_source.exposition()))
            case "/metrics/kube-state":
                return exposition_stream(self._kube_state.parts())
            case _:
                return None

    def _check_access(self, request: Request) -> None:
        if not self._settings.tokens:
            return
        if not request.authorization and request.path.startswith(_OPEN_TO_ALL):
            return
        scheme, _, token = request.authorization.partition(" ")
        given = token.strip().encode()
        known = [hmac.compare_digest(given, each.encode()) for each in self._settings.tokens]
        if scheme.lower() != "bearer" or not any(known):
            raise ApiError(401, "Unauthorized", reason="Unauthorized")

    def _start(
        self,
        status: int,
        content_type: str,
        more: tuple[tuple[str, str], ...],
        length: int | None = None,
    ) -> Message:
        headers = [
            (b"content-type", content_type.encode()),
            (b"date", http_date(self._store.now_s()).encode()),
            (b"cache-control", b"no-cache, private"),
            *((key.lower().encode(), value.encode("latin-1", "replace")) for key, value in more),
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        return {"type": "http.response.start", "status": status, "headers": headers}

    async def _stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        """Send parts as they come, until they end or the client goes."""
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await send(self._start(200, stream.content_type, stream.headers))
            parts = aiter(stream.parts)
            while True:
                part = asyncio.ensure_future(anext(parts, None))
                await asyncio.wait((gone, part), return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    part.cancel()
                    return
                text = part.result()
                if text is None:
                    break
                await send({"type": "http.response.body", "body": text, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            stream.close()


async def _taking_turns(texts: Iterable[str]) -> AsyncIterator[bytes]:
    """Let others have the event loop between two parts of a long text."""
    for text in texts:
        yield text.encode()
        await asyncio.sleep(0)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def make_app(
    store: Store,
    *,
    settings: ApiServerSettings,
    metrics_source: MetricsSource,
    registry: CollectorRegistry | None = None,
) -> ApiServer:
    """An API server over *store*; call its ``close`` when the process is to end."""
    return ApiServer(store, settings=settings, metrics_source=metrics_source, registry=registry)
