"""What the collector promises to those who ask it.

Unknown fields are ignored, so that either side may be upgraded first.

Amounts are allocatable, requests or usage, as the names say; cpu in millicores, memory in bytes.
Instants are Unix seconds of the *cluster's* clock.
"""

from typing import Literal

import msgspec

from kube.health import FailureReason

OutcomeReason = Literal["healthy"] | FailureReason


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """A struct of this contract."""


class NodeTaint(Wire, frozen=True, kw_only=True):
    """A taint on a node."""

    key: str
    effect: str
    value: str = ""


class NodeState(Wire, frozen=True, kw_only=True):
    """A node at one instant, with what the last seven days say of it."""

    name: str
    is_ready: bool
    is_schedulable: bool
    """Not cordoned."""
    taints: list[NodeTaint] = []
    pressures: list[str] = []
    """Conditions other than Ready that are true: MemoryPressure, DiskPressure, PIDPressure."""
    allocatable_cpu_milli: int
    allocatable_memory_bytes: int
    allocatable_pods: int = 110
    requested_cpu_milli: int = 0
    requested_memory_bytes: int = 0
    n_pods: int = 0
    usage_cpu_milli: int | None = None
    """``None``: never sampled."""
    usage_memory_bytes: int | None = None
    sampled_at_s: float | None = None
    placed_cpu_milli: int = 0
    """Expected usage of the pods placed since the sample: their workload's usual, else request;
    less what pods used that have gone since. May be negative, but never below minus the usage."""
    placed_memory_bytes: int = 0
    stability: float = 1.0
    """Share of placements of the last 7 d that stayed healthy, shrunk towards the prior."""
    failure_rate: float = 0.0
    """Failures per placement over 7 d, shrunk towards the prior."""
    n_observations: int = 0
    """Placements with a known outcome behind the two."""
    n_failed_pods: int = 0
    n_restarts: int = 0
    n_oom_kills: int = 0
    n_evictions: int = 0


class ClusterState(Wire, frozen=True, kw_only=True):
    """The cluster at one instant. Ratios are over ready nodes; 0 where nothing is known."""

    n_nodes: int = 0
    n_ready: int = 0
    cpu_usage_ratio: float = 0.0
    memory_usage_ratio: float = 0.0
    cpu_requested_ratio: float = 0.0
    memory_requested_ratio: float = 0.0


class WorkloadHistory(Wire, frozen=True, kw_only=True):
    """What the last seven days say of the replicas of one workload."""

    namespace: str
    kind: str
    name: str
    failure_rate: float = 0.0
    stability: float = 1.0
    n_observations: int = 0
    n_failures: int = 0
    n_restarts: int = 0
    n_oom_kills: int = 0
    n_evictions: int = 0
    usual_cpu_milli: int | None = None
    """Mean usage of a running replica; ``None``: never sampled."""
    usual_memory_bytes: int | None = None

    @property
    def key(self) -> str:
        """``namespace/kind/name``."""
        return f"{self.namespace}/{self.kind}/{self.name}"


class Snapshot(Wire, frozen=True, kw_only=True):
    """All that a prediction needs (``GET /api/v1/snapshot``)."""

    version: int
    """Grows with every change; also the ETag."""
    at_s: float
    nodes: list[NodeState]
    cluster: ClusterState
    workloads: list[WorkloadHistory] = []
    """Those heard of last, at most 5,000."""
    prior_failure_rate: float = 0.0
    """What to expect of a workload that is not listed: the rate of the whole cluster, shrunk."""


class PlacementState(Wire, frozen=True, kw_only=True):
    """The world as it was when a pod was placed, without that pod."""

    node: NodeState
    cluster: ClusterState
    workload: WorkloadHistory
    """One never seen has the prior."""


class Outcome(Wire, frozen=True, kw_only=True):
    """How a placement went."""

    success: bool
    reason: OutcomeReason
    decided_at_s: float


class Placement(Wire, frozen=True, kw_only=True):
    """A pod on a node (``GET /api/v1/placements``)."""

    id: int
    """Grows with time, and over the loss of the database; page on with ``since=<last id>``. A
    placement whose outcome becomes known gets a new one, and so comes once more."""
    pod_uid: str
    pod_namespace: str
    pod_name: str
    workload: str
    """``namespace/kind/name``; of a bare pod, the pod itself."""
    node: str
    cpu_milli: int
    memory_bytes: int
    placed_at_s: float
    state: PlacementState
    outcome: Outcome | None = None
    """``None``: not known yet, or never to be known (the pod was deleted too early)."""
    created_at_s: float | None = None
    """When the pod was asked for."""
    ended_at_s: float | None = None
    """When the pod ended or was deleted; ``None``: not yet, or while nobody looked. To become known
    is no reason for a new id."""


class Placements(Wire, frozen=True, kw_only=True):
    """A page of placements, oldest first."""

    items: list[Placement]
    next_since: int
    """Pass as ``since`` to go on."""


def cluster_state(nodes: list[NodeState]) -> ClusterState:
    """Sum up nodes.

    Utilisation counts usage plus what was placed since the sample, over the ready nodes that have
    been sampled; requested ratios count all ready nodes.
    """
    ready = [n for n in nodes if n.is_ready]
    sampled = [n for n in ready if n.usage_cpu_milli is not None]
    return ClusterState(
        n_nodes=len(nodes),
        n_ready=len(ready),
        cpu_usage_ratio=_ratio(
            sum((n.usage_cpu_milli or 0) + n.placed_cpu_milli for n in sampled),
            sum(n.allocatable_cpu_milli for n in sampled),
        ),
        memory_usage_ratio=_ratio(
            sum((n.usage_memory_bytes or 0) + n.placed_memory_bytes for n in sampled),
            sum(n.allocatable_memory_bytes for n in sampled),
        ),
        cpu_requested_ratio=_ratio(
            sum(n.requested_cpu_milli for n in ready), sum(n.allocatable_cpu_milli for n in ready)
        ),
        memory_requested_ratio=_ratio(
            sum(n.requested_memory_bytes for n in ready),
            sum(n.allocatable_memory_bytes for n in ready),
        ),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole > 0 else 0.0
