"""Usage from the collector: the last sample of each node, and mean and deviation over a window."""

from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from scheduler.cluster.usage.peer import Peer
from scheduler.cluster.usage.source import MAX_AGE_S, UsageError, whole
from scheduler.events import NodesMeasured
from scheduler.model import Usage, UsageWindow


class _Window(msgspec.Struct, frozen=True):
    start_s: float
    end_s: float
    cpu_mean_milli: float
    memory_mean_bytes: float
    cpu_std_milli: float | None = None
    memory_std_bytes: float | None = None


class _Node(msgspec.Struct, frozen=True):
    name: str
    usage_cpu_milli: int | None = None
    usage_memory_bytes: int | None = None
    sampled_at_s: float | None = None
    window: _Window | None = None


class _Metrics(msgspec.Struct, frozen=True):
    """As much of the answer as is needed here."""

    nodes: list[_Node]


_METRICS: Final = msgspec.json.Decoder(_Metrics)


class CollectorSource:
    """Asks ``GET /api/v1/metrics``.

    Args:
        url: Where the collector listens.
        timeout_s: How long a whole answer may take.
        window_s: Over which time mean and deviation are taken.
        now_s: The cluster's time, Unix seconds, which samples are dated by.
    """

    nothing: ClassVar[NodesMeasured] = NodesMeasured({})

    def __init__(
        self, url: str, *, timeout_s: float, window_s: float, now_s: Callable[[], float]
    ) -> None:
        self._peer = Peer(
            "the collector",
            url=url.rstrip("/") + "/api/v1/metrics",
            parameters={"window": f"{window_s:g}"},
            timeout_s=timeout_s,
        )
        self._now_s = now_s

    def measure(self) -> NodesMeasured:
        """Ask for all nodes' usage; one whose sample is old is left out.

        Raises:
            UsageError: The collector does not answer, or is not ready, or talks nonsense.
        """
        return read_metrics(self._peer.ask(), now_s=self._now_s())

    def close(self) -> None:
        """Close the connections."""
        self._peer.close()


def read_metrics(body: bytes, *, now_s: float) -> NodesMeasured:
    """Read the collector's answer.

    Args:
        body: JSON.
        now_s: The cluster's time, Unix seconds.

    Raises:
        UsageError: It is not what a collector says.
    """
    try:
        metrics = _METRICS.decode(body)
    except msgspec.DecodeError as error:
        raise UsageError(f"the collector's answer is malformed: {error}") from error
    usage: dict[str, Usage] = {}
    windows: dict[str, UsageWindow] = {}
    for node in metrics.nodes:
        latest = _usage(node.usage_cpu_milli, node.usage_memory_bytes)
        at_s = node.sampled_at_s
        if latest is None or at_s is None or at_s < now_s - MAX_AGE_S:
            continue
        usage[node.name] = latest
        window = None if node.window is None else _window(node.window)
        # By the window it is told which pods are too new to be seen.
        windows[node.name] = window or UsageWindow(latest, None, at_s, at_s)
    return NodesMeasured(usage, windows)


def _window(window: _Window) -> UsageWindow | None:
    mean = _usage(window.cpu_mean_milli, window.memory_mean_bytes)
    std = _usage(window.cpu_std_milli, window.memory_std_bytes)
    return None if mean is None else UsageWindow(mean, std, window.start_s, window.end_s)


def _usage(cpu_milli: float | None, memory_bytes: float | None) -> Usage | None:
    cpu = None if cpu_milli is None else whole(cpu_milli)
    memory = None if memory_bytes is None else whole(memory_bytes)
    return None if cpu is None or memory is None else Usage(cpu, memory)
