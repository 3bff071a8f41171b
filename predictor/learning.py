"""When to learn, and learning: joins rows, has a model trained, and puts it in service."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from kube.edge.logs import facts
from predictor.contract import TrainingReport, TrainingResult
from predictor.drift import DriftWatch
from predictor.feedback import FeedbackStore
from predictor.history import LearningHistory
from predictor.leases import Lease
from predictor.metrics import Metrics
from predictor.placements import CollectorAwayError, PlacementRows
from predictor.records import ModelRecord
from predictor.registry import Registry, UnusableModelError
from predictor.rows import TrainingSet, training_set
from predictor.settings import OnlineLearningSettings, PredictorSettings
from predictor.training import TrainingError, TrainingProcess, TrainingRequest, training_request

log = logging.getLogger(__name__)


LEASE_S: Final = 60.0
"""How long a replica that was killed while it trained keeps the others from training."""
_LEARNT: Final = frozenset({"activated", "not_better", "not_trusted"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What has happened since the last training."""

    n_feedback: int
    latest_outcomes: list[bool]
    since_poor_performance_s: float
    """Since the last training for poor performance; local time."""
    since_trained_s: float
    """By the cluster's clock."""
    n_placements: int
    n_placements_at_training: int
    n_since_drift: int | None
    """Placements known since a drift that nothing was learnt of yet; ``None`` without one."""


def why_train(progress: Progress, *, settings: OnlineLearningSettings) -> str:
    """Say why a new model is due; an empty text if none is."""
    latest = progress.latest_outcomes
    if progress.n_since_drift is not None and progress.n_since_drift >= settings.min_rows:
        return "drift"
    if progress.n_feedback >= settings.feedback_threshold:
        return "feedback"
    if (
        len(latest) >= settings.performance_min_feedback
        and sum(latest) < settings.performance_threshold * len(latest)
        and progress.since_poor_performance_s >= settings.performance_cooldown
    ):
        return "performance"
    grown = max(1, progress.n_placements_at_training) * (1.0 + settings.growth_ratio)
    if progress.n_placements >= max(grown, settings.min_rows):
        return "placements"
    if progress.since_trained_s >= settings.update_interval and progress.n_placements:
        return "interval"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is learnt from."""

    store: FeedbackStore
    """Predictions and reports."""
    placements: PlacementRows
    """The collector's rows."""
    drift: DriftWatch
    """Tells since when they describe the world as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Where goes what was learnt; all replicas share it."""

    registry: Registry
    """Models."""
    history: LearningHistory
    """How trainings ended."""
    turn: Lease
    """Whose turn it is to train."""


