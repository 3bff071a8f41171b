"""Watches: a stream of changes from a version on, one encoding shared by all watchers."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from scheduler.simulator import resources as r
from scheduler.simulator.apiserver.conversion import from_stored
from scheduler.simulator.apiserver.errors import (
    FieldError,
    InvalidError,
    VersionExpiredError,
    forbidden_field,
    unsupported,
)
from scheduler.simulator.apiserver.paging import check_not_ahead, parse_version
from scheduler.simulator.apiserver.reading import Reader
from scheduler.simulator.apiserver.representations import Form, negotiate
from scheduler.simulator.apiserver.requests import Request, Stream
from scheduler.simulator.apiserver.routes import Target
from scheduler.simulator.apiserver.selection import Selection
from scheduler.simulator.apiserver.settings import ApiServerSettings
from scheduler.simulator.apiserver.texts import (
    encode,
    head_text,
    object_text,
    partial_metadata,
    without_head,
)
from scheduler.simulator.history import Entry, TooOldError, Write, WriteKind
from scheduler.simulator.resources import Object, Resource
from scheduler.simulator.store import Store

_BOOKMARK_PERIOD_S = 60.0
_BOOKMARK_BEFORE_END_S = 2.0
_MIN_TIMEOUT_S = 1800.0
_INITIAL_EVENTS_END = {"k8s.io/initial-events-end": "true"}

_NODE_INFO = dict.fromkeys(
    (
        *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage"),
        *("containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion"),
        *("operatingSystem", "architecture"),
    ),
    "",
)
_NO_TEMPLATE: Object = {"metadata": {}, "spec": {"containers": None}}
_EMPTY: Mapping[str, Object] = {
    r.PODS.table: {"spec": {"containers": None}, "status": {}},
    r.NODES.table: {
        "spec": {},
        "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": _NODE_INFO},
    },
    r.NAMESPACES.table: {"spec": {}, "status": {}},
    r.LEASES.table: {"spec": {}},
    r.SERVICES.table: {"spec": {}, "status": {"loadBalancer": {}}},
    r.PVS.table: {"spec": {}, "status": {}},
    r.PVCS.table: {"spec": {"resources": {}}, "status": {}},
    r.DEPLOYMENTS.table: {
        "spec": {"selector": None, "template": _NO_TEMPLATE, "strategy": {}},
        "status": {},
    },
    r.REPLICASETS.table: {
        "spec": {"selector": None, "template": _NO_TEMPLATE},
        "status": {"replicas": 0},
    },
    r.PDBS.table: {
        "spec": {},
        "status": dict.fromkeys(
            ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0
        ),
    },
    r.REPLICATION_CONTROLLERS.table: {"spec": {}, "status": {"replicas": 0}},
    r.STATEFUL_SETS.table: {
        "spec": {"selector": None, "template": _NO_TEMPLATE, "updateStrategy": {}},
        "status": {"replicas": 0},
    },
    r.PRIORITY_CLASSES.table: {"value": 0},
    r.STORAGE_CLASSES.table: {"provisioner": ""},
    r.CSI_DRIVERS.table: {"spec": {}},
    r.CSI_NODES.table: {"spec": {"drivers": None}},
    r.CSI_STORAGE_CAPACITIES.table: {"storageClassName": ""},
    r.VOLUME_ATTACHMENTS.table: {
        "spec": {"attacher": "", "source": {}, "nodeName": ""},
        "status": {"attached": False},
    },
    r.DEVICE_CLASSES.table: {"spec": {}},
    r.RESOURCE_CLAIMS.table: {"spec": {"devices": {}}, "status": {}},
    r.RESOURCE_CLAIM_TEMPLATES.table: {"spec": {"metadata": {}, "spec": {"devices": {}}}},
    r.RESOURCE_SLICES.table: {
        "spec": {"driver": "", "pool": {"name": "", "generation": 0, "resourceSliceCount": 0}}
    },
}
"""What bookmarks of typed objects hold besides their metadata: fields never left out."""


class _Watcher:
    """One client's queue of event texts; cut off when it grows too long."""

    def __init__(self, limit: int) -> None:
        self.waiting: deque[bytes] = deque()
        self.is_over = False
        self._limit = limit
        self._wake = asyncio.Event()

    def put(self, text: bytes) -> None:
        if self.is_over:
            return
        if len(self.waiting) >= self._limit:
            self.waiting.clear()
            self.is_over = True
        else:
            self.waiting.append(text)
        self._wake.set()

    def end(self) -> None:
        self.is_over = True
        self._wake.set()

    async def wait(self, until_s: float) -> None:
        """Until there is something to send, or the loop's time has come."""
        now_s = asyncio.get_running_loop().time()
        if not self._wake.is_set() and until_s > now_s:
            try:
                async with asyncio.timeout(until_s - now_s):
                    await self._wake.wait()
            except TimeoutError:
                return
        self._wake.clear()

    def take(self) -> bytes:
        text = b"".join(self.waiting)
        self.waiting.clear()
        return text


