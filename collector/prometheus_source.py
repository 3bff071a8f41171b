"""Samples from Prometheus, which scrapes the kubelets."""

from collections.abc import Callable, Iterable
from typing import Final

from collector.samples import (
    NodeSample,
    PodSample,
    SampleError,
    Usage,
    bytes_of,
    milli_of_cores,
    number_of,
)
from collector.settings import PrometheusSettings
from collector.sources import SourceError
from kube.edge.prometheus import InstantSeries, PrometheusApi, PrometheusError

_CONTAINER_LABELS: Final = ("namespace", "pod", "container")
_POD_LABELS: Final = ("namespace", "pod")

Key = tuple[str, ...]
"""The values of the labels that name a node, a pod or a container."""


class PrometheusSource:
    """The newest samples that Prometheus has of the kubelets' figures.

    Values are dated by the instant that they were measured at, not by that of the question: a
    kubelet that is no longer scraped is told by samples that grow old.

    Args:
        api: Whom to ask.
        settings: What to ask.
        now_s: The cluster's time, which is what kubelets date their figures by.
    """

    def __init__(
        self, api: PrometheusApi, *, settings: PrometheusSettings, now_s: Callable[[], float]
    ) -> None:
        self._api = api
        self._now_s = now_s
        self._label = settings.node_label
        self._window_s = float(settings.rate_window)
        self._settings = settings

    def fetch(self) -> Usage:
        """Ask for the newest samples of all nodes and pods.

        Raises:
            SourceError: Prometheus gives no usable answer, or has no figures of any node.
        """
        queries, reading = self._settings.queries, _Reading()
        at_s = self._now_s()

        def ask(query: str, labels: Key, parse: Callable[[str], float]) -> dict[Key, float]:
            text = complete(query, settings=self._settings, window_s=self._window_s)
            return reading.take(self._api.instant(text, at_s=at_s), labels=labels, parse=parse)

        try:
            node_figures = (
                ask(queries.node_cpu, (self._label,), milli_of_cores),
                ask(queries.node_memory, (self._label,), bytes_of),
                ask(queries.node_time, (self._label,), number_of),
            )
            figures = (
                ask(queries.container_cpu, _CONTAINER_LABELS, milli_of_cores),
                ask(queries.container_memory, _CONTAINER_LABELS, bytes_of),
                ask(queries.container_time, _CONTAINER_LABELS, number_of),
            )
            throttling = (
                ask(queries.throttling, _POD_LABELS, number_of) if queries.throttling else {}
            )
        except PrometheusError as error:
            # The watches go on without Prometheus, so that outcomes can still be told.
            raise SourceError(f"Prometheus: {error}", is_outage=False) from error
        nodes = tuple(_nodes(*node_figures))
        if not nodes:
            raise SourceError(
                "Prometheus has no figures of any node: does it scrape the kubelets, with the label"
                f" {self._label!r}, at least twice within {self._window_s:g} s?",
                is_outage=False,
            )
        pods = tuple(_pods(*figures, throttling=throttling, window_s=self._window_s))
        return Usage(nodes, pods, n_malformed=reading.n_malformed)


def complete(query: str, *, settings: PrometheusSettings, window_s: float) -> str:
    """Put the label and the window into a query."""
    window = f"{round(1000 * window_s)}ms"
    return query.replace("$window", window).replace("$node", settings.node_label)


class _Reading:
    """Reads vectors, and counts what is malformed in them."""

    def __init__(self) -> None:
        self.n_malformed = 0

    def take(
        self,
        vector: Iterable[InstantSeries],
        *,
        labels: Key,
        parse: Callable[[str], float],
    ) -> dict[Key, float]:
        """Read the values by the values of *labels*."""
        values = {}
        for series in vector:
            key = tuple(series.metric.get(label, "") for label in labels)
            value = parsed(series.value.text, parse=parse) if all(key) else None
            if value is None:
                self.n_malformed += 1
            else:
                values[key] = value
        return values


def parsed(text: str, *, parse: Callable[[str], float]) -> float | None:
    """Read a value; ``None`` if it is no amount."""
    try:
        return parse(text)
    except SampleError:
        return None


def _nodes(
    cpu: dict[Key, float], memory: dict[Key, float], at: dict[Key, float]
) -> Iterable[NodeSample]:
    # One that was scraped once has no rate yet.
    for key in cpu.keys() & memory.keys() & at.keys():
        yield NodeSample(key[0], at[key], int(cpu[key]), int(memory[key]))


def _pods(
    cpu: dict[Key, float],
    memory: dict[Key, float],
    at: dict[Key, float],
    *,
    throttling: dict[Key, float],
    window_s: float,
) -> Iterable[PodSample]:
    pods: dict[Key, list[Key]] = {}
    for key in memory.keys() & at.keys():
        pods.setdefault(key[:2], []).append(key)
    for pod, containers in pods.items():
        at_s = max(at[key] for key in containers)
        # Prometheus shows for some minutes what has ended, as init containers do.
        there = sorted(key for key in containers if at[key] > at_s - window_s)
        if not cpu.keys() >= set(there):
            continue  # One has no rate yet: the sum would be too small.
        yield PodSample(
            namespace=pod[0],
            name=pod[1],
            at_s=at_s,
            cpu_milli=sum(int(cpu[key]) for key in there),
            memory_bytes=sum(int(memory[key]) for key in there),
            containers_cpu_milli=tuple((key[2], int(cpu[key])) for key in there),
            throttled_ratio=throttling.get(pod),
        )
