from pathlib import Path

import pytest

from kube.edge.settings import SettingsError, load_settings
from predictor.__main__ import main
from predictor.settings import PredictorSettings

CONFIG = Path(__file__).parents[3] / "config" / "predictor.yaml"


def load(path=None, **env):
    return load_settings(PredictorSettings, path=path, env=env, prefix="PREDICTOR")


def keys(node, prefix=""):
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if hasattr(value, "__struct_fields__"):
            yield from keys(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_the_shipped_file_holds_every_setting_and_the_defaults():
    text = CONFIG.read_text()

    assert load(CONFIG) == PredictorSettings()
    for key in keys(PredictorSettings()):
        assert f"{key.rpartition('.')[2]}:" in text, key


def test_the_environment_overrides_a_value():
    settings = load(CONFIG, PREDICTOR__MODEL__MAX_DEPTH="4")

    assert settings.model.max_depth == 4


@pytest.fixture
def without_ray(monkeypatch):
    """As on a machine where it is not installed, whether it is here or not."""
    monkeypatch.setattr("predictor.backends.find_spec", lambda name: None)


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("server:\n  prot: 5000\n", ":2: server.prot: unknown key"),
        ("model:\n  type: oracle\n", ":2: model.type"),
        ("scoring:\n  cpu_weight: -1\n", ":2: scoring.cpu_weight"),
        ("data:\n  feature_count: 12\n", ":2: data.feature_count"),
        ("online_learning:\n  update_interval: soon\n", ":2: online_learning.update_interval"),
        (
            "scoring: {cpu_weight: 0, memory_weight: 0, node_ready_weight: 0, taint_weight: 0,"
            " failed_pods_weight: 0, restart_weight: 0}",
            ":1: scoring: at least one weight",
        ),
        ("model:\n  joblib_backend: spark\n", ":2: model.joblib_backend"),
        (
            "model:\n  joblib_backend: ray\n",
            ":1: model: joblib_backend: ray needs the package ray, which is not installed: "
            "pip install 'ai-scheduler[ray]'",
        ),
        (
            "model:\n  cluster_address: tcp://dask:8786\n",
            ":1: model: cluster_address: the joblib_backend loky is no cluster",
        ),
    ],
)
def test_a_wrong_key_or_value_stops_the_program_with_its_line(tmp_path, capsys, text, names):
    path = tmp_path / "predictor.yaml"
    path.write_text(text)

    with pytest.raises(SettingsError) as caught:
        load(path)
    code = main(["--config", str(path)], env={})

    assert names in str(caught.value)
    assert code == 2
    assert names in capsys.readouterr().err


def test_an_unusable_database_stops_the_program_naming_the_setting(tmp_path, capsys):
    env = {
        "PREDICTOR__DATA__DATABASE": "mysql://host/name",
        "PREDICTOR__DATA__DIRECTORY": str(tmp_path),
    }

    code = main(["--config", str(CONFIG)], env=env)

    assert code == 2
    assert "data.database: mysql is neither sqlite nor postgresql" in capsys.readouterr().err
