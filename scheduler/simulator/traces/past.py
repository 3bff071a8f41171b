"""What a collector remembers, by its HTTP interface: placements of pods, and past usage."""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Self, TypeVar
from urllib.parse import quote

import msgspec
import requests
from msgspec import Meta

_TIMEOUT_S: Final = 30.0
_STEP_S: Final = 300
_POINTS_A_CALL: Final = 10_000
_PAGE: Final = 1000
_MAX_PLACEMENTS: Final = 1_000_000

Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Amount = Annotated[int, Meta(ge=0)]
Time = Annotated[float, Meta(ge=0, le=10**11)]
T = TypeVar("T")


class PastError(Exception):
    """The collector does not answer, or not as a collector does: an outage is no empty past."""


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer; what else is in it is ignored."""


class PastOutcome(_Answer, frozen=True, kw_only=True):
    """When a placement was decided upon."""

    decided_at_s: Time


class PastPlacement(_Answer, frozen=True, kw_only=True):
    """A pod that was given a node."""

    id: int
    pod_uid: Text
    pod_namespace: Text
    pod_name: Text
    workload: Annotated[str, Meta(pattern=r"^[^/]+/[^/]+/[^/]+$", max_length=1024)]
    """``namespace/kind/name``."""
    node: Text
    cpu_milli: Amount
    """Requested; so is memory."""
    memory_bytes: Amount
    placed_at_s: Time
    created_at_s: Time | None = None
    ended_at_s: Time | None = None
    outcome: PastOutcome | None = None


class _Problem(_Answer, frozen=True, kw_only=True):
    title: str


class _Placements(_Answer, frozen=True, kw_only=True):
    items: list[PastPlacement]
    next_since: int


class _Mean(_Answer, frozen=True, kw_only=True):
    mean: Annotated[float, Meta(ge=0)]


class UsagePoint(_Answer, frozen=True, kw_only=True):
    """Mean usage within five minutes: millicores and bytes."""

    start_s: Time
    cpu_milli: _Mean
    memory_bytes: _Mean


class _History(_Answer, frozen=True, kw_only=True):
    points: list[UsagePoint]


class _Node(_Answer, frozen=True, kw_only=True):
    name: str


class _Nodes(_Answer, frozen=True, kw_only=True):
    items: list[_Node]


class Past:
    """Asks a collector; a context manager.

    Args:
        url: Where it is.

    Raises:
        PastError: It does not answer, or not as it should; so for all methods.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # the collector is never behind a proxy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def node_names(self) -> set[str]:
        """Name the nodes that it watches; one that has not seen the cluster yet gives none."""
        return {node.name for node in self._get("/api/v1/nodes", _Nodes).items}

    def placements(self) -> Iterator[PastPlacement]:
        """Read all placements, oldest first; one that was decided meanwhile comes twice.

        Raises:
            PastError: Besides, there is no end of them.
        """
        since = n_read = 0
        while True:
            page = self._get("/api/v1/placements", _Placements, since=since, limit=_PAGE)
            yield from page.items
            n_read += len(page.items)
            if n_read > _MAX_PLACEMENTS:
                raise PastError(
                    f"{self._url}: it tells of more than {_MAX_PLACEMENTS:,} placements"
                )
            if not page.items or page.next_since <= since:
                return
            since = page.next_since

    def node_usage(self, name: str, *, start_s: int, end_s: int) -> Iterator[UsagePoint]:
        """Read what a node used between two times, whole seconds."""
        return self._usage(f"/api/v1/nodes/{quote(name, safe='')}/history", start_s, end_s)

    def workload_usage(self, key: str, *, start_s: int, end_s: int) -> Iterator[UsagePoint]:
        """Read what each replica of a workload (``namespace/kind/name``) used."""
        return self._usage(f"/api/v1/workloads/{quote(key)}/history", start_s, end_s)

    def _usage(self, path: str, start_s: int, end_s: int) -> Iterator[UsagePoint]:
        for from_s in range(start_s, end_s, _STEP_S * _POINTS_A_CALL):
            until_s = min(end_s, from_s + _STEP_S * _POINTS_A_CALL)
            answer = self._find(path, _History, start=from_s, end=until_s, step=_STEP_S)
            yield from () if answer is None else answer.points

    def _get(self, path: str, kind: type[T], **query: Any) -> T:
        answer = self._find(path, kind, **query)
        if answer is None:
            raise PastError(f"{self._url}{path}: 404, so this is no collector")
        return answer

    def _find(self, path: str, kind: type[T], **query: Any) -> T | None:
        """Read an answer; ``None``: of that, nothing is known.

        Raises:
            PastError: It is none.
        """
        url = f"{self._url}{path}"
        try:
            answer = self._session.get(url, params=query, timeout=_TIMEOUT_S)
            if answer.status_code == 404:
                problem = msgspec.json.decode(answer.content, type=_Problem)
                if problem.title.startswith("Unknown "):
                    return None
            if answer.status_code != 200:
                raise PastError(f"{url}: {answer.status_code} {answer.text[:200]}")
            return msgspec.json.decode(answer.content, type=kind)
        except requests.RequestException as error:
            raise PastError(f"{url}: {error}") from error
        except (msgspec.DecodeError, LookupError, UnicodeDecodeError) as error:
            raise PastError(f"{url}: not a collector's answer: {error}") from error
