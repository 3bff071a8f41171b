"""VolumeBinding: volumes that a pod can have on its node, and those that must be made first."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np

from kube.storage import (
    WAIT_FOR_FIRST_CONSUMER,
    CsiDriver,
    CsiNode,
    CsiStorageCapacity,
    PersistentVolumeClaim,
    StorageClass,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreBindPlugin,
    PreBindResult,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    ReservePlugin,
    ScorePlugin,
)
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    SKIP,
    SUCCESS,
    BoolColumn,
    Code,
    ScoreColumn,
    Status,
    Verdicts,
    unresolvable,
    unschedulable,
)
from scheduler.model import PodFacts
from scheduler.plugins.scoring_strategies import RequestedToCapacityRatio, UtilizationShapePoint
from scheduler.plugins.volumes import migration
from scheduler.plugins.volumes.assumed import AssumedVolumes, Reservation
from scheduler.plugins.volumes.claims import (
    all_claims,
    claim_not_found,
    whose_else,
)
from scheduler.plugins.volumes.inventory import Inventory
from scheduler.plugins.volumes.plan import BIND_CONFLICT, Plan, PodClaims, Storage, make_plan
from scheduler.plugins.volumes.progress import Patch, patches_of, progress
from scheduler.plugins.volumes.provisioning import Provisioning
from scheduler.plugins.volumes.utilization import UtilizationScore

_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"


class VolumeBindingArgs(PluginArgs, frozen=True, rename="camel"):
    """Arguments of VolumeBinding."""

    bind_timeout_seconds: Annotated[int, msgspec.Meta(ge=0)] = 600
    """How long volumes may take to be bound or provisioned, before the node is given up."""
    shape: tuple[UtilizationShapePoint, ...] = ()
    """What the utilization of storage is worth; without it, storage earns no score."""

    def __post_init__(self) -> None:
        """Check the order.

        Raises:
            ValueError: The utilizations do not grow.
        """
        RequestedToCapacityRatio(shape=self.shape)


class VolumeBinding(
    PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin, ReservePlugin, PreBindPlugin
):
    """Refuses nodes where the pod's volumes are not to be had; has the others bound or provisioned.

    A claim whose class waits for its first consumer gets the smallest volume that suits it and is
    to be had on the node, or one that is provisioned there. From Reserve on it is promised, so
    that the next pod does not get it, too.
    """

    name = "VolumeBinding"
    args_type: ClassVar[type[PluginArgs]] = VolumeBindingArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.STORAGE_CLASS
        | ClusterEvent.CLAIM
        | ClusterEvent.VOLUME
        | ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_LABEL
        | ClusterEvent.CSI_NODE
        | ClusterEvent.CSI_DRIVER
        | ClusterEvent.CSI_STORAGE_CAPACITY
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: VolumeBindingArgs) -> None:
        super().__init__(args)
        self._timeout_s = float(args.bind_timeout_seconds)
        self._assumed = AssumedVolumes()
        self._storage = Storage(Inventory(), Provisioning(), self._assumed)
        self._score = UtilizationScore(args.shape) if args.shape else None

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse pods whose claims nobody can bind for them; skip pods without claims."""
        if not pod.claims:
            return PreFilterResult(SKIP)
        why_not = next(_bad_claims(pod, snapshot.objects), None)
        if why_not is not None:
            return PreFilterResult(unresolvable(why_not))
        found = (snapshot.objects.find(PersistentVolumeClaim, key) for key in pod.claims)
        claims = [claim for claim in found if claim is not None]
        unbound = [claim for claim in claims if not claim.is_fully_bound]
        if not all(_waits_for_consumer(claim, snapshot.objects) for claim in unbound):
            return PreFilterResult(unresolvable(_UNBOUND))
        bound = tuple(claim for claim in claims if claim.is_fully_bound)
        state.write(PodClaims(bound, tuple(unbound)))
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes without the volumes; other pods do not matter, so one look is enough."""
        claims, plan = state.read(PodClaims), state.read(Plan)
        if claims is None:
            return None
        if plan is None:
            plan = make_plan(claims, snapshot=snapshot, storage=self._storage)
            state.write(plan)
        return plan.verdicts

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip without a shape, and where no volume has to be chosen or provisioned."""
        plan = state.read(Plan)
        is_moot = plan is None or not (plan.choices or plan.provisions)
        return SKIP if self._score is None or is_moot else SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate nodes by how full the storage would be that the volumes come from."""
        plan = state.read(Plan)
        if plan is None or self._score is None:
            return np.zeros(snapshot.n_nodes, dtype=np.int64)
        return self._score.rate(plan, snapshot=snapshot, provisioning=self._storage.provisioning)

    def reserve(self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot) -> Status:
        """Promise the volumes that were found for the node."""
        plan, row = state.read(Plan), snapshot.rows.get(node)
        if plan is None or row is None:
            return SUCCESS
        bindings, provisions = plan.bindings_at(row), plan.provisions_at(row)
        for claim, volume in bindings:
            if self._assumed.claim_of(volume) not in (None, claim):
                # Another pod was reserved for since the nodes were looked at.
                return unschedulable(BIND_CONFLICT)
        if bindings or provisions:
            self._assumed.put(pod.uid, Reservation(node, bindings, provisions))
        return SUCCESS

    def unreserve(self, state: CycleState, *, pod: PodFacts, node: str) -> None:
        """Take the promises back."""
        self._assumed.drop(pod.uid)

    def pre_bind(
        self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot
    ) -> PreBindResult:
        """Have claims and volumes bound, and wait until they are."""
        reservation = self._assumed.find(pod.uid)
        if reservation is None:
            return PreBindResult()
        patches: list[Patch] = []
        if not reservation.is_written:
            found = patches_of(reservation, objects=snapshot.objects)
            if isinstance(found, Status):
                return PreBindResult(status=found)
            patches, versions = found, {each.key: each.version for each in found}
            reservation = replace(reservation, is_written=True, versions=versions)
            self._assumed.put(pod.uid, reservation)
        status = progress(reservation, snapshot=snapshot)
        if status.is_success:
            self._assumed.drop(pod.uid)
        writes = () if status.code is Code.ERROR else tuple(each.write for each in patches)
        return PreBindResult(writes=writes, status=status, timeout_s=self._timeout_s)

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for the pod's claims, and for storage, classes and drivers that offer more."""
        before, after = change.before, change.after
        if isinstance(after, PersistentVolumeClaim):
            return after.metadata.key in pod.claims
        return before is None or _offers_more(before, after)


