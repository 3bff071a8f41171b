import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.edge.settings import (
    Duration,
    HttpUrl,
    ServerSettings,
    Settings,
    SettingsError,
    load_settings,
)


class Weights(Settings, frozen=True):
    cpu_weight: float = 30.0


class Example(Settings, frozen=True):
    server: ServerSettings = ServerSettings(port=8080)
    weights: tuple[Weights, ...] = ()
    interval: Duration = Duration(30)
    name: str = "example"
    is_on: bool = False
    url: HttpUrl = "http://127.0.0.1:5000"


def load(tmp_path: Path, text: str, **env: str) -> Example:
    path = tmp_path / "example.yaml"
    path.write_text(text)
    return load_settings(Example, path=path, env=env, prefix="EXAMPLE")


def test_defaults_are_good_for_a_start():
    settings = load_settings(Example, path=None, env={"PATH": "/bin"}, prefix="EXAMPLE")

    assert settings == Example()
    assert settings.server.host == "127.0.0.1"


def test_an_empty_file_changes_nothing(tmp_path):
    assert load(tmp_path, "# nothing yet\n") == Example()


def test_the_file_is_read_and_the_environment_goes_on_top(tmp_path):
    settings = load(
        tmp_path,
        "server: {host: '::1', port: 1}\ninterval: 1h30m\n",
        EXAMPLE__SERVER__PORT="9090",
        EXAMPLE__INTERVAL="45",
        EXAMPLE__IS_ON="true",
        EXAMPLE_PORT="tcp://10.0.0.1:80",
    )

    assert settings.server == ServerSettings(host="::1", port=9090)
    assert settings.interval == 45.0
    assert settings.is_on


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server:\n  prot: 80\n", r"example\.yaml:2: server\.prot: unknown key"),
        ("sever: {}\n", r"example\.yaml:1: sever: unknown key"),
        ("\nserver:\n  port: many\n", r"example\.yaml:3: server\.port: "),
        ("interval: soon\n", r"example\.yaml:1: interval: .*'soon' is not a duration"),
        ("interval: -5\n", r"example\.yaml:1: interval: "),
        ("interval: .nan\n", r"example\.yaml:1: interval: "),
        ("weights:\n- cpu_weight: 1\n- cpu_wait: 2\n", r"example\.yaml:3: weights\.1\.cpu_wait"),
        ("name: {a: 1}\n", r"example\.yaml:1: name: "),
        ("- a\n", "top level must be a mapping"),
        ("a: [\n", "example.yaml"),
        ("name: 2020-99-99\n", "example.yaml"),
        ("1: 2\n", "example.yaml"),
        ("server:\n  port: 1\n  port: 2\n", r"example\.yaml:3: port: this key is given twice"),
        ("server:\n\tport: 1\n", r"example\.yaml:2: .*found character '\\t'"),
        ("server:\n  port: 65536\n", r"example\.yaml:2: server\.port: "),
        ("server:\n  port: true\n", r"example\.yaml:2: server\.port: "),
        ("server:\n  read_timeout: 0s\n", r"example\.yaml:2: server\.read_timeout: must be more"),
        ("url: file:///etc/passwd\n", r"example\.yaml:1: url: "),
        ("url: http://[bad\n", r"example\.yaml:1: url: "),
        ("--- {}\n---\n{}\n", r"example\.yaml:2: .*, but found another document"),
        ("!!python/object/apply:os.abort []\n", r"example\.yaml:1: could not determine"),
        ("[" * 2_000, "example.yaml: "),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(tmp_path, text, says):
    with pytest.raises(SettingsError, match=says) as caught:
        load(tmp_path, text)

    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        load_settings(Example, path=tmp_path / "nowhere.yaml", env={}, prefix="EXAMPLE")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"EXAMPLE__SERVER__PROT": "1"}, r"EXAMPLE__SERVER__PROT: server\.prot: unknown key"),
        ({"EXAMPLE__SERVER__PORT": "x"}, r"EXAMPLE__SERVER__PORT: server\.port: "),
        ({"EXAMPLE__TYPO": "1"}, r"EXAMPLE__TYPO: typo: unknown key"),
        ({"EXAMPLE__A": "1", "EXAMPLE__A__B": "2"}, "EXAMPLE__A__B"),
        ({"EXAMPLE__A__B": "2", "EXAMPLE__A": "1"}, "EXAMPLE__A: "),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, env, says):
    with pytest.raises(SettingsError, match=says):
        load(tmp_path, "", **env)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("30s", 30.0), ("168h", 604_800.0), ("1h30m", 5400.0), ("250ms", 0.25)),
        *(("1d", 86_400.0), ("0", 0.0), ("2.5", 2.5), (7, 7.0), (0.5, 0.5)),
    ],
)
def test_durations(text, seconds):
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "5 s", "-1s", "1x", "1h-5m", "inf", "٣s", True, float("inf")]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        Duration.parse(text)


@given(text=st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text):
    with contextlib.suppress(ValueError):
        assert Duration.parse(text) >= 0


def test_one_key_of_a_group_leaves_the_groups_other_defaults_alone():
    env = {"EXAMPLE__SERVER__HOST": "0.0.0.0"}

    settings = load_settings(Example, path=None, env=env, prefix="EXAMPLE")

    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 8080)
