"""Writing to an API server that may be busy or away."""

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from kube.backoff import Backoff
from kube.errors import ThrottledError, UnavailableError

T = TypeVar("T")

_FIRST_WAIT_S: Final = 0.2
_MAX_WAIT_S: Final = 5.0


class Retrier:
    """Does a thing again, with back-off and jitter; may be shared by threads.

    Args:
        rng: Jitter.
        stop: Ends all waiting.
        max_attempts: How often a thing is tried.
    """

    def __init__(self, rng: random.Random, *, stop: threading.Event, max_attempts: int) -> None:
        self._rng = rng
        self._stop = stop
        self._max_attempts = max_attempts

    def run(self, act: Callable[[], T], *, check: Callable[[], None] = lambda: None) -> T:
        """Do it, again if the server is busy or away.

        Args:
            act: What to do.
            check: Called before each attempt; what it raises is the end.

        Raises:
            UnavailableError: The server is still busy or away, or we are to stop.
            KubeError: Any other failure of *act*, at once.
        """
        backoff = Backoff(self._rng, base_s=_FIRST_WAIT_S, max_s=_MAX_WAIT_S)
        n_left = self._max_attempts
        while True:
            n_left -= 1
            check()
            try:
                return act()
            except UnavailableError as error:
                at_least_s = error.retry_after_s if isinstance(error, ThrottledError) else 0.0
                if n_left == 0 or self._stop.wait(backoff.next_delay_s(at_least_s=at_least_s)):
                    raise
