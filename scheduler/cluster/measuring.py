"""Follows what nodes use, for the plugins that want to know."""

import logging
import random
from collections.abc import Callable
from typing import Final, Generic, Literal, TypeVar

from kube.edge.logs import facts
from scheduler.cluster.hand import Hand
from scheduler.cluster.usage.source import MAX_AGE_S, Source, UsageError
from scheduler.events import MeasureTaken, NodesMeasured, UtilizationMeasured

log = logging.getLogger(__name__)

Looked = Literal["answered", "unavailable"]
"""How a look ended."""

_JITTER_RATIO: Final = 0.1


Told = TypeVar("Told", bound=NodesMeasured | UtilizationMeasured | MeasureTaken)


class Gauge(Hand, Generic[Told]):
    """Measures again and again, in a thread.

    Args:
        source: Who is asked.
        interval_s: How often, by the local clock.
        deliver: Is handed what was measured; once nothing could be for some minutes, that nothing
            is known.
        on_looked: Is told how each look ended.
        now_s: The cluster's time, Unix seconds.
        rng: Jitter, so that schedulers do not ask in step.
    """

    def __init__(
        self,
        source: Source[Told],
        *,
        interval_s: float,
        deliver: Callable[[Told], None],
        on_looked: Callable[[Looked], None],
        now_s: Callable[[], float],
        rng: random.Random,
    ) -> None:
        super().__init__("usage")
        self._source = source
        self._interval_s = interval_s
        self._deliver = deliver
        self._on_looked = on_looked
        self._now_s = now_s
        self._rng = rng
        self._measured_at_s = now_s()
        self._is_failing = False

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._look()
                jitter = 1.0 + self._rng.uniform(-_JITTER_RATIO, _JITTER_RATIO)
                self._stop.wait(self._interval_s * jitter)
        finally:
            self._source.close()

    def _look(self) -> None:
        try:
            measured = self._source.measure()
        except UsageError as error:
            self._on_looked("unavailable")
            if not self._is_failing:
                log.warning("nodes' usage is not to be had", extra=facts(error=str(error)))
            self._is_failing = True
            if self._now_s() - self._measured_at_s > MAX_AGE_S:
                self._deliver(self._source.nothing)
            return
        if self._is_failing:
            log.info("nodes' usage is known again")
        self._is_failing = False
        self._on_looked("answered")
        self._deliver(measured)
        self._measured_at_s = self._now_s()
