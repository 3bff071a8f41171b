"""Running many seeds, several at once: each run's result is told as soon as there is one."""

import signal
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Final

from kube.edge.heap import expect_large_heap
from kube.edge.settings import SettingsError
from kube.errors import RejectedError
from scheduler.simulator.experiments.external import External
from scheduler.simulator.experiments.process import ExternalSchedulerError
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.run import run_seed
from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.usage_traces import UsageLibrary, UsageTraceError, load_usage

_GRACE_S: Final = 15.0
"""How long a process may take to end; it may have to end another first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run on each seed."""

    scenario: Scenario
    policies: tuple[str, ...]
    externals: tuple[External, ...] = ()
    usage: Path | None = None
    """Recorded usage for the workloads to live through, a file or folder."""

    @property
    def n_runs(self) -> int:
        """How many runs a seed takes."""
        return len(self.policies) + len(self.externals)

    def run(self, seed: int) -> Iterator[RunResult]:
        """Run all on one seed.

        Raises:
            SettingsError: The scenario, a policy or the recorded usage cannot be used.
            ExternalSchedulerError: A program did not schedule.
        """
        library = None if self.usage is None else _library(self.usage)
        try:
            yield from run_seed(
                self.scenario,
                seed=seed,
                policies=self.policies,
                externals=self.externals,
                library=library,
            )
        except RejectedError as error:  # of all that is written, only ``pod_spec`` can be wrong
            raise SettingsError(f"scenario {self.scenario.name}: {error}") from error


def run_seeds(plan: Plan, *, seeds: Sequence[int], n_jobs: int) -> Generator[RunResult, None, None]:
    """Run a plan on all seeds; what is under way is ended when the iterator is.

    Args:
        plan: What to run.
        seeds: Which worlds to draw.
        n_jobs: How many seeds run at once, each in a process of its own.

    Raises:
        SettingsError: As ``Plan.run``; so for the others.
        ExternalSchedulerError: Likewise.
        RuntimeError: A process ended before its work.
    """
    if n_jobs <= 1 or len(seeds) == 1:
        for seed in seeds:
            yield from plan.run(seed)
        return
    crew = _Crew(plan, seeds=seeds, n_workers=min(n_jobs, len(seeds)))
    try:
        while not crew.is_done:
            yield from crew.results()
    finally:
        crew.end()


class _Crew:
    """Processes that share seeds."""

    def __init__(self, plan: Plan, *, seeds: Sequence[int], n_workers: int) -> None:
        self._waiting = deque(seeds)
        self._workers = [_Worker(plan) for _ in range(n_workers)]
        for worker in self._workers:
            worker.begin(self._waiting.popleft())

    @property
    def is_done(self) -> bool:
        """Whether all seeds are."""
        return not self._workers

    def results(self) -> Iterator[RunResult]:
        """Wait for news, and give the results among them; who is done gets another seed."""
        ready = wait([worker.connection for worker in self._workers])
        for worker in [worker for worker in self._workers if worker.connection in ready]:
            result = worker.receive()
            if result is not None:
                yield result
            elif self._waiting:
                worker.begin(self._waiting.popleft())
            else:
                self._workers.remove(worker)
                worker.end()

    def end(self) -> None:
        """Have those end that are still at work."""
        for worker in self._workers:
            worker.ask_to_end()
        for worker in self._workers:
            worker.end()


class _Worker:
    """A process that runs one seed after another."""

    def __init__(self, plan: Plan) -> None:
        # Spawned, not forked: libraries under us may have started threads.
        context: SpawnContext = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, plan), daemon=True)
        self._process.start()
        theirs.close()  # or its end would not be noticed
        self._seed: int | None = None

    def begin(self, seed: int) -> None:
        """Have it run a seed."""
        self._seed = seed
        self.connection.send(seed)

    def receive(self) -> RunResult | None:
        """Take what it tells: a result, or ``None`` when the seed is done.

        Raises:
            RuntimeError: It has ended.
        """
        try:
            told = self.connection.recv()
        except EOFError as error:
            self._process.join()
            code = self._process.exitcode
            raise RuntimeError(f"the process of seed {self._seed} ended: code {code}") from error
        if isinstance(told, Exception):
            raise told
        return None if told is None else _result(told)

    def ask_to_end(self) -> None:
        """Interrupt it."""
        self._process.terminate()

    def end(self) -> None:
        """Have it end, by force if it must be."""
        self.connection.close()
        self._process.join(_GRACE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _result(told: object) -> RunResult:
    if not isinstance(told, RunResult):
        raise TypeError(f"a process told {told!r}")
    return told


def _work(connection: Connection, plan: Plan) -> None:
    """Run the seeds that are asked for, until nobody asks any more."""
    expect_large_heap()
    # Ctrl-C reaches all processes of a terminal: the first one decides, and asks us to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while True:
            seed = connection.recv()
            try:
                for result in plan.run(seed):
                    connection.send(result)
            except (SettingsError, UsageTraceError, ExternalSchedulerError) as error:
                connection.send(error)
                return
            connection.send(None)


@cache
def _library(usage: Path) -> UsageLibrary:
    return load_usage(usage)  # once a process, not once a seed
