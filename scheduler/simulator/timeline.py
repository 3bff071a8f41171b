"""What is due when: a heap of (time, serial, event), the serial keeping ties in order."""

import heapq
import math
from typing import Generic, TypeVar

E = TypeVar("E")


class Timeline(Generic[E]):
    """Events in the order in which they fall due."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, E]] = []
        self._serial = 0

    def push(self, at_s: float, event: E) -> None:
        """Plan *event* for the time *at_s*."""
        heapq.heappush(self._heap, (at_s, self._serial, event))
        self._serial += 1

    def pop(self, until_s: float) -> tuple[float, E] | None:
        """Take the next event that is due by *until_s*, with its time, if there is one."""
        if not self._heap or self._heap[0][0] > until_s:
            return None
        at_s, _, event = heapq.heappop(self._heap)
        return at_s, event

    @property
    def next_at_s(self) -> float:
        """When the next event is due; infinite if there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def __len__(self) -> int:
        return len(self._heap)
