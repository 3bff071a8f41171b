"""NodeVolumeLimits: a CSI driver attaches only so many volumes to a node."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import ClassVar, Final, NamedTuple

import numpy as np

from kube.storage import (
    CsiNode,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.disks import Disk, disks_of
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
)
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    SKIP,
    Code,
    Status,
    Verdicts,
    unresolvable,
)
from scheduler.model import PodFacts
from scheduler.plugins.volumes import migration
from scheduler.plugins.volumes.claims import (
    all_claims,
    claim_not_found,
    is_about_claim_of,
    whose_else,
)

_UNLIMITED: Final = 2**62
_READ: Final = (
    CsiNode,
    VolumeAttachment,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)


class Attached(NamedTuple):
    """A volume as its driver knows it."""

    driver: str
    handle: str


class _Limits:
    """What is known of CSI drivers on the nodes, as of one state of the objects."""

    def __init__(self, objects: ClusterObjects) -> None:
        self._counts: dict[str, dict[str, int]] = {}
        self._drivers: dict[frozenset[str], _Drivers] = {}
        self._drivers_on: dict[str, _Drivers] = {}
        self._none = _Drivers(objects, plugins=frozenset())
        self._attachments: defaultdict[str, set[Attached]] = defaultdict(set)
        """What is attached, or is being attached or detached."""
        self._columns: tuple[int, IntColumn, IntColumn] | None = None
        for node in objects.all(CsiNode):
            plugins = migration.migrated_plugins(node)
            drivers = self._drivers.setdefault(plugins, _Drivers(objects, plugins=plugins))
            self._drivers_on[node.metadata.name] = drivers
            if counts := _counts(node):
                self._counts[node.metadata.name] = counts
        for each in objects.all(VolumeAttachment):
            volume = objects.find(PersistentVolume, each.spec.source.persistent_volume_name or "")
            if volume is not None and volume.spec.csi is not None and each.spec.attacher:
                attached = Attached(each.spec.attacher, volume.spec.csi.volume_handle)
                self._attachments[each.spec.node_name].add(attached)

    @property
    def are_any(self) -> bool:
        """Whether some node has a limit."""
        return bool(self._counts)

    def crowded(self, pod: PodFacts, *, snapshot: Snapshot) -> list[int]:
        """List the rows whose volumes, of whatever driver, might reach a limit with the pod's."""
        lowest, n_attached = self._bounds(snapshot)
        asked = len(pod.claims) + len(disks_of(pod))
        present = snapshot.claims.n_distinct + snapshot.disks.n_distinct + n_attached
        rows: list[int] = np.flatnonzero(present + asked > lowest).tolist()
        return rows

    def is_full(self, row: int, *, pod: PodFacts, snapshot: Snapshot) -> bool:
        """Count the volumes on one node exactly; one that several pods use counts once."""
        name = snapshot.names[row]
        drivers = self._drivers_on.get(name, self._none)
        new = drivers.volumes(pod.claims, disks=disks_of(pod))
        present = drivers.volumes(snapshot.claims.on_row(row), disks=snapshot.disks.on_row(row))
        present |= self._attachments.get(name, set())
        n_new = Counter(each.driver for each in new - present)
        n_present = Counter(each.driver for each in present)
        counts = self._counts[name]
        return any(
            n_present[driver] + n > counts.get(driver, _UNLIMITED) for driver, n in n_new.items()
        )

    def _bounds(self, snapshot: Snapshot) -> tuple[IntColumn, IntColumn]:
        """Return the lowest limit and the number of attachments, shape ``(n_nodes,)`` each."""
        if self._columns is None or self._columns[0] != snapshot.generation:
            lowest = np.full(snapshot.n_nodes, _UNLIMITED, dtype=np.int64)
            n_attached = np.zeros(snapshot.n_nodes, dtype=np.int64)
            for name, counts in self._counts.items():
                row = snapshot.rows.get(name)
                if row is not None:
                    lowest[row] = min(counts.values())
                    n_attached[row] = len(self._attachments.get(name, ()))
            self._columns = snapshot.generation, lowest, n_attached
        return self._columns[1:]


