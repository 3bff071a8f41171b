"""What the simulated API server serves: one constant a resource, and the registry of them all.

Resources that a client only looks for in discovery, or that an unmodified kube-scheduler
insists on watching, are here too: they are stored and served like any other.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as decoded JSON. Stored objects are never changed in place."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS_VERBS = ("get", "patch", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A part of a resource that has its own address, such as ``pods/binding``."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind of object and how it is addressed, named and stored."""

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    is_namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    storage: str = ""
    """Name of the table that holds the objects; two resources may show the same one."""
    counts_generations: bool = False
    """A change of ``spec`` raises ``metadata.generation``."""
    is_custom: bool = False
    """Defined by a CustomResourceDefinition: no Go type, no strategic merge."""
    schema: Object | None = field(default=None, compare=False)
    """The ``openAPIV3Schema`` of a custom resource."""
    columns: tuple[Object, ...] = field(default=(), compare=False)
    """The ``additionalPrinterColumns`` of a custom resource."""
    returns_deleted: bool = False
    """``DELETE`` answers with the object that was removed, not with a Status."""
    api_version: str = field(init=False, compare=False)
    """The ``apiVersion`` of an object of this resource."""
    qualified_name: str = field(init=False, compare=False)
    """Plural and group, as messages write it: ``leases.coordination.k8s.io``."""
    table: str = field(init=False, compare=False)
    """The name under which objects are stored."""

    def __post_init__(self) -> None:
        # Asked for at every write and every reading, so they are put together once.
        group, plural, version = self.group, self.plural, self.version
        object.__setattr__(self, "api_version", f"{group}/{version}" if group else version)
        object.__setattr__(self, "qualified_name", f"{plural}.{group}" if group else plural)
        object.__setattr__(self, "table", self.storage or self.qualified_name)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # resources are told apart by identity, in copies of a cluster, too

    @property
    def storage_version_hash(self) -> str:
        """The opaque hash that discovery gives for the stored form."""
        group = "" if self.kind == "Event" else self.group  # etcd holds events in the core form
        name = f"{group}/{self.version}/{self.kind}".encode()
        return base64.b64encode(hashlib.sha256(name).digest()[:8]).decode()

    def has_subresource(self, name: str) -> bool:
        """Tell whether ``<plural>/<name>`` exists."""
        return any(sub.name == name for sub in self.subresources)


def _status(kind: str) -> Subresource:
    return Subresource(name="status", kind=kind, verbs=STATUS_VERBS)


def _scale() -> Subresource:
    return Subresource(
        name="scale", kind="Scale", verbs=STATUS_VERBS, group="autoscaling", version="v1"
    )


def _connect(name: str, kind: str, *verbs: str) -> Subresource:
    return Subresource(name=name, kind=kind, verbs=verbs or ("create", "get"))


_PROXY_VERBS = ("create", "delete", "get", "patch", "update")
_ALL = ("all",)


def _core(plural: str, kind: str, **more: Any) -> Resource:
    singular = more.pop("singular", plural.removesuffix("s"))
    return Resource(group="", version="v1", plural=plural, singular=singular, kind=kind, **more)


def _grouped(group: str, plural: str, kind: str, **more: Any) -> Resource:
    singular = more.pop("singular", kind.lower())
    version = more.pop("version", "v1")
    return Resource(
        group=group, version=version, plural=plural, singular=singular, kind=kind, **more
    )


def _workload(plural: str, kind: str, *, short: tuple[str, ...], scales: bool = True) -> Resource:
    return _grouped(
        "apps",
        plural,
        kind,
        short_names=short,
        categories=_ALL,
        counts_generations=True,
        subresources=(*((_scale(),) if scales else ()), _status(kind)),
    )