@dataclass(frozen=True, slots=True)
class _Format:
    """How events are written for one client. Only plain objects share their texts."""

    resource: Resource
    write: Callable[[Object], Object] | None


class Watches:
    """Starts watches on a store, and ends them all on shutdown.

    Args:
        store: Where objects are kept.
        reader: Makes tables.
        settings: Queue size.
        drops_watch: Tells of the watch that a request began, after each event, whether it ends.
    """

    def __init__(
        self,
        store: Store,
        *,
        reader: Reader,
        settings: ApiServerSettings,
        drops_watch: Callable[[Request], bool],
    ) -> None:
        self._store = store
        self._reader = reader
        self._settings = settings
        self._drops_watch = drops_watch
        self._random = random.Random(settings.faults.seed)
        self._watchers: set[_Watcher] = set()
        self._is_closed = False

    @property
    def n_open(self) -> int:
        """How many clients watch now."""
        return len(self._watchers)

    @property
    def n_waiting(self) -> int:
        """How many events clients have yet to be sent."""
        return sum(len(watcher.waiting) for watcher in self._watchers)

    def close(self) -> None:
        """End all watches, and each one that is still to come."""
        self._is_closed = True
        for watcher in self._watchers:
            watcher.end()

    def start(self, target: Target, request: Request) -> Stream:
        """Begin to watch a collection, or one object of it.

        A version that is yet to come is waited for, unless the state at it is asked for, too.

        Raises:
            ApiError: The parameters make no sense.
        """
        representation = negotiate(request.accept)
        _check_watch_options(request)
        selection = Selection.of(request, target.resource, target.namespace)
        version = parse_version(request.query.get("resourceVersion", ""))
        if request.flag("sendInitialEvents"):
            check_not_ahead(version, version=self._store.version)
        timeout_s = request.number("timeoutSeconds")
        watcher = _Watcher(self._settings.watch_queue_size)
        write = self._writer(target.resource, request, representation.form)
        style = _Format(target.resource, write)
        begin = self._begin(watcher, selection, style, request=request, version=version)
        stop = self._follow(watcher, selection, style, request=request, after=version)
        self._watchers.add(watcher)
        if self._is_closed:
            watcher.end()

        def close() -> None:
            stop()
            self._watchers.discard(watcher)

        length_s = float(timeout_s) if timeout_s else _MIN_TIMEOUT_S * (1 + self._random.random())
        wants_bookmarks = request.flag("allowWatchBookmarks")
        parts = self._parts(watcher, begin, style, length_s, wants_bookmarks=wants_bookmarks)
        return Stream(parts=parts, close=close)

    # --- details

    def _begin(
        self,
        watcher: _Watcher,
        selection: Selection,
        style: _Format,
        *,
        request: Request,
        version: int,
    ) -> bytes:
        """The events that are due at once; an expired version ends the watch."""
        table = self._store.table(selection.resource)
        is_asked = "sendInitialEvents" in request.query
        if request.flag("sendInitialEvents") or (version == 0 and not is_asked):
            texts = [
                self._event("ADDED", entry, style)
                for entry in table.select(selection.namespace)
                if selection.admits_object(entry.obj)
            ]
            if is_asked and request.flag("allowWatchBookmarks"):
                texts.append(self._bookmark(style, _INITIAL_EVENTS_END))
            return b"".join(texts)
        if version == 0:
            return b""
        try:
            writes = table.since(version)
        except TooOldError as error:
            watcher.end()
            status = VersionExpiredError(
                f"too old resource version: {version} ({error.oldest})"
            ).status
            return _line("ERROR", encode(status))
        return b"".join(self._seen(write, selection, style) for write in writes)

    def _follow(
        self,
        watcher: _Watcher,
        selection: Selection,
        style: _Format,
        *,
        request: Request,
        after: int,
    ) -> Callable[[], None]:
        def tell(write: Write) -> None:
            if write.version <= after:
                return
            text = self._seen(write, selection, style)
            if text:
                watcher.put(text)
                if self._drops_watch(request):
                    watcher.end()

        return self._store.table(selection.resource).listen(tell)

    def _seen(self, write: Write, selection: Selection, style: _Format) -> bytes:
        """The event that a write is to this watch; empty when it is none."""
        before = write.previous is not None and selection.admits(write.previous)
        after = write.kind is not WriteKind.DELETED and selection.admits(write.entry)
        if not before and not after:
            return b""
        kind = "DELETED" if not after else "MODIFIED" if before else "ADDED"
        if style.write is None:
            key = f"{kind} {style.resource.api_version}"
            text = write.texts.get(key)
            if text is None:
                text = write.texts[key] = self._event(kind, _subject(write, kind), style)
            return text
        return self._event(kind, _subject(write, kind), style)

    def _event(self, kind: str, entry: Entry, style: _Format) -> bytes:
        if style.write is None:
            return _line(kind, object_text(entry, style.resource))
        return _line(kind, encode(style.write(entry.obj)))

    def _bookmark(self, style: _Format, annotations: Object | None = None) -> bytes:
        metadata: Object = {"resourceVersion": str(self._store.version)}
        if annotations:
            metadata["annotations"] = annotations
        if style.write is not None:
            shown = style.write({"metadata": metadata})
            return _line("BOOKMARK", encode(shown))
        body = {"metadata": metadata, **_EMPTY.get(style.resource.table, {})}
        text = encode(without_head(from_stored(style.resource, {"kind": "", **body})))
        return _line("BOOKMARK", head_text(style.resource) + text[1:])

    def _writer(
        self, resource: Resource, request: Request, form: Form
    ) -> Callable[[Object], Object] | None:
        if form is Form.OBJECT:
            return None
        if form is not Form.TABLE:
            return partial_metadata
        is_first = True

        def as_table(obj: Object) -> Object:
            nonlocal is_first
            version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            objects = [obj] if "name" in obj["metadata"] else []
            table = self._reader.table(resource, objects, version, request)
            if not is_first:
                table["columnDefinitions"] = None
            is_first = False
            return table

        return as_table

    async def _parts(
        self,
        watcher: _Watcher,
        begin: bytes,
        style: _Format,
        length_s: float,
        *,
        wants_bookmarks: bool,
    ) -> AsyncIterator[bytes]:
        now_s = asyncio.get_running_loop().time
        end_s = now_s() + length_s
        bookmark_s = _next_bookmark(now_s(), end_s) if wants_bookmarks else end_s
        # The first part goes out even when it is empty: it carries the headers.
        yield begin
        while not watcher.is_over and now_s() < end_s:
            await watcher.wait(min(end_s, bookmark_s))
            if text := watcher.take():
                yield text
            if now_s() >= bookmark_s and wants_bookmarks:
                yield self._bookmark(style)
                bookmark_s = _next_bookmark(now_s(), end_s)
        if text := watcher.take():
            yield text


