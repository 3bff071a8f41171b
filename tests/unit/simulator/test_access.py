"""Who may talk to the simulated cluster."""

import pytest
import yaml

from kube.edge.settings import SettingsError
from scheduler.simulator.access import choose_token, kubeconfig, write_private


def choose(host="127.0.0.1", *, token_file=None, write_token=None, variable=None):
    return choose_token(
        host=host, token_file=token_file, write_token=write_token, variable=variable
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_on_loopback_nobody_needs_a_token(host):
    assert choose(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "cluster.example"])
def test_elsewhere_a_token_is_required(host):
    with pytest.raises(SettingsError, match="--write-token"):
        choose(host)

    assert choose(host, variable="t") == "t"


def test_a_token_file_wins_over_the_environment(tmp_path):
    (tmp_path / "t").write_text("from-file\n")

    assert choose(token_file=tmp_path / "t", variable="from-env") == "from-file"


@pytest.mark.parametrize("text", ["", " \n", "two tokens"])
def test_a_token_file_without_one_token_is_refused(tmp_path, text):
    (tmp_path / "t").write_text(text)

    with pytest.raises(SettingsError, match="must hold one token"):
        choose(token_file=tmp_path / "t")


def test_a_missing_token_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="nothing-here"):
        choose(token_file=tmp_path / "nothing-here")


def test_a_made_token_is_private_and_survives_a_restart(tmp_path):
    path = tmp_path / "deep" / "token"

    first = choose("0.0.0.0", write_token=path)
    second = choose("0.0.0.0", write_token=path)

    assert first == second
    assert len(first) >= 32
    assert path.read_text().strip() == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_given_token_is_written_where_asked(tmp_path):
    choose(write_token=tmp_path / "t", variable="given")

    assert (tmp_path / "t").read_text() == "given\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="file"):
        write_private(tmp_path / "file" / "below", "x")


@pytest.mark.parametrize(("token", "user"), [(None, {}), ("t", {"token": "t"})])
def test_the_kubeconfig_names_one_cluster(token, user):
    config = yaml.safe_load(kubeconfig(url="http://127.0.0.1:1", token=token))

    assert config["clusters"][0]["cluster"] == {"server": "http://127.0.0.1:1"}
    assert config["users"][0]["user"] == user
    assert config["current-context"] == config["contexts"][0]["name"]
