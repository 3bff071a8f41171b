"""A small API server over real HTTP on loopback, to hold clients to what real ones do.

It keeps objects by collection (``/api/v1/pods``), lists them in pages, streams watches with
versions and bookmarks, and takes the usual writes. Tests change its objects (``put``,
``remove``), read what it was asked (``requests``), and make it fail: refuse (``fail_next``), ask
for a token, cut or end watches, forget old versions, restart with or without its memory.
"""

import contextlib
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.builders import to_wire

Document = dict[str, Any]

_PATH = re.compile(
    r"(?P<api>/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
    r"/(?P<resource>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>.+))?)?"
)


@dataclass(frozen=True)
class RecordedRequest:
    """What the server was asked."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to say; ``None`` as status cuts the connection without a word."""

    status: int | None
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass(frozen=True)
class _Change:
    version: int
    collection: str
    kind: str
    document: Document


@dataclass(eq=False)
class _Watch:
    """An open watch: what is still to be sent, and how it shall end."""

    collection: str
    namespace: str | None
    lines: deque[bytes] = field(default_factory=deque)
    ending: Literal["", "clean", "cut"] = ""


def status_document(code: int, message: str, *, reason: str = "", **details: Any) -> Document:
    """Make a Status as API servers send them."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


def refusal(code: int, message: str, *, reason: str = "", **headers: str) -> Answer:
    """Make an answer that refuses; ``retry_after="3"`` becomes the header ``Retry-After``."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return Answer(code, json.dumps(status_document(code, message, reason=reason)).encode(), named)


