"""Replays recordings of a real API server against the simulated one, and tells the differences.

A recording holds, in order, what one client asked and what the server answered. Versions, uids,
generated names and continue tokens are the recorded server's own; they are learned from each pair
of answers and put into later requests in place of the recorded ones. What changed objects while
a watch was recorded is done again by :mod:`scheduler.simulator.wire_writes`.
"""

import asyncio
import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import uvicorn

from kube.edge.settings import SettingsError
from scheduler.simulator.apiserver.app import ApiServer, make_app
from scheduler.simulator.apiserver.settings import ApiServerSettings, NoMetrics
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.resources import Object
from scheduler.simulator.store import Store
from scheduler.simulator.wire_compare import Aliases, compare_answers, compare_events
from scheduler.simulator.wire_writes import OtherClient

TOPICS = ("discovery", "nodes", "pods", "binding", "deletion", "leases", "watch", "auth")
"""The order in which recordings of one session were taken; others follow by name."""

_TIMEOUT_S = 10.0
_EVENTS_WAIT_S = 5.0
_QUIET_S = 0.3
"""How long a watch must stay silent after its last recorded event."""
_TOKEN = "replay-client"  # noqa: S105 -- of a server that exists for the replay alone


class Record(msgspec.Struct, kw_only=True):
    """One request and its answer, as recorded."""

    title: str
    method: str
    path: str
    status: int
    accept: str | None = None
    content_type: str | None = None
    body: Any = None
    headers: dict[str, str] | None = None
    response: Any = None

    @property
    def needs_compaction(self) -> bool:
        """Tell whether the recorded server had forgotten the version that was asked for."""
        first = self.response[0].get("object") if self.is_watch and self.response else None
        return self.status == 410 or (isinstance(first, dict) and first.get("code") == 410)

    @property
    def is_watch(self) -> bool:
        """Tell whether the answer is a list of events."""
        return self.status == 200 and isinstance(self.response, list)


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the simulated server answers differently."""

    topic: str
    title: str
    what: str
    reason: str = ""
    """Why it is meant to be so; empty for a fault."""

    def __str__(self) -> str:
        """One line."""
        meant = f" (deliberate: {self.reason})" if self.reason else ""
        return f"{self.topic}: {self.title}: {self.what}{meant}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the live server answered."""

    status: int
    headers: Mapping[str, str]
    body: Any


def read_recordings(directory: Path) -> dict[str, list[Record]]:
    """The recordings of a folder by topic, in the order in which to replay them.

    Raises:
        SettingsError: There are none, or one cannot be read.
    """
    try:
        paths = sorted(directory.glob("*.json"), key=_rank)
        if not paths:
            raise SettingsError(f"{directory}: holds no recordings (*.json)")
        return {
            path.stem: msgspec.json.decode(path.read_bytes(), type=list[Record]) for path in paths
        }
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{directory}: {error}") from error


def replay_folder(directory: Path) -> list[Difference]:
    """Start a fresh server without nodes, replay a folder against it, and stop it.

    Raises:
        SettingsError: The folder holds no readable recordings.
    """
    recordings = read_recordings(directory)
    store = _empty_store()
    with served(store) as url:
        return replay(recordings, url, token=_TOKEN, compact=store.compact)


def replay(
    recordings: Mapping[str, list[Record]],
    base_url: str,
    *,
    token: str | None = None,
    compact: Callable[[], None] | None = None,
) -> list[Difference]:
    """Replay recordings against a running server that was empty at first.

    Args:
        recordings: By topic, in order.
        base_url: Of the server.
        token: To be let in; requests that were answered 401 go with another one.
        compact: Makes the server forget the past, where the recorded one had.

    Returns:
        Every difference, in the order of the recordings.
    """
    session = _Session(base_url, token=token, recordings=recordings)
    differences: list[Difference] = []
    for topic, records in recordings.items():
        for i, record in enumerate(records):
            if record.needs_compaction and compact is not None:
                compact()
            found = session.check(record, following=records[i + 1 :])
            reason = _reason_to_differ(record)
            differences += [Difference(topic, record.title, what, reason) for what in found]
    return differences


def _reason_to_differ(record: Record) -> str:
    is_health = record.path.lstrip("/").startswith(("healthz", "livez", "readyz"))
    if is_health and record.status == 500:
        return "the recorded server was still starting; this one is ready once it answers"
    return ""


def _rank(path: Path) -> tuple[int, str]:
    place = TOPICS.index(path.stem) if path.stem in TOPICS else len(TOPICS) - 1.5
    return int(place * 2), path.stem


