"""Serving a Flask application from a thread of this process, by waitress."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

import prometheus_client
from flask import Flask, Response, g, request
from waitress import wasyncore
from waitress.server import create_server

from kube.edge.connections import Channel
from kube.edge.settings import ServerSettings

JSON: Final = "application/json"

_ANSWER_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_LOOK_S: Final = 1.0
"""How often to look for clients that take too long."""
_MAX_CONNECTIONS: Final = 500
_CROWD: Final = _MAX_CONNECTIONS // 2
"""While more connections than these are open, clients may not take longer than between two looks:
nobody may keep the others out by holding many."""
_MAX_BODY_READ_BYTES: Final = 16 * 2**20
_MAX_ANSWER_IN_MEMORY_BYTES: Final = 2**30
"""All of them: they were made there, and waitress leaves files of its own to the collector."""


class Server:
    """A running HTTP server; a context manager that stops it.

    Args:
        app: What to serve.
        settings: Where; port 0 takes a free one.
        threads: How many requests are worked on at once.
        max_body_read_bytes: What is read of a body, at least as much as the application takes: of
            one that is too large, so much is still read, for who is still sending hears no answer.

    Raises:
        OSError: The address is taken, or the host has none.
    """

    def __init__(
        self,
        app: Flask,
        *,
        settings: ServerSettings,
        threads: int = 8,
        max_body_read_bytes: int = _MAX_BODY_READ_BYTES,
    ) -> None:
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            sockets=[_listen(settings.host, port=settings.port)],
            threads=threads,
            connection_limit=_MAX_CONNECTIONS,
            max_request_body_size=max_body_read_bytes,
            outbuf_overflow=_MAX_ANSWER_IN_MEMORY_BYTES,
            ident=None,
        )
        self._server.channel_class = Channel
        self._settings = settings
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self.host = settings.host
        self.port = int(self._server.effective_port)

    @property
    def url(self) -> str:
        """Where the server listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving: requests under way have 5 s to end, those that wait are dropped."""
        # The workers first, for they wake the server's thread; then that thread, for nobody may
        # close what another waits on or wakes by; then the sockets.
        self._server.task_dispatcher.shutdown(timeout=5)
        self._is_stopping = True
        self._server.trigger.pull_trigger()
        self._thread.join(timeout=5)
        wasyncore.close_all(self._sockets)

    def _run(self) -> None:
        look_at_s = 0.0
        while not self._is_stopping:
            wasyncore.loop(timeout=_LOOK_S, use_poll=True, map=self._sockets, count=1)
            now_s = time.time()
            if abs(now_s - look_at_s) >= _LOOK_S:
                look_at_s = now_s
                self._part_with_the_slow(now_s)

    def _part_with_the_slow(self, now_s: float) -> None:
        channels = list(self._server.active_channels.values())
        longest_s = _LOOK_S if len(channels) > _CROWD else float("inf")
        for channel in channels:
            if channel.is_slow(
                now_s,
                read_timeout_s=min(longest_s, self._settings.read_timeout),
                write_timeout_s=min(longest_s, self._settings.write_timeout),
            ):
                channel.handle_close()


def _listen(host: str, *, port: int) -> socket.socket:
    """Listen at one address of *host*: ``localhost`` has two, which could not share a free port.

    Raises:
        OSError: The address is taken, or the host has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, *_, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        return socket.create_server(address, family=family)
    except OSError as error:
        raise OSError(f"cannot listen at {host}:{port}: {error.strerror}") from error


def request_durations(
    program: str, *, registry: prometheus_client.CollectorRegistry
) -> prometheus_client.Histogram:
    """Make the metric ``<program>_request_duration_seconds``, for ``install_timing``."""
    return prometheus_client.Histogram(
        f"{program}_request_duration_seconds",
        "Time to answer a request",
        ["endpoint"],
        buckets=_ANSWER_BUCKETS_S,
        registry=registry,
    )


def install_timing(
    app: Flask, *, duration: prometheus_client.Histogram, paths: Iterable[str]
) -> None:
    """Time the answers, by endpoint.

    To be installed before everything else, so that refusals are timed, too.

    Args:
        app: What to time.
        duration: What ``request_durations`` made.
        paths: Which endpoints, as OpenAPI writes them (``/pods/{name}``). Only these become labels,
            or anybody could fill the memory with new ones.
    """
    durations = {path: duration.labels(path) for path in paths}

    @app.before_request
    def start() -> None:
        g.started_s = time.perf_counter()

    @app.after_request
    def observe(response: Response) -> Response:
        rule = "" if request.url_rule is None else request.url_rule.rule
        timed = durations.get(rule.replace("<", "{").replace(">", "}"))
        if timed is not None:
            timed.observe(time.perf_counter() - g.started_s)
        return response


def install_health(
    app: Flask, *, registry: prometheus_client.CollectorRegistry, not_ready: Callable[[], str]
) -> None:
    """Add ``/healthz`` (alive), ``/readyz`` (able to serve) and ``/metrics``.

    Args:
        app: Where to add them.
        registry: What ``/metrics`` shows.
        not_ready: Says why the program cannot serve yet; an empty text when it can.
    """

    @app.get("/healthz")
    def healthz() -> Response:
        return Response("ok", mimetype="text/plain")

    @app.get("/readyz")
    def readyz() -> Response:
        reason = not_ready()
        return Response(reason or "ok", status=503 if reason else 200, mimetype="text/plain")

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(
            prometheus_client.generate_latest(registry),
            content_type=prometheus_client.CONTENT_TYPE_LATEST,
        )
