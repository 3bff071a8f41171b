"""What a controller must look at: now, or at a later time."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from scheduler.simulator.timeline import Timeline

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys, each once, in the order in which they came."""

    def __init__(self) -> None:
        self._due: dict[K, None] = {}
        self._later: Timeline[K] = Timeline()
        self._planned: dict[K, float] = {}

    def add(self, key: K) -> None:
        """Look at *key* next time."""
        self._due[key] = None

    def add_at(self, key: K, at_s: float) -> None:
        """Look at *key* again at the time *at_s*, or earlier if that was planned already."""
        if self._planned.get(key, float("inf")) > at_s:
            self._planned[key] = at_s
            self._later.push(at_s, key)

    def take(self, now_s: float) -> list[K]:
        """Take all that is due."""
        while (later := self._later.pop(now_s)) is not None:
            at_s, key = later
            if self._planned.get(key) == at_s:
                del self._planned[key]
                self._due[key] = None
        due, self._due = self._due, {}
        return list(due)
