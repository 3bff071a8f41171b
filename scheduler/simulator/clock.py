"""The virtual clock: wall time × speed, never backwards, and never far ahead in one leap."""

from collections.abc import Callable
from typing import Final

DEFAULT_MAX_STEP_S: Final = 120.0
"""How much virtual time may pass between two ticks, in seconds."""


class VirtualClock:
    """Time inside the simulated cluster.

    A laptop that slept for a night must not throw the cluster eight hours (times the speed) ahead
    at once, so the time that passes between two calls of ``tick`` is bounded.

    Args:
        start_s: The virtual time at which the clock starts, in Unix seconds.
        speed: Virtual seconds per wall second.
        monotonic_s: The local clock, usually ``time.monotonic``.
        max_step_s: At most so many virtual seconds pass between two ticks.

    Raises:
        ValueError: The speed or the largest step is not above zero.
    """

    def __init__(
        self,
        *,
        start_s: float,
        speed: float,
        monotonic_s: Callable[[], float],
        max_step_s: float = DEFAULT_MAX_STEP_S,
    ) -> None:
        if not speed > 0 or not max_step_s > 0:
            raise ValueError("speed and max_step_s must be above zero")
        self.speed = speed
        self._monotonic_s = monotonic_s
        self._max_step_s = max_step_s
        self._base_s = start_s
        self._anchor_s = monotonic_s()

    def now_s(self) -> float:
        """Tell the virtual time in Unix seconds."""
        passed_s = (self._monotonic_s() - self._anchor_s) * self.speed
        return self._base_s + min(max(passed_s, 0.0), self._max_step_s)

    def tick(self) -> float:
        """Start the next step: tell the time, and let the bound on a step count from here."""
        now_s = self.now_s()
        self._base_s, self._anchor_s = now_s, self._monotonic_s()
        return now_s
