"""Usage from Prometheus: what nodes use now, and mean and deviation over a window."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from kube.edge.prometheus import PrometheusApi, PrometheusError
from scheduler.cluster.usage.source import UsageError, whole_of
from scheduler.events import NodesMeasured
from scheduler.model import Usage, UsageWindow
from scheduler.settings import PrometheusUsageSettings

_MILLI = 1000.0


class PrometheusSource:
    """Evaluates two queries, and their mean and deviation over time, as load-watchers do.

    Args:
        api: Whom to ask.
        settings: What to ask.
        window_s: Over which time mean and deviation are taken.
        now_s: The cluster's time, Unix seconds, which kubelets date their figures by.
    """

    nothing: ClassVar[NodesMeasured] = NodesMeasured({})

    def __init__(
        self,
        api: PrometheusApi,
        *,
        settings: PrometheusUsageSettings,
        window_s: float,
        now_s: Callable[[], float],
    ) -> None:
        self._api = api
        self._settings = settings
        self._window_s = window_s
        self._now_s = now_s

    def measure(self) -> NodesMeasured:
        """Ask for all nodes' usage; one that has no figures now is left out.

        Raises:
            UsageError: Prometheus gives no usable answer, or has no figures of any node.
        """
        now_s = self._now_s()
        try:
            usage = self._both("{}", at_s=now_s)
            means = self._both(self._over("avg_over_time"), at_s=now_s)
            deviations = self._both(self._over("stddev_over_time"), at_s=now_s)
        except PrometheusError as error:
            raise UsageError(f"Prometheus: {error}") from error
        if not usage:
            raise UsageError(
                "Prometheus has no figures of any node: does it scrape the kubelets, with the label"
                f" {self._settings.node_label!r}, at least twice within the rate_window?"
            )
        # By the window it is told which pods are too new to be seen.
        windows = {
            name: UsageWindow(means[name], deviations.get(name), now_s - self._window_s, now_s)
            if name in means
            else UsageWindow(latest, None, now_s, now_s)
            for name, latest in usage.items()
        }
        return NodesMeasured(usage, windows)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def _over(self, function: str) -> str:
        # Four times as often as a rate can change by more than a quarter.
        step_s = min(self._window_s, float(self._settings.rate_window)) / 4.0
        return f"{function}(({{}})[{round(1000 * self._window_s)}ms:{round(1000 * step_s)}ms])"

    def _both(self, form: str, *, at_s: float) -> dict[str, Usage]:
        queries = self._settings.queries
        cpu = self._ask(form, queries.node_cpu, at_s=at_s, factor=_MILLI)
        memory = self._ask(form, queries.node_memory, at_s=at_s, factor=1.0)
        return {name: Usage(cpu[name], memory[name]) for name in cpu if name in memory}

    def _ask(self, form: str, query: str, *, at_s: float, factor: float) -> Mapping[str, int]:
        label = self._settings.node_label
        rate_window = f"{round(1000 * self._settings.rate_window)}ms"
        complete = query.replace("$window", rate_window).replace("$node", label)
        found: dict[str, int] = {}
        for series in self._api.instant(form.format(complete), at_s=at_s):
            name = series.metric.get(label, "")
            amount = whole_of(series.value.text, factor=factor)
            if name and amount is not None:
                found[name] = amount
        return found
