"""What Prometheus is told."""

from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kube.edge.serve import request_durations
from predictor.contract import Algorithm, ModelVersion, TrainingResult

_TRAINING_BUCKETS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """One registry per program, so that several can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.predictions = Counter(
            "predictor_predictions",
            "Pod shapes that were rated",
            ["algorithm"],
            registry=self.registry,
        )
        self.request_duration = request_durations("predictor", registry=self.registry)
        self.feedback = Counter(
            "predictor_feedback",
            "Reports of placements: success, failure or rejected",
            ["result"],
            registry=self.registry,
        )
        self.trainings = Counter(
            "predictor_trainings",
            "Attempts to train, by how they ended",
            ["result"],
            registry=self.registry,
        )
        self.training_duration = Histogram(
            "predictor_training_duration_seconds",
            "Time of a training that gave a model",
            buckets=_TRAINING_BUCKETS_S,
            registry=self.registry,
        )
        self._judged = Summary(
            "predictor_judged_p_success",
            "What the model in service then gave for p(success), of placements with known outcome",
            ["outcome"],
            registry=self.registry,
        )
        self._squared_error = Summary(
            "predictor_squared_error",
            "Squared error of the model's p(success), as outcomes come in; its mean is the Brier"
            " score",
            registry=self.registry,
        )
        self.drifts = Counter(
            "predictor_drifts",
            "Times that the errors of the model in service grew beyond chance",
            registry=self.registry,
        )
        self.dropped_predictions = Counter(
            "predictor_dropped_predictions",
            "Predictions that were answered but not stored, so that feedback cannot join them",
            registry=self.registry,
        )
        self._model_version = Gauge(
            "predictor_model_version", "Model in service; 0 without one", registry=self.registry
        )
        for counter, values in (
            (self.predictions, get_args(Algorithm)),
            (self.feedback, ("success", "failure", "rejected")),
            (self.trainings, get_args(TrainingResult)),
        ):
            for value in values:
                counter.labels(value)  # zero is news, too: without it no rate would show the first
        for outcome in ("success", "failure"):
            self._judged.labels(outcome)
        self._snapshot_age = Gauge(
            "predictor_snapshot_age_seconds",
            "Since the state of the cluster was last read; NaN before the first time",
            registry=self.registry,
        )

    def judge(self, p_success: float, *, success: bool) -> None:
        """Take in how a placement came out that the model in service had rated."""
        self._judged.labels("success" if success else "failure").observe(p_success)
        self._squared_error.observe((p_success - success) ** 2)

    def watch(
        self,
        *,
        model_version: Callable[[], int],
        shown_model: Callable[[], ModelVersion | None],
        snapshot_age_s: Callable[[], float | None],
    ) -> None:
        """Read these whenever Prometheus asks."""
        self._model_version.set_function(model_version)
        self.registry.register(_ModelFigures(shown_model))
        self._snapshot_age.set_function(
            lambda: float("nan") if (age_s := snapshot_age_s()) is None else age_s
        )


class _ModelFigures(Collector):
    """What is known of the model in service or, without one, of the newest candidate."""

    def __init__(self, shown: Callable[[], ModelVersion | None]) -> None:
        self._shown = shown

    def collect(self) -> Iterator[GaugeMetricFamily]:
        about = self._shown()
        if about is None:
            return
        yield GaugeMetricFamily(
            "predictor_model_trained_timestamp_seconds",
            "When it was trained, by the cluster's clock",
            value=about.trained_at_s,
        )
        yield GaugeMetricFamily(
            "predictor_model_rows", "Placements that it learnt from", value=about.n_rows
        )
        yield GaugeMetricFamily(
            "predictor_model_failures", "Those among them that failed", value=about.n_failures
        )
        importances = GaugeMetricFamily(
            "predictor_model_importance_ratio",
            "Share of what it tells apart that is due to a feature",
            labels=["feature"],
        )
        for feature, importance in about.importances.items():
            importances.add_metric([feature], importance)
        yield importances
        yield from _validation(about)


def _validation(about: ModelVersion) -> Iterator[GaugeMetricFamily]:
    found = about.validation
    if found is None:
        return
    quality = GaugeMetricFamily(
        "predictor_model_quality",
        "How well it did on rows that it had not learnt from, beside its baselines",
        labels=["estimator", "measure"],
    )
    for estimator, measured in (
        ("model", found.model),
        ("base_rate", found.base_rate),
        ("enhanced_scoring", found.enhanced_scoring),
    ):
        quality.add_metric([estimator, "brier"], measured.brier)
        error = measured.expected_calibration_error
        quality.add_metric([estimator, "expected_calibration_error"], error)
        if measured.roc_auc is not None:
            quality.add_metric([estimator, "roc_auc"], measured.roc_auc)
    yield quality
    yield GaugeMetricFamily(
        "predictor_model_gain",
        "How much smaller its Brier score is than the base rate's",
        value=found.gain,
    )
    yield GaugeMetricFamily(
        "predictor_model_gain_standard_error",
        "How much of that may be chance",
        value=found.gain_standard_error,
    )
