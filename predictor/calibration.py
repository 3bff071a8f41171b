"""From a forest's share of votes to a probability that means what it says (Platt scaling).

Two parameters only, fitted with a penalty, so that some tens of rows suffice: with little evidence
the curve flattens towards the base rate instead of following noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]

_EDGE = 0.005
"""A share of 0 or 1 has no logit; half of a vote in a hundred is as sure as a forest can be."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """``logit(p) = slope · logit(share) + intercept``; the slope is never negative."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, share: Floats) -> Floats:
        """Calibrate estimates of any shape; keeps their order."""
        p_success: Floats = 1.0 / (1.0 + np.exp(-(self.slope * _logit(share) + self.intercept)))
        return p_success


def fit_calibration(share: Floats, *, y: NDArray[np.bool_]) -> Calibration:
    """Fit on estimates for rows that the forest was not fitted on.

    Args:
        share: Shape ``(n_rows,)``; raw estimates.
        y: Shape ``(n_rows,)``; whether the placement stayed healthy.

    Returns:
        The identity if only one class was seen: there is nothing to learn from.
    """
    if y.all() or not y.any():
        return Calibration()
    fitted = LogisticRegression().fit(_logit(share).reshape(-1, 1), y)
    slope = float(fitted.coef_[0, 0])
    if slope > 0.0:
        return Calibration(slope=slope, intercept=float(fitted.intercept_[0]))
    # Estimates that rank backwards tell nothing: the base rate is all that is known.
    return Calibration(slope=0.0, intercept=float(_logit(y.mean())))


def _logit(share: Floats) -> Floats:
    within = np.clip(share, _EDGE, 1.0 - _EDGE)
    odds: Floats = np.log(within / (1.0 - within))
    return odds
