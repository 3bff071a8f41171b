"""What a training came to: for the terminal, and as a folder of files.

``report.md`` is for readers, ``results.json`` for programs (:class:`TrainingResults`), and the
plots are there if matplotlib is (the extra ``lab``).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from scheduler.simulator.experiments import provenance
from scheduler.simulator.experiments.pictures import Picture
from scheduler.simulator.experiments.report import REPORT_FILE, RESULTS_FILE, SCENARIO_FILE
from scheduler.simulator.experiments.rewards import RewardWeights
from scheduler.simulator.experiments.statistics import Estimate
from scheduler.simulator.experiments.table import (
    Table,
    estimate_text,
    markdown_table,
    text_table,
)
from scheduler.simulator.training.folder import (
    NETWORK_FILE,
    TENSORBOARD_FOLDER,
    Episode,
    Plan,
)
from scheduler.simulator.training.judging import LEARNED, Judged, Standing

SCHEMA_VERSION: Final = 1
"""Of ``results.json``; counted up when a reader of the old form would go wrong."""

TERM_TITLES: Final = {
    "pending": "pending, pod-h",
    "failures": "failures",
    "throttling": "throttled, core-h",
    "fragmentation": "fragmented, node-h",
    "imbalance": "imbalance, h",
    "nodes_on": "nodes on, node-h",
}
_READING: Final = (
    "A mean over seeds ± half of its 95 % interval (Student's t). Gain: the learned policy's total "
    "reward less this policy's in the same world, so above zero the learned one is better; then "
    "the costs that rewards are made of, per episode, each in its unit."
)


class TrainingResults(msgspec.Struct, frozen=True, kw_only=True):
    """All of a training, as ``results.json`` holds it."""

    scenario: str
    description: str
    command: str
    plan: Plan
    weights: RewardWeights
    """What each term costs."""
    n_steps: int
    """Decisions that were learnt from."""
    cpu_s: float
    """Processor time of the training, by this command alone if an earlier one began it."""
    ended_early: str
    """What ended it before all was done; empty if nothing did."""
    episodes: list[Episode]
    """Those that were learnt from."""
    judged: list[Judged]
    """Those in unseen worlds."""
    standings: list[Standing]
    commit: str | None = msgspec.field(default_factory=provenance.commit)
    machine: str = msgspec.field(default_factory=provenance.machine)
    schema_version: int = SCHEMA_VERSION


def terminal_report(results: TrainingResults) -> str:
    """Put the results into text for a terminal of 100 columns."""
    parts = [f"{results.scenario}: {results.n_steps:,} steps, seed {results.plan.seed}\n"]
    if results.standings:
        parts += [text_table(_table(results)), _verdicts(results) + "\n"]
    if results.ended_early:
        parts.append(f"note: {results.ended_early}\n")
    return "\n".join(parts)


def write_report(results: TrainingResults, *, directory: Path) -> None:
    """Write the report's files.

    Args:
        results: What it tells.
        directory: Is there; files of an earlier report are replaced.
    """
    plots = _draw(results, directory)
    encoded = msgspec.json.encode(results, order="deterministic")
    (directory / RESULTS_FILE).write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")
    (directory / SCENARIO_FILE).write_text(results.plan.scenario, encoding="utf-8")
    (directory / REPORT_FILE).write_text(_markdown(results, plots=plots), encoding="utf-8")


def _markdown(results: TrainingResults, *, plots: Sequence[Picture] | None) -> str:
    parts = [
        f"# {results.scenario}: a policy trained\n",
        *([results.description.strip() + "\n"] if results.description else []),
        f"```\n{results.command}\n```\n",
        "\n".join(f"- {fact}" for fact in _facts(results)) + "\n",
    ]
    notes = [results.ended_early] if results.ended_early else []
    if plots is None:
        notes.append("plots are left out: matplotlib is not installed (the extra `lab`)")
    if notes:
        parts.append("\n".join(f"> Note: {note}." for note in notes) + "\n")
    if results.standings:
        parts += ["## Is it better?\n", _verdicts(results) + "\n"]
        parts += [_READING + "\n", markdown_table(_table(results))]
    parts += ["## How it learnt\n", markdown_table(_hyperparameters(results.plan))]
    if plots:
        parts += ["## Plots\n", *(f"![{plot.caption}]({plot.file})\n" for plot in plots)]
    return "\n".join(parts)


def _facts(results: TrainingResults) -> list[str]:
    plan = results.plan
    waits = "may" if plan.may_wait else "may not"
    return [
        f"Network: [`{NETWORK_FILE}`]({NETWORK_FILE}); scenario: "
        f"[`{SCENARIO_FILE}`]({SCENARIO_FILE}); all numbers: [`{RESULTS_FILE}`]({RESULTS_FILE}); "
        f"TensorBoard's logs: `{TENSORBOARD_FOLDER}/`",
        f"Learnt by {plan.algorithm} from {results.n_steps:,} steps in {plan.n_envs} environments, "
        f"seed {plan.seed}: {len(results.episodes)} episodes of {plan.episode_s / 3600.0:g} h; it "
        f"{waits} leave pods waiting that a node would take",
        f"Commit: {results.commit or 'unknown'}",
        f"Machine: {results.machine}; learning took {results.cpu_s / 60.0:.1f} min of a processor",
    ]


def _table(results: TrainingResults) -> Table:
    shown = [
        name
        for name in TERM_TITLES
        if any(each.terms[name].mean for each in results.standings)
        and getattr(results.weights, name)
    ]
    rows = tuple(
        (
            each.policy,
            estimate_text(each.total_reward),
            "" if each.policy == LEARNED else estimate_text(each.learned_gains),
            *(estimate_text(each.terms[name]) for name in shown),
        )
        for each in results.standings
    )
    head = ("policy", "total reward", f"gain of {LEARNED}", *(TERM_TITLES[name] for name in shown))
    n_seeds = max(len(each.seeds) for each in results.standings)
    return Table(f"In {n_seeds} unseen worlds", head, rows)


def _verdicts(results: TrainingResults) -> str:
    return "\n".join(
        f"- {LEARNED} is {_verdict(each.learned_gains)} {each.policy}"
        for each in results.standings
        if each.learned_gains is not None
    )


def _verdict(gain: Estimate) -> str:
    if gain.half_width is None:
        return "not told apart by one world from"
    if gain.mean > gain.half_width:
        return "clearly better than"
    return "clearly worse than" if gain.mean < -gain.half_width else "not told apart from"


def _hyperparameters(plan: Plan) -> Table:
    fields = msgspec.structs.asdict(plan.hyperparameters)
    rows = tuple((name, f"{value:g}") for name, value in fields.items())
    return Table("Hyper-parameters", ("name", "value"), rows)


def _draw(results: TrainingResults, directory: Path) -> Sequence[Picture] | None:
    try:
        from scheduler.simulator.training.plots import draw_plots
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        return None
    return draw_plots(results, directory=directory)
