"""The latest decisions, for those who ask why."""

import threading
from collections import OrderedDict
from itertools import islice

from scheduler.decision import Decision


class DecisionLog:
    """Keeps the last decisions; may be shared by threads.

    Args:
        capacity: How many.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._decisions: OrderedDict[int, Decision] = OrderedDict()
        self._latest: dict[str, int] = {}
        self._n = 0

    def add(self, decision: Decision) -> None:
        """Keep a decision; the oldest makes room."""
        with self._lock:
            self._n += 1
            self._decisions[self._n] = decision
            self._latest[decision.key] = self._n
            if len(self._decisions) > self._capacity:
                number, oldest = self._decisions.popitem(last=False)
                if self._latest.get(oldest.key) == number:
                    del self._latest[oldest.key]

    def latest(self, limit: int) -> list[Decision]:
        """Return the newest *limit* decisions, newest first."""
        with self._lock:
            return list(islice(reversed(self._decisions.values()), limit))

    def find(self, key: str) -> Decision | None:
        """Return the newest decision about the pod ``namespace/name``."""
        with self._lock:
            number = self._latest.get(key)
            return self._decisions[number] if number is not None else None
