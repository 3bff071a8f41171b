"""What the engine knows of nodes and pods, parsed once where it enters, and what it decides.

Amounts are integers: millicores for cpu, bytes for memory, whole units for the rest.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from kube.objects import (
    Affinity,
    Container,
    Node,
    NodeAffinity,
    ObjectMeta,
    OwnerReference,
    Pod,
    PodAffinity,
    PodAffinityTerm,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
    Volume,
    controller_of,
)
from kube.qos import Qos, qos_of
from kube.quantity import CPU, MEMORY, effective_requests, parse_amounts
from kube.seccomp import localhost_profiles
from kube.selectors import LabelQuery, Requirement, label_query
from kube.workload import workload_of

PODS: Final = "pods"
EPHEMERAL_STORAGE: Final = "ephemeral-storage"

DEFAULT_CPU_MILLI: Final = 100
DEFAULT_MEMORY_BYTES: Final = 200 * 2**20
"""What scoring takes a container without a request to ask for, as kube-scheduler does."""

MAX_AMOUNT: Final = 2**50
"""Larger amounts are cut to this, so that sums over thousands of pods fit an int64 column."""

PRIORITY_ANNOTATION: Final = "priority"
POD_GROUP: Final = "pod-group"
POD_GROUP_SIZE: Final = "pod-group-size"
POD_GROUP_LABEL: Final = "scheduling.x-k8s.io/pod-group"
PREDICTION_ANNOTATION: Final = "ai-scheduler/prediction-id"
"""Written with the binding, so that feedback finds its prediction after a restart."""
GPU_MILLI: Final = "alibabacloud.com/gpu-milli"
"""Thousandths of each card that a pod asks for."""
GPU_COUNT: Final = "alibabacloud.com/gpu-count"
"""How many cards a pod asks for; of a node, how many are allocatable."""
GPU_CARD_MODEL: Final = "alibabacloud.com/gpu-card-model"
"""Models that will do, ``A|B``; as a node's label, the model of its cards."""
GPU_INDEX: Final = "alibabacloud.com/gpu-index"
"""Which cards of its node a pod has, ``0-2``."""
_READ_ANNOTATIONS: Final = (GPU_MILLI, GPU_COUNT, GPU_CARD_MODEL, GPU_INDEX)


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


class Usage(NamedTuple):
    """What a pod or a node uses, or is expected to."""

    cpu_milli: int
    memory_bytes: int


class Utilization(NamedTuple):
    """What of a machine is used; more than 1 where clocks differ."""

    cpu_ratio: float
    memory_ratio: float


class UsageWindow(NamedTuple):
    """What a node used over some time."""

    mean: Usage
    std: Usage | None
    """Standard deviation; ``None`` where whoever measures does not tell it."""
    start_s: float
    """Unix seconds of the cluster's clock; equal to the end for a single sample."""
    end_s: float


class CpuTerms(NamedTuple):
    """What a pod's app containers say of the cpu that they will use."""

    limited_milli: int = 0
    """Limits of those that have one, and the pod's overhead."""
    requested_milli: int = 0
    """Requests of those that have no limit."""
    n_unset: int = 0
    """How many say nothing."""


class ContainerFacts(NamedTuple):
    """What one container of a pod asks for."""

    requests: tuple[tuple[str, int], ...]
    """Resources with amounts, without those that it asks nothing of."""
    is_brief: bool = False
    """An init container that is over before the next one starts."""


class QueueState(NamedTuple):
    """Pods that wait for a node, together."""

    n_pending: int
    cpu_request_milli: int
    memory_request_bytes: int


class PodTerm(NamedTuple):
    """Some pods: those that a term of pod affinity or a spread constraint speaks of."""

    query: LabelQuery | None
    """``None`` matches no pod."""
    namespaces: frozenset[str]
    namespace_query: LabelQuery | None = None
    """Namespaces with such labels count, too; ``None`` adds none."""


class AffinityTerm(NamedTuple):
    """Some pods, and the label that says which nodes are near each other."""

    topology_key: str
    pods: PodTerm


class WeightedTerm(NamedTuple):
    """A term that earns points where such pods are near; negative for anti-affinity."""

    weight: int
    term: AffinityTerm


