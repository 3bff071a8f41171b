"""One resource's objects now, and the log of how they came to be, kept for a while."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from scheduler.simulator.resources import Object


class WriteKind(Enum):
    """What a write did to an object."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class TooOldError(Exception):
    """The log no longer reaches back to the version asked for.

    Args:
        oldest: The oldest version that can still be asked for.
    """

    def __init__(self, oldest: int) -> None:
        super().__init__(f"nothing before {oldest} is kept")
        self.oldest = oldest


@dataclass(slots=True, eq=False)
class Entry:
    """One version of one object, with the texts made of it so far.

    ``key`` is ``namespace/name``, with nothing before the slash for cluster-wide kinds.
    """

    key: str
    version: int
    obj: Object
    texts: dict[str, bytes] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # a version never changes, so copies of a cluster share their past


@dataclass(slots=True, eq=False)
class Write:
    """One numbered change; ``previous`` is filled in when it is applied."""

    version: int
    kind: WriteKind
    entry: Entry
    previous: Entry | None = None
    texts: dict[str, bytes] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self


class Table:
    """Entries by key, in the key order that lists show, and the latest writes.

    Args:
        log_size: How many writes are kept.
        oldest: The version at which the history begins.
    """

    def __init__(self, log_size: int, *, oldest: int = 0) -> None:
        self.entries: dict[str, Entry] = {}
        self.oldest = oldest
        """The version after which the log is complete."""
        self._log: deque[Write] = deque(maxlen=log_size)
        self._keys: list[str] = []
        self._listeners: list[Callable[[Write], None]] = []

    def apply(self, write: Write) -> None:
        """Take in a write and tell the listeners."""
        key = write.entry.key
        write.previous = self.entries.get(key)
        if write.kind is WriteKind.DELETED:
            del self.entries[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if write.previous is None:
                insort(self._keys, key)
            self.entries[key] = write.entry
        if len(self._log) == self._log.maxlen:
            self.oldest = self._log[0].version
        self._log.append(write)
        for listener in tuple(self._listeners):
            listener(write)

    def listen(self, listener: Callable[[Write], None]) -> Callable[[], None]:
        """Have *listener* told of every write from now on; call the answer to stop."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def select(self, namespace: str) -> list[Entry]:
        """The entries of a namespace, or all for an empty one, in key order."""
        keys = self._keys
        if namespace:
            # "0" follows "/" in ASCII, so this is where the namespace ends.
            keys = keys[bisect_left(keys, f"{namespace}/") : bisect_left(keys, f"{namespace}0")]
        return [self.entries[key] for key in keys]

    def select_at(self, version: int, *, namespace: str) -> list[Entry]:
        """The entries as they were when *version* was the last write.

        Raises:
            TooOldError: The log does not reach back that far.
        """
        self.check_reaches(version)
        past: dict[str, Entry | None] = {}
        for write in reversed(self._log):
            if write.version <= version:
                break
            past[write.entry.key] = write.previous
        then = {**self.entries, **past}
        prefix = f"{namespace}/" if namespace else ""
        return [
            entry
            for key, entry in sorted(then.items())
            if entry is not None and key.startswith(prefix)
        ]

    def since(self, version: int) -> list[Write]:
        """The writes after *version*, oldest first.

        Raises:
            TooOldError: Some of them are no longer kept.
        """
        self.check_reaches(version)
        found: list[Write] = []
        for write in reversed(self._log):
            if write.version <= version:
                break
            found.append(write)
        found.reverse()
        return found

    def compact(self, version: int) -> None:
        """Forget all past writes, when *version* is the last of any resource."""
        self.oldest = version
        self._log.clear()

    def keep_log(self, size: int) -> None:
        """Keep so many writes from now on."""
        self._log = deque(self._log, maxlen=size)

    def check_reaches(self, version: int) -> None:
        """Make sure that all writes after *version* are still known.

        Raises:
            TooOldError: Some are not.
        """
        if version < self.oldest:
            raise TooOldError(self.oldest)
