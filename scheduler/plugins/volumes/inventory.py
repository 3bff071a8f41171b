"""The volumes that claims can still get."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

import msgspec

from kube.objects import NodeSelectorTerm
from kube.selectors import label_query
from kube.storage import PersistentVolume, PersistentVolumeClaim
from scheduler.framework.objects import ClusterObjects
from scheduler.plugins.volumes.assumed import AssumedVolumes
from scheduler.plugins.volumes.topology import affinity_of, label_of


class Candidate:
    """A volume, read once."""

    __slots__ = (
        "access_modes",
        "capacity_bytes",
        "kind",
        "label",
        "name",
        "place",
        "terms",
        "volume",
    )

    def __init__(self, volume: PersistentVolume) -> None:
        self.volume = volume
        self.name = volume.metadata.name
        self.capacity_bytes = volume.capacity_bytes
        self.access_modes = frozenset(volume.spec.access_modes or ())
        self.kind = _kind(volume)
        self.terms: list[NodeSelectorTerm] | None = affinity_of(volume)
        self.label = label_of(self.terms)
        self.place = msgspec.json.encode(self.terms)
        """The same for volumes that reach the same nodes."""


def _kind(owner: PersistentVolume | PersistentVolumeClaim) -> tuple[str, str]:
    """Return what must be the same of a claim and its volume."""
    return owner.volume_mode, owner.spec.volume_attributes_class_name or ""


class Inventory:
    """Volumes by class and by claim, read anew when one changes."""

    def __init__(self) -> None:
        self._read: tuple[ClusterObjects, int] | None = None
        self._candidates: dict[str, Candidate] = {}
        self._free: dict[str, list[Candidate]] = {}
        self._set_aside: dict[str, list[Candidate]] = {}

    def update(self, objects: ClusterObjects) -> None:
        """Take in what changed."""
        read = objects, objects.version(PersistentVolume)
        if read == self._read:
            return
        known, self._candidates = self._candidates, {}
        free: defaultdict[str, list[Candidate]] = defaultdict(list)
        set_aside: defaultdict[str, list[Candidate]] = defaultdict(list)
        for volume in objects.all(PersistentVolume):
            candidate = known.get(volume.metadata.name)
            if candidate is None or candidate.volume is not volume:
                candidate = Candidate(volume)
            self._candidates[candidate.name] = candidate
            if volume.metadata.deletion_timestamp is not None:
                continue
            ref = volume.spec.claim_ref
            if ref is not None:
                set_aside[f"{ref.namespace}/{ref.name}"].append(candidate)
            elif volume.status.phase == "Available":
                free[volume.class_name].append(candidate)
        for candidates in (*free.values(), *set_aside.values()):
            candidates.sort(key=lambda each: (each.capacity_bytes, each.name))
        self._read, self._free, self._set_aside = read, free, set_aside

    def set_aside_for(
        self, claim: PersistentVolumeClaim, *, assumed: AssumedVolumes
    ) -> Candidate | None:
        """Find the volume that is the claim's alone, given or promised, if it holds the claim."""
        requested_bytes = claim.requested_bytes or 0
        promised = self._candidates.get(assumed.volume_of(claim.metadata.key) or "")
        given = [
            each
            for each in self._set_aside.get(claim.metadata.key, ())
            if each.volume.is_set_aside_for(claim)
        ]
        for each in given or ([promised] if promised is not None else []):
            is_of_kind = each.kind == _kind(claim) and each.volume.class_name == claim.class_name
            if is_of_kind and each.capacity_bytes >= requested_bytes:
                return each
        return None

    def suitable(
        self, claim: PersistentVolumeClaim, *, assumed: AssumedVolumes
    ) -> Iterator[tuple[int, Candidate]]:
        """Go through the free volumes that *claim* may get, the smallest first.

        Each comes with its rank among all free volumes of its class.
        """
        free, kind = self._free.get(claim.class_name, []), _kind(claim)
        asked_modes = frozenset(claim.spec.access_modes or ())
        query = label_query(claim.spec.selector)
        first = bisect_left(free, claim.requested_bytes or 0, key=lambda each: each.capacity_bytes)
        for position in range(first, len(free)):
            each = free[position]
            if (
                each.kind == kind
                and asked_modes <= each.access_modes
                and assumed.claim_of(each.name) is None
                and (query is None or query.matches(each.volume.metadata.labels or {}))
            ):
                yield position, each
