"""What ``python -m scheduler.simulator evaluate`` can be told; light, as every command reads it."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kube.edge.settings import Interval
from scheduler.simulator.experiments.policies import NAMES

SCENARIO_FILE: Final = "scenario.yaml"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what ``evaluate`` can be told."""
    add = parser.add_argument
    add(
        "--scenario",
        type=scenario_path,
        required=True,
        metavar="PATH",
        help=f"a file (see the schema command), or a folder with a {SCENARIO_FILE}",
    )
    add(
        "--seeds",
        type=at_least(1),
        default=5,
        metavar="N",
        help="how many worlds to draw (%(default)s)",
    )
    add("--first-seed", type=at_least(0), default=0, metavar="N", help="(%(default)s)")
    add(
        "--policies",
        metavar="NAMES",
        help="separated by commas; a name may be a profile file (what the scenario says, or "
        f"{','.join(NAMES)})",
    )
    add(
        "--external",
        action="append",
        default=[],
        metavar="COMMAND",
        help="a program that schedules, too, as COMMAND or NAME=COMMAND, split as a shell would; "
        "KUBECONFIG, and {kubeconfig} in it, lead it to the cluster; may be given more than once",
    )
    add(
        "--patience",
        type=_interval,
        default=Interval(2),
        metavar="TIME",
        help="how long such a program may be silent while pods wait for it, and virtual time "
        "stands still (2s)",
    )
    add(
        "--usage",
        type=Path,
        metavar="PATH",
        help="recorded usage, a file or folder; else it is drawn as the scenario says",
    )
    add("--out", type=Path, metavar="DIR", help="write the report there: Markdown, JSON, PNG")
    add(
        "--jobs",
        type=at_least(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="seeds run at once, each in a process of its own (%(default)s)",
    )


def scenario_path(text: str) -> Path:
    """Find a scenario's file."""
    path = Path(text)
    return path / SCENARIO_FILE if path.is_dir() else path


def _interval(text: str) -> float:
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def at_least(least: int) -> Callable[[str], int]:
    """Make a reader of whole numbers."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, not {text!r}")
        return int(text)

    return read
