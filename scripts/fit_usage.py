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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.usage_traces import Recording, UsageTraceError, load_usage

DAY_SLOTS = 288
BURST = 1.5
LEAST_CPU_RATIO = 0.01
LEAST_BURSTING_RATIO = 0.05

Floats = NDArray[np.float64]


class Course(NamedTuple):
    """What is told of one recording."""

    weight: float
    cpu_ratio: float
    memory_ratio: float
    amplitude: float
    phase_h: float
    burst_ratio: float
    burst_factor: float
    variation: float


def describe(recording: Recording) -> Course | None:
    """Describe a recording of both cpu and memory for a day or more, if it tells of work."""
    n_slots = len(recording.cpu_ratio)
    if not (recording.has_cpu and recording.has_memory and n_slots >= DAY_SLOTS):
        return None
    cpu = recording.cpu_ratio.astype(np.float64)
    if cpu.mean() < LEAST_CPU_RATIO:
        return None
    hour = (np.arange(n_slots) - recording.midnight_slot) / 12.0
    is_burst = np.zeros(n_slots, dtype=bool)
    course = np.full(n_slots, np.median(cpu))
    mean, amplitude, phase_h = float(course[0]), 0.0, 0.0
    for _ in range(3):  # what is a burst depends on the course of the day, and the other way round
        is_burst = cpu > BURST * np.maximum(course, LEAST_CPU_RATIO)
        mean, amplitude, phase_h = swing_of(cpu[~is_burst], hour[~is_burst])
        course = mean * (1.0 + amplitude * np.sin((hour - phase_h) * np.pi / 12.0))
    bursts = (float(is_burst.mean()), burst_factor_of(cpu, course, is_burst))
    if mean < LEAST_BURSTING_RATIO:
        bursts = (np.nan, np.nan)
    usual = np.maximum(course[~is_burst], LEAST_CPU_RATIO)
    return Course(
        weight=n_slots / 12.0,
        cpu_ratio=mean,
        memory_ratio=float(np.median(recording.memory_ratio)),
        amplitude=amplitude,
        phase_h=phase_h % 24.0,
        burst_ratio=bursts[0],
        burst_factor=bursts[1],
        variation=float(np.std(cpu[~is_burst] / usual)),
    )


def swing_of(cpu: Floats, hour: Floats) -> tuple[float, float, float]:
    """Fit mean, relative amplitude (at most 0.95) and phase of a day's swing."""
    angle = hour * np.pi / 12.0
    basis = np.stack([np.ones_like(angle), np.sin(angle), np.cos(angle)], axis=1)
    mean, sine, cosine = np.linalg.lstsq(basis, cpu, rcond=None)[0]
    amplitude = min(0.95, float(np.hypot(sine, cosine)) / max(float(mean), LEAST_CPU_RATIO))
    return float(mean), amplitude, float(np.arctan2(-cosine, sine)) * 12.0 / np.pi


def burst_factor_of(cpu: Floats, course: Floats, is_burst: NDArray[np.bool_]) -> float:
    """Say how strong bursts are, as a multiple of the course; NaN without any."""
    if not is_burst.any():
        return np.nan
    return float(np.median(cpu[is_burst] / np.maximum(course[is_burst], LEAST_CPU_RATIO)))


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
