"""What ``record`` and ``fit`` can be told; light, as every command reads it."""

import argparse
import re
from pathlib import Path
from typing import Final

from kube.edge.settings import Duration, Interval

MAX_SINCE_S: Final = 92 * 86_400.0
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


def add_record_options(parser: argparse.ArgumentParser) -> None:
    """Say what ``record`` can be told."""
    add = parser.add_argument
    add("--kubeconfig", metavar="FILE", help="which cluster (as kubectl chooses it)")
    add("--context", metavar="NAME", help="of the kubeconfig, instead of its current one")
    add(
        "--collector",
        metavar="URL",
        help="a collector that watches the cluster: tells of pods that are gone, and of usage",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="a new folder, or an empty one")
    add(
        "--since",
        type=_since,
        default=Interval(7 * 86_400.0),
        metavar="TIME",
        help="how far back to go, like 12h or 7d (7d)",
    )
    add("--name", type=_name, default="recorded", help="of the scenario (%(default)s)")
    add("--anonymise", action="store_true", help="put hashes in place of names, salted at random")


def add_fit_options(parser: argparse.ArgumentParser) -> None:
    """Say what ``fit`` can be told."""
    add = parser.add_argument
    add("--pods", type=Path, required=True, metavar="FILE", help="recorded pods")
    add(
        "--nodes",
        type=Path,
        metavar="FILE",
        help="recorded nodes; else so many alike that pods request 70 %% of them",
    )
    add("--usage", type=Path, metavar="PATH", help="recorded usage, a file or folder")
    add(
        "--format",
        choices=("generic", "openb"),
        default="generic",
        help="of pods and nodes; of openb, cards are left out (%(default)s)",
    )
    add(
        "--compress",
        type=_compress,
        default=1.0,
        metavar="TIMES",
        help="let so many times as much work come in an hour (%(default)s)",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="the scenario; it is replaced")
    add("--name", type=_name, default="fitted", help="of the scenario (%(default)s)")


def _compress(text: str) -> float:
    try:
        times = float(text)
    except ValueError:
        times = float("nan")
    if not 0.001 <= times <= 100_000.0:
        raise argparse.ArgumentTypeError(f"must be 0.001 to 100000, not {text!r}")
    return times


def _since(text: str) -> Duration:
    try:
        since = Interval.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if since > MAX_SINCE_S:
        raise argparse.ArgumentTypeError(f"at most {MAX_SINCE_S / 86_400:.0f}d")
    return since


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name (like my-cluster, up to 32 letters)")
    return text
