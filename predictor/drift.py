"""Noticing that the world has changed: the served model's errors grow beyond chance.

ADWIN watches the squared errors of the predictions that were reported on. A change that it finds is
dated to where the sum of the errors bends most, for what came before no longer teaches.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from river.drift import ADWIN

from kube.edge.logs import facts
from predictor.contract import DriftReport
from predictor.history import LearningHistory
from predictor.metrics import Metrics

log = logging.getLogger(__name__)

MAX_ERRORS: Final = 2_000
"""How many of the newest errors a change is looked for in, and how many are replayed at a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPrediction:
    """What the model had said of a placement, and what came of it."""

    p_success: float
    success: bool
    made_at_s: float
    """When the prediction was made; Unix seconds of the cluster's clock."""

    @property
    def squared_error(self) -> float:
        """0 (right and sure) to 1 (wrong and sure)."""
        return (self.p_success - self.success) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The errors have grown."""

    since_s: float
    """When the first prediction was made that belongs to the changed world."""
    error_before: float
    error_after: float
    """Mean squared errors."""


class ChangeDetector:
    """Tells when squared errors have grown; a fall is no reason to worry.

    Args:
        delta: ADWIN's confidence: the smaller, the fewer false alarms, and the later true ones.
    """

    def __init__(self, *, delta: float) -> None:
        self._delta = delta
        self.reset()

    def reset(self) -> None:
        """Forget all errors, as those of another model."""
        self._adwin = ADWIN(delta=self._delta, clock=1)
        self._seen: deque[JudgedPrediction] = deque(maxlen=MAX_ERRORS)

    def update(self, judged: JudgedPrediction) -> Change | None:
        """Take in the next error; tell whether errors have grown."""
        self._seen.append(judged)
        self._adwin.update(judged.squared_error)
        if not self._adwin.drift_detected:
            return None
        change = _locate(list(self._seen))
        self.reset()
        return change if change.error_after > change.error_before else None


def _locate(seen: list[JudgedPrediction]) -> Change:
    """Find where the mean changed: the likeliest single step (CUSUM).

    Args:
        seen: At least two, in order.
    """
    errors = np.array([judged.squared_error for judged in seen])
    n_before = np.arange(1, len(errors))
    bend = np.cumsum(errors)[:-1] - n_before * errors.mean()
    at = 1 + int(np.argmax(np.abs(bend) / np.sqrt(n_before * (len(errors) - n_before))))
    return Change(
        since_s=seen[at].made_at_s,
        error_before=float(errors[:at].mean()),
        error_after=float(errors[at:].mean()),
    )


class DriftWatch:
    """Watches the errors of the model in service; safe to use from many threads.

    Args:
        history: Where drifts are kept, and what was reported before this start.
        metrics: Told about drifts.
        model_version: Tells which model is in service; 0 if none.
        delta: As for ``ChangeDetector``.
        past: Judged predictions of the model in service from before this start, oldest first.
    """

    def __init__(
        self,
        history: LearningHistory,
        *,
        metrics: Metrics,
        model_version: Callable[[], int],
        delta: float,
        past: list[JudgedPrediction],
    ) -> None:
        self._history = history
        self._metrics = metrics
        self._model_version = model_version
        self._lock = threading.Lock()
        self._detector = ChangeDetector(delta=delta)
        self._watched = model_version()
        for judged in past:
            self._detector.update(judged)  # what it finds in them is known already
        self._since_s = history.last_drift_since_s()
        self._is_pending = False

    @property
    def since_s(self) -> float | None:
        """When the world last changed, as far as is known; Unix seconds."""
        return self._since_s

    @property
    def is_pending(self) -> bool:
        """Whether nothing was learnt since the last change."""
        return self._is_pending

    def settle(self) -> None:
        """Take note that learning has begun."""
        self._is_pending = False

    def observe(self, judged: JudgedPrediction, *, now_s: float) -> None:
        """Take in how a prediction of the model came out, at the cluster's time *now_s*."""
        with self._lock:
            version = self._model_version()
            if version != self._watched:
                self._watched = version
                self._detector.reset()
            change = self._detector.update(judged)
            if change is None or not version:
                return
            self._since_s = change.since_s
            self._is_pending = True
        self._history.add_drift(
            DriftReport(
                at_s=now_s,
                since_s=change.since_s,
                model_version=version,
                brier_before=change.error_before,
                brier_after=change.error_after,
            )
        )
        self._metrics.drifts.inc()
        log.warning(
            "drift detected",
            extra=facts(
                model_version=version,
                since_s=change.since_s,
                brier_before=round(change.error_before, 4),
                brier_after=round(change.error_after, 4),
            ),
        )
