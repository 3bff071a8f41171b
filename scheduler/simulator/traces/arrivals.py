"""When work came: how much in an hour, in which hours of the day, and how much at once."""

from collections import Counter
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_HOURS: Final = 24
_COVERED_SHARE: Final = 0.99
_LEAST_DAYS: Final = 2.0
_LEAST_AN_HOUR: Final = 10
"""Fewer arrivals than this for each hour of the day tell more of chance than of the day."""
_MAX_SIZES: Final = 20


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the past."""

    start_s: float
    end_s: float

    @property
    def span_s(self) -> float:
        """How long it is, in seconds."""
        return self.end_s - self.start_s

    def holds(self, at_s: Floats) -> NDArray[np.bool_]:
        """Tell which instants lie in it."""
        inside: NDArray[np.bool_] = (at_s >= self.start_s) & (at_s <= self.end_s)
        return inside


def busy_window(at_s: Floats) -> Window:
    """Find the shortest time in which almost all arrived: traces may begin with next to nothing.

    Args:
        at_s: Shape ``(n,)``, n at least 1, in any order.
    """
    ordered = np.sort(at_s)
    n_in = int(np.ceil(_COVERED_SHARE * len(ordered)))
    spans = ordered[n_in - 1 :] - ordered[: len(ordered) - n_in + 1]
    first = int(np.argmin(spans))
    return Window(float(ordered[first]), float(ordered[first + n_in - 1]))


def hours_of_day(at_s: Floats, *, window: Window) -> tuple[float, ...] | None:
    """Say how many arrive in each hour of the day, their mean being 1.

    Args:
        at_s: Arrivals within the window.
        window: When was looked.

    Returns:
        24 numbers; ``None`` if there is too little to tell.
    """
    if window.span_s < _LEAST_DAYS * _DAY_S or len(at_s) < _LEAST_AN_HOUR * _HOURS:
        return None
    hour = (at_s % _DAY_S // _HOUR_S).astype(np.intp)
    counts = np.bincount(hour, minlength=_HOURS)
    rates = counts / _exposure_s(window)
    return tuple(round(float(rate), 3) for rate in rates / rates.mean())


def _exposure_s(window: Window) -> Floats:
    """Say how long each hour of the day was looked at."""
    edges = np.arange(window.start_s // _HOUR_S, window.end_s // _HOUR_S + 2) * _HOUR_S
    within = np.clip(edges, window.start_s, window.end_s)
    hour = (edges[:-1] % _DAY_S // _HOUR_S).astype(np.intp)
    return np.bincount(hour, weights=np.diff(within), minlength=_HOURS).astype(np.float64)


def burst_sizes(at_s: Floats) -> tuple[tuple[int, int], ...]:
    """Count how many come at one second: sizes of bursts, and how often each was seen.

    Of very many sizes, the most frequent are told, and the largest.
    """
    _, sizes = np.unique(np.floor(at_s), return_counts=True)
    counts = Counter(sizes.tolist())
    if len(counts) <= _MAX_SIZES:
        return tuple(sorted(counts.items()))
    kept = dict(counts.most_common(_MAX_SIZES - 1))
    # What all others hold together comes in bursts as large as the largest: the rate stays.
    rest = [(size, n) for size, n in counts.items() if size not in kept]
    largest = max(size for size, _ in rest)
    kept[largest] = max(1, round(sum(size * n for size, n in rest) / largest))
    return tuple(sorted(kept.items()))
