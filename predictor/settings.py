"""What an operator can turn, with the defaults that we test; ``config/predictor.yaml`` has them."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from kube.edge.settings import (
    Duration,
    HttpUrl,
    Interval,
    ProgramSettings,
    ServerSettings,
    Settings,
)
from predictor.backends import CLUSTERS, Backend, why_not_usable
from predictor.scoring import Weights

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class PredictorServer(ServerSettings, frozen=True):
    """Where the predictor listens, and how much it takes in."""

    max_body_bytes: AtLeastOne = 4 * 2**20
    """Larger requests are refused (413)."""


class CollectorSettings(Settings, frozen=True):
    """Where the state of the cluster comes from."""

    url: HttpUrl = "http://127.0.0.1:8080"
    timeout: Interval = Interval(5)
    """How long one call to the collector may take."""
    refresh_interval: Interval = Interval(2)
    """How often the snapshot is read again."""
    max_snapshot_age: Duration = Duration(120)
    """How long predictions go on with the last snapshot while the collector is away."""


class ScoringSettings(Settings, frozen=True):
    """What each part of the enhanced score is worth."""

    cpu_weight: NotNegative = 30.0
    memory_weight: NotNegative = 30.0
    node_ready_weight: NotNegative = 20.0
    taint_weight: NotNegative = 10.0
    failed_pods_weight: NotNegative = 5.0
    restart_weight: NotNegative = 5.0

    def __post_init__(self) -> None:
        if not self.weights.as_array().any():
            raise ValueError("at least one weight must be positive")

    @property
    def weights(self) -> Weights:
        """The weights as scoring takes them."""
        return Weights(
            cpu=self.cpu_weight,
            memory=self.memory_weight,
            node_ready=self.node_ready_weight,
            taint=self.taint_weight,
            failed_pods=self.failed_pods_weight,
            restart=self.restart_weight,
        )


class ModelSettings(Settings, frozen=True):
    """The model and how it is fitted."""

    type: Literal["random_forest"] = "random_forest"
    max_depth: AtLeastOne = 10
    n_estimators: AtLeastOne = 100
    random_state: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 42
    max_samples: AtLeastOne = 10_000
    """Rows that each tree draws at most; bounds the time of a training."""
    n_jobs: Annotated[int, msgspec.Meta(ge=-1)] = 1
    """How many trees are fitted at once; -1 for one per core."""
    joblib_backend: Backend = "loky"
    """Where they are fitted: on this machine, or on a cluster (``dask``, ``ray``)."""
    cluster_address: str = ""
    """Of the cluster's scheduler; empty: a cluster is started on this machine for each training."""
    keep_versions: AtLeastOne = 5
    """How many models to keep, beside the one in service."""

    def __post_init__(self) -> None:
        lacks = why_not_usable(self.joblib_backend)
        if lacks:
            raise ValueError(f"joblib_backend: {lacks}")
        if self.cluster_address and self.joblib_backend not in CLUSTERS:
            raise ValueError(
                f"cluster_address: the joblib_backend {self.joblib_backend} is no cluster"
            )


class OnlineLearningSettings(Settings, frozen=True):
    """When a new model is trained, and what it must show to be trusted."""

    feedback_threshold: AtLeastOne = 10
    """Train after so many reports since the last training."""
    performance_threshold: Share = 0.8
    """Train when the share of healthy placements among the latest reports falls below this."""
    update_interval: Interval = Interval(24 * 3600)
    """Train at least this often, by the cluster's clock."""
    growth_ratio: NotNegative = 0.2
    """Train when the collector knows this much more placements than the last training did."""
    performance_window: AtLeastOne = 50
    """How many of the latest reports count for ``performance_threshold``."""
    performance_min_feedback: AtLeastOne = 20
    """Fewer reports say nothing about performance."""
    performance_cooldown: Duration = Duration(600)
    """Pause between trainings for poor performance."""
    drift_delta: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.002
    """ADWIN's confidence: the smaller, the fewer false alarms and the later true ones."""
    min_interval: Duration = Duration(30)
    """Pause between any two trainings."""
    poll_interval: Interval = Interval(15)
    """How often new placements are read from the collector."""
    training_timeout: Interval = Interval(600)
    """A training that takes longer is stopped."""
    min_rows: AtLeastOne = 50
    """A model that learnt from fewer placements is not trusted."""
    min_failures: AtLeastOne = 5
    """A model that learnt from fewer failures is not trusted."""
    min_gain_errors: NotNegative = 1.0
    """By how many standard errors its Brier score must beat the base rate's on later rows."""


class DataSettings(Settings, frozen=True):
    """What is kept, where and for how long."""

    directory: str = "data/predictor"
    """The database lives here unless it is elsewhere, and copies of models for scikit-learn."""
    database: str = ""
    """An SQLAlchemy URL of SQLite or PostgreSQL, which several replicas may share; empty: an SQLite
    file in the directory."""
    cache_duration: Interval = Interval(168 * 3600)
    """Older placements and reports are not learnt from, and dropped."""
    feature_count: Annotated[int, msgspec.Meta(ge=13, le=13)] = 13
    """Told here to whoever reads the file; the features are fixed."""
    max_rows: AtLeastOne = 100_000
    """How many of the newest placements to learn from."""
    prediction_retention: Duration = Duration(24 * 3600)
    """How long a prediction waits for feedback, by the cluster's clock."""
    max_predictions: AtLeastOne = 100_000
    """How many predictions wait for feedback; the oldest are dropped first."""
    max_prediction_bytes: AtLeastOne = 512 * 2**20
    """How much room their vectors may take on disk."""
    max_queue_bytes: AtLeastOne = 64 * 2**20
    """How much may wait to be written; predictions beyond it are not stored."""

    @property
    def models_directory(self) -> Path:
        """Where copies of models are written."""
        return Path(self.directory) / "models"

    @property
    def database_url(self) -> str:
        """Where predictions, reports and models are kept."""
        return self.database or f"sqlite:///{Path(self.directory) / 'predictor.db'}"


class PredictorSettings(ProgramSettings, frozen=True):
    """All of it."""

    server: PredictorServer = PredictorServer(port=5000)
    collector: CollectorSettings = CollectorSettings()
    scoring: ScoringSettings = ScoringSettings()
    model: ModelSettings = ModelSettings()
    online_learning: OnlineLearningSettings = OnlineLearningSettings()
    data: DataSettings = DataSettings()