NAMESPACES = _core(
    "namespaces",
    "Namespace",
    is_namespaced=False,
    short_names=("ns",),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    subresources=(
        Subresource(name="finalize", kind="Namespace", verbs=("update",)),
        _status("Namespace"),
    ),
)
NODES = _core(
    "nodes",
    "Node",
    is_namespaced=False,
    short_names=("no",),
    subresources=(_connect("proxy", "NodeProxyOptions", *_PROXY_VERBS), _status("Node")),
)
PODS = _core(
    "pods",
    "Pod",
    short_names=("po",),
    categories=_ALL,
    counts_generations=True,
    returns_deleted=True,
    subresources=(
        _connect("attach", "PodAttachOptions"),
        _connect("binding", "Binding", "create"),
        _connect("ephemeralcontainers", "Pod", *STATUS_VERBS),
        Subresource(
            name="eviction", kind="Eviction", verbs=("create",), group="policy", version="v1"
        ),
        _connect("exec", "PodExecOptions"),
        _connect("log", "Pod", "get"),
        _connect("portforward", "PodPortForwardOptions"),
        _connect("proxy", "PodProxyOptions", *_PROXY_VERBS),
        _connect("resize", "Pod", *STATUS_VERBS),
        _status("Pod"),
    ),
)
BINDINGS = _core("bindings", "Binding", verbs=("create",))
COMPONENT_STATUSES = _core(
    "componentstatuses",
    "ComponentStatus",
    singular="componentstatus",
    is_namespaced=False,
    short_names=("cs",),
    verbs=("get", "list"),
)
CONFIG_MAPS = _core("configmaps", "ConfigMap", short_names=("cm",))
ENDPOINTS = _core("endpoints", "Endpoints", singular="endpoints", short_names=("ep",))
EVENTS = _grouped("events.k8s.io", "events", "Event", short_names=("ev",))
"""Events in the form that is stored; ``CORE_EVENTS`` shows the same objects in the older one."""
CORE_EVENTS = _core("events", "Event", short_names=("ev",), storage=EVENTS.qualified_name)
LIMIT_RANGES = _core("limitranges", "LimitRange", short_names=("limits",))
PVCS = _core(
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    short_names=("pvc",),
    returns_deleted=True,
    subresources=(_status("PersistentVolumeClaim"),),
)
PVS = _core(
    "persistentvolumes",
    "PersistentVolume",
    is_namespaced=False,
    short_names=("pv",),
    returns_deleted=True,
    subresources=(_status("PersistentVolume"),),
)
POD_TEMPLATES = _core("podtemplates", "PodTemplate", returns_deleted=True)
REPLICATION_CONTROLLERS = _core(
    "replicationcontrollers",
    "ReplicationController",
    short_names=("rc",),
    categories=_ALL,
    counts_generations=True,
    subresources=(_scale(), _status("ReplicationController")),
)
RESOURCE_QUOTAS = _core(
    "resourcequotas",
    "ResourceQuota",
    short_names=("quota",),
    returns_deleted=True,
    subresources=(_status("ResourceQuota"),),
)
SECRETS = _core("secrets", "Secret")
SERVICE_ACCOUNTS = _core(
    "serviceaccounts",
    "ServiceAccount",
    short_names=("sa",),
    returns_deleted=True,
    subresources=(
        Subresource(
            name="token",
            kind="TokenRequest",
            verbs=("create",),
            group="authentication.k8s.io",
            version="v1",
        ),
    ),
)
SERVICES = _core(
    "services",
    "Service",
    short_names=("svc",),
    categories=_ALL,
    returns_deleted=True,
    subresources=(_connect("proxy", "ServiceProxyOptions", *_PROXY_VERBS), _status("Service")),
)
CONTROLLER_REVISIONS = _grouped("apps", "controllerrevisions", "ControllerRevision")
DAEMON_SETS = _workload("daemonsets", "DaemonSet", short=("ds",), scales=False)
DEPLOYMENTS = _workload("deployments", "Deployment", short=("deploy",))
REPLICASETS = _workload("replicasets", "ReplicaSet", short=("rs",))
STATEFUL_SETS = _workload("statefulsets", "StatefulSet", short=("sts",))
PDBS = _grouped(
    "policy",
    "poddisruptionbudgets",
    "PodDisruptionBudget",
    short_names=("pdb",),
    counts_generations=True,
    subresources=(_status("PodDisruptionBudget"),),
)
LEASES = _grouped("coordination.k8s.io", "leases", "Lease")
PRIORITY_CLASSES = _grouped(
    "scheduling.k8s.io",
    "priorityclasses",
    "PriorityClass",
    is_namespaced=False,
    short_names=("pc",),
    counts_generations=True,
)
CSI_DRIVERS = _grouped(
    "storage.k8s.io", "csidrivers", "CSIDriver", is_namespaced=False, returns_deleted=True
)
CSI_NODES = _grouped(
    "storage.k8s.io", "csinodes", "CSINode", is_namespaced=False, returns_deleted=True
)
CSI_STORAGE_CAPACITIES = _grouped("storage.k8s.io", "csistoragecapacities", "CSIStorageCapacity")
STORAGE_CLASSES = _grouped(
    "storage.k8s.io",
    "storageclasses",
    "StorageClass",
    is_namespaced=False,
    short_names=("sc",),
    returns_deleted=True,
)
VOLUME_ATTACHMENTS = _grouped(
    "storage.k8s.io",
    "volumeattachments",
    "VolumeAttachment",
    is_namespaced=False,
    returns_deleted=True,
    subresources=(_status("VolumeAttachment"),),
)
VOLUME_ATTRIBUTES_CLASSES = _grouped(
    "storage.k8s.io",
    "volumeattributesclasses",
    "VolumeAttributesClass",
    is_namespaced=False,
    short_names=("vac",),
)
CUSTOM_RESOURCE_DEFINITIONS = _grouped(
    "apiextensions.k8s.io",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    is_namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    counts_generations=True,
    subresources=(_status("CustomResourceDefinition"),),
)
DEVICE_CLASSES = _grouped(
    "resource.k8s.io", "deviceclasses", "DeviceClass", is_namespaced=False, counts_generations=True
)
RESOURCE_CLAIMS = _grouped(
    "resource.k8s.io", "resourceclaims", "ResourceClaim", subresources=(_status("ResourceClaim"),)
)
RESOURCE_CLAIM_TEMPLATES = _grouped(
    "resource.k8s.io", "resourceclaimtemplates", "ResourceClaimTemplate"
)
RESOURCE_SLICES = _grouped(
    "resource.k8s.io",
    "resourceslices",
    "ResourceSlice",
    is_namespaced=False,
    counts_generations=True,
)

