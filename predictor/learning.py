"""When to learn, and learning: joins rows, has a model trained, and puts it in service."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError

from kube.edge.logs import facts
from predictor.contract import TrainingReport
from predictor.drift import DriftWatch
from predictor.evaluation import TrustRule
from predictor.feedback import FeedbackStore
from predictor.history import LearningHistory
from predictor.metrics import Metrics
from predictor.placements import CollectorAwayError, PlacementRows
from predictor.registry import ModelRecord, Registry, UnusableModelError
from predictor.rows import TrainingSet, training_set
from predictor.settings import OnlineLearningSettings, PredictorSettings
from predictor.training import TrainingError, TrainingProcess, TrainingRequest

log = logging.getLogger(__name__)

Result = Literal["activated", "not_better", "not_trusted", "skipped", "failed"]


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


class Learner:
    """Trains in the background, one model at a time.

    Args:
        settings: All of the predictor's.
        sources: What to learn from.
        registry: Where models go.
        history: Where is kept how trainings ended.
        metrics: Told about trainings.
        now_s: The cluster's time, Unix seconds.
    """

    def __init__(
        self,
        settings: PredictorSettings,
        *,
        sources: Sources,
        registry: Registry,
        history: LearningHistory,
        metrics: Metrics,
        now_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._store = sources.store
        self._placements = sources.placements
        self._drift = sources.drift
        self._registry = registry
        self._history = history
        self._metrics = metrics
        self._now_s = now_s
        self._process = TrainingProcess(timeout_s=settings.online_learning.training_timeout)
        self._training = threading.Lock()
        self._thread: threading.Thread | None = None
        record = registry.record
        self._last_feedback_id = 0 if record is None else record.last_feedback_id
        self._n_placements = 0 if record is None else record.about.n_rows
        self._trained_at_s = None if record is None else record.about.trained_at_s
        self._tried_at_s = float("-inf")
        self._poor_at_s = float("-inf")
        self.last_training: TrainingReport | None = next(reversed(history.trainings()), None)

    @property
    def is_training(self) -> bool:
        """Whether a training is under way."""
        return self._training.locked()

    def n_feedback(self) -> int:
        """Count reports since the model in service was trained."""
        record = self._registry.record
        return self._store.n_reports_after(0 if record is None else record.last_feedback_id)

    def poll(self) -> None:
        """Read new placements, and train if that makes a model due."""
        if self.is_training:
            return
        try:
            self._placements.refresh()
        except CollectorAwayError as error:
            log.warning("placements not read", extra=facts(error=str(error)))
        self.train_if_due()

    def train_if_due(self) -> bool:
        """Start a training if one is due; tell whether one was started."""
        if time.monotonic() - self._tried_at_s < self._settings.online_learning.min_interval:
            return False
        reason = why_train(self._progress(), settings=self._settings.online_learning)
        return bool(reason) and self.train(reason)

    def train(self, trigger: str) -> bool:
        """Start a training, unless one is under way; tell whether it was started."""
        if not self._training.acquire(blocking=False):
            return False
        self._tried_at_s = time.monotonic()
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
        candidate = self._registry.candidate_path()
        try:
            result, detail = self._learn(candidate, now_s=now_s)
        except (TrainingError, UnusableModelError, OSError, SQLAlchemyError) as error:
            result, detail = "failed", str(error)
        finally:
            candidate.unlink(missing_ok=True)
            self._training.release()
        took_s = time.monotonic() - started_s
        report = TrainingReport(at_s=now_s, trigger=trigger, result=result, detail=detail)
        self.last_training = report
        try:
            self._history.add_training(report)
        except SQLAlchemyError as error:
            log.warning("training not noted", extra=facts(error=str(error)))
        self._metrics.trainings.labels(result).inc()
        if result in ("activated", "not_better", "not_trusted"):
            self._metrics.training_duration.observe(took_s)
        log.log(
            logging.ERROR if result == "failed" else logging.INFO,
            "training ended",
            extra=facts(trigger=trigger, result=result, detail=detail, took_s=round(took_s, 2)),
        )

    def _learn(self, candidate: Path, *, now_s: float) -> tuple[Result, str]:
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
        request = self._request(
            rows, path=candidate, now_s=now_s, last_feedback_id=last_feedback_id
        )
        trained = self._process.run(request)
        self._registry.add(candidate, record=trained.record)
        result, detail = _verdict(trained.record)
        if trained.why_withdrawn and request.in_service is not None:
            withdrawn = request.in_service[1].about.version
            self._registry.withdraw(withdrawn, why=trained.why_withdrawn)
            detail += f"; version {withdrawn} is withdrawn: {trained.why_withdrawn}"
        return result, detail

    def _rows(self, now_s: float) -> TrainingSet:
        data, learning = self._settings.data, self._settings.online_learning
        rows = training_set(
            self._placements.rows(),
            feedback=self._store.reports(limit=data.max_rows),
            since_s=now_s - data.cache_duration,
            max_rows=data.max_rows,
        ).mature_at(now_s)
        if self._drift.since_s is None:
            return rows
        fresh = rows.made_since(self._drift.since_s)
        is_enough = (
            fresh.n_rows >= learning.min_rows
            and learning.min_failures <= fresh.n_failures < fresh.n_rows
        )
        return fresh if is_enough else rows

    def _request(
        self, rows: TrainingSet, *, path: Path, now_s: float, last_feedback_id: int
    ) -> TrainingRequest:
        model, learning = self._settings.model, self._settings.online_learning
        in_service = self._registry.in_service()
        return TrainingRequest(
            rows=rows,
            n_estimators=model.n_estimators,
            max_depth=model.max_depth,
            random_state=model.random_state,
            max_samples=model.max_samples,
            n_jobs=model.n_jobs,
            joblib_backend=model.joblib_backend,
            rule=TrustRule(
                min_rows=learning.min_rows,
                min_failures=learning.min_failures,
                min_gain_errors=learning.min_gain_errors,
            ),
            version=self._registry.next_version(),
            trained_at_s=now_s,
            last_feedback_id=last_feedback_id,
            path=str(path),
            in_service=None if in_service is None else (str(in_service[0]), in_service[1]),
        )


def _verdict(record: ModelRecord) -> tuple[Result, str]:
    about = record.about
    if not about.is_trusted:
        return "not_trusted", f"version {about.version}: {about.why_not_trusted}"
    if about.why_not_in_service:
        return "not_better", f"version {about.version}: {about.why_not_in_service}"
    return "activated", f"version {about.version} learnt from {about.n_rows} placements"
