"""``python -m scheduler.simulator evaluate``: policies compared on a scenario."""

import argparse
import gc
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from kube.edge.settings import SettingsError
from kube.errors import RejectedError
from scheduler.errors import ConfigError
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.report import ReportAbout, terminal_report, write_report
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.run import run_seed
from scheduler.simulator.experiments.scenario import Scenario, load_scenario
from scheduler.simulator.usage_traces import UsageLibrary, load_usage


def evaluate(options: argparse.Namespace) -> int:
    """Run, print the table and write the report; return the exit code.

    Raises:
        SettingsError: The scenario or the report's folder cannot be used.
        ConfigError: A policy cannot be used.
    """
    scenario = load_scenario(options.scenario)
    policies = _policies(options.policies)
    about = ReportAbout(
        scenario_name=scenario.name,
        description=scenario.description,
        scenario_text=options.scenario.read_text(encoding="utf-8"),
        command="python -m scheduler.simulator " + shlex.join(sys.argv[1:]),
        expects=scenario.expects,
    )
    if options.out is not None:
        _make_directory(options.out)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    results: list[RunResult] = []
    runs = _run_all(
        scenario,
        seeds=seeds,
        policies=list(policies.values()),
        usage=options.usage,
        n_jobs=options.jobs,
    )
    for result in runs:
        results.append(result)
        print(_progress(result, n_done=len(results), n_all=len(seeds) * len(policies)), flush=True)
    order = {name: place for place, name in enumerate(policies)}
    results.sort(key=lambda r: (order[r.policy], r.seed))
    print(terminal_report(results, about=about), end="")
    if options.out is not None:
        write_report(results, about=about, directory=options.out)
        print(f"report: {options.out / 'report.md'}")
    return 0


def _policies(text: str) -> dict[str, str]:
    """Read which policies are wanted, by the names that their results will bear.

    Raises:
        ConfigError: There is none, one is unknown, or two bear one name.
    """
    policies: dict[str, str] = {}
    for given in filter(None, (part.strip() for part in text.split(","))):
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


def _run_all(
    scenario: Scenario,
    *,
    seeds: Sequence[int],
    policies: Sequence[str],
    usage: Path | None,
    n_jobs: int,
) -> Iterator[RunResult]:
    if n_jobs <= 1 or len(seeds) == 1:
        for seed in seeds:
            yield from _runs(scenario, seed, policies, usage)
        return
    # Spawned, not forked: libraries under us may have started threads.
    with ProcessPoolExecutor(
        min(n_jobs, len(seeds)), mp_context=get_context("spawn"), initializer=_prepare
    ) as pool:
        runs = [pool.submit(_run_seed, scenario, seed, policies, usage) for seed in seeds]
        for run in as_completed(runs):
            yield from run.result()


def _prepare() -> None:
    # A cluster is a large heap of plain objects: to walk it at the usual pace costs a tenth.
    gc.set_threshold(50_000, 20, 100)


@cache
def _library(usage: Path) -> UsageLibrary:
    return load_usage(usage)  # once a process, not once a seed


def _run_seed(
    scenario: Scenario, seed: int, policies: Sequence[str], usage: Path | None
) -> list[RunResult]:
    return list(_runs(scenario, seed, policies, usage))


def _runs(
    scenario: Scenario, seed: int, policies: Sequence[str], usage: Path | None
) -> Iterator[RunResult]:
    library = None if usage is None else _library(usage)
    try:
        yield from run_seed(scenario, seed=seed, policies=policies, library=library)
    except RejectedError as error:  # of all that is written, only ``pod_spec`` can be wrong
        raise SettingsError(f"scenario {scenario.name}: {error}") from error


def _progress(result: RunResult, *, n_done: int, n_all: int) -> str:
    return (
        f"[{n_done}/{n_all}] seed {result.seed} {result.policy}: {result.n_placements} placements, "
        f"{result.n_failed_placements} failed, {result.n_oom_kills} OOM kills, "
        f"{result.n_evictions} evictions, {result.throttled_core_h:.1f} core-h throttled"
    )
