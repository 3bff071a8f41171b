"""``python -m scheduler.simulator evaluate``: policies compared on a scenario."""

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from kube.edge.settings import SettingsError
from scheduler.errors import ConfigError
from scheduler.simulator.experiments.external import parse_externals
from scheduler.simulator.experiments.policies import NAMES, policy_of
from scheduler.simulator.experiments.process import ExternalSchedulerError
from scheduler.simulator.experiments.report import ReportAbout, terminal_report, write_report
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.scenario import Scenario, load_scenario
from scheduler.simulator.experiments.seeds import Plan, run_seeds

FAILED: Final = 1
INTERRUPTED: Final = 130
_PROGRAM: Final = "scheduler.simulator"


def evaluate(options: argparse.Namespace) -> int:
    """Run, print the table and write the report; return the exit code.

    Ctrl-C (SIGINT, or SIGTERM) and programs that do not schedule end it early; the report is then
    of the runs that have ended.

    Raises:
        SettingsError: The scenario or the report's folder cannot be used.
        ConfigError: A policy or a program cannot be used.
    """
    scenario = load_scenario(options.scenario)
    policies = _policies(options.policies, scenario=scenario)
    externals = parse_externals(
        options.external,
        patience_s=options.patience,
        output=None if options.out is None else options.out / "external",
        taken=policies,
    )
    about = ReportAbout(
        scenario_name=scenario.name,
        description=scenario.description,
        scenario_text=options.scenario.read_text(encoding="utf-8"),
        command="python -m scheduler.simulator " + shlex.join(sys.argv[1:]),
        expects=scenario.expects,
    )
    if options.out is not None:
        _make_directory(options.out)
    plan = Plan(
        scenario=scenario,
        policies=tuple(policies.values()),
        externals=externals,
        usage=options.usage,
    )
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results: list[RunResult] = []
    code, why = _collect(results, plan=plan, seeds=seeds, n_jobs=options.jobs)
    if code:
        n_all = len(seeds) * plan.n_runs
        about = replace(about, ended_early=f"{why}: {len(results)} of {n_all} runs had ended")
        print(f"{_PROGRAM}: {about.ended_early}", file=sys.stderr)
    order = [*policies, *(external.name for external in externals)]
    results.sort(key=lambda run: (order.index(run.policy), run.seed))
    if results:
        _report(results, about=about, directory=options.out)
    return code


def _collect(
    results: list[RunResult], *, plan: Plan, seeds: Sequence[int], n_jobs: int
) -> tuple[int, str]:
    """Run all, and add what they come to as it comes.

    Returns:
        The exit code, and what ended the runs early if it is not 0.
    """
    n_all = len(seeds) * plan.n_runs
    try:
        with _terminable(), closing(run_seeds(plan, seeds=seeds, n_jobs=n_jobs)) as runs:
            for result in runs:
                results.append(result)
                print(_progress(result, n_done=len(results), n_all=n_all), flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted"
    except ExternalSchedulerError as error:
        print(f"{_PROGRAM}: {error}", file=sys.stderr)
        return FAILED, "a program did not schedule"
    return 0, ""


@contextmanager
def _terminable() -> Iterator[None]:
    """Take SIGTERM like Ctrl-C, for we have processes to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(results: Sequence[RunResult], *, about: ReportAbout, directory: Path | None) -> None:
    print(terminal_report(results, about=about), end="")
    if directory is not None:
        write_report(results, about=about, directory=directory)
        print(f"report: {directory / 'report.md'}")


def _policies(text: str | None, *, scenario: Scenario) -> dict[str, str]:
    """Read which policies are wanted, by the names that their results will bear.

    Raises:
        ConfigError: There is none, one is unknown, or two bear one name.
    """
    policies: dict[str, str] = {}
    asked = scenario.policies or NAMES if text is None else text.split(",")
    for given in filter(None, (part.strip() for part in asked)):
        name = policy_of(given).name
        if name in policies:
            raise ConfigError(f"--policies: two are called {name!r}")
        policies[name] = given
    if not policies:
        raise ConfigError("--policies: name at least one")
    return policies


def _make_directory(path: Path) -> None:
    """Make it before the runs, which may take hours, and not find out after them.

    Raises:
        SettingsError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out: cannot make {path}: {error.strerror}") from error


def _progress(result: RunResult, *, n_done: int, n_all: int) -> str:
    pace = result.pace
    timeouts = f", {pace.n_timeouts} waits in vain" if pace is not None and pace.n_timeouts else ""
    return (
        f"[{n_done}/{n_all}] seed {result.seed} {result.policy}: {result.n_placements} placements, "
        f"{result.n_failed_placements} failed, {result.n_oom_kills} OOM kills, "
        f"{result.n_evictions} evictions, {result.throttled_core_h:.1f} core-h throttled{timeouts}"
    )