_CREATE = ("create",)
TOKEN_REVIEWS = _grouped(
    "authentication.k8s.io", "tokenreviews", "TokenReview", is_namespaced=False, verbs=_CREATE
)
SELF_SUBJECT_REVIEWS = _grouped(
    "authentication.k8s.io",
    "selfsubjectreviews",
    "SelfSubjectReview",
    is_namespaced=False,
    verbs=_CREATE,
)
SELF_SUBJECT_ACCESS_REVIEWS = _grouped(
    "authorization.k8s.io",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    is_namespaced=False,
    verbs=_CREATE,
)
SUBJECT_ACCESS_REVIEWS = _grouped(
    "authorization.k8s.io",
    "subjectaccessreviews",
    "SubjectAccessReview",
    is_namespaced=False,
    verbs=_CREATE,
)

NODE_METRICS = _grouped(
    "metrics.k8s.io",
    "nodes",
    "NodeMetrics",
    version="v1beta1",
    is_namespaced=False,
    singular="",
    verbs=("get", "list"),
)
POD_METRICS = _grouped(
    "metrics.k8s.io", "pods", "PodMetrics", version="v1beta1", singular="", verbs=("get", "list")
)

REVIEWS = (
    TOKEN_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
)
"""Questions that are answered and not stored."""

BUILT_IN = (
    BINDINGS,
    COMPONENT_STATUSES,
    CONFIG_MAPS,
    ENDPOINTS,
    CORE_EVENTS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PVCS,
    PVS,
    PODS,
    POD_TEMPLATES,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICASETS,
    STATEFUL_SETS,
    EVENTS,
    TOKEN_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    PDBS,
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    VOLUME_ATTRIBUTES_CLASSES,
    CUSTOM_RESOURCE_DEFINITIONS,
    PRIORITY_CLASSES,
    LEASES,
    DEVICE_CLASSES,
    RESOURCE_CLAIMS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_SLICES,
    NODE_METRICS,
    POD_METRICS,
)
"""Everything served before any CustomResourceDefinition, in the order of discovery."""
