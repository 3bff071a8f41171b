"""What Prometheus is told."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SERVING_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_TRAINING_BUCKETS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)


class Metrics:
    """One registry per program, so that several can live in one test."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.predictions = Counter(
            "predictor_predictions",
            "Pod shapes that were rated",
            ["algorithm"],
            registry=self.registry,
        )
        self.request_duration = Histogram(
            "predictor_request_duration_seconds",
            "Time to answer a request",
            ["endpoint"],
            buckets=_SERVING_BUCKETS_S,
            registry=self.registry,
        )
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
        self._snapshot_age = Gauge(
            "predictor_snapshot_age_seconds",
            "Since the state of the cluster was last read; NaN before the first time",
            registry=self.registry,
        )

    def watch(
        self, *, model_version: Callable[[], int], snapshot_age_s: Callable[[], float | None]
    ) -> None:
        """Read these whenever Prometheus asks."""
        self._model_version.set_function(model_version)
        self._snapshot_age.set_function(
            lambda: float("nan") if (age_s := snapshot_age_s()) is None else age_s
        )
