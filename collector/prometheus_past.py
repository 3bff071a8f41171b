"""What Prometheus remembers of nodes' and pods' usage, by windows of five minutes."""

from typing import Final

from collector.prometheus_source import Key, complete, parsed
from collector.samples import bytes_of, milli_of_cores
from collector.settings import PrometheusSettings
from collector.windows import ROLLUP_S
from kube.edge.prometheus import PrometheusApi, RangeSeries

_POD_LABELS: Final = ("namespace", "pod")

Amounts = tuple[int, int]
"""Millicores and bytes."""
Windows = dict[int, dict[str, Amounts]]
"""Amounts by the window's start, then by name."""


class PrometheusPast:
    """Asks for what was.

    CPU is the mean over a window, memory the figure at its end: one value a window each, so of how
    usage varied within it nothing is known.

    Args:
        api: Whom to ask.
        settings: What to ask.
    """

    def __init__(self, api: PrometheusApi, *, settings: PrometheusSettings) -> None:
        self._api = api
        self._settings = settings

    def nodes(self, *, start_s: int, end_s: int) -> Windows:
        """Ask for nodes' usage in the windows from *start_s* to *end_s*, exclusive.

        Raises:
            PrometheusError: There is no usable answer.
        """
        queries, labels = self._settings.queries, (self._settings.node_label,)
        cpu = self._ask(queries.node_cpu, start_s=start_s, end_s=end_s)
        memory = self._ask(queries.node_memory, start_s=start_s, end_s=end_s)
        return _joined(cpu, memory, labels=labels)

    def pods(self, *, start_s: int, end_s: int) -> Windows:
        """Ask for pods' usage, by ``namespace/name``; as for nodes.

        Raises:
            PrometheusError: There is no usable answer.
        """
        queries = self._settings.queries
        by_pod = f"sum by ({', '.join(_POD_LABELS)}) (%s)"
        cpu = self._ask(by_pod % queries.container_cpu, start_s=start_s, end_s=end_s)
        memory = self._ask(by_pod % queries.container_memory, start_s=start_s, end_s=end_s)
        return _joined(cpu, memory, labels=_POD_LABELS)

    def _ask(self, query: str, *, start_s: int, end_s: int) -> list[RangeSeries]:
        # A value at an instant tells of what came before it, so that of a window stands at its end.
        return self._api.range(
            complete(query, settings=self._settings, window_s=ROLLUP_S),
            start_s=start_s + ROLLUP_S,
            end_s=end_s,
            step_s=ROLLUP_S,
        )


def _joined(cpu: list[RangeSeries], memory: list[RangeSeries], *, labels: Key) -> Windows:
    """Pair what was told of both; the rest is of no use."""
    bytes_by_key = {
        _name(series, labels): {point.at_s: point.text for point in series.values}
        for series in memory
    }
    windows: Windows = {}
    for series in cpu:
        name = _name(series, labels)
        texts = bytes_by_key.get(name, {})
        if not name:
            continue
        for point in series.values:
            cpu_milli = parsed(point.text, parse=milli_of_cores)
            memory_bytes = parsed(texts.get(point.at_s, ""), parse=bytes_of)
            if cpu_milli is not None and memory_bytes is not None:
                window = windows.setdefault(round(point.at_s) - ROLLUP_S, {})
                window[name] = (int(cpu_milli), int(memory_bytes))
    return windows


def _name(series: RangeSeries, labels: Key) -> str:
    """Name what a series is of; empty if it does not say."""
    values = [series.metric.get(label, "") for label in labels]
    return "/".join(values) if all(values) else ""
