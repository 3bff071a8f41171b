"""The engine's time: the cluster's clock, but never going back."""

from collections.abc import Callable


class EngineClock:
    """Follows the cluster's clock, and goes on from where it was when that is set back.

    A server that was replaced, or a simulated cluster started anew, may tell an earlier time. The
    engine's waits would then last until the old time comes round again.

    Args:
        now_s: The cluster's time, in Unix seconds.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._cluster_now_s = now_s
        self._last_s: float | None = None
        self._ahead_s = 0.0

    def now_s(self) -> float:
        """Tell the engine's time, in seconds; equal to the cluster's unless that went back."""
        now_s = self._cluster_now_s() + self._ahead_s
        if self._last_s is not None and now_s < self._last_s:
            self._ahead_s += self._last_s - now_s
            now_s = self._last_s
        self._last_s = now_s
        return now_s

    def of_cluster(self, at_s: float) -> float:
        """Tell what an instant of the cluster's present clock is in the engine's time."""
        return at_s + self._ahead_s

    def to_cluster(self, at_s: float) -> float:
        """Tell what an instant of the engine's time is by the cluster's present clock."""
        return at_s - self._ahead_s
