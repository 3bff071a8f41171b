"""Settings: the files in the repository, and what stops the program."""

from pathlib import Path

import pytest

from kube.edge.settings import load_settings
from scheduler.__main__ import main
from scheduler.settings import SchedulerSettings

ROOT = Path(__file__).parents[3]


def test_the_file_in_the_repository_holds_the_defaults():
    path = ROOT / "config" / "scheduler.yaml"

    settings = load_settings(SchedulerSettings, path=path, env={}, prefix="SCHEDULER")

    assert settings.profile_path == "profiles/ai.yaml"
    assert (path.parent / settings.profile_path).exists()
    assert settings == SchedulerSettings(profile_path=settings.profile_path)


def run(tmp_path, text, env=None):
    path = tmp_path / "scheduler.yaml"
    path.write_text(text)
    return main(["--config", str(path)], env=env or {"KUBECONFIG": "/nowhere"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("server:\n  prot: 1", "scheduler.yaml:2: server.prot: unknown key", id="typo"),
        pytest.param("predictor: {timeout: soon}", "predictor.timeout", id="no duration"),
        pytest.param("profile_path: nowhere.yaml", "profile_path: there is no", id="no profile"),
        pytest.param("{}", "/nowhere", id="no such kubeconfig"),
        pytest.param("extender: {profile: nobody}", "extender.profile: 'nobody'", id="profile"),
        pytest.param("usage: {window: 16m}", "usage: window: at most 15m", id="window"),
        pytest.param("usage: {provider: sar}", "usage.provider: Invalid enum", id="provider"),
    ],
)
def test_a_wrong_setting_stops_the_program_and_is_named(tmp_path, capsys, text, message):
    code = run(tmp_path, text)

    assert code == 2
    assert message in capsys.readouterr().err


def test_a_wrong_profile_stops_the_program_with_its_line(tmp_path, capsys):
    head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    (tmp_path / "profile.yaml").write_text(f"{head}profils: []\n")

    code = run(tmp_path, "profile_path: profile.yaml")

    assert code == 2
    assert "profile.yaml:3: profils: unknown key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("enabled", "message"),
    [
        pytest.param("Nope", "profile.yaml: profile 'batch': there is no plugin 'Nope'", id="name"),
        pytest.param("no.such:Plugin", "profile.yaml: plugin 'no.such:Plugin'", id="path"),
    ],
)
def test_a_profile_with_an_unknown_plugin_stops_the_program_before_it_asks_anybody(
    tmp_path, capsys, enabled, message
):
    head = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    profile = f"{{schedulerName: batch, plugins: {{score: {{enabled: [{{name: '{enabled}'}}]}}}}}}"
    (tmp_path / "profile.yaml").write_text(f"{head}profiles: [{profile}]\n")

    code = run(tmp_path, "profile_path: profile.yaml")

    assert code == 2
    assert message in capsys.readouterr().err


def test_the_environment_overrides_the_file(tmp_path):
    path = tmp_path / "scheduler.yaml"
    path.write_text("predictor: {url: http://a:1}")
    env = {"SCHEDULER__PREDICTOR__URL": "http://b:2", "SCHEDULER_PORT": "tcp://10.0.0.1:80"}

    settings = load_settings(SchedulerSettings, path=path, env=env, prefix="SCHEDULER")

    assert settings.predictor.url == "http://b:2"