class Learner:
    """Trains in the background, one model at a time over all replicas.

    Args:
        settings: All of the predictor's.
        sources: What to learn from.
        results: Where to put what was learnt.
        metrics: Told about trainings.
        now_s: The cluster's time, Unix seconds.
    """

    def __init__(
        self,
        settings: PredictorSettings,
        *,
        sources: Sources,
        results: Results,
        metrics: Metrics,
        now_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = sources.store
        self._placements = sources.placements
        self._drift = sources.drift
        self._registry = results.registry
        self._history = results.history
        self._turn = results.turn
        self._metrics = metrics
        self._now_s = now_s
        self._process = TrainingProcess(
            timeout_s=settings.online_learning.training_timeout, on_waiting=self._keep_turn
        )
        self._training = threading.Lock()
        self._thread: threading.Thread | None = None
        record = self._registry.record
        self._last_feedback_id = 0 if record is None else record.last_feedback_id
        self._n_placements = 0 if record is None else record.about.n_rows
        self._trained_at_s = None if record is None else record.about.trained_at_s
        self._tried_at_s = float("-inf")
        self._poor_at_s = float("-inf")
        self._renew_at_s = float("-inf")
        trainings = self._history.trainings()
        self._last_event = next(reversed(trainings), 0)
        self.last_training: TrainingReport | None = trainings.get(self._last_event)

    @property
    def is_training(self) -> bool:
        """Whether a training is under way."""
        return self._training.locked()

    def n_feedback(self) -> int:
        """Count reports since the model in service was trained."""
        record = self._registry.record
        return self._store.n_reports_after(0 if record is None else record.last_feedback_id)

    def poll(self) -> None:
        """Read new placements and reports, and train if that makes a model due."""
        if self.is_training:
            return
        try:
            self._placements.refresh()
        except CollectorAwayError as error:
            log.warning("placements not read", extra=facts(error=str(error)))
        try:
            self._drift.catch_up(now_s=self._now_s())
            self.train_if_due()
        except SQLAlchemyError as error:
            log.warning("cannot tell whether a model is due", extra=facts(error=str(error)))

    def train_if_due(self) -> bool:
        """Start a training if one is due; tell whether one was started."""
        self._notice_others()
        if time.monotonic() - self._tried_at_s < self._settings.online_learning.min_interval:
            return False
        reason = why_train(self._progress(), settings=self._settings.online_learning)
        return bool(reason) and self.train(reason)

    def train(self, trigger: str) -> bool:
        """Start a training, unless one is under way, be it on another replica.

        Returns:
            Whether it was started.
        """
        if not self._training.acquire(blocking=False):
            return False
        is_our_turn = False
        try:
            is_our_turn = self._turn.acquire()
        finally:
            if not is_our_turn:
                self._training.release()
        if not is_our_turn:
            return False
        self._tried_at_s = time.monotonic()
        self._renew_at_s = self._tried_at_s + LEASE_S / 3
        self._drift.settle()
        if trigger == "performance":
            self._poor_at_s = self._tried_at_s
        self._thread = threading.Thread(target=self._run, args=(trigger,), name="learning")
        self._thread.start()
        return True

    def close(self) -> None:
        """End the training under way."""
        self._process.stop()
        if self._thread is not None:
            self._thread.join()

    def _notice_others(self) -> None:
        """Count what another replica has learnt as learnt."""
        if self.is_training:
            return  # no other is
        for event, report in self._history.trainings(after=self._last_event).items():
            self._last_event = event
            self.last_training = report
            if report.result not in _LEARNT:
                continue
            self._tried_at_s = time.monotonic()
            if report.trigger == "performance":
                self._poor_at_s = self._tried_at_s
            self._registry.refresh()
            learnt_from = [record.last_feedback_id for record in self._registry.versions()]
            self._last_feedback_id = max([self._last_feedback_id, *learnt_from])
            self._n_placements = len(self._placements)
            self._trained_at_s = report.at_s
            self._drift.settle_until(event)

    def _keep_turn(self) -> None:
        """Go on claiming that it is our turn.

        Raises:
            TrainingError: It no longer is.
        """
        if time.monotonic() < self._renew_at_s:
            return
        self._renew_at_s = time.monotonic() + LEASE_S / 3
        try:
            is_our_turn = self._turn.acquire()
        except SQLAlchemyError as error:
            log.warning("turn to train not renewed", extra=facts(error=str(error)))
            return
        if not is_our_turn:
            raise TrainingError("another replica has begun a training meanwhile")

    def _progress(self) -> Progress:
        learning = self._settings.online_learning
        trained_at_s = self._trained_at_s
        if trained_at_s is None:
            trained_at_s = self._trained_at_s = self._now_s()
        return Progress(
            n_feedback=self._store.n_reports_after(self._last_feedback_id),
            latest_outcomes=self._store.latest_outcomes(learning.performance_window),
            since_poor_performance_s=time.monotonic() - self._poor_at_s,
            since_trained_s=self._now_s() - trained_at_s,
            n_placements=len(self._placements),
            n_placements_at_training=self._n_placements,
            n_since_drift=self._n_since_drift(),
        )

    def _n_since_drift(self) -> int | None:
        since_s = self._drift.since_s
        if since_s is None or not self._drift.is_pending:
            return None
        # Mostly the same pods, so that the sum would count them twice.
        return max(
            self._store.n_reports_made_since(since_s), self._placements.n_made_since(since_s)
        )

    def _run(self, trigger: str) -> None:
        started_s = time.monotonic()
        now_s = self._now_s()
        try:
            result, detail = self._learn(now_s=now_s)
        except (TrainingError, UnusableModelError, OSError, SQLAlchemyError) as error:
            result, detail = "failed", str(error)
        took_s = time.monotonic() - started_s
        report = TrainingReport(at_s=now_s, trigger=trigger, result=result, detail=detail)
        self.last_training = report
        try:
            # First the note, so that whoever's turn it is next knows of this training.
            self._last_event = self._history.add_training(report)
            self._turn.release()
        except SQLAlchemyError as error:
            log.warning("training not noted", extra=facts(error=str(error)))
        finally:
            self._training.release()
        self._metrics.trainings.labels(result).inc()
        if result in _LEARNT:
            self._metrics.training_duration.observe(took_s)
        log.log(
            logging.ERROR if result == "failed" else logging.INFO,
            "training ended",
            extra=facts(trigger=trigger, result=result, detail=detail, took_s=round(took_s, 2)),
        )

    def _learn(self, *, now_s: float) -> tuple[TrainingResult, str]:
        try:
            self._placements.refresh()
        except CollectorAwayError as error:
            log.warning("learning from known placements only", extra=facts(error=str(error)))
        last_feedback_id = self._store.last_report_id()
        rows = self._rows(now_s)
        self._last_feedback_id = last_feedback_id
        self._n_placements = len(self._placements)
        self._trained_at_s = now_s
        n_needed = self._settings.online_learning.min_rows
        if rows.n_rows < n_needed:
            return "skipped", f"{rows.n_rows} placements are judged, {n_needed} are needed"
        if rows.n_failures in (0, rows.n_rows):
            return "skipped", f"all {rows.n_rows} placements ended alike: nothing to tell apart"
        request = self._request(rows, now_s=now_s, last_feedback_id=last_feedback_id)
        trained = self._process.run(request)
        record = self._registry.add(
            trained.content, record=trained.record, classifier=trained.classifier
        )
        result, detail = _verdict(record)
        if trained.why_withdrawn and request.in_service is not None:
            withdrawn = request.in_service[1].about.version
            self._registry.withdraw(withdrawn, why=trained.why_withdrawn)
            detail += f"; version {withdrawn} is withdrawn: {trained.why_withdrawn}"
        return result, detail

    def _rows(self, now_s: float) -> TrainingSet:
        data = self._settings.data
        return training_set(
            self._placements.rows(),
            feedback=self._store.reports(limit=data.max_rows),
            since_s=now_s - data.cache_duration,
            max_rows=data.max_rows,
        ).mature_at(now_s)

    def _request(
        self, rows: TrainingSet, *, now_s: float, last_feedback_id: int
    ) -> TrainingRequest:
        self._registry.refresh()
        return training_request(
            self._settings,
            rows=rows,
            trained_at_s=now_s,
            last_feedback_id=last_feedback_id,
            in_service=self._registry.in_service(),
            changed_at_s=self._drift.since_s,
        )


def _verdict(record: ModelRecord) -> tuple[TrainingResult, str]:
    about = record.about
    if not about.is_trusted:
        return "not_trusted", f"version {about.version}: {about.why_not_trusted}"
    if about.why_not_in_service:
        return "not_better", f"version {about.version}: {about.why_not_in_service}"
    return "activated", f"version {about.version} learnt from {about.n_rows} placements"
