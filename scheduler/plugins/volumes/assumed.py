"""What was promised to pods on their way to a node, until the API server's objects show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class StaticBinding(NamedTuple):
    """A claim and the volume that it is to get."""

    claim: str
    volume: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one pod needs before it can run on its node."""

    node: str
    bindings: tuple[StaticBinding, ...] = ()
    provisions: tuple[str, ...] = ()
    """Claims whose volumes are to be provisioned there."""
    is_written: bool = False
    """The API server was told, or is being told."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of volumes and claims as they were before that; a later version shows the change."""


class AssumedVolumes:
    """Reservations by pod; as many as there are pods between Reserve and Bind."""

    def __init__(self) -> None:
        self._reservations: dict[str, Reservation] = {}
        self._claims: dict[str, str] = {}
        self._volumes: dict[str, str] = {}
        self._nodes: dict[str, str] = {}

    def find(self, uid: str) -> Reservation | None:
        """Return a pod's reservation."""
        return self._reservations.get(uid)

    def put(self, uid: str, reservation: Reservation) -> None:
        """Keep a pod's reservation; replaces an earlier one."""
        self._reservations[uid] = reservation
        self._recount()

    def drop(self, uid: str) -> None:
        """Forget a pod's reservation, if it has one; others' to the same claims stay."""
        if self._reservations.pop(uid, None) is not None:
            self._recount()

    def claim_of(self, volume: str) -> str | None:
        """Tell which claim a volume is promised to."""
        return self._claims.get(volume)

    def volume_of(self, claim: str) -> str | None:
        """Tell which volume a claim was promised."""
        return self._volumes.get(claim)

    def node_of(self, claim: str) -> str | None:
        """Tell where a claim's volume is to be provisioned."""
        return self._nodes.get(claim)

    def _recount(self) -> None:
        bindings = [b for each in self._reservations.values() for b in each.bindings]
        self._claims = {each.volume: each.claim for each in bindings}
        self._volumes = {each.claim: each.volume for each in bindings}
        self._nodes = {c: r.node for r in self._reservations.values() for c in r.provisions}
