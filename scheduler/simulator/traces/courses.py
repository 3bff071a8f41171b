"""What recorded usage looks like: its level, the course of its day, its bursts.

Bursts are 5-minute windows that lie more than half above the course of the day; the day is told by
its first harmonic.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.usage_traces import Recording

Floats = NDArray[np.float64]

_DAY_SLOTS: Final = 288
_BURST: Final = 1.5
LEAST_CPU_RATIO: Final = 0.01
"""What uses less is a machine that idles, and no workload."""
_LEAST_BURSTING_RATIO: Final = 0.05
"""What uses less would burst from next to nothing."""


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
    if not (recording.has_cpu and recording.has_memory and n_slots >= _DAY_SLOTS):
        return None
    cpu = recording.cpu_ratio.astype(np.float64)
    if cpu.mean() < LEAST_CPU_RATIO:
        return None
    hour = (np.arange(n_slots) - recording.midnight_slot) / 12.0
    is_burst = np.zeros(n_slots, dtype=bool)
    course = np.full(n_slots, np.median(cpu))
    mean, amplitude, phase_h = float(course[0]), 0.0, 0.0
    for _ in range(3):  # what is a burst depends on the course of the day, and the other way round
        is_burst = cpu > _BURST * np.maximum(course, LEAST_CPU_RATIO)
        mean, amplitude, phase_h = swing_of(cpu[~is_burst], hour[~is_burst])
        course = mean * (1.0 + amplitude * np.sin((hour - phase_h) * np.pi / 12.0))
    bursts = (float(is_burst.mean()), burst_factor_of(cpu, course, is_burst))
    if mean < _LEAST_BURSTING_RATIO:
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
