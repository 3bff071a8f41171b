"""What each node would mean for a pod's volumes: which it can have there, and which not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kube.storage import PersistentVolume, PersistentVolumeClaim
from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn, Code, Verdicts
from scheduler.plugins.volumes.assumed import AssumedVolumes, StaticBinding
from scheduler.plugins.volumes.choices import NOTHING, choose, rank
from scheduler.plugins.volumes.inventory import Candidate, Inventory
from scheduler.plugins.volumes.provisioning import Provisioning
from scheduler.plugins.volumes.topology import affinity_of, reach

NODE_CONFLICT: Final = "node(s) didn't match PersistentVolume's node affinity"
BIND_CONFLICT: Final = "node(s) didn't find available persistent volumes to bind"
NO_SPACE: Final = "node(s) did not have enough free storage"
NO_VOLUME: Final = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"


@dataclass(frozen=True, slots=True)
class PodClaims:
    """A pod's claims, sorted by what is left to do; written to the state by PreFilter."""

    bound: tuple[PersistentVolumeClaim, ...]
    waiting: tuple[PersistentVolumeClaim, ...]
    """Their volumes depend on the node that is chosen."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The existing volume that a claim would get on each node."""

    claim: PersistentVolumeClaim
    candidates: dict[int, Candidate]
    """By rank."""
    chosen: IntColumn
    """Shape ``(n_nodes,)``: ranks, or ``NOTHING``."""
    is_own: bool = False
    """The volume is set aside for the claim: its rank is none among free volumes."""

    @property
    def is_missing(self) -> BoolColumn:
        """Where there is none."""
        return np.equal(self.chosen, NOTHING)


@dataclass(frozen=True, slots=True)
class Provision:
    """A claim whose volume would be provisioned on some nodes."""

    claim: PersistentVolumeClaim
    needed: BoolColumn
    """Shape ``(n_nodes,)``."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A verdict on every node, and what choosing it would mean."""

    verdicts: Verdicts | None
    choices: tuple[Choice, ...] = ()
    provisions: tuple[Provision, ...] = ()

    def bindings_at(self, row: int) -> tuple[StaticBinding, ...]:
        """List the claims that would get existing volumes on a node."""
        return tuple(
            StaticBinding(each.claim.metadata.key, each.candidates[int(each.chosen[row])].name)
            for each in self.choices
            if each.chosen[row] != NOTHING
        )

    def provisions_at(self, row: int) -> tuple[str, ...]:
        """List the claims whose volumes would be provisioned on a node."""
        return tuple(each.claim.metadata.key for each in self.provisions if each.needed[row])


@dataclass(frozen=True, slots=True)
class Storage:
    """What there is to give."""

    inventory: Inventory
    provisioning: Provisioning
    assumed: AssumedVolumes


def make_plan(claims: PodClaims, *, snapshot: Snapshot, storage: Storage) -> Plan:
    """Look at all nodes for all of a pod's claims."""
    conflict, gone = _check_bound(claims.bound, snapshot)
    if not claims.waiting:
        return Plan(_verdicts(((NODE_CONFLICT, conflict), (NO_VOLUME, gone))))
    storage.inventory.update(snapshot.objects)
    storage.provisioning.update(snapshot.objects)
    here, selected, unselected = _selected(claims.waiting, snapshot, storage.assumed)
    choices = _choose(unselected, snapshot, storage)
    provisions = (
        *(Provision(claim, here) for claim in selected),
        *(Provision(each.claim, each.is_missing & here) for each in choices),
    )
    no_match, no_space = _check_provisions(provisions, snapshot, storage.provisioning)
    verdicts = _verdicts(
        (
            (NODE_CONFLICT, conflict),
            (BIND_CONFLICT, no_match | ~here),
            (NO_SPACE, no_space),
            (NO_VOLUME, gone),
        )
    )
    return Plan(verdicts, choices, provisions)


def _check_bound(
    claims: Iterable[PersistentVolumeClaim], snapshot: Snapshot
) -> tuple[BoolColumn, BoolColumn]:
    """Tell where a bound volume cannot be had, and where one does not exist.

    A node has the first of its claims' reasons alone.
    """
    fits = np.ones(snapshot.n_nodes, dtype=np.bool_)
    for claim in claims:
        volume = snapshot.objects.find(PersistentVolume, claim.spec.volume_name)
        if volume is None:
            return ~fits, fits
        terms = affinity_of(volume)
        if terms is not None:
            fits &= reach(snapshot, terms=terms)
    return ~fits, np.zeros(snapshot.n_nodes, dtype=np.bool_)


def _selected(
    claims: Iterable[PersistentVolumeClaim], snapshot: Snapshot, assumed: AssumedVolumes
) -> tuple[BoolColumn, list[PersistentVolumeClaim], list[PersistentVolumeClaim]]:
    """Part the claims that wait for a provisioner already, on one node, from those that do not."""
    here = np.ones(snapshot.n_nodes, dtype=np.bool_)
    selected: list[PersistentVolumeClaim] = []
    unselected: list[PersistentVolumeClaim] = []
    for claim in claims:
        node = claim.selected_node
        if node is None:
            node = assumed.node_of(claim.metadata.key)
        if node is None:
            unselected.append(claim)
            continue
        selected.append(claim)
        row = snapshot.rows.get(node)
        is_it = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        if row is not None:
            is_it[row] = True
        here &= is_it
    return here, selected, unselected


def _choose(
    claims: Sequence[PersistentVolumeClaim], snapshot: Snapshot, storage: Storage
) -> tuple[Choice, ...]:
    """Choose volumes on every node, for small claims first, none twice."""
    choices: list[Choice] = []
    for claim in sorted(claims, key=lambda each: each.requested_bytes or 0):
        own = storage.inventory.set_aside_for(claim, assumed=storage.assumed)
        if own is not None:
            chosen = np.where(reach(snapshot, terms=own.terms), 0, NOTHING)
            choices.append(Choice(claim, {0: own}, chosen, is_own=True))
            continue
        candidates = list(storage.inventory.suitable(claim, assumed=storage.assumed))
        ranks = rank(candidates, snapshot=snapshot, n_best=len(claims))
        rivals = [
            each.chosen
            for each in choices
            if each.claim.class_name == claim.class_name and not each.is_own
        ]
        choices.append(Choice(claim, dict(candidates), choose(ranks, taken=rivals)))
    return tuple(choices)


def _check_provisions(
    provisions: Iterable[Provision], snapshot: Snapshot, provisioning: Provisioning
) -> tuple[BoolColumn, BoolColumn]:
    """Tell where a volume cannot be provisioned, and where there is no storage left for it.

    A node has the first of its claims' reasons alone.
    """
    no_match = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    no_space = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    for each in provisions:
        asked = each.needed & ~no_match & ~no_space
        if not asked.any():
            continue
        reaches = provisioning.reaches(each.claim, snapshot=snapshot)
        no_match |= asked & ~reaches
        no_space |= asked & reaches & ~provisioning.has_room(each.claim, snapshot=snapshot)
    return no_match, no_space


def _verdicts(reasons: Sequence[tuple[str, BoolColumn]]) -> Verdicts | None:
    refused = np.logical_or.reduce([nodes for _, nodes in reasons])
    if not refused.any():
        return None
    codes = refused.astype(np.uint8) * np.uint8(Code.UNSCHEDULABLE_AND_UNRESOLVABLE)
    return Verdicts(codes, reasons)