class NodeVolumeLimits(PreFilterPlugin, FilterPlugin):
    """Refuses nodes to which a driver could not attach the pod's volumes besides the others."""

    name = "NodeVolumeLimits"
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.CSI_NODE
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.CLAIM
        | ClusterEvent.VOLUME_ATTACHMENT_DELETE
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: PluginArgs) -> None:
        super().__init__(args)
        self._versions: tuple[object, ...] = ()
        self._known: _Limits | None = None

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Skip pods without a volume that a driver might attach."""
        if pod.claims or any(migration.is_known(disk) for disk in disks_of(pod)):
            return PreFilterResult()
        return PreFilterResult(SKIP)

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes with too few places left; a node that tells no limit has none."""
        refusal = _missing(pod, snapshot)
        if refusal is not None:
            everywhere = np.ones(snapshot.n_nodes, dtype=np.bool_)
            return Verdicts.refuse(everywhere, reason=refusal.reasons[0], code=refusal.code)
        limits = self._limits(snapshot.objects)
        crowded = limits.crowded(pod, snapshot=snapshot) if limits.are_any else []
        full = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        for row in crowded:
            full[row] = limits.is_full(row, pod=pod, snapshot=snapshot)
        if not full.any():
            return None
        return Verdicts.refuse(
            full, reason="node(s) exceed max volume count", code=Code.UNSCHEDULABLE
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for larger limits, for the pod's claims, and for others' volumes to go."""
        before, after = change.before, change.after
        if isinstance(after, CsiNode):
            return not isinstance(before, CsiNode) or _grew(before, after)
        if change.event in ClusterEvent.CLAIM:
            return before is None and is_about_claim_of(pod, change=change)
        if change.event in ClusterEvent.ASSIGNED_POD_DELETE and isinstance(before, PodFacts):
            return bool(before.claims or any(migration.is_known(d) for d in disks_of(before)))
        return True

    def _limits(self, objects: ClusterObjects) -> _Limits:
        versions = (objects, *(objects.version(kind) for kind in _READ))
        if self._known is None or self._versions != versions:
            self._versions, self._known = versions, _Limits(objects)
        return self._known


def _missing(pod: PodFacts, snapshot: Snapshot) -> Status | None:
    """Refuse a pod whose claims are not all there, or not all its own."""
    for name, is_ephemeral in all_claims(pod):
        claim = snapshot.objects.find(PersistentVolumeClaim, f"{pod.namespace}/{name}")
        if claim is None:
            looked_up = f"looking up PVC {pod.namespace}/{name}"
            return unresolvable(f"{looked_up}: {claim_not_found(name)}")
        if is_ephemeral and (why := whose_else(claim, pod=pod)) is not None:
            return unresolvable(why)
    return None


class _Drivers:
    """Tells as which volumes of which drivers claims and disks reach a kind of node.

    Args:
        objects: Where claims and volumes are looked up, once each.
        plugins: For whose volumes a CSI driver stands in on such nodes.
    """

    def __init__(self, objects: ClusterObjects, *, plugins: frozenset[str]) -> None:
        self._objects = objects
        self._plugins = plugins
        self._known: dict[str, Attached | None] = {}

    def volumes(self, claims: Iterable[str], *, disks: Iterable[Disk]) -> set[Attached]:
        """Find the volumes that drivers attach."""
        sources = migration.sources_of(disks, plugins=self._plugins)
        found = {Attached(each.driver, each.volume_handle) for each in sources}
        for key in claims:
            if key not in self._known:
                self._known[key] = self._volume(key)
            volume = self._known[key]
            if volume is not None:
                found.add(volume)
        return found

    def _volume(self, key: str) -> Attached | None:
        """Find a claim's volume; one that is not there yet has the claim stand in."""
        claim = self._objects.find(PersistentVolumeClaim, key)
        if claim is None:
            return None
        volume = self._objects.find(PersistentVolume, claim.spec.volume_name)
        if volume is not None:
            source = migration.source_of(volume, plugins=self._plugins)
            return None if source is None else Attached(source.driver, source.volume_handle)
        storage_class = self._objects.find(StorageClass, claim.class_name)
        if storage_class is None:
            return None
        driver = migration.driver_of(storage_class.provisioner, plugins=self._plugins)
        return None if driver is None else Attached(driver, f"not provisioned/{key}")


def _counts(node: CsiNode) -> dict[str, int]:
    return {
        driver.name: driver.allocatable.count
        for driver in node.spec.drivers or ()
        if driver.allocatable is not None and driver.allocatable.count is not None
    }


def _grew(before: CsiNode, after: CsiNode) -> bool:
    was, now = _counts(before), _counts(after)
    return any(count > was.get(driver, 0) for driver, count in now.items())
