"""What an operator can turn, with the defaults that are tested. See ``config/scheduler.yaml``."""

from typing import Annotated, Literal

import msgspec

from kube.edge.prometheus import PrometheusAccess
from kube.edge.settings import (
    HttpUrl,
    Interval,
    KubernetesSettings,
    ProgramSettings,
    ServerSettings,
    Settings,
)

DEFAULT_PORT = 8081
_MAX_WINDOW_S = 900.0


class PredictorSettings(Settings, frozen=True):
    """Whom to ask, and what to wait for."""

    url: HttpUrl = "http://127.0.0.1:5000"
    timeout: Interval = Interval(0.2)
    """What a decision may wait for an answer; then it is made without."""
    max_age: Interval = Interval(30)
    """How long an answer serves, by the cluster's clock."""


class UsageQueries(Settings, frozen=True):
    """What Prometheus is asked, in PromQL.

    ``$window`` stands for the time over which rates are taken, ``$node`` for the label that names
    a node. CPU is in cores, memory in bytes.
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


class PrometheusUsageSettings(PrometheusAccess, frozen=True):
    """Where Prometheus is, if it is asked for usage."""

    token: str = ""
    """A bearer token; a file keeps it better."""
    insecure_skip_verify: bool = False
    """Whether to believe any certificate."""
    node_label: Annotated[str, msgspec.Meta(pattern="^[a-zA-Z_][a-zA-Z0-9_]*$")] = "node"
    """The label that names the node of the kubelets' series."""
    rate_window: Interval = Interval(120)
    """Over which time rates are taken: at least four times as long as lies between two scrapes."""
    queries: UsageQueries = UsageQueries()


class UsageSettings(Settings, frozen=True):
    """How nodes' usage is followed, for profiles with plugins that read it."""

    provider: Literal["collector", "metrics.k8s.io", "prometheus", "load-watcher"] = "collector"
    """Who is asked. ``metrics.k8s.io`` tells the last sample only."""
    url: HttpUrl = "http://127.0.0.1:8080"
    """The collector's."""
    watcher_url: HttpUrl = "http://127.0.0.1:2020"
    """The load-watcher's, as trimaran uses it; it says itself over which time it looks."""
    timeout: Interval = Interval(10)
    """How long the whole answer of either may take."""
    interval: Interval = Interval(30)
    """How often it is asked, by the local clock."""
    window: Interval = Interval(900)
    """Over which time the collector and Prometheus take mean and deviation."""
    prometheus: PrometheusUsageSettings = PrometheusUsageSettings()

    def __post_init__(self) -> None:
        """Refuse a window that nobody remembers.

        Raises:
            ValueError: Names the key.
        """
        if self.window > _MAX_WINDOW_S:
            raise ValueError("window: at most 15m, as long as the collector remembers")


class FeedbackSettings(Settings, frozen=True):
    """How placements are judged."""

    observation_window: Interval = Interval(600)
    """How long a pod must stay healthy to be a success, by the cluster's clock. The collector's
    setting of the same name should say the same."""
    interval: Interval = Interval(2)
    """How often outcomes that only time decides are looked for, by the local clock."""


class BindingSettings(Settings, frozen=True):
    """How bindings are written."""

    threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 500
    """No more pods are decided on while so many bindings are under way."""


class DecisionSettings(Settings, frozen=True):
    """What is kept for those who ask why."""

    keep: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000
    nodes_per_decision: Annotated[int, msgspec.Meta(ge=2, le=5_000)] = 50
    """Verdicts and scores of so many nodes are kept, the best ones' first."""


class ExtenderSettings(Settings, frozen=True):
    """How kube-scheduler is answered that asks us as its extender (``/extender/*``)."""

    profile: str = ""
    """The scheduler name of the profile whose plugins are asked; empty: the first profile's."""
    timeout: Interval = Interval(3)
    """How long an answer may take: less than the extender's ``httpTimeout`` (5s unless told
    otherwise)."""


class SchedulerSettings(ProgramSettings, frozen=True):
    """The whole file."""

    server: ServerSettings = ServerSettings(port=DEFAULT_PORT)
    kubernetes: KubernetesSettings = KubernetesSettings()
    profile_path: str = ""
    """A ``KubeSchedulerConfiguration``, relative to this file; empty: the built-in profile."""
    predictor: PredictorSettings = PredictorSettings()
    usage: UsageSettings = UsageSettings()
    feedback: FeedbackSettings = FeedbackSettings()
    binding: BindingSettings = BindingSettings()
    decisions: DecisionSettings = DecisionSettings()
    extender: ExtenderSettings = ExtenderSettings()
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """Breaks ties between equally good nodes, the same way every time."""
