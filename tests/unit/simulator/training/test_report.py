"""What a training came to, as its readers see it."""

import sys

import msgspec
import pytest

from scheduler.simulator.experiments.rewards import TERMS, RewardWeights
from scheduler.simulator.training.folder import Episode, Plan
from scheduler.simulator.training.judging import LEARNED, Judged, standings
from scheduler.simulator.training.report import TrainingResults, terminal_report, write_report
from scheduler.simulator.training.settings import PpoSettings

PLAN = Plan(
    algorithm="maskable-ppo",
    scenario="name: tight\n",
    episode_s=7200.0,
    seed=7,
    n_envs=4,
    may_wait=False,
    hyperparameters=PpoSettings(),
)


def judge(policy, *total_rewards):
    return [
        Judged(
            policy=policy,
            seed=seed,
            total_reward=total_reward,
            terms={**dict.fromkeys(TERMS, 0.0), "pending": -total_reward, "nodes_on": 9.0},
            n_steps=10,
            n_placed=9,
        )
        for seed, total_reward in enumerate(total_rewards)
    ]


def make_results(*judged, **changes):
    fields = {
        "scenario": "tight",
        "description": "A tight one.",
        "command": "train …",
        "plan": PLAN,
        "weights": RewardWeights(),
        "n_steps": 12_000,
        "cpu_s": 90.0,
        "ended_early": "",
        "episodes": [Episode(step=100 * i, total_reward=-9.0, n_steps=50) for i in range(30)],
        "judged": list(judged),
        "standings": standings(judged),
    }
    return TrainingResults(**{**fields, **changes})


RESULTS = make_results(
    *judge(LEARNED, -1.0, -2.0, -3.0),
    *judge("kube-default", -11.0, -12.1, -12.9),
    *judge("most-allocated", -1.1, -1.8, -3.1),
    *judge("random", -0.5, -1.4, -2.5),
)


def test_it_says_against_whom_the_policy_is_better():
    text = terminal_report(RESULTS)

    assert "tight: 12,000 steps, seed 7" in text
    assert "In 3 unseen worlds" in text
    assert "learned is clearly better than kube-default" in text
    assert "learned is not told apart from most-allocated" in text
    assert "learned is clearly worse than random" in text
    [row] = [line for line in text.splitlines() if line.startswith("kube-default")]
    assert "10.00 ±" in row


def test_terms_that_cost_nothing_are_left_out():
    text = terminal_report(RESULTS)

    assert "pending, pod-h" in text
    assert "node-h" not in text


def test_one_world_tells_nothing():
    results = make_results(*judge(LEARNED, -1.0), *judge("kube-default", -11.0))

    assert "not told apart by one world from kube-default" in terminal_report(results)


def test_the_report_is_a_folder_of_files(tmp_path):
    write_report(RESULTS, directory=tmp_path)

    report = (tmp_path / "report.md").read_text()
    assert "12,000 steps in 4 environments, seed 7: 30 episodes of 2 h" in report
    assert "learning took 1.5 min of a processor" in report
    for picture in ("learning.png", "rewards.png", "terms.png"):
        assert f"({picture})" in report
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    read = msgspec.json.decode((tmp_path / "results.json").read_bytes(), type=TrainingResults)
    assert read == RESULTS
    assert (tmp_path / "scenario.yaml").read_text() == PLAN.scenario


def test_a_report_may_be_of_what_there_is(tmp_path):
    write_report(RESULTS, directory=tmp_path)
    write_report(
        make_results(ended_early="interrupted after 5 of 9 steps", episodes=[]), directory=tmp_path
    )

    report = (tmp_path / "report.md").read_text()
    assert "> Note: interrupted after 5 of 9 steps." in report
    assert "Is it better?" not in report
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("missing", ["matplotlib", "matplotlib.figure"])
def test_without_matplotlib_there_are_no_plots(tmp_path, monkeypatch, missing):
    monkeypatch.delitem(sys.modules, "scheduler.simulator.training.plots", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)

    write_report(RESULTS, directory=tmp_path)

    assert "plots are left out: matplotlib is not installed" in (tmp_path / "report.md").read_text()
