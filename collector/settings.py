"""What an operator can turn, with the defaults that are tested. See ``config/collector.yaml``."""

from typing import Annotated, Final, Literal

import msgspec

from kube.edge.prometheus import PrometheusAccess
from kube.edge.settings import (
    Duration,
    Interval,
    KubernetesSettings,
    ProgramSettings,
    ServerSettings,
    Settings,
)

DEFAULT_PORT = 8080

_CONTAINERS: Final = '{container!="",container!="POD",pod!=""}'
"""Which of cAdvisor's series are containers'; the others are whole pods' and the node's groups."""


class PrometheusQueries(Settings, frozen=True):
    """What Prometheus is asked, in PromQL.

    ``$window`` stands for the time over which rates are taken, ``$node`` for the label that names
    a node. CPU is in cores, memory in bytes, times are Unix time in seconds.
    """

    node_cpu: str = (
        "max by ($node) (rate(node_cpu_usage_seconds_total[$window]))"
        ' or max by ($node) (rate(container_cpu_usage_seconds_total{id="/"}[$window]))'
    )
    """By node: what the kubelet's ``/metrics/resource`` says, else cAdvisor's root group."""
    node_memory: str = (
        "max by ($node) (node_memory_working_set_bytes)"
        ' or max by ($node) (container_memory_working_set_bytes{id="/"})'
    )
    """By node."""
    node_time: str = (
        "max by ($node) (timestamp(node_memory_working_set_bytes))"
        ' or max by ($node) (timestamp(container_memory_working_set_bytes{id="/"}))'
    )
    """When that was measured, by node."""
    container_cpu: str = (
        "max by (namespace, pod, container)"
        f" (rate(container_cpu_usage_seconds_total{_CONTAINERS}[$window]))"
    )
    """By ``namespace``, ``pod`` and ``container``; so for the others."""
    container_memory: str = (
        f"max by (namespace, pod, container) (container_memory_working_set_bytes{_CONTAINERS})"
    )
    """By container."""
    container_time: str = (
        "max by (namespace, pod, container)"
        f" (timestamp(container_memory_working_set_bytes{_CONTAINERS}))"
    )
    """When that was measured, by container."""
    throttling: str = (
        "max by (namespace, pod) "
        f"(rate(container_cpu_cfs_throttled_periods_total{_CONTAINERS}[$window])"
        f" / (rate(container_cpu_cfs_periods_total{_CONTAINERS}[$window]) > 0))"
    )
    """Share of CFS periods in which a pod was throttled, from 0 to 1; empty: not asked."""


class PrometheusSettings(PrometheusAccess, frozen=True):
    """Where Prometheus is, if samples come from there, and what it is asked."""

    node_label: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")] = "node"
    """The label that names the node of the kubelets' series."""
    rate_window: Interval = Interval(120)
    """Over which time rates are taken: at least four times as long as lies between two scrapes."""
    backfill: bool = True
    """Whether to fill what is missing of the past ``cache_duration`` from there."""
    queries: PrometheusQueries = PrometheusQueries()


class MetricsSettings(Settings, frozen=True):
    """What is sampled, and for how long it is kept."""

    source: Literal["metrics.k8s.io", "prometheus"] = "metrics.k8s.io"
    """Where samples come from."""
    collection_interval: Interval = Interval(30)
    """How often the source is asked."""
    cache_duration: Duration = Duration(168 * 3600)
    """How long rollups, placements and histories are kept."""
    raw_duration: Duration = Duration(6 * 3600)
    """How long single samples are kept; rollups of five minutes take their place."""
    prometheus: PrometheusSettings = PrometheusSettings()


class DatabaseSettings(Settings, frozen=True):
    """Where it is kept."""

    url: str = "sqlite:///data/collector.db"
    """Any SQLAlchemy URL of SQLite or PostgreSQL; the folder of an SQLite file is created."""


class ScoringSettings(Settings, frozen=True):
    """How placements are judged and summed up."""

    observation_window: Interval = Interval(600)
    """How long a pod must stay healthy after it became Ready to count as a success."""
    half_life: Interval = Interval(48 * 3600)
    """After how long an observation counts half in failure rates and usual usage."""
    stability_half_life: Interval = Interval(12 * 3600)
    """After how long an observation counts half in stability, which tells of the last hours."""
    prior_failure_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    """What to expect of a cluster of which nothing is known."""
    prior_weight: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 5.0
    """How many observations the prior is worth."""
    placement_max_lag: Duration = Duration(30)
    """Placements seen later than this are not recorded: the state they met is gone."""


class CollectorSettings(ProgramSettings, frozen=True):
    """The whole file."""

    server: ServerSettings = ServerSettings(port=DEFAULT_PORT)
    kubernetes: KubernetesSettings = KubernetesSettings()
    metrics: MetricsSettings = MetricsSettings()
    database: DatabaseSettings = DatabaseSettings()
    scoring: ScoringSettings = ScoringSettings()

    def __post_init__(self) -> None:
        """Refuse what each value allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the key.
        """
        if self.metrics.raw_duration < 2 * self.scoring.observation_window:
            raise ValueError(
                "metrics.raw_duration: must be at least twice scoring.observation_window"
            )
        if self.metrics.cache_duration < self.metrics.raw_duration:
            raise ValueError("metrics.cache_duration: must be at least metrics.raw_duration")