def _next_bookmark(now_s: float, end_s: float) -> float:
    """Every minute, and once shortly before the end; a short watch gets none."""
    last_s = end_s - _BOOKMARK_BEFORE_END_S
    return min(now_s + _BOOKMARK_PERIOD_S, last_s) if last_s > now_s + 0.01 else float("inf")


def _subject(write: Write, kind: str) -> Entry:
    """What an event shows: an object that left is shown as it was, under the new version."""
    if kind != "DELETED":
        return write.entry
    was: Any = write.previous
    meta = {**was.obj["metadata"], "resourceVersion": str(write.version)}
    return Entry(was.key, write.version, {**was.obj, "metadata": meta})


def _line(kind: str, text: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), text)


def _check_watch_options(request: Request) -> None:
    errors: list[FieldError] = []
    match = request.query.get("resourceVersionMatch", "")
    sends_initial = "sendInitialEvents" in request.query
    at = "resourceVersionMatch"
    if sends_initial and match != "NotOlderThan":
        detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(forbidden_field(at, detail))
    if match:
        if not sends_initial:
            detail = (
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
            errors.append(forbidden_field(at, detail))
        if match != "NotOlderThan":
            errors.append(unsupported(at, match, ("NotOlderThan",)))
        if request.query.get("continue"):
            detail = "resourceVersionMatch is forbidden when continue is provided"
            errors.append(forbidden_field(at, detail))
    if errors:
        raise InvalidError("ListOptions", "meta.k8s.io", "", errors)
