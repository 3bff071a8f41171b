"""Sums over parts of a topology: all nodes that share the value of a label.

What holds for a row of a what-if (``Snapshot.what_if``) takes the changes on that row alone: sums
are those of the actual snapshot, and what changed on the row itself is added.
"""

from dataclasses import dataclass

import numpy as np

from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn


@dataclass(frozen=True, slots=True, eq=False)
class Domains:
    """The values that nodes have under one key, as numbers."""

    ids: IntColumn
    """Shape ``(n_nodes,)``; -1 where the node lacks the key."""
    n_ids: int
    """A number above all of them; some below it may be no node's."""

    @classmethod
    def of(cls, snapshot: Snapshot, *, key: str) -> "Domains":
        """Read one key's values."""
        return cls(*snapshot.labels.ids(key))

    @property
    def has_key(self) -> BoolColumn:
        """Which nodes have the key."""
        return np.greater_equal(self.ids, 0)

    def sums(self, amounts: IntColumn, *, where: BoolColumn | None = None) -> IntColumn:
        """Add up *amounts* (shape ``(n_nodes,)``) by domain, over the nodes of *where*.

        Returns:
            Shape ``(n_ids,)``.
        """
        counted = amounts if where is None else amounts * where
        # Without the key a node is counted in the place before the first, which is dropped.
        summed = np.bincount(self.ids + 1, weights=counted, minlength=self.n_ids + 1)
        return summed[1:].astype(np.int64)

    def at_nodes(self, by_domain: IntColumn, *, missing: int = 0) -> IntColumn:
        """Give each node what its domain has; *missing* where it lacks the key.

        Returns:
            Shape ``(n_nodes,)``.
        """
        padded = np.append(by_domain, missing)
        return padded[self.ids]


@dataclass(frozen=True, slots=True, eq=False)
class Nearby:
    """How many of something are near each node: on nodes of the same domain."""

    domains: Domains
    actual: IntColumn
    """Shape ``(n_nodes,)``; how many are on each node of the actual snapshot."""
    sums: IntColumn
    """Shape ``(n_nodes,)``; how many are near each; 0 where a node lacks the key."""

    @classmethod
    def of(cls, actual: IntColumn, *, domains: Domains) -> "Nearby":
        """Add up what is on each node of the actual snapshot."""
        return cls(domains, actual, domains.at_nodes(domains.sums(actual)))

    def given(self, amounts: IntColumn) -> IntColumn:
        """Return how many are near each node when *amounts* are on them, each change for itself."""
        return self.sums + (amounts - self.actual) * self.domains.has_key
