"""How long work takes, as quantiles, where some of it was still going on when the recording ended.

Whoever is cut off took at least so long: its weight goes to those that took longer (Kaplan and
Meier's estimate).
"""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Quantiles: TypeAlias = tuple[tuple[float, float], ...]
"""Shares from 0 to 1, and the durations below which so many lie, in seconds."""

FINE_STEP: Final = 0.025
COARSE_STEP: Final = 0.05
"""How far apart the shares are, of many durations and of few."""
MANY: Final = 200
_TAIL: Final = (0.99, 0.995, 0.999)


def quantiles_of(values: Floats, *, is_cut_off: NDArray[np.bool_] | None = None) -> Quantiles:
    """Estimate quantiles.

    Args:
        values: Shape ``(n,)``, n at least 1: what each took.
        is_cut_off: Which of them took longer than that; none if left out.
    """
    cut_off = np.zeros(len(values), dtype=np.bool_) if is_cut_off is None else is_cut_off
    order = np.lexsort((cut_off, values))  # of those that took the same, ends come first
    ordered = values[order]
    weights = _weights(cut_off[order])
    middle = np.cumsum(weights) - weights / 2.0
    shares = _shares(len(values))
    counted = weights > 0
    numbers = np.interp(shares, middle[counted], ordered[counted])
    rounded = [float(f"{number:.4g}") for number in numbers]
    return tuple(zip(shares, np.maximum.accumulate(rounded).tolist(), strict=True))


def mean_of(quantiles: Quantiles) -> float:
    """Reckon the mean of what is drawn by quantiles."""
    shares, numbers = (np.array(column) for column in zip(*quantiles, strict=True))
    return float(np.sum(np.diff(shares) * (numbers[1:] + numbers[:-1]) / 2.0))


def _weights(is_cut_off: NDArray[np.bool_]) -> Floats:
    """Weigh each of some ordered durations; what is cut off at the very end counts as ended."""
    n = len(is_cut_off)
    at_risk = np.arange(n, 0, -1, dtype=np.float64)
    surviving = np.cumprod(np.where(is_cut_off, 1.0, 1.0 - 1.0 / at_risk))
    weights: Floats = np.concatenate([[1.0], surviving[:-1]]) - surviving
    weights[-1] += surviving[-1]
    return weights


def _shares(n: int) -> list[float]:
    step, tail = (FINE_STEP, _TAIL) if n >= MANY else (COARSE_STEP, ())
    return sorted({*(round(i * step, 3) for i in range(round(1 / step) + 1)), *tail})
