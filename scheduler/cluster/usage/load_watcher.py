"""Usage from a load-watcher: mean and deviation over a window, in percent of each machine."""

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final

import msgspec

from scheduler.cluster.usage.peer import Peer
from scheduler.cluster.usage.source import MAX_AGE_S, UsageError
from scheduler.events import UtilizationMeasured
from scheduler.model import Utilization

_MAX_PERCENT: Final = 1_000.0
"""More is no measurement; a little over 100 is, where clocks differ."""

_MEAN: Final = ("AVG", "Latest")
"""Operators, the better one first."""
_DEVIATION: Final = ("STD",)


class _Metric(msgspec.Struct, frozen=True):
    type: str = ""
    operator: str = ""
    value: float = -1.0
    """Percent."""


class _Node(msgspec.Struct, frozen=True):
    metrics: tuple[_Metric, ...] | None = ()


class _Window(msgspec.Struct, frozen=True):
    start: float
    """Unix seconds."""
    end: float


class _Nodes(msgspec.Struct, frozen=True):
    by_name: dict[str, _Node] | None = msgspec.field(name="NodeMetricsMap", default=None)


class _Answer(msgspec.Struct, frozen=True):
    """As much of the answer as is needed here."""

    window: _Window
    data: _Nodes


_ANSWER: Final = msgspec.json.Decoder(_Answer)


class LoadWatcherSource:
    """Asks ``GET /watcher``.

    Args:
        url: Where the load-watcher listens.
        timeout_s: How long a whole answer may take.
        now_s: The cluster's time, Unix seconds, which windows are dated by.
    """

    nothing: ClassVar[UtilizationMeasured] = UtilizationMeasured({}, {}, start_s=0.0, end_s=0.0)

    def __init__(self, url: str, *, timeout_s: float, now_s: Callable[[], float]) -> None:
        address = url.rstrip("/") + "/watcher"
        self._peer = Peer("the load-watcher", url=address, timeout_s=timeout_s)
        self._now_s = now_s

    def measure(self) -> UtilizationMeasured:
        """Ask for all nodes' usage.

        Raises:
            UsageError: The load-watcher does not answer, knows nothing, or nothing new, or talks
                nonsense.
        """
        return read_utilization(self._peer.ask(), now_s=self._now_s())

    def close(self) -> None:
        """Close the connections."""
        self._peer.close()


def read_utilization(body: bytes, *, now_s: float) -> UtilizationMeasured:
    """Read a load-watcher's answer; a node without figures of both is left out.

    Args:
        body: JSON.
        now_s: The cluster's time, Unix seconds.

    Raises:
        UsageError: It is not what a load-watcher says, or no longer true.
    """
    try:
        answer = _ANSWER.decode(body)
    except msgspec.DecodeError as error:
        raise UsageError(f"the load-watcher's answer is malformed: {error}") from error
    window = answer.window
    if window.end < now_s - MAX_AGE_S:
        raise UsageError(f"the load-watcher's figures are {now_s - window.end:.0f} s old")
    nodes = answer.data.by_name or {}
    means = _each(nodes, operators=_MEAN)
    if not means:
        raise UsageError("the load-watcher has figures of cpu and memory of no node")
    deviations = _each(nodes, operators=_DEVIATION)
    return UtilizationMeasured(means, deviations, start_s=window.start, end_s=window.end)


def _each(nodes: Mapping[str, _Node], *, operators: Iterable[str]) -> dict[str, Utilization]:
    found: dict[str, Utilization] = {}
    for name, node in nodes.items():
        told = {(m.type, m.operator): m.value for m in node.metrics or ()}
        cpu, memory = (_percent(told, kind, operators) for kind in ("CPU", "Memory"))
        if cpu is not None and memory is not None:
            found[name] = Utilization(cpu / 100.0, memory / 100.0)
    return found


def _percent(
    told: Mapping[tuple[str, str], float], kind: str, operators: Iterable[str]
) -> float | None:
    values = (told.get((kind, operator), -1.0) for operator in operators)
    return next((value for value in values if 0.0 <= value <= _MAX_PERCENT), None)
