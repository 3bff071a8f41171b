"""Where the engine's thread finds what happened: bounded, so that a flood of news waits outside."""

import threading
from collections import deque

from scheduler.events import Event


class Inbox:
    """Events from many threads to one.

    Args:
        max_news: How many events from watches may wait; who brings more, waits. Results of the
            engine's own actions never wait: there are only as many as actions under way, and the
            thread that takes them must not stand behind those that bring news.
    """

    def __init__(self, *, max_news: int = 10_000) -> None:
        self._max_news = max_news
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_nudged = False

    def put_news(self, event: Event) -> None:
        """Bring an event from a watch; waits while the inbox is full."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or len(self._events) < self._max_news)
            self._events.append(event)
            self._changed.notify_all()

    def put_result(self, event: Event) -> None:
        """Bring what became of an action."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def nudge(self) -> None:
        """Have the next ``take``, or the one that waits, return even if nothing is there."""
        with self._changed:
            self._is_nudged = True
            self._changed.notify_all()

    def take(self, *, timeout_s: float) -> list[Event]:
        """Return all that is there; wait for it for *timeout_s* seconds at the most."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or self._is_nudged or self._events, timeout_s
            )
            self._is_nudged = False
            events = list(self._events)
            self._events.clear()
            self._changed.notify_all()
            return events

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
