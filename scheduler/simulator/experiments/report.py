"""What an evaluation came to: for the terminal, and as a folder of files.

``report.md`` is for readers, ``results.json`` for programs (:class:`Evaluation`), ``scenario.yaml``
is what was run, and the plots are there if matplotlib is (the extra ``lab``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from scheduler.simulator.experiments import provenance
from scheduler.simulator.experiments.pictures import PICTURES, Picture
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.scenario import Expectation
from scheduler.simulator.experiments.statistics import Summary, summarise
from scheduler.simulator.experiments.table import (
    markdown_table,
    metric_tables,
    model_tables,
    pace_tables,
    text_table,
    verdict_table,
    waiting_tables,
)
from scheduler.simulator.experiments.verdicts import Verdict, judge

REPORT_FILE: Final = "report.md"
RESULTS_FILE: Final = "results.json"
SCENARIO_FILE: Final = "scenario.yaml"
SCHEMA_VERSION: Final = 1
"""Of ``results.json``; counted up when a reader of the old form would go wrong."""

_READING: Final = (
    "A mean over seeds ± half of its 95 % interval (Student's t); below it, × the baseline's mean, "
    "paired by seed, with the 95 % interval (Fieller's; none is shown for a single seed, nor where "
    "the baseline cannot be told from zero). All troubles are failed placements, OOM kills and "
    "evictions together: one mishap may count as two. Spreads are standard deviations over nodes "
    "of utilisation, 0 to 1; nodes without any pod could be turned off."
)
_EXPECTED: Final[dict[Expectation, str]] = {
    "better": "Here is something to learn: better than the baseline is expected.",
    "no_worse": "Here is nothing to learn: no worse than the baseline is expected.",
}
_MODEL_READING: Final = (
    "On placements made after each model was trained. AUC: more is better, 0.5 is chance. Brier: "
    "less is better. Base rate: always saying what was healthy before. Enhanced scoring: the "
    "scores that serve without a model, read as a probability."
)
_PACE_READING: Final = (
    "Programs that scheduled through the API server's door. Virtual time stood still while pods "
    "waited for their answer: a binding, or word that they fit nowhere, since anything last may "
    "have made room. Waits in vain ended when nothing was said for as long as `--patience`; what "
    "the program did about those pods later took virtual time, which counts against it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAbout:
    """What was asked for: all that a reader needs to make the numbers again."""

    scenario_name: str
    description: str
    scenario_text: str
    """The scenario's file, to the letter."""
    command: str
    """The command line that made the results."""
    expects: Expectation = "better"
    """What the scenario holds policies to: ``no_worse`` where there is nothing to learn."""
    baseline: str = "kube-default"
    """The policy to compare with; if it did not run, the first that did."""
    ended_early: str = ""
    """What ended the runs before all were made."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All of an evaluation, as ``results.json`` holds it."""

    schema_version: int
    scenario: str
    description: str
    command: str
    expects: Expectation
    commit: str | None
    machine: str
    results: list[RunResult]
    summary: Summary
    verdicts: list[Verdict]


def terminal_report(results: Sequence[RunResult], *, about: ReportAbout) -> str:
    """Put the results into text for a terminal of 100 columns.

    Args:
        results: At most one a policy and seed; policies are shown in the order of appearance.
        about: What was asked for.

    Raises:
        ValueError: There is no result, or two of one policy and seed.
    """
    summary = summarise(results, baseline=about.baseline)
    tables = [*metric_tables(summary), *waiting_tables(results)]
    tables += [*model_tables(summary), *pace_tables(results)]
    verdicts = judge(summary, expects=about.expects)
    if verdicts:
        tables.append(verdict_table(verdicts, baseline=summary.baseline))
    head = f"{about.scenario_name}: {_seeds_text(summary.seeds)}\n"
    notes = "".join(f"note: {note}\n" for note in _notes(summary, about=about))
    return "\n".join([head, *map(text_table, tables), notes]).rstrip("\n") + "\n"


