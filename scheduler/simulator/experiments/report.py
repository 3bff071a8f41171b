"""What an evaluation came to, for the terminal and as a folder of files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from scheduler.simulator.experiments.results import RunResult

RESULTS_FILE = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAbout:
    """What was asked for: all that a reader needs to make the numbers again."""

    scenario_name: str
    description: str
    scenario_text: str
    """The scenario's file, to the letter."""
    command: str
    """The command line that made the results."""
    expects: Literal["better", "no_worse"] = "better"
    """What the scenario holds policies to: ``no_worse`` where there is nothing to learn."""
    baseline: str = "kube-default"
    """The policy to compare with; if it did not run, the first that did."""


def terminal_report(results: Sequence[RunResult], *, about: ReportAbout) -> str:
    """Put the results into text for a terminal, lines of some 100 columns."""
    return f"{about.scenario_name}: {len(results)} runs\n"


def write_report(results: Sequence[RunResult], *, about: ReportAbout, directory: Path) -> None:
    """Write the report's files; the same results make the same bytes on the same machine.

    Args:
        results: At most one a policy and seed; policies are shown in the order of appearance.
        about: What was asked for.
        directory: Made if missing. Files of an earlier report are replaced, others left alone.
    """
    directory.mkdir(parents=True, exist_ok=True)
    document = {"command": about.command, "results": list(results)}
    (directory / RESULTS_FILE).write_bytes(msgspec.json.encode(document, order="deterministic"))
