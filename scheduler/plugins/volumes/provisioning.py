"""Where volumes that do not exist yet can be provisioned."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from kube.objects import LabelSelector
from kube.storage import (
    NO_PROVISIONER,
    CsiDriver,
    CsiStorageCapacity,
    PersistentVolumeClaim,
    StorageClass,
    read_bytes,
)
from scheduler.framework.columns import IntColumn
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn
from scheduler.plugins.volumes.topology import allows, selects_any


@dataclass(frozen=True, slots=True)
class _Pool:
    """A part of the topology with storage of one class."""

    limit_bytes: int
    capacity_bytes: int
    nodes: LabelSelector


class Provisioning:
    """Storage that is left, by class; read anew when it changes."""

    def __init__(self) -> None:
        self._read: tuple[ClusterObjects, int] | None = None
        self._pools: dict[str, list[_Pool]] = {}

    def update(self, objects: ClusterObjects) -> None:
        """Take in what changed."""
        read = objects, objects.version(CsiStorageCapacity)
        if read == self._read:
            return
        pools: defaultdict[str, list[_Pool]] = defaultdict(list)
        for each in sorted(objects.all(CsiStorageCapacity), key=lambda each: each.metadata.key):
            limit_bytes = each.limit_bytes
            if limit_bytes is not None and each.node_topology is not None:
                capacity_bytes = read_bytes(each.capacity or "0") or 0
                pool = _Pool(limit_bytes, capacity_bytes, each.node_topology)
                pools[each.storage_class_name].append(pool)
        self._read, self._pools = read, pools

    def reaches(self, claim: PersistentVolumeClaim, *, snapshot: Snapshot) -> BoolColumn:
        """Tell for which nodes the claim's class provisions volumes at all."""
        found = snapshot.objects.find(StorageClass, claim.class_name)
        if found is None or found.provisioner in ("", NO_PROVISIONER):
            return np.zeros(snapshot.n_nodes, dtype=np.bool_)
        return allows(snapshot, topologies=found.allowed_topologies)

    def has_room(self, claim: PersistentVolumeClaim, *, snapshot: Snapshot) -> BoolColumn:
        """Tell for which nodes enough storage is left, as far as drivers keep account of it."""
        if not self._is_accounted(claim, snapshot.objects):
            return np.ones(snapshot.n_nodes, dtype=np.bool_)
        selectors = [pool.nodes for pool in self._sufficient(claim)]
        return selects_any(snapshot, selectors=selectors)

    def capacity_bytes(self, claim: PersistentVolumeClaim, *, snapshot: Snapshot) -> IntColumn:
        """Tell how large the storage is that the claim's volume would come from.

        Returns:
            Shape ``(n_nodes,)``; -1 where no account is kept.
        """
        found = np.full(snapshot.n_nodes, -1, dtype=np.int64)
        if self._is_accounted(claim, snapshot.objects):
            for pool in self._sufficient(claim):
                here = selects_any(snapshot, selectors=[pool.nodes])
                found[here & (found < 0)] = pool.capacity_bytes
        return found

    def _sufficient(self, claim: PersistentVolumeClaim) -> list[_Pool]:
        asked_bytes = claim.requested_bytes or 0
        return [p for p in self._pools.get(claim.class_name, ()) if p.limit_bytes >= asked_bytes]

    @staticmethod
    def _is_accounted(claim: PersistentVolumeClaim, objects: ClusterObjects) -> bool:
        if claim.requested_bytes is None:
            return False
        found = objects.find(StorageClass, claim.class_name)
        driver = None if found is None else objects.find(CsiDriver, found.provisioner)
        return driver is not None and driver.spec.storage_capacity
