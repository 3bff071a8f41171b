"""Schedulers that are programs of their own, run on a site by the API server's door.

Time is paced by the slowest. While pods wait for an answer (see ``backlog``) the site's clock
stands, so that a decision costs no virtual time, however long the program takes; it goes on when
all pods are bound or refused, or when the program has said nothing for as long as our patience
lasts. What the program does by a clock of its own, such as backing off from a pod that it refused,
is waited for in the same way: after whatever may have made room for the pod.
"""

import asyncio
import re
import resource
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from scheduler.errors import ConfigError
from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.access import write_private
from scheduler.simulator.experiments.api_door import ApiDoor
from scheduler.simulator.experiments.backlog import Backlog
from scheduler.simulator.experiments.course import Course
from scheduler.simulator.experiments.news import News
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import BASELINE, policy_of
from scheduler.simulator.experiments.process import SchedulerProcess
from scheduler.simulator.experiments.results import Pace, RunResult
from scheduler.simulator.experiments.rules import Rules
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import NODES, PODS
from scheduler.simulator.store import Change

_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", re.DOTALL)
_LOOK_S: Final = 0.1
"""How often to look whether it still runs."""
_CALM_S: Final = 0.03
"""After a refusal more may follow at once: the event, a nomination, the eviction of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class External:
    """A program that schedules."""

    name: str
    command: tuple[str, ...]
    """With ``{kubeconfig}`` where the path of its kubeconfig is to stand; ``KUBECONFIG`` names it
    in any case."""
    patience_s: float
    """For how long it may be silent while pods wait."""
    start_s: float = 60.0
    """How long it may take to its first answer."""
    grace_s: float = 10.0
    """How long it may take to end when asked to."""
    output: Path | None = None
    """The folder for what it prints; without it, that is thrown away in the end."""


def parse_externals(
    texts: Iterable[str], *, patience_s: float, output: Path | None, taken: Iterable[str] = ()
) -> tuple[External, ...]:
    """Read what ``--external`` names: ``COMMAND`` or ``NAME=COMMAND``, without a shell.

    Args:
        texts: One a program. Without a name, it is called like the file that is run.
        patience_s: See ``External``.
        output: Likewise.
        taken: Names that others have.

    Raises:
        ConfigError: A command cannot be read or found, or two programs have one name.
    """
    names = set(taken)
    externals = []
    for text in texts:
        named = _NAMED.fullmatch(text.strip())
        try:
            command = tuple(shlex.split(named[2] if named else text))
        except ValueError as error:
            raise ConfigError(f"--external: cannot read {text!r}: {error}") from error
        if not command:
            raise ConfigError("--external: name a command")
        if shutil.which(command[0]) is None:
            raise ConfigError(f"--external: there is no program {command[0]!r}")
        name = named[1] if named else Path(command[0]).name
        if name in names:
            raise ConfigError(f"--external: two are called {name!r}; say NAME=COMMAND")
        names.add(name)
        externals.append(External(name=name, command=command, patience_s=patience_s, output=output))
    return tuple(externals)


def run_external(site: Site, *, observer: Observer, external: External) -> RunResult:
    """Have a program schedule on *site* to the end of its time.

    Args:
        site: The cluster; it goes on from where it is.
        observer: The collector beside it, so that time passes in the same steps as for others.
        external: The program.

    Raises:
        ExternalSchedulerError: It ended by itself, or never began to schedule.
    """
    began_s, children_s = time.monotonic(), _children_cpu_s()
    with ExternalShell(site, external=external) as shell:
        course = Course(site, observer=observer, shell=shell, name=external.name)
        result = course.measure(site.end_s)
    pace = Pace(
        wall_s=time.monotonic() - began_s,
        n_waits=shell.n_waits,
        waited_s=shell.waited_s,
        n_timeouts=shell.n_timeouts,
        scheduler_cpu_s=_children_cpu_s() - children_s,
    )
    return msgspec.structs.replace(result, pace=pace)


class ExternalShell:
    """A program that schedules on a site; a context manager that starts and ends it.

    Args:
        site: The cluster.
        external: The program.
    """

    def __init__(self, site: Site, *, external: External) -> None:
        self._external = external
        self._backlog = Backlog(
            SCHEDULER_NAME,
            rules=Rules(policy_of(BASELINE).profiles()[SCHEDULER_NAME]),
            nodes=site.store.list(NODES),
            pods=site.store.list(PODS),
        )
        self._door = ApiDoor(site)
        self._log_name = f"{external.name}-seed-{site.seed}.log"
        self._stack = ExitStack()
        self._news = asyncio.Event()
        site.store.on_change(self._see)
        self.n_waits = 0
        """How often pods had to be answered for."""
        self.waited_s = 0.0
        """How long that took, in real seconds."""
        self.n_timeouts = 0
        """How often patience ended first."""

    def __enter__(self) -> Self:
        """Open the door, and start the program."""
        with self._stack:
            folder = tempfile.TemporaryDirectory(prefix="external-scheduler-")
            directory = Path(self._stack.enter_context(folder))
            self._stack.enter_context(self._door)
            self._process = self._start(directory)
            self._stack.callback(self._end)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End the program, then close the door."""
        self._stack.close()

    def turn(self, news: Iterable[News]) -> int:
        """Have the program take in what was written, and answer for all pods.

        Raises:
            ExternalSchedulerError: It has ended, or never gave an answer.
        """
        n_before = self._backlog.n_moves
        self._door.run(self._settle())
        return self._backlog.n_moves - n_before

    def measure(self) -> None:
        """Nothing to do: a program asks when it likes."""

    # --- details

    def _start(self, directory: Path) -> SchedulerProcess:
        kubeconfig = directory / "kubeconfig"
        write_private(kubeconfig, self._door.kubeconfig)
        output = self._external.output or directory
        output.mkdir(parents=True, exist_ok=True)
        command = [word.replace("{kubeconfig}", str(kubeconfig)) for word in self._external.command]
        return SchedulerProcess(
            self._external.name,
            command=command,
            variables={"KUBECONFIG": str(kubeconfig)},
            log=output / self._log_name,
        )

    def _end(self) -> None:
        try:
            self._process.ask_to_end()
            self._door.run(self._ended())
        finally:
            if self._process.is_running:
                self._process.kill()

    def _see(self, change: Change) -> None:
        self._backlog.see(change)
        self._news.set()

    async def _settle(self) -> None:
        self._process.check()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self._door.deliver(until_s=began_s + self._external.patience_s)
        if not self._backlog.is_quiet:
            self.n_waits += 1
            await self._hear_of_all()
            self.waited_s += loop.time() - began_s

    async def _hear_of_all(self) -> None:
        n_refused = self._backlog.n_refused
        while not self._backlog.is_quiet and not self._door.is_interrupted:
            await self._hear()
        if self._backlog.n_refused > n_refused:
            await self._calm()

    async def _hear(self) -> None:
        """Wait for the next answer; give up on those who wait if there is none."""
        loop = asyncio.get_running_loop()
        n_answers = self._backlog.n_answers
        patience_s = self._external.patience_s if n_answers else self._external.start_s
        until_s = loop.time() + patience_s
        while self._backlog.n_answers == n_answers and not self._backlog.is_quiet:
            self._process.check()
            left_s = until_s - loop.time()
            if left_s <= 0:
                if not n_answers:
                    raise self._process.error(
                        f"gave no answer for any pod of {SCHEDULER_NAME!r} in {patience_s:g} s"
                    )
                self.n_timeouts += 1
                self._backlog.give_up()
                return
            await self._wait(min(left_s, _LOOK_S))
            if self._door.is_interrupted:
                return

    async def _calm(self) -> None:
        """Wait until nothing is written for a moment."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._external.patience_s
        while await self._wait(_CALM_S) and loop.time() < until_s:
            pass

    async def _wait(self, limit_s: float) -> bool:
        """Wait for something to be written, and tell whether it was."""
        self._news.clear()
        try:
            async with asyncio.timeout(limit_s):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _ended(self) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._external.grace_s
        while self._process.is_running and loop.time() < until_s and not self._door.is_interrupted:
            await self._wait(_CALM_S)


def _children_cpu_s() -> float:
    """Tell what ended children took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
