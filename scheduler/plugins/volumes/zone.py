"""VolumeZone: a volume with labels of a zone or region is to be had there alone."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from kube.storage import (
    WAIT_FOR_FIRST_CONSUMER,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PreFilterPlugin,
    PreFilterResult,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, BoolColumn, Code, Status, Verdicts, unresolvable
from scheduler.model import PodFacts
from scheduler.plugins.volumes.claims import claim_not_found, named_claims

_ZONE: Final = "topology.kubernetes.io/zone"
_REGION: Final = "topology.kubernetes.io/region"
_OLD_ZONE: Final = "failure-domain.beta.kubernetes.io/zone"
_OLD_REGION: Final = "failure-domain.beta.kubernetes.io/region"
_TODAY: Final = {_OLD_ZONE: _ZONE, _OLD_REGION: _REGION, _ZONE: _ZONE, _REGION: _REGION}
"""By label: what it is called now."""
_SEPARATOR: Final = "__"


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the pod's volumes are: a label and its values for each of them."""

    labels: tuple[tuple[str, list[str]], ...]


class VolumeZone(PreFilterPlugin, FilterPlugin):
    """Refuses nodes outside the zones and regions of the pod's volumes."""

    name = "VolumeZone"
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.STORAGE_CLASS
        | ClusterEvent.CLAIM
        | ClusterEvent.VOLUME
        | ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_LABEL
        | ClusterEvent.POD_UPDATE
    )

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Find out where the volumes are; skip pods whose volumes are no place's."""
        labels: list[tuple[str, list[str]]] = []
        for name in named_claims(pod):
            volume = _volume_of(f"{pod.namespace}/{name}", snapshot)
            if isinstance(volume, Status):
                return PreFilterResult(volume)
            labels += _places(volume) if volume is not None else []
        if not labels:
            return PreFilterResult(SKIP)
        state.write(_Places(tuple(labels)))
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes elsewhere; nodes that are in no zone or region at all pass."""
        places = state.read(_Places)
        if places is None:
            return None
        here = np.ones(snapshot.n_nodes, dtype=np.bool_)
        for label, values in places.labels:
            here &= _is_in(snapshot, label=label, values=values)
        placed = np.logical_or.reduce([snapshot.labels.has(label) for label in _TODAY])
        return Verdicts.refuse(
            placed & ~here,
            reason="node(s) had no available volume zone",
            code=Code.UNSCHEDULABLE_AND_UNRESOLVABLE,
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for the pod's claims, for volumes elsewhere, and for classes that can wait."""
        match change.after:
            case PersistentVolumeClaim(metadata=meta):
                named = {f"{pod.namespace}/{name}" for name in named_claims(pod)}
                return meta.key in named
            case StorageClass(volume_binding_mode=mode):
                return change.before is None and mode == WAIT_FOR_FIRST_CONSUMER
            case PersistentVolume() as after:
                before = change.before
                is_new = not isinstance(before, PersistentVolume)
                return is_new or _places(before) != _places(after)
            case _:
                return True


def _volume_of(key: str, snapshot: Snapshot) -> PersistentVolume | Status | None:
    """Find a claim's volume; ``None`` if it is yet to be chosen, a refusal if it is not known."""
    objects = snapshot.objects
    claim = objects.find(PersistentVolumeClaim, key)
    if claim is None:
        return unresolvable(claim_not_found(key.partition("/")[2]))
    if claim.spec.volume_name:
        volume = objects.find(PersistentVolume, claim.spec.volume_name)
        if volume is None:
            return unresolvable(f'persistentvolume "{claim.spec.volume_name}" not found')
        return volume
    return _why_not_chosen(claim, snapshot)


def _why_not_chosen(claim: PersistentVolumeClaim, snapshot: Snapshot) -> Status | None:
    """Refuse a claim that should have a volume; ``None`` if the scheduler is to choose it."""
    if not claim.class_name:
        return unresolvable("PersistentVolumeClaim had no pv name and storageClass name")
    storage_class = snapshot.objects.find(StorageClass, claim.class_name)
    if storage_class is None:
        return unresolvable(f'storageclass.storage.k8s.io "{claim.class_name}" not found')
    if storage_class.volume_binding_mode != WAIT_FOR_FIRST_CONSUMER:
        return unresolvable("PersistentVolume had no name")
    return None


def _places(volume: PersistentVolume) -> list[tuple[str, list[str]]]:
    labels = volume.metadata.labels or {}
    named = [(label, labels[label].split(_SEPARATOR)) for label in _TODAY if label in labels]
    trimmed = [(label, [value.strip() for value in values]) for label, values in named]
    # A set with an empty member is malformed, and upstream leaves the label out.
    return [(label, values) for label, values in trimmed if all(values)]


def _is_in(snapshot: Snapshot, *, label: str, values: list[str]) -> BoolColumn:
    """Tell which nodes are there; a node without the label may have it under today's name."""
    labels = snapshot.labels
    has_own, matches = labels.has(label), labels.is_in(label, values=values)
    return np.where(has_own, matches, labels.is_in(_TODAY[label], values=values))
