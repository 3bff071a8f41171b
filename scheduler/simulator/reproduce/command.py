"""``python -m scheduler.simulator reproduce``: published results made again, and compared."""

import argparse
import shlex
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kube.edge.settings import SettingsError
from scheduler.errors import ConfigError
from scheduler.plugins.gpu.policies import POLICIES
from scheduler.simulator.experiments.pictures import Picture
from scheduler.simulator.reproduce.comparison import BASELINE, PUBLISHED_NAMES, Published
from scheduler.simulator.reproduce.curves import node_usage
from scheduler.simulator.reproduce.report import (
    REPORT_FILE,
    ReportAbout,
    Reproduction,
    reproduction,
    terminal_report,
    write_report,
)
from scheduler.simulator.reproduce.study import RunOutcome, Study, Task, study_of
from scheduler.simulator.traces.openb import read_published, variants

FIRST_SEED: Final = 42
"""Of the published experiments; orders that we draw are numbered on from the recorded ones."""
_INTERRUPTED: Final = 130
"""The exit code that shells give to what Ctrl-C ended."""


def reproduce(options: argparse.Namespace) -> int:
    """Run, print the tables and write the report; return the exit code.

    Raises:
        SettingsError: The traces or the report's folder cannot be used.
        ConfigError: A variant or policy is not known.
    """
    folder = options.traces.resolve()
    chosen = _names(options.variants, known=variants(folder), option="--variants")
    policies = _names(options.policies, known=list(POLICIES), option="--policies")
    published = {variant: read_published(folder, variant=variant) for variant in chosen}
    tasks = [
        task
        for variant in chosen
        for task in _tasks(study_of(folder, variant), policies=policies, n_seeds=options.seeds)
    ]
    about = ReportAbout(
        command="python -m scheduler.simulator " + shlex.join(sys.argv[1:]),
        n_asked=len(tasks),
        seeds=options.seeds,
    )
    if options.out is not None:
        _make_directory(options.out)
    outcomes = _collect(tasks, folder=folder, n_jobs=options.jobs)
    if not outcomes:
        return _INTERRUPTED
    found = reproduction(outcomes, published=published, about=about)
    print(terminal_report(found, about=about), end="")
    if options.out is not None:
        plots = _draw(found, published=published, folder=folder, directory=options.out)
        write_report(found, about=about, directory=options.out, plots=plots)
        print(f"report: {options.out / REPORT_FILE}", file=sys.stderr)
    if not found.is_complete:
        return _INTERRUPTED
    return 0 if found.is_met else 1


def _names(text: str | None, *, known: Sequence[str], option: str) -> list[str]:
    """Read which of the known ones are wanted; all if nothing is said.

    Raises:
        ConfigError: One is not known, or there is none.
    """
    if text is None:
        return list(known)
    names = list(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    if not names:
        raise ConfigError(f"{option}: name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ConfigError(f"{option}: {name!r} is not known; there are {', '.join(known)}")
    return names


def _tasks(study: Study, *, policies: Sequence[str], n_seeds: int) -> list[Task]:
    """List the runs of a variant: on recorded orders, and on drawn ones what has a use for them.

    Where orders are recorded, drawn ones would tell nothing about published runs; they serve to
    compare policies of ours with the baseline on as many seeds as were asked for.
    """
    recorded = sorted(study.recorded)[:n_seeds]
    first_drawn = max(study.recorded, default=FIRST_SEED - 1) + 1
    drawn = range(first_drawn, first_drawn + n_seeds - len(recorded))
    ours = [policy for policy in policies if policy not in PUBLISHED_NAMES]
    paired = [*ours, BASELINE] if ours and BASELINE in policies else ours
    return [
        Task(variant=study.variant, policy=policy, seed=seed)
        for policy in policies
        for seed in (*recorded, *(drawn if not recorded or policy in paired else ()))
    ]


def _make_directory(path: Path) -> None:
    """Make it before the runs, and not find out after them.

    Raises:
        SettingsError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out: cannot make {path}: {error.strerror}") from error


def _collect(tasks: Sequence[Task], *, folder: Path, n_jobs: int) -> list[RunOutcome]:
    """Run all, telling of each; what is done when Ctrl-C comes is returned."""
    done: dict[Task, RunOutcome] = {}
    try:
        with closing(_run_all(tasks, folder=folder, n_jobs=n_jobs)) as runs:
            for task, outcome in runs:
                done[task] = outcome
                _tell(outcome, n_done=len(done), n_all=len(tasks))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return [done[task] for task in tasks if task in done]


def _run_all(
    tasks: Sequence[Task], *, folder: Path, n_jobs: int
) -> Generator[tuple[Task, RunOutcome]]:
    if n_jobs <= 1 or len(tasks) == 1:
        for task in tasks:
            yield _run(folder, task)
        return
    # Spawned, not forked: libraries under us may have started threads. A pool of this kind, for it
    # ends what is under way when it is left; an executor's may wait for ever after an interrupt.
    with get_context("spawn").Pool(min(n_jobs, len(tasks)), initializer=_leave_interrupts) as pool:
        yield from pool.imap_unordered(partial(_run, folder), tasks)


def _leave_interrupts() -> None:
    # Ctrl-C reaches all processes of a terminal; the one that reports decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _run(folder: Path, task: Task) -> tuple[Task, RunOutcome]:
    return task, study_of(folder, task.variant).run(task.policy, seed=task.seed)


def _tell(outcome: RunOutcome, *, n_done: int, n_all: int) -> None:
    told = [value for value in outcome.allocated if not np.isnan(value)]
    print(
        f"[{n_done}/{n_all}] {outcome.variant} seed {outcome.seed} {outcome.policy}: "
        f"{told[-1]:.2f} % allocated, {outcome.n_rejected} of {outcome.n_arrivals} rejected, "
        f"{outcome.cpu_s:.1f} s",
        file=sys.stderr,
        flush=True,
    )


def _draw(
    found: Reproduction,
    *,
    published: Mapping[str, Published],
    folder: Path,
    directory: Path,
) -> list[Picture] | None:
    """Draw curves of each variant, and where the first variant's first seed placed its pods.

    Returns:
        ``None`` if matplotlib is missing.
    """
    if find_spec("matplotlib") is None:
        return None
    from scheduler.simulator.reproduce.plots import draw_curves, draw_heat_maps

    pictures = [
        draw_curves(
            [run for run in found.runs if run.variant == variant],
            published=published[variant],
            directory=directory,
        )
        for variant in dict.fromkeys(run.variant for run in found.runs)
    ]
    if found.is_complete:
        first = found.runs[0]
        study = study_of(folder, first.variant)
        policies = dict.fromkeys(run.policy for run in found.runs)
        usages = {policy: _usage(study, policy=policy, seed=first.seed) for policy in policies}
        pictures.append(draw_heat_maps(usages, study=study, seed=first.seed, directory=directory))
    return pictures


def _usage(study: Study, *, policy: str, seed: int) -> NDArray[np.float64]:
    """Follow a run again; nodes as the trace lists them."""
    order = study.order(seed)
    by_rank = node_usage(
        study.place(policy, seed=seed),
        pods=study.requests,
        arrivals=order.pods,
        nodes=study.idle_nodes(order),
    )
    usage = np.empty_like(by_rank)
    usage[:, np.argsort(order.node_ranks)] = by_rank
    return usage
