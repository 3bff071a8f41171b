"""Noticing that the world has changed: the served model's errors grow beyond chance.

ADWIN watches the squared errors of the predictions that were reported on. A change that it finds is
dated to where the sum of the errors bends most, for what came before no longer teaches.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
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


Judged = Callable[[int], dict[int, JudgedPrediction]]
"""Gives what was reported after a report, by number, oldest first."""


class DriftWatch:
    """Watches the errors of the model in service; safe to use from many threads.

    It reads the reports that all replicas took in, so that each watches the whole.

    Args:
        history: Where drifts are kept, and what was reported before this start.
        metrics: Told about drifts.
        model_version: Tells which model is in service; 0 if none.
        delta: As for ``ChangeDetector``.
        judged_after: Where reports are read.
        since_report: The newest report that the model in service learnt from.
    """

    def __init__(
        self,
        history: LearningHistory,
        *,
        metrics: Metrics,
        model_version: Callable[[], int],
        delta: float,
        judged_after: Judged,
        since_report: int,
    ) -> None:
        self._history = history
        self._metrics = metrics
        self._model_version = model_version
        self._judged_after = judged_after
        self._lock = threading.Lock()
        self._detector = ChangeDetector(delta=delta)
        self._watched = model_version()
        self._last_report = since_report
        for judged in self._new_reports():
            self._detector.update(judged)  # what it finds in them is known already
        self._since_s: float | None = None
        self._is_pending = False
        self._last_event = 0
        for number, drift in history.drifts().items():
            self._last_event, self._since_s = number, drift.since_s

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

    def settle_until(self, event: int) -> None:
        """Take note that another replica has learnt, if it did so after the last change.

        Args:
            event: The number of its training.
        """
        with self._lock:
            self._take_over()
            if event > self._last_event:
                self._is_pending = False

    def catch_up(self, *, now_s: float) -> None:
        """Take in how predictions of the model came out, at the cluster's time *now_s*."""
        with self._lock:
            version = self._model_version()
            if version != self._watched:
                self._watched = version
                self._detector.reset()
            for judged in self._new_reports():
                change = self._detector.update(judged)
                if change is not None and version and not self._take_over():
                    self._report(change, now_s=now_s, version=version)
            self._take_over()

    def _new_reports(self) -> Iterator[JudgedPrediction]:
        for number, judged in self._judged_after(self._last_report).items():
            self._last_report = number
            yield judged

    def _take_over(self) -> bool:
        """Take over what other replicas found; tell whether they found something."""
        drifts = self._history.drifts(after=self._last_event)
        for number, drift in drifts.items():
            self._last_event = number
            self._since_s = drift.since_s
            self._is_pending = True
        if drifts:
            self._detector.reset()
        return bool(drifts)

    def _report(self, change: Change, *, now_s: float, version: int) -> None:
        self._since_s = change.since_s
        self._is_pending = True
        self._last_event = self._history.add_drift(
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
