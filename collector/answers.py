"""What the collector answers to all but the predictor, with which it has a contract."""

from typing import Literal

from collector.contract import ClusterState, NodeState, Wire


class UsageWindow(Wire, frozen=True, kw_only=True):
    """A node's samples of the last minutes, summed up."""

    n_samples: int
    start_s: float
    """When the first was taken, which may be less than the window ago."""
    end_s: float
    cpu_mean_milli: float
    cpu_std_milli: float | None
    """Standard deviation; ``None`` of a single sample."""
    memory_mean_bytes: float
    memory_std_bytes: float | None


class NodeUsage(Wire, frozen=True, kw_only=True):
    """What a node uses now."""

    name: str
    is_ready: bool
    allocatable_cpu_milli: int
    allocatable_memory_bytes: int
    usage_cpu_milli: int | None
    """``None``: never sampled; so for the other amounts of usage."""
    usage_memory_bytes: int | None
    cpu_usage_ratio: float | None
    memory_usage_ratio: float | None
    sampled_at_s: float | None
    window: UsageWindow | None
    """``None``: not sampled in that time."""


class Metrics(Wire, frozen=True, kw_only=True):
    """Usage of all nodes now, and lately (``GET /api/v1/metrics?window=15m``)."""

    at_s: float
    cluster: ClusterState
    nodes: list[NodeUsage]


class Nodes(Wire, frozen=True, kw_only=True):
    """All nodes (``GET /api/v1/nodes``)."""

    at_s: float
    items: list[NodeState]


class Summary(Wire, frozen=True, kw_only=True):
    """One quantity within one step: millicores, or bytes."""

    mean: float
    max: int
    variance: float
    p95: float
    """At most 5 % off."""


class HistoryPoint(Wire, frozen=True, kw_only=True):
    """A node's usage within one step."""

    start_s: float
    n_samples: int
    cpu_milli: Summary
    memory_bytes: Summary


class NodeHistory(Wire, frozen=True, kw_only=True):
    """A node's past (``GET /api/v1/nodes/{name}/history``); steps without samples are left out."""

    node: str
    start_s: float
    end_s: float
    step_s: int
    points: list[HistoryPoint]


class WorkloadUsage(Wire, frozen=True, kw_only=True):
    """What each replica of a workload used (``GET /api/v1/workloads/…/history``).

    The newest minutes are missing until they are rolled up.
    """

    workload: str
    """``namespace/kind/name``."""
    start_s: float
    end_s: float
    step_s: int
    points: list[HistoryPoint]


class PodState(Wire, frozen=True, kw_only=True):
    """A pod now."""

    namespace: str
    name: str
    uid: str
    workload: str
    node: str
    """Empty while it waits."""
    phase: str
    is_ready: bool
    cpu_milli: int
    memory_bytes: int
    n_restarts: int
    failure: str | None
    usage_cpu_milli: int | None
    usage_memory_bytes: int | None
    sampled_at_s: float | None


class Pods(Wire, frozen=True, kw_only=True):
    """All pods, or some (``GET /api/v1/pods``)."""

    at_s: float
    items: list[PodState]


class Health(Wire, frozen=True, kw_only=True):
    """How the collector fares (``GET /health``)."""

    status: Literal["ok", "starting", "degraded"]
    reasons: list[str]
    """Why it is not ok."""
    at_s: float
    """The cluster's time."""
    api_server_silence_s: float | None
    """How long ago the API server last said anything; ``None``: it never did."""
    last_sample_at_s: float | None
    sample_age_s: float | None
    snapshot_version: int
    n_nodes: int
    n_pods: int
    n_open_placements: int
    """Placements whose outcome is not known yet."""
    n_pending_writes: int
    """Ticks and rows that wait for the database."""
