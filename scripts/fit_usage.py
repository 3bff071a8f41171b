#!/usr/bin/env python3
"""Fit the distributions of scheduler/simulator/natures.py to recorded usage, and print them.

    PYTHONPATH=. python scripts/fit_usage.py PATH...

Each PATH is a file, or a folder, as ``scheduler.simulator.usage_traces`` reads them; each counts
the same, and each recorded hour of one. Recordings that use less than 1 % of cpu are left out: they
are machines that idle, not workloads; bursts are taken from those that use 5 % or more, as others
burst from next to nothing. Of each recording: the share of 5-minute windows with a burst
(more than half above the course of the day), how strong bursts are, the mean aside from bursts, the
first harmonic of the day. Over the recordings: log-normal distributions by two quantiles.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.traces.courses import Course, describe
from scheduler.simulator.usage_traces import UsageTraceError, load_usage

Floats = NDArray[np.float64]


def quantiles(values: Floats, weights: Floats, at: Sequence[float]) -> Floats:
    """Find weighted quantiles."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    return values[order][np.minimum(np.searchsorted(reached, at), len(values) - 1)]


def fit(name: str, values: Floats, weights: Floats) -> str:
    """Fit a log-normal to median and 90 % quantile, cut off at the 99 % quantile."""
    known = np.isfinite(values)
    floored = np.maximum(values[known], 0.001)
    median, high, most = quantiles(floored, weights[known], (0.5, 0.9, 0.99))
    sigma = np.log(high / median) / 1.2816
    return f"{name:13} lognormal: median {median:.3g}, sigma {sigma:.2g}, max {most:.2g}"


def described(path: Path) -> Floats:
    """Describe all recordings of a path, with weights that sum up to 1.

    Raises:
        UsageTraceError: It cannot be read, or tells of no day's work.
    """
    found = load_usage(path).recordings
    table = np.array([course for each in found if (course := describe(each)) is not None])
    if not len(table):
        raise UsageTraceError(f"{path}: no recording tells of a day's work")
    print(f"{path.name}: {len(table)} of {len(found)} recordings, {table[:, 0].sum():,.0f} hours")
    table[:, 0] /= table[:, 0].sum()
    return table


def main(arguments: Sequence[str]) -> int:
    """Print the fit; return the exit code."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        tables = [described(Path(path)) for path in arguments]
    except UsageTraceError as error:
        print(error, file=sys.stderr)
        return 1
    table = np.concatenate(tables)
    weights = table[:, 0]
    for index, name in enumerate(Course._fields):
        if name not in ("weight", "phase_h"):
            print(fit(name, table[:, index], weights))
    towards = np.exp(1j * table[:, 4] * np.pi / 12.0) * weights * table[:, 3]
    phase_h = np.angle(towards.sum()) * 12.0 / np.pi % 24.0
    agreement = abs(towards.sum()) / np.abs(towards).sum()
    print(f"phase_h       mean {phase_h:.3g}, agreement {agreement:.2g}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
