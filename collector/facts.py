"""Pods and nodes as the collector sees them: the few facts that matter, read once, in integers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from collector.contract import NodeTaint
from kube.health import FailureReason, last_end, pod_failure, ready_since
from kube.objects import ContainerStatus, Node, Pod
from kube.quantity import CPU, MEMORY, QuantityError
from kube.workload import workload_of

PODS: Final = "pods"
DEFAULT_MAX_PODS: Final = 110
"""What a kubelet takes when it does not say."""
MAX_STORED: Final = 2**63 - 1
"""The largest integer that the wire and the database hold."""

_MAX_RESTARTS: Final = 2**31 - 1
_PRESSURES: Final = frozenset({"MemoryPressure", "DiskPressure", "PIDPressure"})
_DISRUPTIONS: Final[Mapping[str, FailureReason]] = {
    "DeletionByPodGC": "node_lost",
    "DeletionByTaintManager": "node_lost",
    "PreemptionByScheduler": "preempted",
}
"""Reasons of the condition DisruptionTarget that tell of a failure; a drain is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod at one instant."""

    uid: str
    namespace: str
    name: str
    workload: str
    """``namespace/kind/name`` of what its replicas have in common."""
    node: str
    """Empty while it waits."""
    cpu_milli: int
    """Requested."""
    memory_bytes: int
    """Requested."""
    cpu_limits_milli: tuple[tuple[str, int], ...]
    """Of the containers that have one."""
    phase: str
    created_at_s: float | None = None
    scheduled_at_s: float | None
    ready_at_s: float | None
    """Since when it has been Ready; ``None`` if it is not."""
    started_at_s: float | None
    """When the first of its running containers started."""
    n_restarts: int
    last_oom_at_s: float | None
    failure: FailureReason | None
    ended_at_s: float | None
    """When the last container to end did so."""
    disruption: FailureReason | None
    """Why it is being deleted, if that is a failure."""
    is_deleting: bool

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def is_terminal(self) -> bool:
        """Whether it has ended, and so holds nothing of its node any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def is_evicted(self) -> bool:
        """Whether the kubelet threw it out."""
        return self.failure == "evicted"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """A node at one instant."""

    name: str
    is_ready: bool
    is_schedulable: bool
    taints: tuple[NodeTaint, ...]
    pressures: tuple[str, ...]
    allocatable_cpu_milli: int
    allocatable_memory_bytes: int
    allocatable_pods: int


def pod_facts(pod: Pod) -> PodFacts:
    """Read a pod. Amounts that are no quantities count as none, as there is nothing to count."""
    requests = _requests(pod)
    return PodFacts(
        uid=pod.metadata.uid or pod.key,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        workload=workload_of(pod),
        node=pod.spec.node_name,
        cpu_milli=_bounded(requests.get(CPU, 0)),
        memory_bytes=_bounded(requests.get(MEMORY, 0)),
        cpu_limits_milli=_cpu_limits(pod),
        phase=pod.status.phase,
        created_at_s=_seconds(pod.metadata.creation_timestamp),
        scheduled_at_s=_seconds(_scheduled_at(pod)),
        ready_at_s=_seconds(ready_since(pod)),
        started_at_s=_started_at(pod),
        n_restarts=min(_MAX_RESTARTS, sum(s.restart_count for s in _statuses(pod))),
        last_oom_at_s=_last_oom_at(pod),
        failure=pod_failure(pod),
        ended_at_s=_seconds(last_end(pod)),
        disruption=_disruption(pod),
        is_deleting=pod.metadata.deletion_timestamp is not None,
    )


def node_facts(node: Node) -> NodeFacts:
    """Read a node."""
    try:
        allocatable = node.status.allocatable_amounts
    except QuantityError:
        allocatable = {}
    return NodeFacts(
        name=node.metadata.name,
        is_ready=node.is_ready,
        is_schedulable=not node.spec.unschedulable,
        taints=tuple(
            NodeTaint(key=t.key, effect=t.effect, value=t.value or "")
            for t in node.spec.taints or []
        ),
        pressures=tuple(
            c.type
            for c in node.status.conditions or []
            if c.type in _PRESSURES and c.status == "True"
        ),
        allocatable_cpu_milli=_bounded(allocatable.get(CPU, 0)),
        allocatable_memory_bytes=_bounded(allocatable.get(MEMORY, 0)),
        allocatable_pods=_bounded(allocatable.get(PODS, DEFAULT_MAX_PODS)),
    )


def _requests(pod: Pod) -> Mapping[str, int]:
    try:
        return pod.spec.requests
    except QuantityError:
        return {}


def _cpu_limits(pod: Pod) -> tuple[tuple[str, int], ...]:
    try:
        limits = [(c.name, c.limits.get(CPU, 0)) for c in pod.spec.containers or []]
    except QuantityError:
        return ()
    return tuple((name, limit) for name, limit in limits if limit > 0)


def _bounded(amount: int) -> int:
    return max(0, min(MAX_STORED, amount))


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _scheduled_at(pod: Pod) -> datetime | None:
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "True":
            return condition.last_transition_time
    return None


def _started_at(pod: Pod) -> float | None:
    starts = [
        status.state.running.started_at.timestamp()
        for status in pod.status.container_statuses or []
        if status.state is not None
        and status.state.running is not None
        and status.state.running.started_at is not None
    ]
    return min(starts, default=None)


def _statuses(pod: Pod) -> list[ContainerStatus]:
    """List those of init containers, too, among which are sidecars."""
    return [*(pod.status.init_container_statuses or []), *(pod.status.container_statuses or [])]


def _last_oom_at(pod: Pod) -> float | None:
    ends = [_oom_at(status) for status in _statuses(pod)]
    return max((end for end in ends if end is not None), default=None)


def _oom_at(status: ContainerStatus) -> float | None:
    for state in (status.state, status.last_state):
        if state is None or state.terminated is None:
            continue
        if state.terminated.reason == "OOMKilled" and state.terminated.finished_at is not None:
            return state.terminated.finished_at.timestamp()
    return None


def _disruption(pod: Pod) -> FailureReason | None:
    for condition in pod.status.conditions or []:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return _DISRUPTIONS.get(condition.reason or "")
    return None
