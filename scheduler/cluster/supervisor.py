"""Runs the scheduler from start to end, and from scratch in between when its state is in doubt."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, Literal, TypeVar

from prometheus_client import Counter

from scheduler.cluster.leader import LeaderElector
from scheduler.cluster.questions import Question
from scheduler.cluster.shell import ClusterShell
from scheduler.events import Bind

log = logging.getLogger(__name__)

T = TypeVar("T")

MIN_REBUILD_INTERVAL_S: Final = 30.0
_LOOK_S: Final = 0.1

Ending = Literal["told to stop", "failed", "in doubt"]


class Supervisor:
    """Keeps one shell running.

    To build the state anew is to do what a restart of the program does, without ending it: a new
    shell with a new engine lists everything. Nothing that the old one believed lives on, and there
    is one way to begin, not two.

    Args:
        make_shell: Makes a shell with an engine of its own.
        elector: Holds our lease; ``None`` if nobody else schedules these pods.
        rebuilds: Counts the times that the state was built anew.
        min_rebuild_interval_s: How old a state must be to be built anew, by the local clock.
    """

    def __init__(
        self,
        make_shell: Callable[[], ClusterShell],
        *,
        elector: LeaderElector | None,
        rebuilds: Counter,
        min_rebuild_interval_s: float = MIN_REBUILD_INTERVAL_S,
    ) -> None:
        self._make_shell = make_shell
        self._elector = elector
        self._rebuilds = rebuilds
        self._min_rebuild_interval_s = min_rebuild_interval_s
        self._shell = make_shell()

    def not_ready(self) -> str:
        """Say why nothing could be scheduled yet; empty when it could, by us or by the leader."""
        return self._shell.not_ready()

    def ask(self, question: Question[T], *, timeout_s: float) -> T:
        """Have the engine that is at work answer; see ``ClusterShell.ask``."""
        return self._shell.ask(question, timeout_s=timeout_s)

    def bind(self, action: Bind, *, timeout_s: float) -> str:
        """Bind a pod that someone else decided on; see ``ClusterShell.bind``."""
        return self._shell.bind(action, timeout_s=timeout_s)

    def run(self, stop: threading.Event) -> bool:
        """Schedule until told to stop.

        Returns:
            Whether it ended because it was told to; else the program should be started anew.
        """
        with ExitStack() as stack:
            if self._elector is not None:
                stack.enter_context(self._elector)
            while (ending := self._run_shell(stop)) == "in doubt":
                log.warning("the state is built anew from the API server")
                self._rebuilds.inc()
                self._shell = self._make_shell()
            if self._elector is not None and not self._shell.may_still_write:
                self._elector.release()
        return ending == "told to stop"

    def _run_shell(self, stop: threading.Event) -> Ending:
        rebuild_from_s = time.monotonic() + self._min_rebuild_interval_s
        with self._shell as shell:
            while not stop.wait(_LOOK_S):
                if shell.failed.is_set() or self._is_out_of_office():
                    return "failed"
                is_in_doubt = shell.surprises.are_too_many.is_set()
                if is_in_doubt and time.monotonic() >= rebuild_from_s:
                    return "in doubt"
        return "told to stop"

    def _is_out_of_office(self) -> bool:
        """Tell whether the lease was lost, or can be no longer watched."""
        return self._elector is not None and (
            self._elector.lost.is_set() or not self._elector.is_alive
        )
