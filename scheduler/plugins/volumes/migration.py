"""In-tree volumes for which a CSI driver stands in, on nodes that say so."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from kube.storage import CsiNode, CsiVolumeSource, PersistentVolume
from scheduler.framework.disks import Disk

_ANNOTATION: Final = "storage.alpha.kubernetes.io/migrated-plugins"
_ZONES: Final = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")


class _StandIn(NamedTuple):
    plugin: str
    driver: str


_STAND_INS: Final = {
    "awsElasticBlockStore": _StandIn("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    "gcePersistentDisk": _StandIn("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    "azureDisk": _StandIn("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    "cinder": _StandIn("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    "portworxVolume": _StandIn("kubernetes.io/portworx-volume", "pxd.portworx.com"),
}
_DRIVERS: Final = {each.plugin: each.driver for each in _STAND_INS.values()}


def migrated_plugins(node: CsiNode) -> frozenset[str]:
    """List the plugins for whose volumes a CSI driver stands in on the node."""
    listed = (node.metadata.annotations or {}).get(_ANNOTATION, "")
    return frozenset(listed.split(",")) if listed else frozenset()


def is_known(disk: Disk) -> bool:
    """Tell whether a CSI driver could stand in for the disk's plugin."""
    return disk.kind in _STAND_INS


def driver_of(provisioner: str, *, plugins: frozenset[str]) -> str | None:
    """Name the driver of a class; ``None`` for a plugin that none stands in for."""
    driver = _DRIVERS.get(provisioner)
    if driver is None:
        return provisioner or None
    return driver if provisioner in plugins else None


def sources_of(disks: Iterable[Disk], *, plugins: frozenset[str]) -> Iterator[CsiVolumeSource]:
    """Tell how drivers see the disks that pods name themselves."""
    for disk in disks:
        source = _translate(disk.kind, disk.identity[0], plugins=plugins)
        if source is not None:
            yield source


def source_of(volume: PersistentVolume, *, plugins: frozenset[str]) -> CsiVolumeSource | None:
    """Tell how a driver sees a volume; ``None`` if it is no driver's."""
    if volume.spec.csi is not None:
        return volume.spec.csi
    kind, handle = next(_in_tree(volume), ("", ""))
    return _translate(kind, handle, plugins=plugins)


def _in_tree(volume: PersistentVolume) -> Iterator[tuple[str, str]]:
    """Give a volume's kind and what tells it from others, if it is of a kind known here."""
    spec = volume.spec
    if spec.aws_elastic_block_store is not None:
        yield "awsElasticBlockStore", spec.aws_elastic_block_store.volume_id
    if spec.gce_persistent_disk is not None:
        labels = volume.metadata.labels or {}
        zone = next((labels[key] for key in _ZONES if key in labels), "")
        yield "gcePersistentDisk", f"{zone}/{spec.gce_persistent_disk.pd_name}"
    if spec.azure_disk is not None:
        yield "azureDisk", spec.azure_disk.disk_uri
    if spec.cinder is not None:
        yield "cinder", spec.cinder.volume_id
    if spec.portworx_volume is not None:
        yield "portworxVolume", spec.portworx_volume.volume_id


def _translate(kind: str, handle: str, *, plugins: frozenset[str]) -> CsiVolumeSource | None:
    stand_in = _STAND_INS.get(kind)
    if stand_in is None or stand_in.plugin not in plugins:
        return None
    if kind == "awsElasticBlockStore":
        # In-tree, an id may name its zone, too: aws://zone/vol-1.
        handle = handle.rpartition("/")[2]
    return CsiVolumeSource(driver=stand_in.driver, volume_handle=handle)
