"""What the engine knows of nodes and pods, parsed once where it enters, and what it decides.

Amounts are integers: millicores for cpu, bytes for memory, whole units for the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kube.objects import (
    Affinity,
    Container,
    Node,
    NodeAffinity,
    Pod,
    PodAffinity,
    PodSpec,
    Toleration,
)
from kube.quantity import CPU, MEMORY, effective_requests, parse_amounts
from kube.workload import workload_of

PODS: Final = "pods"
EPHEMERAL_STORAGE: Final = "ephemeral-storage"

DEFAULT_CPU_MILLI: Final = 100
DEFAULT_MEMORY_BYTES: Final = 200 * 2**20
"""What scoring takes a container without a request to ask for, as kube-scheduler does."""

MAX_AMOUNT: Final = 2**50
"""Larger amounts are cut to this, so that sums over thousands of pods fit an int64 column."""

PRIORITY_ANNOTATION: Final = "priority"
PREDICTION_ANNOTATION: Final = "ai-scheduler/prediction-id"
"""Written with the binding, so that feedback finds its prediction after a restart."""


class Taint(NamedTuple):
    """A mark that repels pods without a matching toleration."""

    key: str
    value: str
    effect: str


class HostPort(NamedTuple):
    """A port that a pod takes on its node."""

    ip: str
    protocol: str
    port: int


class Shape(NamedTuple):
    """Pods that ask for the same and belong to the same workload: one question to the predictor."""

    cpu_milli: int
    memory_bytes: int
    namespace: str
    workload: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node, as far as scheduling goes."""

    name: str
    allocatable: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    is_unschedulable: bool = False

    @classmethod
    def from_node(cls, node: Node) -> "NodeFacts":
        """Read a node.

        Raises:
            QuantityError: An allocatable amount is no quantity.
        """
        return cls(
            name=node.metadata.name,
            allocatable=_bounded(node.status.allocatable_amounts),
            labels=node.metadata.labels or {},
            taints=tuple(Taint(t.key, t.value or "", t.effect) for t in node.spec.taints or []),
            is_unschedulable=bool(node.spec.unschedulable),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod, as far as scheduling goes."""

    namespace: str
    name: str
    uid: str
    node_name: str = ""
    scheduler_name: str = "default-scheduler"
    priority: int = 0
    """From the annotation ``priority``, else ``spec.priority``, else 0."""
    requests: Mapping[str, int] = field(default_factory=dict)
    scored_requests: Mapping[str, int] = field(default_factory=dict)
    """``requests``, with kube-scheduler's defaults for containers that ask for nothing."""
    host_ports: frozenset[HostPort] = frozenset()
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_affinity: NodeAffinity | None = None
    scheduling_gates: tuple[str, ...] = ()
    unsupported_fields: tuple[str, ...] = ()
    """What the pod asks for and no plugin here knows how to keep."""
    workload: str = ""
    """``namespace/kind/name`` of the controller; of a bare pod, the pod itself."""
    is_terminating: bool = False
    is_finished: bool = False

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def shape(self) -> Shape:
        """What the predictor is asked about."""
        return Shape(
            self.requests.get(CPU, 0),
            self.requests.get(MEMORY, 0),
            self.namespace,
            self.workload,
        )

    @classmethod
    def from_pod(cls, pod: Pod) -> "PodFacts":
        """Read a pod.

        Raises:
            QuantityError: A requested amount is no quantity.
        """
        spec, meta = pod.spec, pod.metadata
        annotations = meta.annotations or {}
        annotated = annotated_priority(annotations)
        affinity = spec.affinity.node_affinity if spec.affinity is not None else None
        return cls(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            node_name=spec.node_name,
            scheduler_name=spec.scheduler_name,
            priority=spec.priority or 0 if annotated is None else annotated,
            requests=_bounded(spec.requests),
            scored_requests=_bounded(_scored_requests(spec)),
            host_ports=_host_ports(spec),
            tolerations=tuple(spec.tolerations or ()),
            node_selector=spec.node_selector or {},
            node_affinity=affinity,
            scheduling_gates=tuple(gate.name for gate in spec.scheduling_gates or ()),
            unsupported_fields=_unsupported_fields(spec),
            workload=workload_of(pod),
            is_terminating=meta.deletion_timestamp is not None,
            is_finished=pod.status.phase in ("Succeeded", "Failed"),
        )


@dataclass(frozen=True, slots=True)
class _ScoredContainer:
    """A container as scoring sees it: what it does not ask for is taken for granted."""

    container: Container

    @property
    def requests(self) -> dict[str, int]:
        defaults = {CPU: DEFAULT_CPU_MILLI, MEMORY: DEFAULT_MEMORY_BYTES}
        return {**defaults, **self.container.requests}

    @property
    def is_sidecar(self) -> bool:
        return self.container.is_sidecar


def _scored_requests(spec: PodSpec) -> dict[str, int]:
    pod_level = (spec.resources and spec.resources.requests) or {}
    return effective_requests(
        [_ScoredContainer(c) for c in spec.containers or []],
        init_containers=[_ScoredContainer(c) for c in spec.init_containers or []],
        pod_level=parse_amounts(pod_level),
        overhead=parse_amounts(spec.overhead or {}),
    )


def _bounded(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: max(0, min(MAX_AMOUNT, amount)) for name, amount in amounts.items()}


def annotated_priority(annotations: Mapping[str, str]) -> int | None:
    """Read the annotation; one that is no number counts as absent: a typo must not stop a pod."""
    try:
        return int(annotations.get(PRIORITY_ANNOTATION, ""))
    except ValueError:
        return None


def _is_required(affinity: PodAffinity | None) -> bool:
    return bool(affinity and affinity.required_during_scheduling_ignored_during_execution)


def _unsupported_fields(spec: PodSpec) -> tuple[str, ...]:
    affinity = spec.affinity or Affinity()
    constraints = spec.topology_spread_constraints or []
    asked = {
        "spec.affinity.podAffinity": _is_required(affinity.pod_affinity),
        "spec.affinity.podAntiAffinity": _is_required(affinity.pod_anti_affinity),
        "spec.topologySpreadConstraints": any(
            each.when_unsatisfiable == "DoNotSchedule" for each in constraints
        ),
        "spec.volumes": any(volume.is_bound_to_nodes for volume in spec.volumes or []),
        "spec.resourceClaims": bool(spec.resource_claims),
    }
    return tuple(name for name, is_asked in asked.items() if is_asked)


def _host_ports(spec: PodSpec) -> frozenset[HostPort]:
    sidecars = [c for c in spec.init_containers or [] if c.is_sidecar]
    return frozenset(
        HostPort(port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104 - a value to compare, not an address to listen on
        for container in [*(spec.containers or []), *sidecars]
        for port in container.ports or []
        if port.host_port is not None and port.host_port > 0
    )
