"""Disks that a pod names itself, without a claim: who shares one with whom, and where."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from kube.objects import Volume
from scheduler.model import PodFacts

_EXCLUSIVE: Final = frozenset(("gcePersistentDisk", "awsElasticBlockStore", "iscsi", "rbd"))
"""Kinds that kube-scheduler watches over; the others only count."""


class Disk(NamedTuple):
    """A disk and how it is used; of a Ceph image, one for each of its monitors."""

    kind: str
    """The volume source's name in the pod's spec."""
    identity: tuple[str, ...]
    is_read_only: bool = False

    def conflicting(self) -> Iterator["Disk"]:
        """Go through the uses of the same disk that no node can have beside this one."""
        if self.kind not in _EXCLUSIVE:
            return
        yield self._replace(is_read_only=False)
        if not self.is_read_only or self.kind == "awsElasticBlockStore":
            yield self._replace(is_read_only=True)


def disks_of(pod: PodFacts) -> frozenset[Disk]:
    """List the disks that *pod* names itself."""
    if not pod.volumes:
        return frozenset()
    return frozenset(disk for volume in pod.volumes for disk in _disks(volume))


def _disks(volume: Volume) -> Iterator[Disk]:
    if (gce := volume.gce_persistent_disk) is not None:
        yield Disk("gcePersistentDisk", (gce.pd_name,), gce.read_only)
    if (aws := volume.aws_elastic_block_store) is not None:
        yield Disk("awsElasticBlockStore", (aws.volume_id,), aws.read_only)
    if (iscsi := volume.iscsi) is not None:
        yield Disk("iscsi", (iscsi.iqn,), iscsi.read_only)
    if (rbd := volume.rbd) is not None:
        for monitor in rbd.monitors or ():
            yield Disk("rbd", (monitor, rbd.pool, rbd.image), rbd.read_only)
    yield from _counted_disks(volume)


def _counted_disks(volume: Volume) -> Iterator[Disk]:
    if (azure := volume.azure_disk) is not None:
        yield Disk("azureDisk", (azure.disk_uri,))
    if (cinder := volume.cinder) is not None:
        yield Disk("cinder", (cinder.volume_id,))
    if (portworx := volume.portworx_volume) is not None:
        yield Disk("portworxVolume", (portworx.volume_id,))
