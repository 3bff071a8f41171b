"""``python -m scheduler conformance FILE``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from scheduler.conformance.agreement import disagreements, kube_scheduler_profile
from scheduler.conformance.scenarios import ConformanceError, read_recordings

AGREES: Final = 0
DISAGREES: Final = 1
UNUSABLE: Final = 2


@dataclass(slots=True)
class _Family:
    """How scenarios of one kind came out."""

    n_scenarios: int = 0
    disagreements: dict[str, list[str]] = field(default_factory=dict)
    """By scenario."""

    @property
    def n_agreeing(self) -> int:
        return self.n_scenarios - len(self.disagreements)


def run(arguments: Sequence[str], *, out: TextIO, err: TextIO) -> int:
    """Check a file, print where we disagree, and count.

    Args:
        arguments: What follows ``conformance`` on the command line.
        out: Where the result goes.
        err: Where it goes that the file is unusable.

    Returns:
        The exit code: 0 if we agree with every scenario, 1 if not, 2 if the file is unusable.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scheduler conformance",
        description="Compare our decisions with a real kube-scheduler's; exit 1 on a difference.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="*.jsonl or *.jsonl.gz")
    try:
        families = _check_all(parser.parse_args(arguments).file)
    except ConformanceError as error:
        err.write(f"scheduler: {error}\n")
        return UNUSABLE
    for name, family in families.items():
        out.write(f"{name}: {family.n_agreeing} of {family.n_scenarios}\n")
        for scenario, lines in family.disagreements.items():
            out.writelines(f"  {scenario}: {line}\n" for line in lines)
    n_agreeing = sum(family.n_agreeing for family in families.values())
    n_scenarios = sum(family.n_scenarios for family in families.values())
    out.write(f"agree {n_agreeing} of {n_scenarios}\n")
    return AGREES if n_agreeing == n_scenarios else DISAGREES


def _check_all(path: Path) -> dict[str, _Family]:
    families: dict[str, _Family] = {}
    profile = kube_scheduler_profile()
    for recording in read_recordings(path):
        family = families.setdefault(recording.family, _Family())
        family.n_scenarios += 1
        lines = disagreements(recording, profile=profile)
        if lines:
            family.disagreements[recording.id] = lines
    if not families:
        raise ConformanceError(f"{path}: holds no scenario")
    return families
