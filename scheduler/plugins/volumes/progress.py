"""From a promise to a bound volume: what to write, and how far the volume controller got."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from kube.storage import (
    BOUND_BY_CONTROLLER,
    SELECTED_NODE,
    PersistentVolume,
    PersistentVolumeClaim,
)
from scheduler.framework.interface import Write
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SUCCESS, Code, Status
from scheduler.plugins.volumes.assumed import Reservation, StaticBinding
from scheduler.plugins.volumes.claims import claim_not_found
from scheduler.plugins.volumes.topology import affinity_of, reach

_WAIT = Status(Code.WAIT, ("waiting for volumes to be bound",))


class Patch(NamedTuple):
    """A change to a volume or claim; fails if somebody else was quicker."""

    key: str
    version: str
    """Of the object that it is made for."""
    write: Write


def patches_of(reservation: Reservation, *, objects: ClusterObjects) -> list[Patch] | Status:
    """Say what to write so that the volume controller binds or provisions what was promised."""
    patches: list[Patch] = []
    for binding in reservation.bindings:
        claim = objects.find(PersistentVolumeClaim, binding.claim)
        volume = objects.find(PersistentVolume, binding.volume)
        if claim is None or volume is None:
            return _gone(binding, claim=claim)
        patches += _give(volume, claim=claim)
    for key in reservation.provisions:
        claim = objects.find(PersistentVolumeClaim, key)
        if claim is None:
            return _failure(claim_not_found(_name(key)))
        if claim.selected_node != reservation.node:
            patches.append(_select(claim, node=reservation.node))
    return patches


def progress(reservation: Reservation, *, snapshot: Snapshot) -> Status:
    """Tell whether everything is bound: success, Wait, or why it will not be."""
    if reservation.node not in snapshot.rows:
        return _failure(f'failed to get node "{reservation.node}"')
    steps = [
        *(_bound(each, reservation, snapshot) for each in reservation.bindings),
        *(_provisioned(key, reservation, snapshot) for key in reservation.provisions),
    ]
    failures = [step for step in steps if step.code is Code.ERROR]
    waits = [step for step in steps if step.code is Code.WAIT]
    return next(iter(failures + waits), SUCCESS)


def _give(volume: PersistentVolume, *, claim: PersistentVolumeClaim) -> Iterator[Patch]:
    ref, meta = volume.spec.claim_ref, claim.metadata
    if ref is not None and volume.is_set_aside_for(claim) and ref.uid:
        return
    changes: dict[str, Any] = {"resourceVersion": volume.metadata.resource_version}
    if not volume.is_set_aside_for(claim):
        changes["annotations"] = {BOUND_BY_CONTROLLER: "yes"}
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    }
    write = Write(
        path=f"/api/v1/persistentvolumes/{volume.metadata.name}",
        body={"metadata": changes, "spec": {"claimRef": reference}},
    )
    yield Patch(volume.metadata.name, volume.metadata.resource_version, write)


def _select(claim: PersistentVolumeClaim, *, node: str) -> Patch:
    meta = claim.metadata
    changes = {"resourceVersion": meta.resource_version, "annotations": {SELECTED_NODE: node}}
    write = Write(
        path=f"/api/v1/namespaces/{meta.namespace}/persistentvolumeclaims/{meta.name}",
        body={"metadata": changes},
    )
    return Patch(meta.key, meta.resource_version, write)


def _bound(binding: StaticBinding, reservation: Reservation, snapshot: Snapshot) -> Status:
    claim = snapshot.objects.find(PersistentVolumeClaim, binding.claim)
    volume = snapshot.objects.find(PersistentVolume, binding.volume)
    if claim is None or volume is None:
        return _gone(binding, claim=claim)
    if reservation.versions.get(binding.volume) == volume.metadata.resource_version:
        return _WAIT  # our own change has yet to come back
    if not _reaches(volume, node=reservation.node, snapshot=snapshot):
        return _elsewhere(volume, node=reservation.node)
    if volume.spec.claim_ref is None or not volume.spec.claim_ref.uid:
        return _failure(f'ClaimRef got reset for pv "{binding.volume}"')
    return _settled(claim)


def _provisioned(key: str, reservation: Reservation, snapshot: Snapshot) -> Status:
    claim = snapshot.objects.find(PersistentVolumeClaim, key)
    if claim is None:
        return _failure(claim_not_found(_name(key)))
    if reservation.versions.get(key) == claim.metadata.resource_version:
        return _WAIT  # as above
    if claim.selected_node != reservation.node:
        # A provisioner that fails takes the annotation away, to have another node chosen.
        return _failure(f'provisioning failed for PVC "{claim.metadata.name}"')
    volume = snapshot.objects.find(PersistentVolume, claim.spec.volume_name)
    if volume is None:
        return _WAIT  # also where the claim names one: claims and volumes are watched apart
    if not _reaches(volume, node=reservation.node, snapshot=snapshot):
        return _elsewhere(volume, node=reservation.node)
    return _settled(claim)


def _settled(claim: PersistentVolumeClaim) -> Status:
    if claim.status.phase == "Lost":
        return _failure(f'persistentvolumeclaim "{claim.metadata.name}" lost its volume')
    return SUCCESS if claim.is_fully_bound else _WAIT


def _reaches(volume: PersistentVolume, *, node: str, snapshot: Snapshot) -> bool:
    return bool(reach(snapshot, terms=affinity_of(volume))[snapshot.rows[node]])


def _elsewhere(volume: PersistentVolume, *, node: str) -> Status:
    name = volume.metadata.name
    return _failure(f'pv "{name}" node affinity doesn\'t match node "{node}"')


def _gone(binding: StaticBinding, *, claim: PersistentVolumeClaim | None) -> Status:
    if claim is None:
        return _failure(claim_not_found(_name(binding.claim)))
    return _failure(f'persistentvolume "{binding.volume}" not found')


def _name(key: str) -> str:
    return key.partition("/")[2]


def _failure(why: str) -> Status:
    # An error, as upstream: the pod is tried again after back-off, whatever else happens.
    return Status(Code.ERROR, (f"binding volumes: {why}",))