class FakeApiServer:
    """The server; a context manager that stops it.

    Attributes:
        requests: All that was asked so far, oldest first.
        token: If set, whoever does not bring it is told 401.
        date_s: If set, the Unix time of the ``Date`` header.
        sends_date: Whether there is one at all.
        future: What a watch from a version that never was gets: the error of a real server, a 410,
            or silence.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self.requests: list[RecordedRequest] = []
        self.token: str | None = None
        self.date_s: float | None = None
        self.sends_date = True
        self.future: Literal["error", "gone", "silent"] = "error"
        self._changed = threading.Condition()
        self._collections: dict[str, dict[str, Document]] = {}
        self._history: list[_Change] = []
        self._version = 0
        self._oldest = 0
        self._n_uids = 0
        self._watches: set[_Watch] = set()
        self._is_stopped = False
        self._failures: list[tuple[Callable[[RecordedRequest], bool], Answer]] = []
        self.ssl_context = ssl_context
        self._http = _HttpServer(self, port=0)
        self.port: int = self._http.server_address[1]

    @property
    def url(self) -> str:
        scheme = "http" if self.ssl_context is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def version(self) -> int:
        """The latest resourceVersion."""
        return self._version

    def __enter__(self) -> "FakeApiServer":
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # What tests do to the world.

    def put(self, collection: str, obj: Document | msgspec.Struct) -> Document:
        """Create or replace an object; the server gives version and, when it is new, uid."""
        document = json.loads(json.dumps(to_wire(obj) if isinstance(obj, msgspec.Struct) else obj))
        with self._changed:
            return self._store(collection, document)

    def remove(self, collection: str, key: str) -> None:
        """Delete the object ``namespace/name`` (or ``name``)."""
        with self._changed:
            document = dict(self._collections[collection].pop(key))
            document["metadata"] = {**document["metadata"], "resourceVersion": self._next_version()}
            self._record(collection, "DELETED", document)

    def swap(self, collection: str, *objects: Document | msgspec.Struct) -> None:
        """Replace all objects by others and end all watches, without a word about the changes."""
        with self._changed:
            self._collections[collection] = {}
            watches, self._watches = self._watches, set()
            for obj in objects:
                self.put(collection, obj)
            self._history.clear()
            self._oldest = 0
            self._watches = watches
            self.end_watches()

    def objects(self, collection: str) -> dict[str, Document]:
        """Give the objects of a collection by key."""
        with self._changed:
            return dict(self._collections.get(collection, {}))

    # What tests do to the server.

    def fail_next(
        self, answer: Answer, *, method: str = "", path: str = "", times: int = 1, query: str = ""
    ) -> None:
        """Answer the next *times* matching requests so; *path* and *query* (a key) may be empty."""

        def matches(request: RecordedRequest) -> bool:
            return (
                (not method or request.method == method)
                and request.path.startswith(path)
                and (not query or query in request.query)
            )

        with self._changed:
            self._failures += [(matches, answer)] * times

    def compact(self) -> None:
        """Forget all past changes: a watch from before now is told 410."""
        with self._changed:
            self._history.clear()
            self._oldest = self._version

    def advance(self, n: int = 1) -> None:
        """Let versions pass, as changes to other collections do."""
        with self._changed:
            self._version += n

    def bookmark(self, collection: str) -> None:
        """Send a bookmark to the watches of *collection*."""
        meta = {"resourceVersion": str(self._version)}
        self.send(collection, {"type": "BOOKMARK", "object": {"metadata": meta}})

    def send(self, collection: str, line: Document | bytes) -> None:
        """Send any line to the watches of *collection*."""
        encoded = line if isinstance(line, bytes) else json.dumps(line).encode()
        with self._changed:
            for watch in self._watches:
                if watch.collection == collection:
                    watch.lines.append(encoded)
            self._changed.notify_all()

    def end_watches(self, how: Literal["clean", "cut"] = "clean") -> None:
        """End all watches, as after their timeout, or as when a cable is pulled."""
        with self._changed:
            for watch in self._watches:
                watch.ending = how
            self._changed.notify_all()

    def stop(self) -> None:
        """Stop listening and cut all connections."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._http.stop()

    def restart(self, *, forget: bool = False) -> None:
        """Stop, and start again on the same port.

        Args:
            forget: Lose all objects, and begin to count versions anew.
        """
        self.stop()
        with self._changed:
            self._is_stopped = False
            self._failures.clear()
            if forget:
                self._collections.clear()
                self._version = 0
                self._history.clear()
                self._oldest = 0
        self._http = _HttpServer(self, port=self.port)
        self._http.start()

    def wait_for_watch(self, collection: str, *, n_earlier: int = 0) -> None:
        """Wait until a watch of *collection* is open, and more than *n_earlier* ever were asked."""
        self.wait_for(
            lambda: (
                any(w.collection == collection and not w.ending for w in self._watches)
                and self.n_watches(collection) > n_earlier
            )
        )

    def wait_for_informer(self, collection: str, *, n_earlier: int = 0) -> None:
        """Wait for a watch, and for the look at the server by which an informer trusts it."""
        self.wait_for_watch(collection, n_earlier=n_earlier)

        def is_trusted() -> bool:
            asked = [r for r in self.requests if r.path == collection]
            return asked[-1].query.get("limit") == "1"

        self.wait_for(is_trusted)

    def wait_for(self, condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Wait for something about this server to become true."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), f"not within {timeout_s} s"

    def n_watches(self, collection: str) -> int:
        """Count the watches that were ever asked for."""
        return sum(r.path == collection and "watch" in r.query for r in list(self.requests))

    def n_lists(self, collection: str) -> int:
        """Count the lists that were ever asked for, but for looks at a single object."""
        return sum(
            r.path == collection
            and r.method == "GET"
            and not {"watch", "continue"} & set(r.query)
            and r.query.get("limit") != "1"
            for r in list(self.requests)
        )

    # What the server does.

    def answer(self, request: RecordedRequest) -> "Answer | Iterator[bytes]":
        """Answer a request: at once, or line by line for a watch."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            for i, (matches, answer) in enumerate(self._failures):
                if matches(request):
                    del self._failures[i]
                    return answer
            if self.token not in (None, request.headers.get("Authorization", "")[7:]):
                return refusal(401, "Unauthorized", reason="Unauthorized")
            match = _PATH.fullmatch(request.path)
            if match is None:
                return refusal(404, "the server could not find the requested resource")
            return self._dispatch(match, request)

    def _dispatch(
        self, match: re.Match[str], request: RecordedRequest
    ) -> "Answer | Iterator[bytes]":
        collection = f"{match['api']}/{match['resource']}"
        namespace, name = match["namespace"], match["name"]
        if name is not None:
            key = f"{namespace}/{name}" if namespace else name
            return self._act(collection, key, match["sub"], request)
        if request.method != "GET":
            return self._create(collection, namespace, request)
        if "watch" in request.query:
            return self._open_watch(collection, namespace, request)
        return self._list(collection, namespace, request)

    def _create(self, collection: str, namespace: str | None, request: RecordedRequest) -> Answer:
        document = request.json
        meta = document["metadata"]
        if namespace:
            meta["namespace"] = namespace
        meta.setdefault("name", f"{meta.get('generateName', '')}{self._version}")
        if _key(document) in self._collections.get(collection, {}):
            return refusal(409, f'"{meta["name"]}" already exists', reason="AlreadyExists")
        return _ok(self._store(collection, document), status=201)

    def _act(self, collection: str, key: str, sub: str | None, request: RecordedRequest) -> Answer:
        current = self._collections.get(collection, {}).get(key)
        if current is None:
            return refusal(404, f'"{key}" not found', reason="NotFound")
        document = json.loads(json.dumps(current))
        if request.method == "DELETE" or sub == "eviction":
            self.remove(collection, key)
        elif sub == "binding":
            if document["spec"].get("nodeName"):
                return refusal(409, f"pod {key} is already assigned", reason="Conflict")
            document["spec"]["nodeName"] = request.json["target"]["name"]
            return _ok(self._store(collection, document), status=201)
        elif request.method == "PATCH":
            document = self._store(collection, _merged(document, request.json))
        elif request.method == "PUT":
            wanted = request.json["metadata"].get("resourceVersion")
            if wanted and wanted != document["metadata"]["resourceVersion"]:
                return refusal(409, "the object has been modified", reason="Conflict")
            document = self._store(collection, request.json)
        return _ok(document)

    def _list(self, collection: str, namespace: str | None, request: RecordedRequest) -> Answer:
        items = sorted(
            (key, document)
            for key, document in self._collections.get(collection, {}).items()
            if namespace is None or document["metadata"].get("namespace") == namespace
        )
        version, after = self._version, ""
        if "continue" in request.query:
            version, after = json.loads(request.query["continue"])
            if version < self._oldest or version > self._version:
                message = "The provided continue parameter is too old"
                return refusal(410, message, reason="Expired")
        limit = int(request.query.get("limit", 0)) or len(items)
        rest = [(key, document) for key, document in items if key > after]
        page, more = rest[:limit], rest[limit:]
        meta: Document = {"resourceVersion": str(version)}
        if more:
            meta["continue"] = json.dumps([version, page[-1][0]])
        return _ok({"metadata": meta, "items": [document for _, document in page]})

    def _open_watch(
        self, collection: str, namespace: str | None, request: RecordedRequest
    ) -> "Answer | Iterator[bytes]":
        since = int(request.query.get("resourceVersion") or 0)
        if since > self._version and self.future == "error":
            message = f"Too large resource version: {since}, current: {self._version}"
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            document = status_document(504, message, reason="Timeout", causes=[cause])
            return Answer(504, json.dumps(document).encode(), {"Retry-After": "0"})
        watch = _Watch(collection, namespace)
        if since < self._oldest or (since > self._version and self.future == "gone"):
            expired = status_document(410, f"too old resource version: {since}", reason="Expired")
            watch.lines.append(json.dumps({"type": "ERROR", "object": expired}).encode())
            watch.ending = "clean"
        for change in self._history:
            if change.version > since:
                self._offer(watch, change)
        self._watches.add(watch)
        self._changed.notify_all()
        return self._lines_of(watch)

    def _lines_of(self, watch: _Watch) -> Iterator[bytes]:
        try:
            ending = ""
            while not ending:
                with self._changed:
                    self._changed.wait_for(lambda: watch.lines or watch.ending or self._is_stopped)
                    lines = list(watch.lines)
                    watch.lines.clear()
                    ending = "cut" if self._is_stopped else watch.ending
                if ending == "cut":
                    raise ConnectionAbortedError
                yield from lines
        finally:
            with self._changed:
                self._watches.discard(watch)

    def _store(self, collection: str, document: Document) -> Document:
        key = _key(document)
        objects = self._collections.setdefault(collection, {})
        old = objects.get(key)
        meta = document["metadata"]
        meta["resourceVersion"] = self._next_version()
        if old is not None:
            meta["uid"] = old["metadata"]["uid"]
        else:
            self._n_uids += 1
            meta["uid"] = f"uid-{self._n_uids}"
        objects[key] = document
        self._record(collection, "ADDED" if old is None else "MODIFIED", document)
        return document

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _record(self, collection: str, kind: str, document: Document) -> None:
        change = _Change(self._version, collection, kind, document)
        self._history.append(change)
        for watch in self._watches:
            self._offer(watch, change)
        self._changed.notify_all()

    def _offer(self, watch: _Watch, change: _Change) -> None:
        namespace = change.document["metadata"].get("namespace")
        if watch.collection != change.collection or watch.namespace not in (None, namespace):
            return
        event = {"type": change.kind, "object": change.document}
        watch.lines.append(json.dumps(event).encode())


def _key(document: Document) -> str:
    meta = document["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def _ok(document: Document, *, status: int = 200) -> Answer:
    return Answer(status, json.dumps(document).encode())


def _merged(base: Any, patch: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(patch, dict):
        return patch
    merged = {**base, **{k: _merged(base.get(k), v) for k, v in patch.items()}}
    return {k: v for k, v in merged.items() if v is not None}


class _HttpServer(ThreadingHTTPServer):
    """Serves a ``FakeApiServer``; stopping it cuts all connections and waits for their threads."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, api: FakeApiServer, *, port: int) -> None:
        self.api = api
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.socket.close()
        with self._connections_lock:
            for connection in self._connections:
                _cut(connection)
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        context = self.api.ssl_context
        if context is None:
            super().finish_request(request, client_address)
            return
        # The handshake belongs here, in the connection's own thread. Whoever does not trust us, or
        # whom we do not, ends it.
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(request, server_side=True) as secured,
        ):
            with self._connections_lock:
                self._connections.add(secured)
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent about clients that are gone, as many are here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the client was faster
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _HttpServer

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        url = urlsplit(self.path)
        request = RecordedRequest(
            method=self.command,
            path=url.path,
            query={key: values[0] for key, values in parse_qs(url.query).items()},
            headers=dict(self.headers.items()),
            body=self.rfile.read(length),
        )
        try:
            answer = self.server.api.answer(request)
            if isinstance(answer, Answer):
                self._send(answer)
            else:
                self._send_lines(answer)
        except ConnectionError:
            self.close_connection = True
            _cut(self.connection)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 (as above)

    def _send(self, answer: Answer) -> None:
        time.sleep(answer.delay_s)
        if answer.status is None:
            raise ConnectionAbortedError
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def _send_lines(self, lines: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def send_response(self, code: int, message: str | None = None) -> None:
        self.send_response_only(code, message)
        api = self.server.api
        if api.sends_date:
            self.send_header("Date", formatdate(api.date_s, usegmt=True))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class names it so)
        pass
