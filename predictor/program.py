"""The running predictor: its parts put together, its background jobs, its server."""

import logging
import time
from contextlib import ExitStack
from functools import partial
from typing import Self

from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy.exc import SQLAlchemyError

from kube.edge.logs import facts
from kube.edge.serve import Server
from predictor.api import Parts, create_app
from predictor.database import open_database
from predictor.drift import MAX_ERRORS, DriftWatch
from predictor.feedback import FeedbackStore
from predictor.history import LearningHistory
from predictor.learning import LEASE_S, Learner, Results, Sources
from predictor.leases import Lease
from predictor.metrics import Metrics
from predictor.placements import PlacementRows
from predictor.predictions import Predictions
from predictor.registry import Registry
from predictor.reports import Reports
from predictor.settings import PredictorSettings
from predictor.snapshots import Snapshots

log = logging.getLogger(__name__)

_PRUNE_INTERVAL_S = 60


class Program:
    """A predictor that serves from entering to leaving the context.

    Args:
        settings: All of its settings.

    Raises:
        OSError: The address is taken, or the data directory cannot be written.
        SettingsError: The database's URL is unusable.
        StartError: The database does not answer, or a newer program made it.
    """

    def __init__(self, settings: PredictorSettings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        data = settings.data
        weights = settings.scoring.weights
        with ExitStack() as opened:
            self.metrics = Metrics()
            database = open_database(data.database_url)
            opened.callback(database.close)
            self.registry = Registry(
                database,
                directory=data.models_directory,
                keep_versions=settings.model.keep_versions,
            )
            self.store = FeedbackStore(
                database,
                max_queue_bytes=data.max_queue_bytes,
                on_dropped=self.metrics.dropped_predictions.inc,
            )
            opened.callback(self.store.close)
            self.snapshots = Snapshots(settings.collector)
            opened.callback(self.snapshots.close)
            placements = PlacementRows(settings.collector, data=data, weights=weights)
            opened.callback(placements.close)
            self.history = LearningHistory(database)
            self.drift = self._drift_watch()
            self.learner = Learner(
                settings,
                sources=Sources(store=self.store, placements=placements, drift=self.drift),
                results=Results(
                    registry=self.registry,
                    history=self.history,
                    turn=Lease(database, name="training", duration_s=LEASE_S),
                ),
                metrics=self.metrics,
                now_s=self.now_s,
            )
            opened.callback(self.learner.close)
            self.app = create_app(self._parts(), max_body_bytes=settings.server.max_body_bytes)
            self.server = Server(self.app, settings=settings.server)
            self._stack = opened.pop_all()
        self.metrics.watch(
            model_version=self._model_version,
            shown_model=lambda: None if (shown := self.registry.shown) is None else shown.about,
            snapshot_age_s=lambda: self.snapshots.age_s,
        )

    def __enter__(self) -> Self:
        """Start to serve, to read and to learn."""
        self.snapshots.refresh()
        jobs = self._jobs()
        jobs.start()
        self._stack.callback(jobs.shutdown)
        self._stack.enter_context(self.server)
        log.info("predictor serves", extra=facts(url=self.server.url))
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and write what is pending."""
        self._stack.close()

    def now_s(self) -> float:
        """Tell the cluster's time, Unix seconds: that of the newest snapshot, if there is one."""
        view = self.snapshots.newest()
        return time.time() if view is None else view.snapshot.at_s

    def _model_version(self) -> int:
        model = self.registry.model
        return 0 if model is None else model.version

    def _drift_watch(self) -> DriftWatch:
        record = self.registry.record
        return DriftWatch(
            self.history,
            metrics=self.metrics,
            model_version=self._model_version,
            delta=self._settings.online_learning.drift_delta,
            judged_after=partial(self.store.judged_after, limit=MAX_ERRORS),
            since_report=self.store.last_report_id() if record is None else record.last_feedback_id,
        )

    def _not_ready(self) -> str:
        age_s = self.snapshots.age_s
        if age_s is None:
            return "the collector has not answered yet"
        if age_s > self._settings.collector.max_snapshot_age:
            return f"the collector has not answered for {age_s:.0f} s"
        return ""

    def _refresh_models(self) -> None:
        try:
            is_changed = self.registry.refresh()
        except SQLAlchemyError as error:
            log.warning(
                "models not read, going on with what is known", extra=facts(error=str(error))
            )
            return
        if is_changed:
            log.info(
                "models of other replicas taken over", extra=facts(active=self._model_version())
            )

    def _prune(self) -> None:
        data, now_s = self._settings.data, self.now_s()
        try:
            self.store.prune(
                predictions_since_s=now_s - data.prediction_retention,
                max_predictions=data.max_predictions,
                max_prediction_bytes=data.max_prediction_bytes,
            )
            self.store.prune_reports(since_s=now_s - data.cache_duration, max_reports=data.max_rows)
        except SQLAlchemyError as error:
            log.warning("nothing old was dropped", extra=facts(error=str(error)))

    def _jobs(self) -> BackgroundScheduler:
        # A job that is late is due once, not as often as it was missed.
        jobs = BackgroundScheduler(
            timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": None}
        )
        collector, learning = self._settings.collector, self._settings.online_learning
        for job, interval_s in (
            (self.snapshots.refresh, float(collector.refresh_interval)),
            (self._refresh_models, float(learning.poll_interval)),
            (self.learner.poll, float(learning.poll_interval)),
            (self._prune, float(_PRUNE_INTERVAL_S)),
        ):
            jobs.add_job(job, "interval", seconds=interval_s)
        return jobs

    def _parts(self) -> Parts:
        return Parts(
            predictions=Predictions(
                snapshots=self.snapshots,
                registry=self.registry,
                store=self.store,
                weights=self._settings.scoring.weights,
                metrics=self.metrics,
            ),
            reports=Reports(
                store=self.store,
                learner=self.learner,
                drift=self.drift,
                metrics=self.metrics,
                snapshots=self.snapshots,
                now_s=self.now_s,
            ),
            learner=self.learner,
            registry=self.registry,
            store=self.store,
            history=self.history,
            snapshots=self.snapshots,
            metrics=self.metrics,
            not_ready=self._not_ready,
        )
