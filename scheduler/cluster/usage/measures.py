"""Asks Prometheus for what single plugins want to know of each node."""

from collections.abc import Callable

import msgspec

from kube.edge.prometheus import PrometheusApi, PrometheusError
from scheduler.cluster.usage.source import UsageError, whole_of
from scheduler.events import MeasureTaken
from scheduler.framework.measures import Measure
from scheduler.settings import PrometheusUsageSettings


class MeasureSource:
    """Evaluates one query.

    Args:
        measure: Which, and where.
        settings: How to be let in there: token, authorities, patience.
        now_s: The cluster's time, Unix seconds.

    Raises:
        SettingsError: A file of the settings cannot be read.
    """

    def __init__(
        self,
        measure: Measure,
        *,
        settings: PrometheusUsageSettings,
        now_s: Callable[[], float],
    ) -> None:
        self.nothing = MeasureTaken(measure, {})
        self._measure = measure
        self._now_s = now_s
        self._api = PrometheusApi(
            msgspec.structs.replace(settings, url=measure.address),
            name="usage.prometheus",
            token=settings.token,
            believes_all=settings.insecure_skip_verify,
        )

    def measure(self) -> MeasureTaken:
        """Ask for all nodes' numbers; a node of which there is none now is left out.

        Raises:
            UsageError: Prometheus gives no usable answer.
        """
        try:
            series = self._api.instant(self._measure.query, at_s=self._now_s())
        except PrometheusError as error:
            raise UsageError(f"Prometheus: {error}") from error
        values: dict[str, int] = {}
        for each in series:
            name = each.metric.get(self._measure.node_label, "")
            amount = whole_of(each.value.text)
            if name and amount is not None:
                values[name] = amount
        return MeasureTaken(self._measure, values)

    def close(self) -> None:
        """Close the connections."""
        self._api.close()
