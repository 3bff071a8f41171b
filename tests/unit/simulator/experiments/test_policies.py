"""The policies that are compared, and profile files as policies."""

from pathlib import Path

import pytest

from kube.edge.settings import SettingsError
from scheduler.errors import ConfigError
from scheduler.plugins.defaults import SCHEDULER_NAME
from scheduler.simulator.experiments.policies import BASELINE, NAMES, policy_of
from tests.networks import write_network

UPSTREAM = {
    "TaintToleration": 3,
    "VolumeBinding": 1,
    "NodeAffinity": 2,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesFit": 1,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
"""kube-scheduler's default score plugins and weights."""
PROFILES = Path(__file__).parents[4] / "config" / "profiles"
HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n"
PREDICTING = "    plugins: {multiPoint: {enabled: [{name: NodePrediction, weight: 5}]}}\n"


def profile_of(name):
    return policy_of(name).profiles()[SCHEDULER_NAME]


def weights(name):
    return dict(profile_of(name).weights)


def filters(name):
    return [plugin.name for plugin in profile_of(name).filter]


def write_profile(folder, more="", *, name="mine.yaml", scheduler=SCHEDULER_NAME):
    path = folder / name
    path.write_text(f"{HEAD}  - schedulerName: {scheduler}\n{more}")
    return str(path)


def test_the_baseline_is_kube_scheduler_as_it_ships():
    assert BASELINE == "kube-default"
    assert weights("kube-default") == UPSTREAM
    assert policy_of("kube-default").predictor == "none"


def test_most_allocated_scores_as_kube_default_does_but_prefers_full_nodes():
    fit = {
        name: next(p for p in profile_of(name).score if p.name == "NodeResourcesFit")
        for name in ("kube-default", "most-allocated")
    }

    assert weights("most-allocated") == UPSTREAM
    assert policy_of("most-allocated").predictor == "none"
    assert type(fit["most-allocated"]) is type(fit["kube-default"])
    strategies = [
        policy_of(name).configuration.profiles[0].plugin_config
        for name in ("kube-default", "most-allocated")
    ]
    assert "MostAllocated" in str(strategies[1])
    assert "MostAllocated" not in str(strategies[0])


@pytest.mark.parametrize(("name", "predictor"), [("ai-untrained", "untrained"), ("ai", "learning")])
def test_those_who_ask_a_predictor_weigh_it_beside_upstreams_plugins(name, predictor):
    assert (weights(name)["NodePrediction"], weights(name)["NodeLoad"]) == (6, 6)
    assert {each: weights(name)[each] for each in UPSTREAM} == UPSTREAM
    assert policy_of(name).predictor == predictor


def test_random_scores_nothing_so_that_all_feasible_nodes_tie():
    assert weights("random") == {}
    assert profile_of("random").score == ()
    assert policy_of("random").predictor == "none"


@pytest.mark.parametrize("name", NAMES)
def test_all_of_them_keep_to_the_same_filters(name):
    assert filters(name) == filters(BASELINE)
    assert "NodeResourcesFit" in filters(name)


def test_a_profile_file_is_a_policy_under_its_own_name(tmp_path):
    plain = policy_of(write_profile(tmp_path))
    predicting = policy_of(write_profile(tmp_path, PREDICTING, name="predicting.yaml"))

    assert (plain.name, plain.predictor) == ("mine", "none")
    assert dict(plain.profiles()[SCHEDULER_NAME].weights) == UPSTREAM
    assert (predicting.name, predicting.predictor) == ("predicting", "learning")
    assert predicting.profiles()[SCHEDULER_NAME].weights["NodePrediction"] == 5


def test_each_run_gets_plugins_that_know_nothing_yet():
    policy = policy_of("ai")
    once, again = (policy.profiles()[SCHEDULER_NAME].plugins() for _ in range(2))

    assert once["NodePrediction"] is not again["NodePrediction"]


@pytest.mark.parametrize("name", ["best", "Kube-Default", "config/nowhere.yaml", "."])
def test_what_is_neither_a_name_nor_a_file_is_refused_with_the_names_there_are(name):
    with pytest.raises(ConfigError, match=r"is no policy .*kube-default.*and no profile file"):
        policy_of(name)


def test_a_network_is_a_policy_that_rates_alone_behind_the_same_filters(tmp_path):
    path = write_network(tmp_path / "mine.onnx", weights={})

    policy = policy_of(str(path))

    assert (policy.name, policy.predictor) == ("mine", "none")
    assert weights(str(path)) == {"LearnedPolicy": 1}
    assert filters(str(path)) == filters(BASELINE)


def test_a_file_that_holds_no_network_is_refused(tmp_path):
    (tmp_path / "mine.onnx").write_text("no network")

    with pytest.raises(ConfigError, match=r"LearnedPolicy: path: .*mine\.onnx is no network"):
        policy_of(str(tmp_path / "mine.onnx"))


@pytest.mark.parametrize("name", ["mine.onnx", "mine.yaml"])
def test_a_network_that_is_not_there_is_not_measured(tmp_path, name):
    shipped = (PROFILES / "learned.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(shipped.replace("policy.onnx", f"{tmp_path}/mine.onnx"))

    with pytest.raises(ConfigError, match=r"mine: LearnedPolicy: path: there is no .*mine\.onnx"):
        policy_of(str(tmp_path / name))


def test_a_profile_for_other_pods_is_refused(tmp_path):
    path = write_profile(tmp_path, scheduler="other")

    with pytest.raises(ConfigError, match=r"mine\.yaml: no profile is called 'ai-scheduler'"):
        policy_of(path)


def test_a_profile_with_a_wrong_key_is_refused_with_its_line(tmp_path):
    path = write_profile(tmp_path, "    plugin: {}\n")

    with pytest.raises(SettingsError, match=r"mine\.yaml:5: .*plugin: unknown key"):
        policy_of(path)
