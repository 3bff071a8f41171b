"""The predictor's own rating and learning, without its server, its threads and its database.

It is asked what a scheduler asks (shapes of pods), knows what the collector tells (``Snapshot`` and
``Placement``), and answers in the predictor's contract. The first model is trained when it begins,
further ones at an interval and after a drift, each by the predictor's rules of trust.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from predictor.contract import BatchResponse
from predictor.drift import ChangeDetector, JudgedPrediction
from predictor.evaluation import quality
from predictor.predictions import pod_shape, shape_prediction
from predictor.rating import Model, Rating, rate
from predictor.records import ModelRecord
from predictor.registry import read_model
from predictor.rows import Row, TrainingSet, placement_rows, training_set
from predictor.settings import PredictorSettings
from predictor.snapshots import ClusterView
from predictor.training import Trained, TrainingError, train, training_request
from scheduler.cluster.predictions import read_answer
from scheduler.events import Bind, Predicted, PredictionFailed
from scheduler.model import Shape
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.results import ModelQuality

_KEEP_S: Final = 7 * 86_400.0
_MAX_ANSWERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Answer:
    rating: Rating
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What was said of a placement when it was made."""

    p_success: float
    base_rate: float
    enhanced_ratio: float
    at_s: float


class Forecaster:
    """Rates nodes, and learns if it is meant to.

    Args:
        observer: What it knows of the cluster.
        now_s: When it begins, Unix seconds.
        retrain_every_s: How often it learns anew; ``None`` for one that never does.
    """

    def __init__(
        self,
        observer: Observer,
        *,
        now_s: float,
        retrain_every_s: float | None,
    ) -> None:
        self._observer = observer
        self._settings = PredictorSettings()
        self._weights = self._settings.scoring.weights
        self._retrain_every_s = retrain_every_s
        self._view: ClusterView | None = None
        self._in_service: tuple[Model, ModelRecord] | None = None
        self._rows: dict[str, Row] = {}
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._said: dict[str, _Said] = {}
        self._unjudged: dict[str, _Said] = {}
        self._detector = ChangeDetector(delta=self._settings.online_learning.drift_delta)
        self._drift_since_s: float | None = None
        self._n_versions = self._n_answers = 0
        self.trainings: Counter[str] = Counter()
        """How trainings ended, by result."""
        self.next_training_s = float("inf")
        if retrain_every_s is not None:
            self.learn(now_s=now_s)

    # --- answering

    def answer(self, shapes: tuple[Shape, ...], *, now_s: float) -> Predicted | PredictionFailed:
        """Rate all nodes for some shapes of pods."""
        view = self._current_view(now_s)
        index = np.flatnonzero(view.nodes.is_ready & view.nodes.is_schedulable)
        if not len(index):
            return PredictionFailed(shapes, "unavailable")
        model = None if self._in_service is None else self._in_service[0]
        ratings = rate(
            [
                pod_shape(
                    shape.workload,
                    cpu_milli=shape.cpu_milli,
                    memory_bytes=shape.memory_bytes,
                    view=view,
                )
                for shape in shapes
            ],
            nodes=view.nodes.take(index),
            cluster=view.snapshot.cluster,
            weights=self._weights,
            model=model,
        )
        response = BatchResponse(
            algorithm="enhanced_scoring" if model is None else "ml_prediction",
            model_version=0 if model is None else model.version,
            snapshot_version=view.snapshot.version,
            snapshot_at_s=view.snapshot.at_s,
            nodes=list(ratings[0].nodes.names),
            predictions=[
                shape_prediction(
                    rating,
                    workload=shape.workload,
                    prediction_id=self._remember(rating, now_s=now_s),
                    view=view,
                )
                for shape, rating in zip(shapes, ratings, strict=True)
            ],
        )
        return Predicted(read_answer(msgspec.json.encode(response), shapes=shapes))

    def note(self, bound: Bind, *, now_s: float) -> None:
        """Take in where a pod was put, so as to learn how right the prediction was."""
        answer = self._answers.get(bound.prediction_id)
        if answer is None or answer.rating.p_success is None or self._in_service is None:
            return
        names = answer.rating.nodes.names
        if bound.node not in names:
            return
        at = names.index(bound.node)
        said = _Said(
            p_success=float(answer.rating.p_success[at]),
            base_rate=self._in_service[1].about.base_rate,
            enhanced_ratio=float(answer.rating.enhanced.score[at]) / 100.0,
            at_s=answer.at_s,
        )
        self._said[bound.pod.uid] = self._unjudged[bound.pod.uid] = said

    # --- learning

    def tend(self, *, now_s: float) -> None:
        """Take in outcomes, and learn if it is time."""
        if self._retrain_every_s is None:
            return
        changed = self._take_outcomes()
        if changed or now_s >= self.next_training_s:
            self.learn(now_s=now_s)

    def learn(self, *, now_s: float) -> None:
        """Train a model, and put it in service if it is trusted and better."""
        self.next_training_s = now_s + (self._retrain_every_s or float("inf"))
        placements = self._observer.placements.items()
        new = [placement for uid, placement in placements if uid not in self._rows]
        self._rows.update(placement_rows(new, weights=self._weights))
        rows = self._training_set(now_s)
        if rows.n_rows < self._settings.online_learning.min_rows:
            self.trainings["skipped"] += 1
            return
        self._n_versions += 1
        try:
            trained = train(
                training_request(
                    self._settings,
                    rows=rows,
                    trained_at_s=now_s,
                    last_feedback_id=0,
                    in_service=self._in_service,
                    changed_at_s=self._drift_since_s,
                )
            )
        except TrainingError:
            self.trainings["failed"] += 1
            return
        self._take_over(trained)

    def quality(self) -> ModelQuality | None:
        """Tell how right the served predictions were; ``None`` if none was judged."""
        known = [
            (said, placement.outcome.success)
            for uid, said in self._said.items()
            if (placement := self._observer.placements.get(uid)) is not None
            and placement.outcome is not None
        ]
        if not known:
            return None
        y = np.array([success for _, success in known], dtype=np.bool_)
        model = quality(np.array([said.p_success for said, _ in known]), y=y)
        base = quality(np.array([said.base_rate for said, _ in known]), y=y)
        enhanced = quality(np.array([said.enhanced_ratio for said, _ in known]), y=y)
        return ModelQuality(
            n_rows=len(known),
            base_rate=float(y.mean()),
            auc=model.roc_auc,
            brier=model.brier,
            base_rate_brier=base.brier,
            enhanced_auc=enhanced.roc_auc,
            enhanced_brier=enhanced.brier,
        )

    # --- details

    def _current_view(self, now_s: float) -> ClusterView:
        snapshot = self._observer.snapshot(now_s=now_s)
        if self._view is None or self._view.snapshot is not snapshot:
            self._view = ClusterView.of(snapshot)
        return self._view

    def _remember(self, rating: Rating, *, now_s: float) -> str:
        self._n_answers += 1
        number = str(self._n_answers)
        self._answers[number] = _Answer(rating, now_s)
        if len(self._answers) > _MAX_ANSWERS:
            self._answers.popitem(last=False)
        return number

    def _take_outcomes(self) -> bool:
        """Tell the detector of drift what became of placements; tell whether it noticed one."""
        noticed = False
        for uid, said in list(self._unjudged.items()):
            placement = self._observer.placements.get(uid)
            if placement is None or placement.outcome is None:
                continue
            del self._unjudged[uid]
            change = self._detector.update(
                JudgedPrediction(
                    p_success=said.p_success,
                    success=placement.outcome.success,
                    made_at_s=said.at_s,
                )
            )
            if change is not None:
                self._drift_since_s, noticed = change.since_s, True
        return noticed

    def _training_set(self, now_s: float) -> TrainingSet:
        return training_set(
            self._rows,
            feedback=(),
            since_s=now_s - _KEEP_S,
            max_rows=self._settings.data.max_rows,
        ).mature_at(now_s)

    def _take_over(self, trained: Trained) -> None:
        about = replace(trained.record.about, version=self._n_versions)
        if about.is_trusted and not about.why_not_in_service:
            record = replace(trained.record, about=about)
            self._in_service = (read_model(trained.content, record=record), record)
            self._detector.reset()
            self.trainings["activated"] += 1
            return
        self.trainings["not_better" if about.is_trusted else "not_trusted"] += 1
        if trained.why_withdrawn:
            self._in_service = None