def _offers_more(before: Any, after: Any) -> bool:
    match after:
        case StorageClass():
            return bool(before.allowed_topologies != after.allowed_topologies)
        case CsiNode():
            return migration.migrated_plugins(before) != migration.migrated_plugins(after)
        case CsiDriver():
            return bool(before.spec.storage_capacity and not after.spec.storage_capacity)
        case CsiStorageCapacity():
            return (after.limit_bytes or 0) > (before.limit_bytes or 0)
        case _:
            return True


def _bad_claims(pod: PodFacts, objects: ClusterObjects) -> Iterator[str]:
    """Say which claims nothing can be done with, and why."""
    for name, is_ephemeral in all_claims(pod):
        claim = objects.find(PersistentVolumeClaim, f"{pod.namespace}/{name}")
        if claim is None:
            waiting = "waiting for ephemeral volume controller to create the persistentvolumeclaim"
            yield f'{waiting} "{name}"' if is_ephemeral else claim_not_found(name)
            continue
        if claim.status.phase == "Lost":
            lost = f'bound to non-existent persistentvolume "{claim.spec.volume_name}"'
            yield f'persistentvolumeclaim "{name}" {lost}'
        if claim.metadata.deletion_timestamp is not None:
            yield f'persistentvolumeclaim "{name}" is being deleted'
        if is_ephemeral and (why := whose_else(claim, pod=pod)) is not None:
            yield why


def _waits_for_consumer(claim: PersistentVolumeClaim, objects: ClusterObjects) -> bool:
    """Tell whether the scheduler is to choose the volume of an unbound claim."""
    found = objects.find(StorageClass, claim.class_name)
    waits = found is not None and found.volume_binding_mode == WAIT_FOR_FIRST_CONSUMER
    # A claim that names its volume waits for that one, whatever its class says.
    return waits and not claim.spec.volume_name
