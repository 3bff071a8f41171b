"""What a reproduction came to: for the terminal, and as a folder of files.

``report.md`` is for readers, ``results.json`` for programs (:class:`Reproduction`), and the plots
are there if matplotlib is (the extra ``lab``).
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from scheduler.simulator.experiments import provenance
from scheduler.simulator.experiments.pictures import Picture
from scheduler.simulator.experiments.table import MAX_COLUMNS, markdown_table, text_table
from scheduler.simulator.reproduce.comparison import (
    MAX_MEAN_DIFFERENCE,
    MAX_RUN_DIFFERENCE,
    Gain,
    Published,
    Row,
    compare_with_published,
    gains,
    verdict,
)
from scheduler.simulator.reproduce.study import RunOutcome
from scheduler.simulator.reproduce.tables import gain_table, result_tables

REPORT_FILE: Final = "report.md"
RESULTS_FILE: Final = "results.json"
SCHEMA_VERSION: Final = 1
"""Of ``results.json``; counted up when a reader of the old form would go wrong."""

_READING: Final = (
    "Means over seeds; publ.: over the same seeds where arrivals are recorded, else over all that "
    "are published. worst: the largest difference of any run from the published one of its seed, "
    "over both curves at all whole loads 0 to 130 %; with *, where runs cannot be the same (luck "
    "of the policy's own, or arrivals that we drew), of the means in these tables."
)
_PAIRED: Final = (
    "Mean over seeds ± half of its 95 % interval (Student's t), of differences on the same "
    "arrivals; beyond the recorded orders of arrival others are drawn in the same way."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAbout:
    """What was asked for: all that a reader needs to make the numbers again."""

    command: str
    n_asked: int
    """So many runs were asked for."""
    seeds: int
    """So many of each variant."""


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """All of a reproduction, as ``results.json`` holds it."""

    schema_version: int
    study: str
    command: str
    commit: str | None
    machine: str
    is_complete: bool
    """Whether all runs that were asked for are in it."""
    verdict: str
    is_met: bool
    rows: list[Row]
    gains: list[Gain]
    runs: list[RunOutcome]


def reproduction(
    outcomes: Sequence[RunOutcome], *, published: Mapping[str, Published], about: ReportAbout
) -> Reproduction:
    """Hold runs against what was published.

    Args:
        outcomes: In the order in which variants and policies are shown.
        published: By variant.
        about: What was asked for.
    """
    runs: dict[tuple[str, str], list[RunOutcome]] = {}
    for outcome in outcomes:
        runs.setdefault((outcome.variant, outcome.policy), []).append(outcome)
    rows = [
        compare_with_published(own, published=published.get(variant, {}))
        for (variant, _), own in runs.items()
    ]
    text, is_met = verdict(rows)
    return Reproduction(
        schema_version=SCHEMA_VERSION,
        study="fgd",
        command=about.command,
        commit=provenance.commit(),
        machine=provenance.machine(),
        is_complete=len(outcomes) == about.n_asked,
        verdict=text,
        is_met=is_met,
        rows=rows,
        gains=gains(outcomes),
        runs=list(outcomes),
    )


def terminal_report(found: Reproduction, *, about: ReportAbout) -> str:
    """Put a reproduction into text for a terminal; the last line is the verdict."""
    tables = [text_table(table) for table in result_tables(found.rows)]
    if found.gains:
        tables.append(text_table(gain_table(found.gains)))
    notes = "".join(
        textwrap.fill(f"note: {note}", MAX_COLUMNS) + "\n" for note in _notes(found, about=about)
    )
    reading = textwrap.fill(_READING, MAX_COLUMNS)
    return "\n".join([*tables, f"{reading}\n", notes + found.verdict]) + "\n"


def write_report(
    found: Reproduction,
    *,
    about: ReportAbout,
    directory: Path,
    plots: Sequence[Picture] | None,
) -> None:
    """Write the report's files.

    Args:
        found: What it tells.
        about: What was asked for.
        directory: It exists; files of an earlier report are replaced.
        plots: Those drawn there; ``None`` if matplotlib is missing.
    """
    (directory / RESULTS_FILE).write_bytes(msgspec.json.encode(found) + b"\n")
    text = _markdown(found, about=about, plots=plots)
    (directory / REPORT_FILE).write_text(text, encoding="utf-8")


def _markdown(found: Reproduction, *, about: ReportAbout, plots: Sequence[Picture] | None) -> str:
    notes = _notes(found, about=about)
    if plots is None:
        notes.append("plots are left out: matplotlib is not installed (the extra `lab`)")
    cpu_s = sum(run.cpu_s for run in found.runs)
    parts = [
        "# Fragmentation gradient descent, reproduced\n",
        "Weng et al., “Beware of Fragmentation”, USENIX ATC 2023: pods of a recorded GPU cluster "
        "arrive one by one until they ask for 130 % of its GPU; each is placed at once or rejected "
        "for good, and none departs.\n",
        f"```\n{found.command}\n```\n",
        f"- All numbers: [`{RESULTS_FILE}`]({RESULTS_FILE})\n"
        f"- Commit: {found.commit or 'unknown'}\n"
        f"- Machine: {found.machine}; {len(found.runs)} runs took {cpu_s:.0f} s of a processor\n",
        "\n".join(f"> Note: {note}." for note in notes) + "\n" if notes else "",
        f"**{found.verdict}**\n",
        "## Beside the published results\n",
        _READING.replace("*", "\\*") + "\n",
        *(markdown_table(table) for table in result_tables(found.rows, is_wide=True)),
    ]
    if found.gains:
        parts += ["## Policies of ours\n", _PAIRED + "\n", markdown_table(gain_table(found.gains))]
    if plots:
        parts += ["## Plots\n", *(f"![{plot.caption}]({plot.file})\n" for plot in plots)]
    return "\n".join(part for part in parts if part)


def _notes(found: Reproduction, *, about: ReportAbout) -> list[str]:
    """Say what a reader of the numbers must know."""
    notes = []
    if not found.is_complete:
        notes.append(f"interrupted: {len(found.runs)} of {about.n_asked} runs are told of")
    short = sorted({r.variant for r in found.rows if r.is_recorded and len(r.seeds) < about.seeds})
    if short and found.is_complete:
        notes.append(
            f"{', '.join(short)}: fewer orders of arrival than the {about.seeds} asked for are "
            "recorded; tables of published results tell of those"
        )
    drawn = sorted({row.variant for row in found.rows if not row.is_recorded})
    if drawn:
        notes.append(
            f"{', '.join(drawn)}: no order of arrival is recorded; ours are other draws, which "
            "compare in the mean alone"
        )
    missed = [f"{row.variant} {row.policy}" for row in found.rows if not row.is_met]
    if missed:
        notes.append(
            f"farther off than {MAX_RUN_DIFFERENCE:g} points (means: {MAX_MEAN_DIFFERENCE:g}, or "
            f"chance): {', '.join(missed)}"
        )
    return notes
