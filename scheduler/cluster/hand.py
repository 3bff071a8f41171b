"""A part of the shell that works in a thread of its own."""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar


class Hand(ABC):
    """A thread that is started once and told to stop.

    Args:
        name: The thread's.
    """

    _finish_s: ClassVar[float] = 0.0
    """How long ``stop`` waits at the most, in seconds."""

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Run in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; what is under way is waited for as long as the class says."""
        self._stop.set()
        if self._finish_s and self._thread.is_alive():
            self._thread.join(self._finish_s)

    @abstractmethod
    def _run(self) -> None:
        """Work until ``_stop`` is set."""