class _Session:
    """One replay under way: the connection's address and what is known of the live server."""

    def __init__(
        self, base_url: str, *, token: str | None, recordings: Mapping[str, list[Record]]
    ) -> None:
        self._address = urlsplit(base_url).netloc
        self._token = token
        self._aliases = Aliases()
        events = [
            event
            for records in recordings.values()
            for record in records
            if record.is_watch
            for event in record.response
        ]
        self._other = OtherClient(events, send=self._send, aliases=self._aliases)

    def check(self, record: Record, *, following: list[Record]) -> Iterator[str]:
        """Repeat one request; tell how its answer differs."""
        if record.is_watch:
            yield from self._check_watch(record)
            return
        # Some recorders go on to change an object they were given; what they then send is what
        # the recording shows, so only the fields can be compared.
        is_aliased = any(
            record.response is not None and later.body == record.response for later in following
        )
        answer = self._repeat(record)
        if answer.status != record.status:
            yield f"status {answer.status} instead of {record.status}: {_brief(answer.body)}"
            return
        for name, value in (record.headers or {}).items():
            live = answer.headers.get(name.lower())
            if live != value:
                yield f"header {name}: {live!r} instead of {value!r}"
        self._aliases.learn(record.response, answer.body)
        yield from compare_answers(
            record.response, answer.body, aliases=self._aliases, with_values=not is_aliased
        )
        self._other.saw(record.response)

    def _repeat(self, record: Record) -> Answer:
        token = "no-such-token" if record.status == 401 else self._token
        return self._send(
            record.method,
            self._aliases.in_path(record.path),
            body=self._aliases.in_value(record.body),
            headers=_headers(record, token),
        )

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            given = headers or self._own_headers(body)
            text = None if body is None else msgspec.json.encode(body)
            connection.request(method, path, body=text, headers=dict(given))
            response = connection.getresponse()
            raw = response.read()
            return Answer(response.status, _lowered(response), _decoded(raw))
        finally:
            connection.close()

    def _own_headers(self, body: Any) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        return headers

    def _check_watch(self, record: Record) -> Iterator[str]:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            path = self._aliases.in_path(record.path)
            connection.request("GET", path, headers=_headers(record, self._token))
            response = connection.getresponse()
            if response.status != record.status:
                yield f"status {response.status} instead of {record.status}"
                return
            for name, value in (record.headers or {}).items():
                if response.headers.get(name) != value:
                    yield f"header {name}: {response.headers.get(name)!r} instead of {value!r}"
            lines = _Lines(response)
            self._other.act_during(record.path, record.response)
            live = lines.take(len(record.response))
            # Wakes the reading thread, which a plain close would wait for.
            connection.sock.shutdown(socket.SHUT_RDWR)
        finally:
            connection.close()
        for recorded, given in zip(record.response, live, strict=False):
            self._aliases.learn(recorded.get("object"), given.get("object"))
        yield from compare_events(record.response, live, aliases=self._aliases)


class _Lines:
    """Reads events in the background, so that a silent watch does not hold the replay up."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._events: list[Object] = []
        self._news = threading.Condition()
        self._is_over = False
        threading.Thread(target=self._read, daemon=True).start()

    def take(self, n_expected: int) -> list[Object]:
        """The events so far, once there are enough and no more come, or time is up."""
        deadline_s = time.monotonic() + _EVENTS_WAIT_S
        with self._news:
            self._news.wait_for(
                lambda: len(self._events) >= n_expected or self._is_over,
                timeout=deadline_s - time.monotonic(),
            )
            self._news.wait_for(
                lambda: len(self._events) > n_expected or self._is_over, timeout=_QUIET_S
            )
            return list(self._events)

    def _read(self) -> None:
        try:
            while line := self._response.readline():
                event = msgspec.json.decode(line)
                with self._news:
                    self._events.append(event)
                    self._news.notify_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass  # the replay has closed the connection
        with self._news:
            self._is_over = True
            self._news.notify_all()


def _headers(record: Record, token: str | None) -> dict[str, str]:
    headers = {"User-Agent": "Python-urllib/3.11"}
    if record.accept:
        headers["Accept"] = record.accept
    if record.content_type:
        headers["Content-Type"] = record.content_type
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _lowered(response: http.client.HTTPResponse) -> dict[str, str]:
    return {key.lower(): value for key, value in response.getheaders()}


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw.decode(errors="replace")


def _brief(body: Any) -> str:
    text = body.get("message", "") if isinstance(body, dict) else str(body)
    return re.sub(r"\s+", " ", str(text))[:200]


class _Server(uvicorn.Server):
    """A server that ends its watches before it waits for its clients."""

    def __init__(self, app: ApiServer) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                port=0,
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._app = app

    async def shutdown(self, sockets: Any = None) -> None:
        self._app.close()
        await super().shutdown(sockets)


def _empty_store() -> Store:
    store = Store(now_s=time.time)
    for resource, obj in bootstrap_objects():
        store.create(resource, obj)
    return store


@contextmanager
def served(store: Store) -> Iterator[str]:
    """A server over *store* in a thread of its own, without controllers; gives its address."""
    # The recorded server had no controllers beside it.
    settings = ApiServerSettings(tokens=frozenset({_TOKEN}), clears_namespaces=False)
    server = _Server(make_app(store, settings=settings, metrics_source=NoMetrics()))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not server.started and thread.is_alive() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=_TIMEOUT_S)
