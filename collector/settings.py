"""What an operator can turn, with the defaults that are tested. See ``config/collector.yaml``."""

from typing import Annotated

import msgspec

from kube.edge.settings import (
    Duration,
    Interval,
    KubernetesSettings,
    ProgramSettings,
    ServerSettings,
    Settings,
)

DEFAULT_PORT = 8080


class MetricsSettings(Settings, frozen=True):
    """What is sampled, and for how long it is kept."""

    collection_interval: Interval = Interval(30)
    """How often ``metrics.k8s.io`` is asked."""
    cache_duration: Duration = Duration(168 * 3600)
    """How long rollups, placements and histories are kept."""
    raw_duration: Duration = Duration(6 * 3600)
    """How long single samples are kept; rollups of five minutes take their place."""


class DatabaseSettings(Settings, frozen=True):
    """Where it is kept."""

    url: str = "sqlite:///data/collector.db"
    """Any SQLAlchemy URL of SQLite or PostgreSQL; the folder of an SQLite file is created."""


class ScoringSettings(Settings, frozen=True):
    """How placements are judged and summed up."""

    observation_window: Interval = Interval(600)
    """How long a pod must stay healthy after it became Ready to count as a success."""
    half_life: Interval = Interval(48 * 3600)
    """After how long an observation counts half in failure rates and usual usage."""
    prior_failure_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    """What to expect of a cluster of which nothing is known."""
    prior_weight: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 5.0
    """How many observations the prior is worth."""
    placement_max_lag: Duration = Duration(30)
    """Placements seen later than this are not recorded: the state they met is gone."""


class CollectorSettings(ProgramSettings, frozen=True):
    """The whole file."""

    server: ServerSettings = ServerSettings(port=DEFAULT_PORT)
    kubernetes: KubernetesSettings = KubernetesSettings()
    metrics: MetricsSettings = MetricsSettings()
    database: DatabaseSettings = DatabaseSettings()
    scoring: ScoringSettings = ScoringSettings()

    def __post_init__(self) -> None:
        """Refuse what each value allows by itself, but which makes no sense.

        Raises:
            ValueError: Names the key.
        """
        if self.metrics.raw_duration < 2 * self.scoring.observation_window:
            raise ValueError(
                "metrics.raw_duration: must be at least twice scoring.observation_window"
            )
        if self.metrics.cache_duration < self.metrics.raw_duration:
            raise ValueError("metrics.cache_duration: must be at least metrics.raw_duration")
