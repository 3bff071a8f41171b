"""Keeps a copy of one resource, and tells of every change exactly once.

Theory of operation. The informer lists everything, compares the list with its copy and tells the
differences; then it watches from the list's version on. When a watch ends, the next one resumes
from the last version seen. Once a watch is open, a look at the server shows whether it still tells
the same story: one that was restarted without its data, or restored from a backup, may well
accept our version and mean another thing by it; from then on a restart would cut the watch. In any
doubt, and whenever the server could not be reached, the informer lists anew: since a list is told
as differences, that is only slower, never wrong.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, TypeVar

import msgspec

from kube.backoff import Backoff
from kube.client import Client, Params
from kube.decoding import decode_list, decode_object
from kube.edge.logs import facts
from kube.errors import GoneError, KubeError, NotFoundError, ThrottledError, UnavailableError
from kube.objects import KubeObject, ObjectMeta
from kube.status import Status
from kube.stream import Stream

log = logging.getLogger(__name__)

T = TypeVar("T", bound=KubeObject)

_WATCH_MIN_S: Final = 300.0
_WATCH_MAX_S: Final = 600.0
_MAX_WAIT_S: Final = 10.0
"""Few of us ask one server, so they may ask again soon after it is back."""
_OPTIONAL_S: Final = 60.0
"""How often to look for a collection that the server does not serve."""
_TOO_SHORT_S: Final = 1.0
"""A watch that ends sooner, without an event, counts as a failure."""


@dataclass(frozen=True, slots=True)
class Added(Generic[T]):
    """An object that was not there."""

    obj: T


@dataclass(frozen=True, slots=True)
class Modified(Generic[T]):
    """The same object (by uid) in another state."""

    old: T
    new: T


@dataclass(frozen=True, slots=True)
class Deleted(Generic[T]):
    """An object that is gone, or no longer selected, in its last known state."""

    old: T


@dataclass(frozen=True, slots=True)
class Synced:
    """All that a list held has been told. Comes after the first list and after each later one."""


Event = Added[T] | Modified[T] | Deleted[T] | Synced


class _WatchEvent(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Versioned(msgspec.Struct, frozen=True):
    """As much of a bookmark as matters."""

    metadata: ObjectMeta


class Informer(Generic[T]):
    """Lists and watches one resource in a thread of its own.

    ``on_event`` is called in that thread, one event at a time, after the store has changed. If it
    raises, the informer stops for good: ``is_alive`` turns false and ``failure`` says why, for a
    consumer that missed an event would be wrong from then on without knowing it.

    Args:
        client: Where to ask.
        path: The collection, such as ``/api/v1/pods``.
        object_type: What the collection holds.
        on_event: Is told of every change.
        params: Selectors.
        stop: Ends the informer; call ``join`` after setting it.
        rng: Where chance comes from.
        quiet_s: After how long a silence a watch is taken for dead and resumed, in seconds. API
            servers send a bookmark about once a minute.
        is_optional: A collection that the server does not serve is empty, not an outage: custom
            resources may be defined later, or never.
    """

    def __init__(  # noqa: PLR0913 (each is a thing of its own, and all but two have one caller each)
        self,
        client: Client,
        path: str,
        object_type: type[T],
        *,
        on_event: Callable[[Event[T]], None],
        params: Params | None = None,
        stop: threading.Event,
        rng: random.Random,
        quiet_s: float = 90.0,
        is_optional: bool = False,
    ) -> None:
        self._client = client
        self._is_optional = is_optional
        self._path = path
        self._object_type = object_type
        self._on_event = on_event
        self._params = dict(params or {})
        self._stop = stop
        self._rng = rng
        self._quiet_s = quiet_s
        self._backoff = Backoff(rng, max_s=_MAX_WAIT_S)
        self._store: dict[str, T] = {}
        self._version: str | None = None
        self._synced = threading.Event()
        self._contact_at_s: float | None = None
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._run_logged, name=f"watch {path}", daemon=True)
        self.failure: Exception | None = None

    @property
    def store(self) -> Mapping[str, T]:
        """The copy, by ``metadata.key``; for look-ups only, since it changes under iteration."""
        return MappingProxyType(self._store)

    def snapshot(self) -> dict[str, T]:
        """Copy the store as it is at this moment, to iterate over it in another thread."""
        return self._store.copy()

    @property
    def is_synced(self) -> bool:
        """Whether the first list has been told."""
        return self._synced.is_set()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def last_contact_s(self) -> float:
        """How long ago the server last said anything, in seconds; infinite if it never did.

        While nothing changes, up to ``quiet_s`` is no cause for concern.
        """
        if self._contact_at_s is None:
            return float("inf")
        return time.monotonic() - self._contact_at_s

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread.start()

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait for the first list to be told; tell whether it was."""
        return self._synced.wait(timeout_s)

    def join(self, timeout_s: float = 5.0) -> None:
        """Wait for the thread to end; when stopped, do not wait for its watch."""
        deadline_s = time.monotonic() + timeout_s
        while self._thread.is_alive() and time.monotonic() < deadline_s:
            stream = self._stream
            if self._stop.is_set() and stream is not None:
                stream.close()
            # A watch may be opened just after this look at it, hence the short rounds.
            self._thread.join(min(0.05, timeout_s))

    def run(self) -> None:
        """List and watch until stopped. What ``on_event`` raises ends it."""
        while not self._stop.is_set():
            try:
                if self._version is None:
                    self._version = self._list()
                self._watch(self._version)
            except KubeError as error:
                if self._is_optional and isinstance(error, NotFoundError):
                    self._do_without()
                else:
                    self._recover(error)

    def _run_logged(self) -> None:
        try:
            self.run()
        except Exception as error:  # a handler's; the thread ends, and is seen to have failed
            log.exception("informer failed", extra=facts(path=self._path))
            self.failure = error

    def _recover(self, error: KubeError) -> None:
        """Wait, and list anew, unless the server merely asked to wait."""
        at_least_s = 0.0
        if isinstance(error, ThrottledError):
            at_least_s = error.retry_after_s
        else:
            self._version = None
        delay_s = self._backoff.next_delay_s(at_least_s=at_least_s)
        log.warning(
            "watch interrupted",
            extra=facts(path=self._path, error=str(error), retry_in_s=round(delay_s, 2)),
        )
        self._stop.wait(delay_s)

    def _do_without(self) -> None:
        """Take the collection for empty, and look again in a while."""
        self._version = None
        for key in list(self._store):
            self._remove(key)
        self._contact_at_s = time.monotonic()
        if not self._synced.is_set():
            self._tell(Synced())
            self._synced.set()
        self._stop.wait(self._rng.uniform(0.5, 1.5) * _OPTIONAL_S)

    def _is_same_story(self, version: str) -> bool:
        """Look whether the server is still where it was, or further on, and not elsewhere."""
        answer = self._client.get(self._path, params={**self._params, "limit": 1})
        self._contact_at_s = time.monotonic()
        page = decode_list(answer, self._object_type)
        if _is_older(page.metadata.resource_version, than=version):
            return False
        if not page.items:
            return not self._store
        first = page.items[0]
        known = self._store.get(first.metadata.key)
        if known is None or known.metadata.uid != first.metadata.uid:
            return False
        return known == first or _is_older(version, than=first.metadata.resource_version)

    def _list(self) -> str:
        """List everything, tell the differences, and give the list's version."""
        items, version = self._client.list_objects(
            self._path, self._object_type, params=self._params
        )
        self._contact_at_s = time.monotonic()
        fresh = {item.metadata.key: item for item in items}
        # Deletions first, so that nobody sees more than there ever was.
        for key in [key for key in self._store if key not in fresh]:
            self._remove(key)
        for key, item in fresh.items():
            self._put(key, item)
        self._tell(Synced())
        self._synced.set()
        return version

    def _watch(self, version: str) -> None:
        """Follow the changes from *version* on until the watch ends.

        Raises:
            GoneError: The server no longer knows the version, or says odd things.
        """
        params: Params = {
            **self._params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            # Spread out, so that the watches of a fleet do not end at the same time.
            "timeoutSeconds": round(self._rng.uniform(_WATCH_MIN_S, _WATCH_MAX_S)),
        }
        opened_at_s = time.monotonic()
        with self._client.stream(self._path, params=params, read_timeout_s=self._quiet_s) as stream:
            self._stream = stream
            try:
                if not self._is_same_story(version):
                    raise GoneError("the server is not where it was")
                n_events = self._follow(stream)
            finally:
                self._stream = None
        if n_events == 0 and time.monotonic() - opened_at_s < _TOO_SHORT_S:
            self._stop.wait(self._backoff.next_delay_s())

    def _follow(self, stream: Stream) -> int:
        """Take in all events of a watch; tell how many there were."""
        n_events = 0
        try:
            for line in stream:
                if self._stop.is_set():
                    break
                self._contact_at_s = time.monotonic()
                self._take(line)
                self._backoff.reset()
                n_events += 1
        except UnavailableError as error:
            log.info("watch broke", extra=facts(path=self._path, error=str(error)))
        return n_events

    def _take(self, line: bytes) -> None:
        """Take in one event of a watch.

        Raises:
            GoneError: The event says that the version is gone, or makes no sense.
        """
        try:
            event = decode_object(line, _WatchEvent)
            match event.type:
                case "ADDED" | "MODIFIED" | "DELETED":
                    item = decode_object(event.object, self._object_type)
                    self._advance(item.metadata)
                    self._apply(event.type, item)
                case "BOOKMARK":
                    self._advance(decode_object(event.object, _Versioned).metadata)
                case "ERROR":
                    status = decode_object(event.object, Status)
                    raise GoneError(f"the watch failed: {status.code} {status.message}")
                case _:
                    raise GoneError(f"unknown type of event {event.type!r}")
        except UnavailableError as error:
            # To skip an event that cannot be read could lose a change.
            raise GoneError(f"watch is of no more use: {error}") from error

    def _advance(self, meta: ObjectMeta) -> None:
        version = self._version or ""
        if _is_older(meta.resource_version, than=version):
            raise GoneError(f"the watch went back from {version} to {meta.resource_version}")
        self._version = meta.resource_version or self._version

    def _apply(self, kind: str, item: T) -> None:
        key = item.metadata.key
        if kind != "ADDED" and key not in self._store:
            raise GoneError(f"the watch tells of {kind} {key}, but never told that it was there")
        if kind == "DELETED":
            self._remove(key, last=item)
        else:
            self._put(key, item)

    def _put(self, key: str, item: T) -> None:
        old = self._store.get(key)
        if old == item:
            return
        if old is not None and old.metadata.uid != item.metadata.uid:
            self._remove(key)
            old = None
        self._store[key] = item
        self._tell(Added(item) if old is None else Modified(old, item))

    def _remove(self, key: str, *, last: T | None = None) -> None:
        """Drop an object; *last* is a later state of it than the one in the store."""
        old = self._store.pop(key)
        is_later = last is not None and last.metadata.uid == old.metadata.uid
        self._tell(Deleted(last if last is not None and is_later else old))

    def _tell(self, event: Event[T]) -> None:
        try:
            self._on_event(event)
        except KubeError as error:
            # Not to be taken for a failure of the watch.
            raise RuntimeError("an event handler failed") from error


def _is_older(version: str, *, than: str) -> bool:
    """Compare versions, which are numbers that grow; what is no number is not older."""
    return version.isdigit() and than.isdigit() and int(version) < int(than)
