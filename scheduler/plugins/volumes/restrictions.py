"""VolumeRestrictions: disks and claims that two pods cannot have at once."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kube.storage import READ_WRITE_ONCE_POD, PersistentVolumeClaim
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.disks import disks_of
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PreFilterPlugin,
    PreFilterResult,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, BoolColumn, Code, Verdicts, unresolvable
from scheduler.model import PodFacts
from scheduler.plugins.volumes.claims import claim_not_found, is_about_claim_of, named_claims


@dataclass(frozen=True, slots=True)
class _Exclusive:
    """The pod's claims that one pod alone may use."""

    claims: tuple[str, ...]


class VolumeRestrictions(PreFilterPlugin, FilterPlugin):
    """Refuses nodes whose pods hold a disk of the pod's, and claims that are for one pod alone."""

    name = "VolumeRestrictions"
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.CLAIM
        | ClusterEvent.POD_UPDATE
    )

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse pods whose claim does not exist; skip those that can be in nobody's way."""
        exclusive: list[str] = []
        for name in named_claims(pod):
            key = f"{pod.namespace}/{name}"
            claim = snapshot.objects.find(PersistentVolumeClaim, key)
            if claim is None:
                return PreFilterResult(unresolvable(claim_not_found(name)))
            if READ_WRITE_ONCE_POD in (claim.spec.access_modes or ()):
                exclusive.append(key)
        if not disks_of(pod) and not any(snapshot.claims.rows(key) for key in exclusive):
            return PreFilterResult(SKIP)
        state.write(_Exclusive(tuple(exclusive)))
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes that hold a disk, then all while a claim is another's."""
        held = _holds_disk(pod, snapshot)
        exclusive = state.read(_Exclusive)
        in_use = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        for key in exclusive.claims if exclusive is not None else ():
            in_use |= _users(key, snapshot) > 0
        in_use &= ~held
        return Verdicts(
            (held | in_use).astype(np.uint8) * np.uint8(Code.UNSCHEDULABLE),
            (
                ("node(s) had no available disk", held),
                (
                    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod "
                    "access mode already in-use by another pod",
                    in_use,
                ),
            ),
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for the pod's claims, and for pods to go that share a claim or disk with it."""
        if change.event in ClusterEvent.CLAIM:
            return change.before is None and is_about_claim_of(pod, change=change)
        gone = change.before
        if change.event in ClusterEvent.ASSIGNED_POD_DELETE and isinstance(gone, PodFacts):
            freed = disks_of(gone)
            return not set(gone.claims).isdisjoint(pod.claims) or any(
                not freed.isdisjoint(disk.conflicting()) for disk in disks_of(pod)
            )
        return True


def _holds_disk(pod: PodFacts, snapshot: Snapshot) -> BoolColumn:
    """Tell which nodes have a pod that holds a disk of *pod*'s."""
    held = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    for disk in disks_of(pod):
        for conflicting in disk.conflicting():
            held[list(snapshot.disks.rows(conflicting))] = True
    return held


def _users(claim: str, snapshot: Snapshot) -> IntColumn:
    """Count the pods that use *claim* anywhere, as each row of a what-if sees it."""
    actual, here = snapshot.actual.claims.rows(claim), snapshot.claims.rows(claim)
    users = np.full(snapshot.n_nodes, sum(actual.values()), dtype=np.int64)
    for row in actual.keys() | here.keys():
        users[row] += here.get(row, 0) - actual.get(row, 0)
    return users
