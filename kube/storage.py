"""Volumes and their claims, with just the fields that scheduling reads."""

from kube.objects import LabelSelector, NodeSelector, ObjectMeta, Struct

SELECTED_NODE = "volume.kubernetes.io/selected-node"
"""Written to a claim: where its volume is to be provisioned."""


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