def write_report(results: Sequence[RunResult], *, about: ReportAbout, directory: Path) -> None:
    """Write the report's files; the same results make the same bytes on the same machine.

    Args:
        results: At most one a policy and seed; policies are shown in the order of appearance.
        about: What was asked for.
        directory: Made if missing. Files of an earlier report are replaced, others left alone.

    Raises:
        ValueError: There is no result, or two of one policy and seed.
    """
    summary = summarise(results, baseline=about.baseline)
    order = [policy.policy for policy in summary.policies]
    evaluation = Evaluation(
        schema_version=SCHEMA_VERSION,
        scenario=about.scenario_name,
        description=about.description,
        command=about.command,
        expects=about.expects,
        commit=provenance.commit(),
        machine=provenance.machine(),
        results=sorted(results, key=lambda run: (order.index(run.policy), run.seed)),
        summary=summary,
        verdicts=judge(summary, expects=about.expects),
    )
    directory.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:  # an earlier report may have had one that this has not
        (directory / picture.file).unlink(missing_ok=True)
    plots = _draw(evaluation, directory)
    encoded = msgspec.json.encode(evaluation, order="deterministic")
    (directory / RESULTS_FILE).write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")
    (directory / SCENARIO_FILE).write_text(about.scenario_text, encoding="utf-8")
    text = markdown_report(evaluation, about=about, plots=plots)
    (directory / REPORT_FILE).write_text(text, encoding="utf-8")


def markdown_report(
    evaluation: Evaluation, *, about: ReportAbout, plots: Sequence[Picture] | None
) -> str:
    """Write the report in Markdown.

    Args:
        evaluation: What it tells.
        about: What was asked for.
        plots: Those drawn; ``None`` if matplotlib is missing.
    """
    summary = evaluation.summary
    parts = [
        f"# {evaluation.scenario}: policies compared\n",
        *([evaluation.description.strip() + "\n"] if evaluation.description else []),
        f"```\n{evaluation.command}\n```\n",
        "\n".join(f"- {fact}" for fact in _facts(evaluation)) + "\n",
    ]
    notes = _notes(summary, about=about)
    if plots is None:
        notes.append("plots are left out: matplotlib is not installed (the extra `lab`)")
    if notes:
        parts.append("\n".join(f"> Note: {note}." for note in notes) + "\n")
    if evaluation.verdicts:
        table = verdict_table(evaluation.verdicts, baseline=summary.baseline)
        parts += ["## Does it help?\n", _EXPECTED[evaluation.expects] + "\n", markdown_table(table)]
    parts += ["## What happened\n", _READING + "\n", *map(markdown_table, metric_tables(summary))]
    parts += map(markdown_table, waiting_tables(evaluation.results))
    learnt = model_tables(summary)
    if learnt:
        parts += ["## How well it predicted\n", _MODEL_READING + "\n", *map(markdown_table, learnt)]
    paces = pace_tables(evaluation.results)
    if paces:
        parts += ["## How programs kept pace\n", _PACE_READING + "\n", *map(markdown_table, paces)]
    if plots:
        parts += ["## Plots\n", *(f"![{plot.caption}]({plot.file})\n" for plot in plots)]
    return "\n".join(parts)


def _draw(evaluation: Evaluation, directory: Path) -> Sequence[Picture] | None:
    try:
        from scheduler.simulator.experiments.plots import draw_plots
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "matplotlib":
            raise
        return None
    return draw_plots(evaluation.results, summary=evaluation.summary, directory=directory)


def _facts(evaluation: Evaluation) -> list[str]:
    summary, results = evaluation.summary, evaluation.results
    cpu_h = sum(run.cpu_s for run in results) / 3600.0
    return [
        f"Scenario: [`{SCENARIO_FILE}`]({SCENARIO_FILE}); all numbers: "
        f"[`{RESULTS_FILE}`]({RESULTS_FILE})",
        f"{len(results)} runs: {len(summary.policies)} policies, {_seeds_text(summary.seeds)}",
        f"Measured: {_range({run.measured_h for run in results})} h a run, on "
        f"{_range({run.n_nodes for run in results})} nodes",
        f"Commit: {evaluation.commit or 'unknown'}",
        f"Machine: {evaluation.machine}; the runs took {cpu_h:.2f} h of a processor",
    ]


def _notes(summary: Summary, *, about: ReportAbout) -> list[str]:
    """Say what a reader of the numbers must know."""
    notes = [about.ended_early] if about.ended_early else []
    if summary.baseline != about.baseline:
        notes.append(
            f"{about.baseline} has no result; compared with {summary.baseline} in its stead"
        )
    if len(summary.seeds) == 1:
        notes.append("with a single seed there are no intervals: nothing tells chance from effect")
    notes += [
        f"{policy.policy} has no result on {_seeds_text(policy.missing_seeds)}; "
        "it is compared over the seeds in common"
        for policy in summary.policies
        if policy.missing_seeds
    ]
    return notes


def _seeds_text(seeds: Sequence[int]) -> str:
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"
    return f"{len(seeds)} seeds ({', '.join(map(str, seeds))})"


def _range(values: set[float] | set[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
