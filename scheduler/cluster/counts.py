"""Figures that the engine keeps itself, shown as they were at the end of its last turn."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class EngineCounts(Collector):
    """Numbers by their labels, replaced all at once.

    Args:
        name: As Prometheus shows it; a counter's without ``_total``.
        documentation: Its help.
        labels: Their names.
        type: Whether they only grow.
        registry: Where it is registered.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        *,
        type: Literal["counter", "gauge"],  # noqa: A002 (the word of the exposition format)
        registry: CollectorRegistry,
    ) -> None:
        # Written by one thread, read by another: it is replaced, never changed.
        self._numbers: tuple[tuple[Sequence[str], float], ...] = ()
        self._name = name
        self._documentation = documentation
        self._labels = tuple(labels)
        self._family = _FAMILIES[type]
        registry.register(self)

    def show(self, numbers: Iterable[tuple[Sequence[str], float]]) -> None:
        """Show *numbers*, with the values of their labels, from now on."""
        self._numbers = tuple(numbers)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Show the numbers."""
        family = self._family(self._name, self._documentation, labels=self._labels)
        for labels, number in self._numbers:
            family.add_metric(labels, number)
        yield family
