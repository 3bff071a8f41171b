"""What a controller or kubelet must look at: now, or at a later time."""

import logging
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from kube.edge.logs import facts
from scheduler.simulator.timeline import Timeline

K = TypeVar("K", bound=Hashable)

MISSHAPEN: Final = (AttributeError, KeyError, TypeError, ValueError)
"""What reading an object raises in which something is missing that the API server lets be missing.

As in upstream's controllers, one such object must not stop the work on all others."""

log = logging.getLogger(__name__)


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

    def work(self, now_s: float, handle: Callable[[K], None]) -> bool:
        """Handle all that is due; tell whether there was anything."""
        if not self._due and self._later.next_at_s > now_s:
            return False
        keys = self._take(now_s)
        for key in keys:
            try:
                handle(key)
            except MISSHAPEN:
                log.exception("an object was not understood and left alone", extra=facts(key=key))
        return bool(keys)

    def _take(self, now_s: float) -> list[K]:
        while (later := self._later.pop(now_s)) is not None:
            at_s, key = later
            if self._planned.get(key) == at_s:
                del self._planned[key]
                self._due[key] = None
        due, self._due = self._due, {}
        return list(due)
