"""Custom resources that schedulers read: where they are served, and the fields that are used.

The kinds are those of kubernetes-sigs/scheduler-plugins, so that what was written for it is read
here. A server has them once their definitions (``config/crds``) are installed.
"""

from datetime import datetime
from typing import ClassVar

from kube.objects import ObjectMeta, Struct
from kube.quantity import parse_amounts

Quantity = str | int | float
"""Definitions of custom resources leave it open whether ``1`` is a number or a text."""
Quantities = dict[str, Quantity]


def read_amounts(quantities: Quantities | None) -> dict[str, int]:
    """Read a resource list: millicores for cpu, whole units for the rest.

    Raises:
        QuantityError: A value is no quantity.
    """
    return parse_amounts({name: str(amount) for name, amount in (quantities or {}).items()})


class CustomResource(Struct, frozen=True):
    """An object of a kind that an API server may lack."""

    collection: ClassVar[str]
    """Where all objects of the kind are listed, such as ``/apis/GROUP/VERSION/PLURAL``."""

    metadata: ObjectMeta


class PodGroupSpec(Struct, frozen=True):
    """How many of a group's pods are worth running."""

    min_member: int = 1
    min_resources: Quantities | None = None
    schedule_timeout_seconds: int | None = None


class PodGroupStatus(Struct, frozen=True):
    """What has become of a group."""

    phase: str = ""
    occupied_by: str = ""
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    schedule_start_time: datetime | None = None


class PodGroup(CustomResource, frozen=True):
    """A gang."""

    collection: ClassVar[str] = "/apis/scheduling.x-k8s.io/v1alpha1/podgroups"

    spec: PodGroupSpec = PodGroupSpec()
    status: PodGroupStatus = PodGroupStatus()


class ElasticQuotaSpec(Struct, frozen=True):
    """What a namespace is guaranteed, and what it may have at the most."""

    min: Quantities | None = None
    max: Quantities | None = None


class ElasticQuotaStatus(Struct, frozen=True):
    """What its pods ask for."""

    used: Quantities | None = None


class ElasticQuota(CustomResource, frozen=True):
    """A namespace's share, which others may borrow while it is not used."""

    collection: ClassVar[str] = "/apis/scheduling.x-k8s.io/v1alpha1/elasticquotas"

    spec: ElasticQuotaSpec = ElasticQuotaSpec()
    status: ElasticQuotaStatus = ElasticQuotaStatus()


class TopologyAttribute(Struct, frozen=True):
    """A fact about a node or a zone, such as its topology manager's policy."""

    name: str
    value: str = ""


class ZoneCost(Struct, frozen=True):
    """How far another zone is."""

    name: str
    value: int = 0


class ZoneResource(Struct, frozen=True):
    """How much of a resource a zone has."""

    name: str
    capacity: Quantity = 0
    allocatable: Quantity = 0
    available: Quantity = 0


class Zone(Struct, frozen=True):
    """A part of a node, such as a NUMA cell."""

    name: str
    type: str = ""
    parent: str | None = None
    costs: list[ZoneCost] | None = None
    attributes: list[TopologyAttribute] | None = None
    resources: list[ZoneResource] | None = None


class NodeResourceTopology(CustomResource, frozen=True):
    """What a node's agent says of its zones; named after the node."""

    collection: ClassVar[str] = "/apis/topology.node.k8s.io/v1alpha2/noderesourcetopologies"

    zones: list[Zone] | None = None
    attributes: list[TopologyAttribute] | None = None
    topology_policies: list[str] | None = None


class AppGroupWorkloadRef(Struct, frozen=True):
    """Names a workload; *selector* is the value of its pods' workload label."""

    name: str = ""
    kind: str = ""
    selector: str = ""
    namespace: str | None = None
    api_version: str | None = None


class AppGroupDependency(Struct, frozen=True):
    """Whom a workload talks to, and from how far at the most."""

    workload: AppGroupWorkloadRef = AppGroupWorkloadRef()
    min_bandwidth: Quantity | None = None
    max_network_cost: int | None = None


class AppGroupWorkload(Struct, frozen=True):
    """A workload of an application."""

    workload: AppGroupWorkloadRef = AppGroupWorkloadRef()
    dependencies: list[AppGroupDependency] | None = None


class AppGroupSpec(Struct, frozen=True):
    """An application's workloads, and in which way they are ordered."""

    num_members: int = 1
    topology_sorting_algorithm: str = ""
    workloads: list[AppGroupWorkload] | None = None


class AppGroupTopologyInfo(Struct, frozen=True):
    """A workload's place in the order."""

    workload: AppGroupWorkloadRef = AppGroupWorkloadRef()
    index: int = 0


class AppGroupStatus(Struct, frozen=True):
    """What was found out about an application."""

    running_workloads: int | None = None
    schedule_start_time: datetime | None = None
    topology_calculation_time: datetime | None = None
    topology_order: list[AppGroupTopologyInfo] | None = None


class AppGroup(CustomResource, frozen=True):
    """Workloads that talk to each other."""

    collection: ClassVar[str] = "/apis/appgroup.diktyo.x-k8s.io/v1alpha1/appgroups"

    spec: AppGroupSpec = AppGroupSpec()
    status: AppGroupStatus = AppGroupStatus()


class NetworkCost(Struct, frozen=True):
    """What it costs to reach a destination."""

    destination: str
    network_cost: int = 0
    bandwidth_capacity: Quantity | None = None
    bandwidth_allocated: Quantity | None = None


class NetworkOrigin(Struct, frozen=True):
    """The costs from one region or zone."""

    origin: str
    cost_list: list[NetworkCost] | None = None


class NetworkTopologyInfo(Struct, frozen=True):
    """The costs between the values of one node label."""

    topology_key: str
    origin_list: list[NetworkOrigin] | None = None


class NetworkWeights(Struct, frozen=True):
    """Costs that were worked out in one way."""

    name: str
    topology_list: list[NetworkTopologyInfo] | None = None


class NetworkTopologySpec(Struct, frozen=True):
    """Costs, by how they were worked out."""

    configmap_name: str = ""
    weights: list[NetworkWeights] | None = None


class NetworkTopology(CustomResource, frozen=True):
    """What it costs to talk from zone to zone, and from region to region."""

    collection: ClassVar[str] = "/apis/networktopology.diktyo.x-k8s.io/v1alpha1/networktopologies"

    spec: NetworkTopologySpec = NetworkTopologySpec()


class SeccompSyscalls(Struct, frozen=True):
    """What is done about some system calls."""

    action: str
    names: list[str] | None = None


class SeccompProfileSpec(Struct, frozen=True):
    """What is done about system calls."""

    default_action: str = ""
    base_profile_name: str | None = None
    syscalls: list[SeccompSyscalls] | None = None


class SeccompProfile(CustomResource, frozen=True):
    """Which system calls a container may make."""

    collection: ClassVar[str] = "/apis/security-profiles-operator.x-k8s.io/v1beta1/seccompprofiles"

    spec: SeccompProfileSpec = SeccompProfileSpec()


class PriorityClass(CustomResource, frozen=True):
    """A name for a priority. Every server has the kind; it is watched where a plugin reads it."""

    collection: ClassVar[str] = "/apis/scheduling.k8s.io/v1/priorityclasses"

    value: int = 0
    global_default: bool | None = None
    preemption_policy: str | None = None
