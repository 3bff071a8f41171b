"""From recorded usage to what a scenario hides of its workloads."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.traces.courses import Course, describe
from scheduler.simulator.usage_traces import UsageLibrary

_LEAST: Final = 5
"""Fewer recordings than this tell nothing of how workloads differ."""
_SHARES: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_MAX_AMPLITUDE: Final = 0.95
_MAX_BURST_FACTOR: Final = 100.0

Floats = NDArray[np.float64]
Draws = dict[str, Any]


def fit_nature(library: UsageLibrary) -> Draws:
    """Write a nature as a scenario file does; what is not recorded is left out."""
    courses = [course for each in library.recordings if (course := describe(each)) is not None]
    nature = _course_of_days(courses) if len(courses) >= _LEAST else {}
    if "cpu_ratio" not in nature:
        levels = [float(r.cpu_ratio.mean()) for r in library.recordings if r.has_cpu]
        nature |= _quantiles("cpu_ratio", np.array(levels))
    levels = [float(r.memory_ratio.mean()) for r in library.recordings if r.has_memory]
    return nature | _quantiles("memory_ratio", np.array(levels))


def _course_of_days(courses: list[Course]) -> Draws:
    table = np.array(courses)
    columns = {name: table[:, place] for place, name in enumerate(Course._fields)}
    mean_h, ahead_h = _phases(columns["phase_h"], weights=columns["amplitude"])
    return {
        **_quantiles("cpu_ratio", columns["cpu_ratio"]),
        **_quantiles("diurnal_amplitude", columns["amplitude"].clip(0.0, _MAX_AMPLITUDE)),
        **_quantiles("diurnal_phase_s", 3600.0 * (mean_h + ahead_h)),
        **_quantiles("burst_ratio", columns["burst_ratio"]),
        **_quantiles("burst_factor", columns["burst_factor"].clip(1.0, _MAX_BURST_FACTOR)),
    }


def _phases(phase_h: Floats, *, weights: Floats) -> tuple[float, Floats]:
    """Tell the mean phase, from -12 to 12 h, and how far each is ahead of it."""
    towards = np.exp(1j * phase_h * np.pi / 12.0)
    mean = np.angle((towards * weights).sum())
    ahead = np.angle(towards * np.exp(-1j * mean))
    return float(mean * 12.0 / np.pi), ahead * 12.0 / np.pi


def _quantiles(name: str, values: Floats) -> Draws:
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    numbers = np.quantile(known, _SHARES)
    pairs = [
        [share, float(f"{number:.4g}")] for share, number in zip(_SHARES, numbers, strict=True)
    ]
    return {name: {"quantiles": pairs}}
