"""Volumes and their claims, with just the fields that scheduling reads."""

from collections.abc import Mapping
from typing import Final

from kube.objects import (
    AwsVolumeSource,
    AzureDiskVolumeSource,
    CinderVolumeSource,
    GceVolumeSource,
    LabelSelector,
    NodeSelector,
    ObjectMeta,
    PortworxVolumeSource,
    Struct,
)
from kube.quantity import QuantityError, parse_whole

SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""Written to a claim: where its volume is to be provisioned."""
BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
"""Written to a claim by the volume controller when claim and volume are bound."""
BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
"""Written to a volume that was not set aside for its claim by a person."""
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"
"""What a class names whose volumes are made by hand."""
READ_WRITE_ONCE_POD: Final = "ReadWriteOncePod"
WAIT_FOR_FIRST_CONSUMER: Final = "WaitForFirstConsumer"

_OLD_CLASS: Final = "volume.beta.kubernetes.io/storage-class"
_FILESYSTEM: Final = "Filesystem"


def _class_name(meta: ObjectMeta, name: str | None) -> str:
    return (meta.annotations or {}).get(_OLD_CLASS, name or "")


def _storage_bytes(quantities: Mapping[str, str] | None) -> int | None:
    text = (quantities or {}).get("storage")
    return None if text is None else read_bytes(text)


def read_bytes(text: str) -> int | None:
    """Read a size; ``None`` for what is none, which an API server does not let in."""
    try:
        return parse_whole(text)
    except QuantityError:
        return None


class VolumeResources(Struct, frozen=True):
    """How much storage."""

    requests: dict[str, str] | None = None


class PersistentVolumeClaimSpec(Struct, frozen=True):
    """What is asked for."""

    access_modes: list[str] | None = None
    resources: VolumeResources = VolumeResources()
    selector: LabelSelector | None = None
    storage_class_name: str | None = None
    volume_attributes_class_name: str | None = None
    volume_mode: str | None = None
    volume_name: str = ""


class PersistentVolumeClaimStatus(Struct, frozen=True):
    """What has been given."""

    phase: str = "Pending"


class PersistentVolumeClaim(Struct, frozen=True):
    """A claim to a volume."""

    metadata: ObjectMeta
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()

    @property
    def class_name(self) -> str:
        """The storage class; empty for none."""
        return _class_name(self.metadata, self.spec.storage_class_name)

    @property
    def requested_bytes(self) -> int | None:
        """The size that is asked for; ``None`` if any will do."""
        return _storage_bytes(self.spec.resources.requests)

    @property
    def volume_mode(self) -> str:
        """``Filesystem`` or ``Block``."""
        return self.spec.volume_mode or _FILESYSTEM

    @property
    def is_fully_bound(self) -> bool:
        """Whether the volume controller has bound it to a volume, and is done."""
        return bool(self.spec.volume_name) and BIND_COMPLETED in (self.metadata.annotations or {})

    @property
    def selected_node(self) -> str | None:
        """Where its volume is to be provisioned, if a scheduler has said so."""
        return (self.metadata.annotations or {}).get(SELECTED_NODE)


class ClaimReference(Struct, frozen=True):
    """The claim that a volume is given to."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class CsiVolumeSource(Struct, frozen=True):
    """A volume of a CSI driver."""

    driver: str
    volume_handle: str


class VolumeNodeAffinity(Struct, frozen=True):
    """Where a volume is to be had."""

    required: NodeSelector | None = None


class PersistentVolumeSpec(Struct, frozen=True):
    """What a volume is."""

    access_modes: list[str] | None = None
    capacity: dict[str, str] | None = None
    claim_ref: ClaimReference | None = None
    csi: CsiVolumeSource | None = None
    aws_elastic_block_store: AwsVolumeSource | None = None
    gce_persistent_disk: GceVolumeSource | None = None
    azure_disk: AzureDiskVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    portworx_volume: PortworxVolumeSource | None = None
    node_affinity: VolumeNodeAffinity | None = None
    storage_class_name: str = ""
    volume_attributes_class_name: str | None = None
    volume_mode: str | None = None


class PersistentVolumeStatus(Struct, frozen=True):
    """How a volume fares."""

    phase: str = "Pending"


class PersistentVolume(Struct, frozen=True):
    """A volume."""

    metadata: ObjectMeta
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()

    @property
    def class_name(self) -> str:
        """The storage class; empty for none."""
        return _class_name(self.metadata, self.spec.storage_class_name)

    @property
    def capacity_bytes(self) -> int:
        """The size; 0 if none is told."""
        return _storage_bytes(self.spec.capacity) or 0

    @property
    def volume_mode(self) -> str:
        """``Filesystem`` or ``Block``."""
        return self.spec.volume_mode or _FILESYSTEM

    def is_set_aside_for(self, claim: PersistentVolumeClaim) -> bool:
        """Tell whether it is given to *claim*, by its uid if that is told."""
        ref, meta = self.spec.claim_ref, claim.metadata
        if ref is None or (ref.namespace, ref.name) != (meta.namespace, meta.name):
            return False
        return ref.uid in ("", meta.uid)


class TopologySelectorLabelRequirement(Struct, frozen=True):
    """A label with one of some values."""

    key: str
    values: list[str] | None = None


class TopologySelectorTerm(Struct, frozen=True):
    """Labels that must all be had."""

    match_label_expressions: list[TopologySelectorLabelRequirement] | None = None


class StorageClass(Struct, frozen=True):
    """How claims of a class are met."""

    metadata: ObjectMeta
    provisioner: str = ""
    volume_binding_mode: str = "Immediate"
    allowed_topologies: list[TopologySelectorTerm] | None = None


class CsiNodeAllocatable(Struct, frozen=True):
    """How many volumes a driver attaches to a node."""

    count: int | None = None


class CsiNodeDriver(Struct, frozen=True):
    """A driver on a node."""

    name: str
    allocatable: CsiNodeAllocatable | None = None


class CsiNodeSpec(Struct, frozen=True):
    """The drivers on a node."""

    drivers: list[CsiNodeDriver] | None = None


class CsiNode(Struct, frozen=True):
    """What CSI drivers say of a node."""

    metadata: ObjectMeta
    spec: CsiNodeSpec = CsiNodeSpec()


class CsiDriverSpec(Struct, frozen=True):
    """What a driver can do."""

    storage_capacity: bool = False


class CsiDriver(Struct, frozen=True):
    """A CSI driver."""

    metadata: ObjectMeta
    spec: CsiDriverSpec = CsiDriverSpec()


class CsiStorageCapacity(Struct, frozen=True):
    """How much storage of a class is left in a part of the topology."""

    metadata: ObjectMeta
    storage_class_name: str = ""
    node_topology: LabelSelector | None = None
    capacity: str | None = None
    maximum_volume_size: str | None = None

    @property
    def limit_bytes(self) -> int | None:
        """The largest volume that fits; ``None`` if nothing is told."""
        text = self.maximum_volume_size or self.capacity
        return None if text is None else read_bytes(text)


class VolumeAttachmentSource(Struct, frozen=True):
    """What is attached."""

    persistent_volume_name: str | None = None


class VolumeAttachmentSpec(Struct, frozen=True):
    """What is attached where, by whom."""

    attacher: str = ""
    node_name: str = ""
    source: VolumeAttachmentSource = VolumeAttachmentSource()


class VolumeAttachment(Struct, frozen=True):
    """A volume attached to a node."""

    metadata: ObjectMeta
    spec: VolumeAttachmentSpec = VolumeAttachmentSpec()
