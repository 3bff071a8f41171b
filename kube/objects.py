"""The Kubernetes objects that the programs read, with just the fields that they use.

Unknown fields are ignored and absent ones have Kubernetes' defaults. Decoding is strict about
types: what is malformed raises ``msgspec.ValidationError`` at the edge and goes no further.
"""

from datetime import datetime
from typing import Generic, Protocol, TypeVar

import msgspec

from kube.quantity import effective_requests, parse_amounts

Labels = dict[str, str]


class Struct(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """A wire object: immutable, camel case on the wire, invisible to the garbage collector."""


class OwnerReference(Struct, frozen=True):
    """Who made this object."""

    kind: str
    name: str
    uid: str = ""
    controller: bool | None = None


class ObjectMeta(Struct, frozen=True):
    """What every object carries."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Labels | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerReference] | None = None

    @property
    def key(self) -> str:
        """``namespace/name``, or just ``name`` where there are no namespaces."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class KubeObject(Protocol):
    """What all objects have in common."""

    @property
    def metadata(self) -> ObjectMeta:
        """Name, version and the like."""


class LabelSelectorRequirement(Struct, frozen=True):
    """One condition on labels."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Struct, frozen=True):
    """Conditions on labels, which must all hold; an empty selector matches everything."""

    match_labels: Labels | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None


class Taint(Struct, frozen=True):
    """A mark on a node that repels pods without a matching toleration."""

    key: str
    effect: str
    value: str | None = None


class Toleration(Struct, frozen=True):
    """A pod's leave to run in spite of a taint."""

    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None


class NodeSelectorRequirement(Struct, frozen=True):
    """One condition on a node's labels or fields."""

    key: str
    operator: str
    values: list[str] | None = None


class NodeSelectorTerm(Struct, frozen=True):
    """Conditions that must all hold."""

    match_expressions: list[NodeSelectorRequirement] | None = None
    match_fields: list[NodeSelectorRequirement] | None = None


class NodeSelector(Struct, frozen=True):
    """Terms of which one must hold."""

    node_selector_terms: list[NodeSelectorTerm] | None = None


class PreferredSchedulingTerm(Struct, frozen=True):
    """A term that earns a node *weight* points."""

    weight: int
    preference: NodeSelectorTerm


class NodeAffinity(Struct, frozen=True):
    """Which nodes a pod must, or would rather, run on."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: list[PreferredSchedulingTerm] | None = (
        None
    )


class Present(Struct, frozen=True):
    """Something of which it matters only that it is there."""


class PodAffinityTerm(Struct, frozen=True):
    """Some pods, and the part of the topology in which they are near."""

    topology_key: str
    label_selector: LabelSelector | None = None
    namespaces: list[str] | None = None
    namespace_selector: LabelSelector | None = None
    match_label_keys: list[str] | None = None
    mismatch_label_keys: list[str] | None = None


class WeightedPodAffinityTerm(Struct, frozen=True):
    """A term that earns a node *weight* points."""

    weight: int
    pod_affinity_term: PodAffinityTerm


class PodAffinity(Struct, frozen=True):
    """Which pods a pod must, or would rather, run near to; or not, as anti-affinity."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] | None = None
    preferred_during_scheduling_ignored_during_execution: list[WeightedPodAffinityTerm] | None = (
        None
    )


class Affinity(Struct, frozen=True):
    """A pod's likings."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(Struct, frozen=True):
    """How evenly a pod and its like must, or should, be spread."""

    max_skew: int = 1
    topology_key: str = ""
    when_unsatisfiable: str = "DoNotSchedule"
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: list[str] | None = None


class ClaimVolumeSource(Struct, frozen=True):
    """A volume by claim."""

    claim_name: str
    read_only: bool = False


class AwsVolumeSource(Struct, frozen=True):
    """An EBS volume."""

    volume_id: str = msgspec.field(name="volumeID", default="")
    read_only: bool = False


class GceVolumeSource(Struct, frozen=True):
    """A persistent disk of GCE."""

    pd_name: str = ""
    read_only: bool = False


class IscsiVolumeSource(Struct, frozen=True):
    """A disk over iSCSI."""

    iqn: str = ""
    read_only: bool = False


class RbdVolumeSource(Struct, frozen=True):
    """A block device of Ceph."""

    monitors: list[str] | None = None
    pool: str = "rbd"
    image: str = ""
    read_only: bool = False


class AzureDiskVolumeSource(Struct, frozen=True):
    """A disk of Azure."""

    disk_uri: str = msgspec.field(name="diskURI", default="")


class CinderVolumeSource(Struct, frozen=True):
    """A volume of OpenStack."""

    volume_id: str = msgspec.field(name="volumeID", default="")


class PortworxVolumeSource(Struct, frozen=True):
    """A volume of Portworx."""

    volume_id: str = msgspec.field(name="volumeID", default="")


class ImageVolumeSource(Struct, frozen=True):
    """An image as a volume."""

    reference: str = ""


class Volume(Struct, frozen=True):
    """A volume, as far as it can keep a pod from a node or draw it to one."""

    name: str = ""
    persistent_volume_claim: ClaimVolumeSource | None = None
    ephemeral: Present | None = None
    aws_elastic_block_store: AwsVolumeSource | None = None
    gce_persistent_disk: GceVolumeSource | None = None
    iscsi: IscsiVolumeSource | None = None
    rbd: RbdVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    image: ImageVolumeSource | None = None


class ResourceRequirements(Struct, frozen=True):
    """Requests and limits as quantities."""

    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class ContainerPort(Struct, frozen=True):
    """A port that a container opens."""

    container_port: int = 0
    host_port: int | None = None
    host_ip: str | None = msgspec.field(name="hostIP", default=None)
    protocol: str | None = None


class SeccompSource(Struct, frozen=True):
    """Where a seccomp profile comes from."""

    type: str
    localhost_profile: str | None = None


class SecurityContext(Struct, frozen=True):
    """What a pod, or a container of it, is held to."""

    seccomp_profile: SeccompSource | None = None


class Container(Struct, frozen=True):
    """A container, or an init container, of a pod."""

    name: str = ""
    image: str | None = None
    resources: ResourceRequirements | None = None
    ports: list[ContainerPort] | None = None
    restart_policy: str | None = None
    security_context: SecurityContext | None = None

    @property
    def requests(self) -> dict[str, int]:
        """Requested amounts by resource; a limit without a request counts as one."""
        if self.resources is None:
            return {}
        limits, requests = self.resources.limits or {}, self.resources.requests or {}
        return parse_amounts({**limits, **requests})

    @property
    def limits(self) -> dict[str, int]:
        """Limits by resource."""
        return parse_amounts((self.resources and self.resources.limits) or {})

    @property
    def is_sidecar(self) -> bool:
        """Whether this is an init container that keeps running."""
        return self.restart_policy == "Always"


class SchedulingGate(Struct, frozen=True):
    """Something that must happen before the pod may be scheduled."""

    name: str


class PodSpec(Struct, frozen=True):
    """What is asked for."""

    containers: list[Container] | None = None
    init_containers: list[Container] | None = None
    node_name: str = ""
    scheduler_name: str = "default-scheduler"
    priority: int | None = None
    priority_class_name: str | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: list[Toleration] | None = None
    resources: ResourceRequirements | None = None
    overhead: dict[str, str] | None = None
    preemption_policy: str | None = None
    scheduling_gates: list[SchedulingGate] | None = None
    topology_spread_constraints: list[TopologySpreadConstraint] | None = None
    volumes: list[Volume] | None = None
    resource_claims: list[Present] | None = None
    security_context: SecurityContext | None = None

    @property
    def requests(self) -> dict[str, int]:
        """What the pod needs at once (``kube.quantity.effective_requests``)."""
        pod_level = (self.resources and self.resources.requests) or {}
        return effective_requests(
            self.containers or [],
            init_containers=self.init_containers or [],
            pod_level=parse_amounts(pod_level),
            overhead=parse_amounts(self.overhead or {}),
        )


class Condition(Struct, frozen=True):
    """One thing that is true, false or unknown of an object."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


class ContainerStateWaiting(Struct, frozen=True):
    """Why a container does not run yet."""

    reason: str | None = None


class ContainerStateRunning(Struct, frozen=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class ContainerStateTerminated(Struct, frozen=True):
    """How a container ended."""

    exit_code: int = 0
    reason: str | None = None
    finished_at: datetime | None = None


class ContainerState(Struct, frozen=True):
    """One of the three."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Struct, frozen=True):
    """How a container fares."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState | None = None
    last_state: ContainerState | None = None


class PodStatus(Struct, frozen=True):
    """How the pod fares."""

    phase: str = "Pending"
    reason: str | None = None
    message: str | None = None
    conditions: list[Condition] | None = None
    nominated_node_name: str | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None
    start_time: datetime | None = None
    qos_class: str | None = None


class Pod(Struct, frozen=True):
    """A pod."""

    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return self.metadata.key


class NodeSpec(Struct, frozen=True):
    """What an operator says of a node."""

    unschedulable: bool | None = None
    taints: list[Taint] | None = None


class NodeImage(Struct, frozen=True):
    """An image that a node holds."""

    names: list[str] | None = None
    size_bytes: int = 0


class NodeStatus(Struct, frozen=True):
    """What the kubelet says of a node."""

    capacity: dict[str, str] | None = None
    allocatable: dict[str, str] | None = None
    conditions: list[Condition] | None = None
    images: list[NodeImage] | None = None

    @property
    def allocatable_amounts(self) -> dict[str, int]:
        """Allocatable amounts by resource; capacity where the kubelet gives none."""
        return parse_amounts(self.allocatable or self.capacity or {})

    @property
    def capacity_amounts(self) -> dict[str, int]:
        """Capacity by resource; what is allocatable where the kubelet gives none."""
        return parse_amounts(self.capacity or self.allocatable or {})


class Node(Struct, frozen=True):
    """A node."""

    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def is_ready(self) -> bool:
        """Whether the condition Ready is true."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or [])


class Namespace(Struct, frozen=True):
    """A namespace."""

    metadata: ObjectMeta


class ServiceSpec(Struct, frozen=True):
    """Whom a service stands for."""

    selector: Labels | None = None


class Service(Struct, frozen=True):
    """A service."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()


class ReplicationControllerSpec(Struct, frozen=True):
    """Whom a replication controller counts."""

    selector: Labels | None = None


class ReplicationController(Struct, frozen=True):
    """A replication controller."""

    metadata: ObjectMeta
    spec: ReplicationControllerSpec = ReplicationControllerSpec()


class ReplicaSetSpec(Struct, frozen=True):
    """Whom a replica set or a stateful set counts."""

    selector: LabelSelector | None = None


class ReplicaSet(Struct, frozen=True):
    """A replica set."""

    metadata: ObjectMeta
    spec: ReplicaSetSpec = ReplicaSetSpec()


class StatefulSet(Struct, frozen=True):
    """A stateful set."""

    metadata: ObjectMeta
    spec: ReplicaSetSpec = ReplicaSetSpec()


class PodDisruptionBudgetSpec(Struct, frozen=True):
    """Whom a budget protects."""

    selector: LabelSelector | None = None


class PodDisruptionBudgetStatus(Struct, frozen=True):
    """How many of them may go."""

    disruptions_allowed: int = 0
    disrupted_pods: dict[str, datetime] | None = None


class PodDisruptionBudget(Struct, frozen=True):
    """A limit to how many of some pods may be evicted at a time."""

    metadata: ObjectMeta
    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


class ContainerMetrics(Struct, frozen=True):
    """A container's usage as quantities."""

    name: str = ""
    usage: dict[str, str] = {}


class PodMetrics(Struct, frozen=True):
    """A pod's usage (``metrics.k8s.io/v1beta1``)."""

    metadata: ObjectMeta
    timestamp: datetime
    containers: list[ContainerMetrics] | None = None


class NodeMetrics(Struct, frozen=True):
    """A node's usage (``metrics.k8s.io/v1beta1``)."""

    metadata: ObjectMeta
    timestamp: datetime
    usage: dict[str, str] = {}


class ListMeta(Struct, frozen=True):
    """Where a list stands, and whether there is more."""

    resource_version: str = ""
    continue_: str | None = msgspec.field(name="continue", default=None)


T = TypeVar("T")


class ObjectList(Struct, Generic[T], frozen=True):
    """One page of a list."""

    metadata: ListMeta = ListMeta()
    items: list[T] | None = None


def controller_of(meta: ObjectMeta) -> OwnerReference | None:
    """Tell which controller manages an object, if one does."""
    return next((o for o in meta.owner_references or [] if o.controller), None)
