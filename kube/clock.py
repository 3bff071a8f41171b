"""What time it is for the API server."""

import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Final

_SET_BACK_S: Final = 5.0
"""A server this far behind our reckoning was set back or replaced; less is delay on the way."""


class ServerClock:
    """Reckons the server's time from the ``Date`` of its answers and the time since the last one.

    Facts about a cluster are dated in the cluster's own time, which on a simulated one passes
    faster than ours. Between answers the reckoning runs at our own pace, so it may lag behind a
    server whose time runs faster. It never goes back unless the server's clock did.

    Args:
        monotonic: The local clock, in seconds.
        fallback: Unix time in seconds, for a server that does not tell its own.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        fallback: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._fallback = fallback
        self._lock = threading.Lock()
        self._header = ""
        self._offset_s: float | None = None

    def observe(self, date_header: str) -> None:
        """Take in the ``Date`` of an answer; one that is no date is ignored."""
        with self._lock:
            if date_header == self._header:
                return
            try:
                date_s = parsedate_to_datetime(date_header).timestamp()
            except ValueError:
                return
            self._header = date_header
            offset_s = date_s - self._monotonic()
            ahead_s = -_SET_BACK_S if self._offset_s is None else self._offset_s - offset_s
            # The header holds whole seconds, so within a second our own reckoning is finer.
            if ahead_s < 0 or ahead_s > _SET_BACK_S:
                self._offset_s = offset_s

    def now_s(self) -> float:
        """Tell the server's time as Unix time, in seconds."""
        with self._lock:
            if self._offset_s is None:
                return self._fallback()
            return self._offset_s + self._monotonic()
