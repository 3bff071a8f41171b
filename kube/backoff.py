"""How long to wait before the next attempt."""

import random


class Backoff:
    """Exponential back-off with full jitter, so that many clients do not return in step.

    Args:
        rng: Where chance comes from.
        base_s: Upper bound of the first wait, in seconds; doubles with every further failure.
        max_s: Upper bound of every wait, in seconds.
    """

    def __init__(self, rng: random.Random, *, base_s: float = 0.5, max_s: float = 30.0) -> None:
        self._rng = rng
        self._base_s = base_s
        self._max_s = max_s
        self._bound_s = base_s

    def next_delay_s(self, *, at_least_s: float = 0.0) -> float:
        """Count a failure and say how long to wait.

        Args:
            at_least_s: What the server asked for; the jitter comes on top of it.
        """
        delay_s = at_least_s + self._rng.uniform(0.0, self._bound_s)
        self._bound_s = min(self._max_s, 2 * self._bound_s)
        return delay_s

    def reset(self) -> None:
        """Forget all failures, because an attempt was of use."""
        self._bound_s = self._base_s
