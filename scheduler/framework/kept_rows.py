"""What was found out about nodes, for as long as nothing changes there."""

from typing import Generic, TypeVar

from kube.objects import PodDisruptionBudget
from scheduler.framework.changes import NEVER
from scheduler.framework.nominations import Nominations
from scheduler.framework.snapshot import Snapshot

T = TypeVar("T")


class KeptRows(Generic[T]):
    """Findings by row that depend on the node, its pods, nominations to it, and budgets."""

    def __init__(self) -> None:
        self.found: dict[int, T] = {}
        """By row; to be read and added to until something changes."""
        self._of: tuple[Snapshot, Nominations] | None = None
        self._pods_version = self._nominations_version = self._budgets_version = NEVER

    def update(self, snapshot: Snapshot, *, nominations: Nominations) -> None:
        """Forget what may no longer hold: all of it, if it was found out about another cluster."""
        if self._of is None or self._of[0] is not snapshot or self._of[1] is not nominations:
            # A state built anew counts its versions from the start.
            self._of, self._pods_version = (snapshot, nominations), NEVER
        budgets_version = snapshot.objects.version(PodDisruptionBudget)
        changed = snapshot.changes.since(self._pods_version)
        renominated = nominations.changes.since(self._nominations_version)
        if changed is None or renominated is None or budgets_version != self._budgets_version:
            self.found.clear()
        else:
            for row in changed:
                self.found.pop(row, None)
            for node in renominated:
                self.found.pop(snapshot.rows.get(node, NEVER), None)
        self._pods_version = snapshot.changes.version
        self._nominations_version = nominations.changes.version
        self._budgets_version = budgets_version
