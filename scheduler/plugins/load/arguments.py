"""What the arguments of all plugins of this family have in common."""

from typing import Literal

import msgspec

from kube.edge.settings import HttpUrl, Settings
from scheduler.framework.interface import PluginArgs


class MetricProvider(Settings, frozen=True, rename="camel"):
    """Who is asked what nodes use; upstream's words."""

    type: Literal["KubernetesMetricsServer", "Prometheus"] = "KubernetesMetricsServer"
    address: str = ""
    """Of Prometheus, with ``http://`` or ``https://``."""
    token: str = ""
    """A bearer token for Prometheus."""
    insecure_skip_verify: bool = False
    """Whether to believe any certificate of Prometheus'; of no effect elsewhere."""

    def __post_init__(self) -> None:
        """Check that each field has something to say.

        Raises:
            ValueError: Names the field that is missing, or of no use.
        """
        if self.type == "Prometheus":
            try:
                msgspec.convert(self.address, HttpUrl)
            except msgspec.ValidationError as error:
                raise ValueError(
                    "address must say where Prometheus is (http://… or https://…)"
                ) from error
        elif self.address or self.token:
            raise ValueError(
                "address and token say nothing of a KubernetesMetricsServer, which the API server"
                " leads to"
            )


class LoadArgs(PluginArgs, frozen=True):
    """Arguments of every plugin that reads usage as trimaran's do."""

    metric_provider: MetricProvider | None = None
    """Outdoes the scheduler's setting ``usage``, for all plugins and profiles."""
    watcher_address: HttpUrl | Literal[""] = ""
    """Of a load-watcher, which is then asked instead of a ``metricProvider``."""

    @property
    def provider(self) -> MetricProvider | str | None:
        """Who is to be asked: a load-watcher by its address, if any is named."""
        return self.watcher_address or self.metric_provider
