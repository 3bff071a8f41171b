"""What changed lately, so that what is derived from it can be brought up to date."""

from collections import deque
from collections.abc import Hashable
from itertools import islice
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

NEVER: Final = -1
"""The version of what was never derived."""
_MAX_REMEMBERED: Final = 4_096


class Changes(Generic[K]):
    """Counts changes, and remembers what the latest ones were of: rows, or nodes' names."""

    def __init__(self) -> None:
        self.version = 0
        """Grows with every change."""
        self._latest: deque[K] = deque(maxlen=_MAX_REMEMBERED)

    def fork(self) -> "Changes[K]":
        """Copy, to note more in."""
        fork: Changes[K] = Changes()
        fork.version, fork._latest = self.version, self._latest.copy()
        return fork

    def note(self, key: K) -> None:
        """Take in that *key* changed."""
        self.version += 1
        self._latest.append(key)

    def forget(self) -> None:
        """Take in that nothing is what it was: rows came, went or moved."""
        self.version += 1
        self._latest.clear()

    def since(self, version: int) -> frozenset[K] | None:
        """Return what changed since *version*; ``None`` if anything may have."""
        n_changes = self.version - version
        if version == NEVER or n_changes > len(self._latest):
            return None
        return frozenset(islice(reversed(self._latest), n_changes))
