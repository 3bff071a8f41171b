"""What an operator can turn, with the defaults that are tested. See ``config/collector.yaml``."""

from typing import Annotated, Literal

import msgspec

from kube.edge.settings import Duration, ServerSettings, Settings, SettingsError

DEFAULT_PORT = 8080


class KubernetesSettings(Settings, frozen=True):
    """Which cluster to watch."""

    in_cluster: bool = False
    """Insist on the service account of the pod that the collector runs in."""
    kubeconfig_path: str = ""
    """A kubeconfig; empty: ``KUBECONFIG``, the service account or ``~/.kube/config``."""


class MetricsSettings(Settings, frozen=True):
    """What is sampled, and for how long it is kept."""

    collection_interval: Duration = Duration(30)
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

    observation_window: Duration = Duration(600)
    """How long a pod must stay healthy after it became Ready to count as a success."""
    half_life: Duration = Duration(48 * 3600)
    """After how long an observation counts half in failure rates and usual usage."""
    prior_failure_rate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 0.05
    """What to expect of a cluster of which nothing is known."""
    prior_weight: Annotated[float, msgspec.Meta(gt=0.0)] = 5.0
    """How many observations the prior is worth."""
    placement_max_lag: Duration = Duration(30)
    """Placements seen later than this are not recorded: the state they met is gone."""


class CollectorSettings(Settings, frozen=True):
    """The whole file."""

    server: ServerSettings = ServerSettings(port=DEFAULT_PORT)
    kubernetes: KubernetesSettings = KubernetesSettings()
    metrics: MetricsSettings = MetricsSettings()
    database: DatabaseSettings = DatabaseSettings()
    scoring: ScoringSettings = ScoringSettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least severe events to log."""


def check(settings: CollectorSettings) -> CollectorSettings:
    """Refuse what each value allows by itself, but which makes no sense.

    Raises:
        SettingsError: Names the key.
    """
    metrics, scoring = settings.metrics, settings.scoring
    positive = {
        "metrics.collection_interval": metrics.collection_interval,
        "scoring.observation_window": scoring.observation_window,
        "scoring.half_life": scoring.half_life,
        "server.read_timeout": settings.server.read_timeout,
        "server.write_timeout": settings.server.write_timeout,
    }
    for key, value in positive.items():
        if value <= 0:
            raise SettingsError(f"{key}: must be more than 0")
    if metrics.raw_duration < 2 * scoring.observation_window:
        raise SettingsError(
            "metrics.raw_duration: must be at least twice scoring.observation_window"
        )
    if metrics.cache_duration < metrics.raw_duration:
        raise SettingsError("metrics.cache_duration: must be at least metrics.raw_duration")
    return settings