class SpreadConstraint(NamedTuple):
    """How evenly a pod and its like must, or should, be spread over a topology."""

    topology_key: str
    max_skew: int
    is_hard: bool
    """``DoNotSchedule``."""
    query: LabelQuery | None
    """Of pods in the pod's own namespace; ``None`` matches no pod."""
    min_domains: int = 1
    honors_node_affinity: bool = True
    """Nodes that the pod's selector and required affinity exclude do not count."""
    honors_node_taints: bool = False
    """Nodes whose taints the pod does not tolerate do not count."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node, as far as scheduling goes."""

    name: str
    allocatable: Mapping[str, int] = field(default_factory=dict)
    capacity: Mapping[str, int] = field(default_factory=dict)
    """Of cpu and memory: all that the machine has."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    is_unschedulable: bool = False
    images: Mapping[str, int] = field(default_factory=dict)
    """Bytes by name, of the images that the node holds."""

    @classmethod
    def from_node(cls, node: Node) -> "NodeFacts":
        """Read a node.

        Raises:
            QuantityError: An allocatable amount is no quantity.
        """
        return cls(
            name=node.metadata.name,
            allocatable=_bounded(node.status.allocatable_amounts),
            capacity=_cpu_and_memory(_bounded(node.status.capacity_amounts)),
            labels=node.metadata.labels or {},
            annotations=node.metadata.annotations or {},
            taints=tuple(Taint(t.key, t.value or "", t.effect) for t in node.spec.taints or []),
            is_unschedulable=bool(node.spec.unschedulable),
            # The same images are on many nodes, of which each brings their names anew.
            images={
                sys.intern(name): image.size_bytes
                for image in node.status.images or []
                for name in image.names or []
            },
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
    priority_class: str = ""
    qos: Qos = Qos.BEST_EFFORT
    requests: Mapping[str, int] = field(default_factory=dict)
    scored_requests: Mapping[str, int] = field(default_factory=dict)
    """``requests``, with kube-scheduler's defaults for containers that ask for nothing."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Of cpu and memory: counted like ``requests``; no less than these where one has no limit."""
    cpu_terms: CpuTerms = field(default_factory=CpuTerms)
    host_ports: frozenset[HostPort] = frozenset()
    tolerations: tuple[Toleration, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_affinity: NodeAffinity | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Those that plugins ask about: of shared GPUs."""
    pod_affinity: tuple[AffinityTerm, ...] = ()
    """Required."""
    pod_anti_affinity: tuple[AffinityTerm, ...] = ()
    """Required."""
    preferred_terms: tuple[WeightedTerm, ...] = ()
    """Preferred affinity, and anti-affinity with negative weights."""
    spread: tuple[SpreadConstraint, ...] = ()
    volumes: tuple[Volume, ...] = ()
    """Those that plugins ask about, in the order of the spec."""
    claims: tuple[str, ...] = ()
    """The persistent volume claims that it uses (``namespace/name``), ephemeral ones included."""
    images: tuple[str, ...] = ()
    """As the spec names them: init containers, containers, image volumes."""
    n_containers: int = 0
    """Init containers included."""
    containers: tuple[ContainerFacts, ...] = ()
    """In the order in which they start: init containers, sidecars among them, then the others."""
    owner: OwnerReference | None = None
    """The controller."""
    created_at_s: float = 0.0
    """Unix seconds."""
    start_time_s: float = 0.0
    """When the kubelet took it, Unix seconds; 0 before."""
    scheduled_at_s: float = field(default=0.0, compare=False)
    """When it got its node (condition ``PodScheduled``), Unix seconds; 0 before. Pods that differ
    in this alone count alike."""
    may_preempt: bool = True
    """Unless ``preemptionPolicy`` is ``Never``."""
    nominated_node_name: str = ""
    is_preempted: bool = False
    """A scheduler has asked it to go (condition ``DisruptionTarget``)."""
    pod_group: str = ""
    """The gang's name in the pod's namespace; empty for none."""
    pod_group_size: int | None = None
    """What the annotation says; ``None`` if it says nothing."""
    scheduling_gates: tuple[str, ...] = ()
    has_resource_claims: bool = False
    """It asks for devices (dynamic resource allocation)."""
    seccomp_profiles: tuple[str, ...] = ()
    """Of its containers, by their paths on the node; sorted."""
    workload: str = ""
    """``namespace/kind/name`` of the controller; of a bare pod, the pod itself."""
    is_terminating: bool = False
    is_finished: bool = False
    has_succeeded: bool = False

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def group_key(self) -> str:
        """``namespace/name`` of the gang; empty for none."""
        return f"{self.namespace}/{self.pod_group}" if self.pod_group else ""

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
        annotations, labels = meta.annotations or {}, meta.labels or {}
        annotated = annotated_priority(annotations)
        affinity = spec.affinity or Affinity()
        near, apart = _Terms(pod, affinity.pod_affinity), _Terms(pod, affinity.pod_anti_affinity)
        started = pod.status.start_time
        return cls(
            namespace=meta.namespace,
            name=meta.name,
            uid=meta.uid,
            node_name=spec.node_name,
            scheduler_name=spec.scheduler_name,
            priority=spec.priority or 0 if annotated is None else annotated,
            priority_class=spec.priority_class_name or "",
            qos=qos_of(pod),
            requests=_bounded(spec.requests),
            scored_requests=_bounded(_scored_requests(spec)),
            limits=_limits(spec),
            cpu_terms=_cpu_terms(spec),
            host_ports=_host_ports(spec),
            tolerations=tuple(spec.tolerations or ()),
            node_selector=spec.node_selector or {},
            node_affinity=affinity.node_affinity,
            labels=labels,
            annotations={key: annotations[key] for key in _READ_ANNOTATIONS if key in annotations},
            pod_affinity=near.required(),
            pod_anti_affinity=apart.required(),
            preferred_terms=near.preferred(sign=1) + apart.preferred(sign=-1),
            spread=tuple(_spread(c, labels) for c in spec.topology_spread_constraints or ()),
            volumes=tuple(v for v in spec.volumes or () if v != Volume(name=v.name)),
            claims=_claims(pod),
            images=_images(spec),
            n_containers=len(spec.init_containers or ()) + len(spec.containers or ()),
            containers=_containers(spec),
            owner=controller_of(meta),
            created_at_s=_created_at_s(pod),
            start_time_s=0.0 if started is None else started.timestamp(),
            scheduled_at_s=_scheduled_at_s(pod),
            may_preempt=spec.preemption_policy != "Never",
            nominated_node_name=pod.status.nominated_node_name or "",
            is_preempted=any(
                c.type == "DisruptionTarget"
                and c.status == "True"
                and c.reason == "PreemptionByScheduler"
                for c in pod.status.conditions or ()
            ),
            pod_group=pod_group_of(meta),
            pod_group_size=annotated_size(annotations),
            scheduling_gates=tuple(gate.name for gate in spec.scheduling_gates or ()),
            has_resource_claims=bool(spec.resource_claims),
            seccomp_profiles=localhost_profiles(pod),
            workload=workload_of(pod),
            is_terminating=meta.deletion_timestamp is not None,
            is_finished=pod.status.phase in ("Succeeded", "Failed"),
            has_succeeded=pod.status.phase == "Succeeded",
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


@dataclass(frozen=True, slots=True)
class _LimitedContainer:
    """A container, with its limits in the place of its requests."""

    container: Container

    @property
    def requests(self) -> dict[str, int]:
        return self.container.limits

    @property
    def is_sidecar(self) -> bool:
        return self.container.is_sidecar


def _limits(spec: PodSpec) -> dict[str, int]:
    limits = effective_requests(
        [_LimitedContainer(c) for c in spec.containers or []],
        init_containers=[_LimitedContainer(c) for c in spec.init_containers or []],
        pod_level=parse_amounts((spec.resources and spec.resources.limits) or {}),
        overhead=parse_amounts(spec.overhead or {}),
    )
    requests = spec.requests
    raised = {name: max(limits.get(name, 0), requests.get(name, 0)) for name in (CPU, MEMORY)}
    return _bounded(raised)


def _cpu_terms(spec: PodSpec) -> CpuTerms:
    limited = parse_amounts(spec.overhead or {}).get(CPU, 0)
    requested = n_unset = 0
    for container in spec.containers or []:
        limit, request = container.limits.get(CPU), container.requests.get(CPU)
        if limit is not None:
            limited += limit
        elif request is not None:
            requested += request
        else:
            n_unset += 1
    bounded = _bounded({"limited": limited, "requested": requested})
    return CpuTerms(bounded["limited"], bounded["requested"], n_unset)


def _containers(spec: PodSpec) -> tuple[ContainerFacts, ...]:
    init = [(each, not each.is_sidecar) for each in spec.init_containers or ()]
    started = [*init, *((each, False) for each in spec.containers or ())]
    return tuple(
        ContainerFacts(
            tuple((name, amount) for name, amount in _bounded(each.requests).items() if amount),
            is_brief,
        )
        for each, is_brief in started
    )


def _cpu_and_memory(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: amounts[name] for name in (CPU, MEMORY) if name in amounts}


def _bounded(amounts: Mapping[str, int]) -> dict[str, int]:
    return {name: max(0, min(MAX_AMOUNT, amount)) for name, amount in amounts.items()}


def _scheduled_at_s(pod: Pod) -> float:
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "True":
            since = condition.last_transition_time
            # What is true since nobody knows when, is true since long ago.
            return _created_at_s(pod) if since is None else since.timestamp()
    return 0.0


def _created_at_s(pod: Pod) -> float:
    created = pod.metadata.creation_timestamp
    return 0.0 if created is None else created.timestamp()


def pod_group_of(meta: ObjectMeta) -> str:
    """Name the gang that a pod's annotation, or its label, puts it into; empty if none does."""
    annotations, labels = meta.annotations or {}, meta.labels or {}
    return annotations.get(POD_GROUP) or labels.get(POD_GROUP_LABEL) or ""


def annotated_priority(annotations: Mapping[str, str]) -> int | None:
    """Read the annotation; one that is no number counts as absent: a typo must not stop a pod."""
    try:
        return int(annotations.get(PRIORITY_ANNOTATION, ""))
    except ValueError:
        return None


def annotated_size(annotations: Mapping[str, str]) -> int | None:
    """Read the gang's size; one that is no positive number counts as absent."""
    try:
        size = int(annotations.get(POD_GROUP_SIZE, ""))
    except ValueError:
        return None
    return size if size > 0 else None


@dataclass(frozen=True, slots=True)
class _Terms:
    """Reads a pod's affinity to pods, or its anti-affinity."""

    pod: Pod
    affinity: PodAffinity | None

    def required(self) -> tuple[AffinityTerm, ...]:
        if self.affinity is None:
            return ()
        terms = self.affinity.required_during_scheduling_ignored_during_execution or ()
        return tuple(self._term(each) for each in terms)

    def preferred(self, *, sign: int) -> tuple[WeightedTerm, ...]:
        if self.affinity is None:
            return ()
        terms = self.affinity.preferred_during_scheduling_ignored_during_execution or ()
        return tuple(
            WeightedTerm(sign * each.weight, self._term(each.pod_affinity_term)) for each in terms
        )

    def _term(self, term: PodAffinityTerm) -> AffinityTerm:
        # matchLabelKeys need no look: the API server has merged them into the selector.
        named = frozenset(term.namespaces or ())
        is_own = not named and term.namespace_selector is None
        return AffinityTerm(
            term.topology_key,
            PodTerm(
                label_query(term.label_selector),
                frozenset((self.pod.metadata.namespace,)) if is_own else named,
                label_query(term.namespace_selector),
            ),
        )


def _spread(constraint: TopologySpreadConstraint, labels: Mapping[str, str]) -> SpreadConstraint:
    query = label_query(constraint.label_selector)
    for key in constraint.match_label_keys or ():
        # An API server of 1.34 or newer has merged these; an older one leaves it to us.
        if query is not None and key in labels:
            query = query.also(Requirement(key, "In", frozenset((labels[key],))))
    return SpreadConstraint(
        topology_key=constraint.topology_key,
        max_skew=constraint.max_skew,
        is_hard=constraint.when_unsatisfiable == "DoNotSchedule",
        query=query,
        min_domains=constraint.min_domains or 1,
        honors_node_affinity=constraint.node_affinity_policy != "Ignore",
        honors_node_taints=constraint.node_taints_policy == "Honor",
    )


def claim_name(volume: Volume, *, pod_name: str) -> str | None:
    """Name the claim behind a volume; an ephemeral one is made for the pod and named after it."""
    if volume.persistent_volume_claim is not None:
        return volume.persistent_volume_claim.claim_name
    return f"{pod_name}-{volume.name}" if volume.ephemeral is not None else None


def _claims(pod: Pod) -> tuple[str, ...]:
    meta = pod.metadata
    names = [claim_name(volume, pod_name=meta.name) for volume in pod.spec.volumes or ()]
    return tuple(dict.fromkeys(f"{meta.namespace}/{name}" for name in names if name is not None))


def _images(spec: PodSpec) -> tuple[str, ...]:
    containers = [*(spec.init_containers or ()), *(spec.containers or ())]
    volumes = [v.image.reference for v in spec.volumes or () if v.image is not None]
    return tuple([c.image or "" for c in containers] + volumes)


def _host_ports(spec: PodSpec) -> frozenset[HostPort]:
    sidecars = [c for c in spec.init_containers or [] if c.is_sidecar]
    return frozenset(
        HostPort(port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port)  # noqa: S104 - a value to compare, not an address to listen on
        for container in [*(spec.containers or []), *sidecars]
        for port in container.ports or []
        if port.host_port is not None and port.host_port > 0
    )
