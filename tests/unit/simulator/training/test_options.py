"""What the command can be told, and what it refuses."""

import argparse
import sys

import pytest

from kube.edge.settings import SettingsError
from scheduler.simulator.__main__ import main
from scheduler.simulator.training.options import add_options, hyperparameters_of

NEEDED = ["--scenario=a.yaml", "--steps=10", "--out=out"]


def read(*arguments):
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args([*NEEDED, *arguments])


def test_hyperparameters_come_from_the_file_and_over_it_from_options(tmp_path):
    path = tmp_path / "ppo.yaml"
    path.write_text("gamma: 0.9\nwidth: 32\n")

    found = hyperparameters_of(read(f"--hyperparameters={path}", "--width=16", "--n-steps=8"))

    assert (found.gamma, found.width, found.n_steps) == (0.9, 16, 8)
    assert found.gae_lambda == 0.95


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--gamma=2", r"--gamma: Expected `float` <= 1\.0, not '2'"),
        ("--n-steps=0", r"--n-steps: Expected `int` >= 1, not '0'"),
        ("--learning-rate=fast", r"--learning-rate: Expected `float`.*, not 'fast'"),
    ],
)
def test_a_wrong_hyperparameter_is_refused_by_its_name(option, message):
    with pytest.raises(SettingsError, match=message):
        hyperparameters_of(read(option))


def test_a_misspelt_name_in_the_file_is_refused_with_its_line(tmp_path):
    path = tmp_path / "ppo.yaml"
    path.write_text("gamma: 0.9\nlearning-rate: 0.1\n")

    with pytest.raises(SettingsError, match=r"ppo\.yaml:2: learning-rate: unknown key"):
        hyperparameters_of(read(f"--hyperparameters={path}"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        pytest.param(
            "--algo=magic", "invalid choice: 'magic' (choose from 'maskable-ppo'", id="algorithm"
        ),
        pytest.param("--episode=soon", "'soon' is not a duration", id="no duration"),
        pytest.param("--episode=0s", "--episode: must be more than 0", id="no time"),
        pytest.param("--steps=0", "--steps: must be 1 or more, not '0'", id="no steps"),
    ],
)
def test_wrong_usage_is_refused_by_the_options_name(option, message, capsys):
    with pytest.raises(SystemExit) as ended:
        read(option)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "scheduler.simulator.training.command", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)

    assert main(["train", *NEEDED]) == 2
    assert "train needs torch, which is not installed (the extra `rl`)" in capsys.readouterr().err
