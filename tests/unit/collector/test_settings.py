from pathlib import Path

import msgspec
import pytest
import yaml

from collector.settings import CollectorSettings
from kube.edge.settings import Duration, SettingsError, load_settings

SHIPPED = Path(__file__).parents[3] / "config" / "collector.yaml"


def load(env=None, path=None) -> CollectorSettings:
    return load_settings(CollectorSettings, path=path, env=env or {}, prefix="COLLECTOR")


def test_the_shipped_file_says_what_the_defaults_are():
    assert load(path=SHIPPED) == load()


def test_the_shipped_file_names_every_setting():
    def keys(value, prefix=""):
        if not isinstance(value, dict):
            return {prefix}
        return {key for name in value for key in keys(value[name], f"{prefix}.{name}")}

    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))

    assert keys(shipped) == keys(msgspec.to_builtins(load(), enc_hook=float))


def test_the_defaults_are_those_of_the_design():
    settings = load()

    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.metrics.collection_interval == 30
    assert settings.metrics.cache_duration == 168 * 3600
    assert settings.metrics.raw_duration == 6 * 3600
    assert settings.scoring.observation_window == 600
    assert settings.scoring.half_life == 48 * 3600


def test_the_environment_overrides_single_values():
    settings = load({"COLLECTOR__METRICS__COLLECTION_INTERVAL": "2s", "COLLECTOR_PORT": "tcp://x"})

    assert settings.metrics.collection_interval == Duration(2)
    assert settings.server.port == 8080


@pytest.mark.parametrize(
    ("env", "key"),
    [
        ({"COLLECTOR__METRICS__COLLECTION_INTERVAL": "0s"}, "metrics.collection_interval"),
        ({"COLLECTOR__METRICS__RAW_DURATION": "1m"}, "metrics.raw_duration"),
        ({"COLLECTOR__METRICS__CACHE_DURATION": "1h"}, "metrics.cache_duration"),
        ({"COLLECTOR__SCORING__HALF_LIFE": "0s"}, "scoring.half_life"),
        ({"COLLECTOR__SCORING__PRIOR_WEIGHT": "0"}, "scoring.prior_weight"),
        ({"COLLECTOR__SCORING__PRIOR_FAILURE_RATE": "1.5"}, "scoring.prior_failure_rate"),
        ({"COLLECTOR__SCORING__OBSERVATION_WINDOW": "soon"}, "scoring.observation_window"),
        ({"COLLECTOR__TYPO": "1"}, "typo"),
        ({"COLLECTOR__SERVER__PRT": "1"}, "server.prt"),
    ],
)
def test_nonsense_is_refused_by_name(env, key):
    with pytest.raises(SettingsError) as caught:
        load(env)

    assert key in str(caught.value)
