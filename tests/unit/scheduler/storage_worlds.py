"""Clusters with storage; what a test does not name has sane values."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kube.objects import (
    ClaimVolumeSource,
    KubeObject,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Present,
    Volume,
)
from kube.storage import (
    BIND_COMPLETED,
    ClaimReference,
    CsiNode,
    CsiNodeAllocatable,
    CsiNodeDriver,
    CsiNodeSpec,
    CsiVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    PersistentVolumeStatus,
    StorageClass,
    TopologySelectorLabelRequirement,
    TopologySelectorTerm,
    VolumeNodeAffinity,
    VolumeResources,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code, Status
from scheduler.model import PodFacts, claim_name
from tests.builders import make_meta
from tests.unit.scheduler.worlds import make_facts, make_pending

ZONE = "topology.kubernetes.io/zone"
DRIVER = "csi.example.com"


def make_claim(
    name: str = "data",
    *,
    volume: str = "",
    storage_class: str = "late",
    size: str | None = "5Gi",
    phase: str = "",
    annotations: Mapping[str, str] | None = None,
    meta: Mapping[str, Any] | None = None,
    **spec: Any,
) -> PersistentVolumeClaim:
    """Make a claim; with ``volume`` it is fully bound."""
    bound = {BIND_COMPLETED: "yes"} if volume else {}
    return PersistentVolumeClaim(
        metadata=make_meta(
            name, namespace="default", annotations={**bound, **(annotations or {})}, **(meta or {})
        ),
        spec=PersistentVolumeClaimSpec(
            access_modes=spec.pop("access_modes", ["ReadWriteOnce"]),
            resources=VolumeResources(requests=None if size is None else {"storage": size}),
            storage_class_name=storage_class,
            volume_name=volume,
            **spec,
        ),
        status=PersistentVolumeClaimStatus(phase=phase or ("Bound" if volume else "Pending")),
    )


def make_volume(
    name: str = "pv1",
    *,
    zones: Sequence[str] = (),
    claim: PersistentVolumeClaim | None = None,
    storage_class: str = "late",
    size: str = "5Gi",
    phase: str = "",
    meta: Mapping[str, Any] | None = None,
    **spec: Any,
) -> PersistentVolume:
    """Make a volume of ``DRIVER``; with ``claim`` it is given to that one."""
    ref = None
    if claim is not None:
        owner = claim.metadata
        ref = ClaimReference(namespace=owner.namespace, name=owner.name, uid=owner.uid)
    spec.setdefault("csi", CsiVolumeSource(driver=DRIVER, volume_handle=f"handle-of-{name}"))
    return PersistentVolume(
        metadata=make_meta(name, **(meta or {})),
        spec=PersistentVolumeSpec(
            access_modes=["ReadWriteOnce"],
            capacity={"storage": size},
            claim_ref=spec.pop("claim_ref", ref),
            node_affinity=in_zones(zones) if zones else None,
            storage_class_name=storage_class,
            **spec,
        ),
        status=PersistentVolumeStatus(phase=phase or ("Bound" if ref else "Available")),
    )


def in_zones(zones: Sequence[str]) -> VolumeNodeAffinity:
    required = NodeSelectorRequirement(key=ZONE, operator="In", values=list(zones))
    term = NodeSelectorTerm(match_expressions=[required])
    return VolumeNodeAffinity(required=NodeSelector(node_selector_terms=[term]))


def make_class(
    name: str = "late",
    *,
    mode: str = "WaitForFirstConsumer",
    provisioner: str = DRIVER,
    zones: Sequence[str] = (),
) -> StorageClass:
    """Make a class, which provisions only in ``zones`` if any are named."""
    label = TopologySelectorLabelRequirement(key=ZONE, values=list(zones))
    return StorageClass(
        metadata=make_meta(name),
        provisioner=provisioner,
        volume_binding_mode=mode,
        allowed_topologies=[TopologySelectorTerm(match_label_expressions=[label])]
        if zones
        else None,
    )


def make_csi_node(name: str, *, count: int | None, **meta: Any) -> CsiNode:
    """Make what ``DRIVER`` says of a node: how many volumes it attaches."""
    allocatable = CsiNodeAllocatable(count=count)
    driver = CsiNodeDriver(name=DRIVER, allocatable=allocatable)
    return CsiNode(metadata=make_meta(name, **meta), spec=CsiNodeSpec(drivers=[driver]))


def make_user(
    name: str = "web-1", *claims: str, volumes: Iterable[Volume] = (), **more: Any
) -> PodFacts:
    """Make a pod that uses claims, and whatever other volumes."""
    all_volumes = (
        *(Volume(name=c, persistent_volume_claim=ClaimVolumeSource(claim_name=c)) for c in claims),
        *volumes,
    )
    names = [claim_name(volume, pod_name=name) for volume in all_volumes]
    keys = tuple(f"default/{each}" for each in names if each is not None)
    return make_pending(name, volumes=all_volumes, claims=keys, **more)


def make_world(
    *objects: KubeObject,
    zones: Mapping[str, str] | None = None,
    pods: Iterable[tuple[PodFacts, str]] = (),
) -> Snapshot:
    """Make a cluster: nodes with their zones (``n1`` in ``a``, ``n2`` in ``b``), objects, pods."""
    snapshot = Snapshot()
    for node, zone in (zones or {"n1": "a", "n2": "b"}).items():
        snapshot.set_node(make_facts(node, labels={ZONE: zone} if zone else {}))
    for each in objects:
        snapshot.objects.put(each)
    for pod, node in pods:
        snapshot.add_pod(pod, node=node)
    return snapshot


def ask(
    plugin: Any, pod: PodFacts, snapshot: Snapshot, *, state: CycleState | None = None
) -> Status | dict[str, set[str]]:
    """Ask PreFilter, then Filter.

    Returns:
        PreFilter's refusal or Skip; else each refused node's reasons.
    """
    state = state or CycleState()
    status = plugin.pre_filter(state, pod=pod, snapshot=snapshot).status
    if not status.is_success:
        return status
    return refusals(plugin, pod, snapshot, state=state)


def refusals(
    plugin: Any, pod: PodFacts, snapshot: Snapshot, *, state: CycleState
) -> dict[str, set[str]]:
    found = plugin.filter(state, pod=pod, snapshot=snapshot)
    if found is None:
        return {}
    return {
        name: {reason for reason, nodes in found.reasons if nodes[row]}
        for row, name in enumerate(snapshot.names)
        if found.codes[row] != Code.SUCCESS
    }


EPHEMERAL = Volume(name="scratch", ephemeral=Present())
"""An ephemeral volume; its claim is called ``<pod>-scratch``."""
