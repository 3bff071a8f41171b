"""A few threads that carry out what the engine decided; what waits for them is bounded."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

log = logging.getLogger(__name__)

Task = Callable[[], None]


class Workers:
    """Runs tasks in threads, first come first served.

    Args:
        name: Of the threads.
        n_threads: How many tasks run at once.
        max_waiting: How many may wait; one more drops the oldest.
        on_dropped: Told of every task dropped.
    """

    def __init__(
        self,
        name: str,
        *,
        n_threads: int,
        max_waiting: int,
        on_dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._tasks: deque[Task] = deque()
        self._max_waiting = max_waiting
        self._on_dropped = on_dropped
        self._changed = threading.Condition()
        self._is_stopped = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{i}", daemon=True)
            for i in range(n_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Run *task* soon; it must handle its own failures."""
        with self._changed:
            if len(self._tasks) >= self._max_waiting:
                self._tasks.popleft()
                self._on_dropped()
            self._tasks.append(task)
            self._changed.notify()

    def stop(self, *, timeout_s: float) -> bool:
        """Drop the tasks that wait, and let those that run finish, within *timeout_s* seconds.

        Returns:
            Whether they have.
        """
        with self._changed:
            self._is_stopped = True
            self._tasks.clear()
            self._changed.notify_all()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_stopped or self._tasks)
                if self._is_stopped:
                    return
                task = self._tasks.popleft()
            try:
                task()
            except Exception:  # a bug in one task must not end the thread that runs the others
                log.exception("task failed")
