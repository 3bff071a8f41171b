"""What ``reproduce`` can be told; light, as every command of the simulator reads it."""

import argparse
import os
from pathlib import Path

from scheduler.simulator.experiments.options import at_least

STUDIES = ("fgd",)
"""Published results that can be made again."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what ``reproduce`` can be told."""
    add = parser.add_argument
    add("study", choices=STUDIES, help="fgd: Weng et al., Beware of Fragmentation, ATC 2023")
    add("--traces", type=Path, required=True, metavar="DIR", help="folder of the GPU trace openb")
    add("--variants", metavar="NAMES", help="separated by commas (all that the folder has)")
    add("--policies", metavar="NAMES", help="separated by commas (all)")
    add(
        "--seeds",
        type=at_least(1),
        default=10,
        metavar="N",
        help="how many orders of arrival, recorded ones first (%(default)s)",
    )
    add("--out", type=Path, metavar="DIR", help="write the report there: Markdown, JSON, PNG")
    add(
        "--jobs",
        type=at_least(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="runs at once, each in a process of its own (%(default)s)",
    )
