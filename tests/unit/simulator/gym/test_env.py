"""The environment that one agent lives in: Gymnasium's contract, and what a step means."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from kube.edge.settings import Interval
from scheduler.errors import ConfigError
from scheduler.plugins.learned.observation import NODE_FEATURES, POD_FEATURES
from scheduler.simulator.experiments.rewards import TERMS, RewardWeights
from scheduler.simulator.experiments.scenario import Observation, Recording
from scheduler.simulator.gym.agents import FirstFit, rollout
from scheduler.simulator.gym.env import ClusterEnv
from scheduler.simulator.hardware import NodeNature, Numa
from scheduler.simulator.natures import Nature
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_group,
    make_job,
    make_scenario,
    make_service,
)

ID = "scheduler.simulator.gym:ClusterEnv-v0"
NODES_ADVICE = "Your observation nodes has an unconventional shape"
"""Stable-Baselines3's: to use a policy that is made for it, as ours is."""


def busy(**fields):
    defaults = {"services": (make_service(),), "jobs": (make_job(per_hour=240.0, burst=2.0),)}
    return make_scenario(**{**defaults, **fields})


def live(env, *, seed, n_steps, choose=lambda mask: int(np.argmax(mask))):
    """What an agent sees in its first steps."""
    observation, info = env.reset(seed=seed)
    seen = [(observation, 0.0, info)]
    for _ in range(n_steps):
        observation, reward, _, is_over, info = env.step(choose(info["action_mask"]))
        seen.append((observation, reward, info))
        if is_over:
            break
    return seen


def assert_same(first, second):
    assert len(first) == len(second)
    for (observed, reward, info), (other_observed, other_reward, other) in zip(
        first, second, strict=True
    ):
        for key in observed:
            np.testing.assert_array_equal(observed[key], other_observed[key])
        assert reward == other_reward
        assert info.keys() == other.keys()
        np.testing.assert_array_equal(info["action_mask"], other["action_mask"])
        assert info.get("pod") == other.get("pod")
        assert info["now_s"] == other["now_s"]


def test_it_keeps_gymnasiums_contract():
    check_env(gymnasium.make(ID, scenario=busy(), episode="10m").unwrapped)


def test_it_keeps_stable_baselines_contract():
    checker = pytest.importorskip(
        "stable_baselines3.common.env_checker", reason="scripts/setup.sh rl installs it"
    )

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=NODES_ADVICE)
        checker.check_env(ClusterEnv(busy(), episode=600.0))


def test_it_is_found_by_its_name():
    env = gymnasium.make(ID, scenario=busy(), episode=600.0)

    assert isinstance(env.unwrapped, ClusterEnv)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_several_run_side_by_side(mode):
    envs = gymnasium.make_vec(
        ID, num_envs=2, vectorization_mode=mode, scenario=busy(), episode=600.0
    )
    try:
        observation, info = envs.reset(seed=[1, 2])
        assert observation["nodes"].shape == (2, 3, len(NODE_FEATURES))
        actions = np.array([np.argmax(mask) for mask in info["action_mask"]])
        _, rewards, _, _, info = envs.step(actions)
        assert rewards.shape == (2,)
        assert info["action_mask"].shape == (2, 4)
    finally:
        envs.close()


def test_the_same_seed_gives_the_same_life_and_another_does_not():
    env = ClusterEnv(busy())
    first = live(env, seed=7, n_steps=60)

    assert_same(first, live(env, seed=7, n_steps=60))
    assert_same(first, live(ClusterEnv(busy()), seed=7, n_steps=60))
    other = live(env, seed=8, n_steps=60)
    assert [info["now_s"] for _, _, info in first] != [info["now_s"] for _, _, info in other]


def test_without_a_seed_every_episode_has_a_world_of_its_own():
    env = ClusterEnv(busy())
    env.reset(seed=7)
    times = []
    for _ in range(2):
        env.reset()
        times.append([env.step(0)[4]["now_s"] for _ in range(30)])

    assert times[0] != times[1]


def test_what_is_hidden_shows_only_by_what_happens():
    """Until usage is measured for the first time, nothing has happened that anybody could see."""
    tame = Nature(cpu_ratio=0.1, memory_ratio=0.1, crash_per_hour=0.0, startup_s=1.0)
    wild = Nature(cpu_ratio=0.9, memory_ratio=0.9, crash_per_hour=0.0, startup_s=9.0)
    bad = NodeNature(speed=0.5, system_cpu_milli=900.0, fail_per_hour=0.1)
    seen = []
    for nature, nodes, run_s in ((tame, NodeNature(), 900.0), (wild, bad, 1800.0)):
        scenario = make_scenario(
            make_group(nature=nodes),
            services=(make_service(nature=nature),),
            jobs=(make_job(per_hour=1200.0, nature=nature, run_s=run_s),),
        )
        steps = live(ClusterEnv(scenario), seed=1, n_steps=40)
        seen.append([step for step in steps if step[2]["now_s"] < steps[0][2]["now_s"] + 60.0])

    assert len(seen[0]) > 10
    for tame_step, wild_step in zip(*seen, strict=True):
        assert_same([(tame_step[0], 0.0, tame_step[2])], [(wild_step[0], 0.0, wild_step[2])])


def test_info_tells_what_it_promises_and_no_more():
    env = ClusterEnv(busy())
    _, first = env.reset(seed=1)
    info = env.step(0)[4]

    assert first.keys() - info.keys() == {"node_names"}
    assert info.keys() == {"action_mask", "is_valid", "now_s", "reward_terms", "pod"}
    assert first["node_names"].tolist() == ["n1", "n2", "n3"]
    assert info["reward_terms"].keys() == set(TERMS)


def test_usage_is_unknown_until_it_was_measured_and_then_lags():
    scenario = busy(observation=Observation(collection_interval=Interval(120.0)))
    column = NODE_FEATURES.index("is_usage_known")
    steps = live(ClusterEnv(scenario), seed=1, n_steps=60)
    from_s = steps[0][2]["now_s"]
    known = {
        info["now_s"] - from_s > 120.0: bool(seen["nodes"][:, column].all())
        for seen, _, info in steps
    }

    assert known == {False: False, True: True}


def test_the_mask_allows_nodes_with_room_and_always_skipping():
    env = ClusterEnv(
        make_scenario(
            make_group(count=2, cpu="1"),
            services=(make_service(kinds=1, replicas=9.0, cpu_request_milli=400.0),),
        )
    )
    steps = live(env, seed=1, n_steps=4)

    assert [step[2]["action_mask"].tolist() for step in steps] == [
        [True, True, True],
        [True, True, True],
        [False, True, True],
        [False, True, True],
        [False, False, True],
    ]
    np.testing.assert_array_equal(env.action_masks(), [False, False, True])


def test_who_has_no_node_to_go_to_is_not_offered_and_the_episode_ends_with_it():
    scenario = make_scenario(
        make_group(count=1, cpu="1"),
        services=(make_service(kinds=1, replicas=2.0, cpu_request_milli=800.0),),
    )
    env = ClusterEnv(scenario, episode="1h")
    _, info = env.reset(seed=1)
    observation, reward, is_terminated, is_truncated, last = env.step(0)

    assert (is_terminated, is_truncated) == (False, True)
    assert last["now_s"] == info["now_s"] + HOUR_S
    assert "pod" not in last
    assert not observation["pod"].any()
    assert last["reward_terms"]["pending"] == pytest.approx(1.0)
    assert reward == pytest.approx(-scenario.reward.cost_of(last["reward_terms"]))


def test_time_stands_still_while_there_are_pods_to_place():
    steps = live(ClusterEnv(make_scenario(services=(make_service(),))), seed=1, n_steps=3)

    assert len({info["now_s"] for _, _, info in steps}) == 1
    assert [reward for _, reward, _ in steps] == [0.0] * 4


def test_a_pod_that_is_skipped_comes_again_once_usage_was_measured():
    scenario = make_scenario(
        services=(make_service(kinds=1, replicas=2.0),),
        observation=Observation(collection_interval=Interval(60.0)),
    )
    env = ClusterEnv(scenario)
    _, info = env.reset(seed=1)
    skip = scenario.n_nodes
    first, from_s = info["pod"], info["now_s"]
    second = env.step(skip)[4]
    assert (second["pod"] != first, second["now_s"]) == (True, from_s)
    observation, _, _, _, again = env.step(0)

    assert again["pod"] == first
    assert 60.0 <= again["now_s"] - from_s <= 70.0
    assert observation["pod"][POD_FEATURES.index("waited")] > 0.1


def test_an_action_that_is_not_allowed_is_a_skip():
    scenario = make_scenario(
        make_group(count=2, cpu="1"),
        services=(make_service(kinds=1, replicas=3.0, cpu_request_milli=800.0),),
    )
    env = ClusterEnv(scenario)
    _, info = env.reset(seed=1)
    assert info["is_valid"]
    info = env.step(0)[4]
    assert info["action_mask"].tolist() == [False, True, True]
    info = env.step(0)[4]

    assert not info["is_valid"]
    assert env.cluster.nodes.n_pods.tolist() == [1.0, 0.0]


def test_higher_priority_goes_first():
    scenario = make_scenario(
        services=(make_service("low", kinds=1), make_service("high", kinds=1, priority=9))
    )
    pods = [info["pod"] for _, _, info in live(ClusterEnv(scenario), seed=1, n_steps=3)]

    assert [pod.split("/")[1].split("-")[0] for pod in pods] == ["high", "high", "low", "low"]


def test_a_pod_that_waits_costs_as_long_as_it_waits():
    scenario = make_scenario(
        jobs=(make_job(per_hour=60.0),), reward=RewardWeights(failures=0.0, throttling=0.0)
    )
    env = ClusterEnv(scenario)
    _, info = env.reset(seed=1)
    came, total, is_over = {}, 0.0, False
    while not is_over:
        if "pod" in info:
            came.setdefault(info["pod"], info["now_s"])
        _, reward, _, is_over, info = env.step(scenario.n_nodes)
        total += reward
    waited_h = sum(info["now_s"] - at_s for at_s in came.values()) / HOUR_S

    assert len(came) > 20
    assert -total == pytest.approx(waited_h)


def test_a_longer_wait_and_fuller_nodes_show():
    env = ClusterEnv(make_scenario(services=(make_service(kinds=1, replicas=2.0),)))
    env.reset(seed=1)
    observation = env.step(1)[0]
    cpu, is_used = NODE_FEATURES.index("cpu_requested_ratio"), NODE_FEATURES.index("is_used")

    assert observation["nodes"][:, is_used].tolist() == [0.0, 1.0, 0.0]
    assert observation["nodes"][1, cpu] == pytest.approx(250 / 3900)


def test_it_draws_itself_as_text():
    env = ClusterEnv(busy(), render_mode="ansi")
    env.reset(seed=1)
    env.step(0)
    text = env.render()

    assert "n1" in text
    assert "offered: web-" in text
    assert ClusterEnv(busy()).render() is None


@pytest.mark.parametrize(
    ("pod_spec", "named"),
    [
        ({"affinity": {"podAntiAffinity": {}}}, "pod_spec.affinity.podAntiAffinity"),
        ({"topologySpreadConstraints": []}, "pod_spec.topologySpreadConstraints"),
        ({"volumes": []}, "pod_spec.volumes"),
        ({"initContainers": []}, "pod_spec.initContainers"),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]},
            "tolerationSeconds",
        ),
    ],
    ids=["pod affinity", "spread", "volumes", "init containers", "limited toleration"],
)
def test_what_it_does_not_keep_it_refuses_by_name(pod_spec, named):
    scenario = make_scenario(services=(make_service(pod_spec=pod_spec),))

    with pytest.raises(ConfigError, match=rf"workload 'web'.*{named}.*use evaluate"):
        ClusterEnv(scenario)


def test_it_does_not_run_recordings():
    with pytest.raises(ConfigError, match="recordings"):
        ClusterEnv(make_scenario(recording=Recording(pods="pods.csv")))


def test_it_reads_no_manifests():
    with pytest.raises(ConfigError, match="manifests"):
        ClusterEnv(make_scenario(manifests=("quotas.yaml",)))


def test_its_kubelets_know_no_zones():
    with pytest.raises(ConfigError, match="NUMA"):
        ClusterEnv(make_scenario(make_group(numa=Numa())))


def test_an_episode_has_a_length():
    with pytest.raises(ValueError, match="more than 0"):
        ClusterEnv(busy(), episode=0.0)


def test_terms_add_up_over_an_episode():
    scenario = busy(reward=RewardWeights(nodes_on=2.0, imbalance=1.0, fragmentation=3.0))
    found = rollout(ClusterEnv(scenario, episode="30m"), FirstFit(), seed=3)

    assert found.total_reward == pytest.approx(-scenario.reward.cost_of(found.terms))
    assert 0.0 < found.terms["nodes_on"] <= 1.5
    assert found.terms["fragmentation"] >= 0.0
    assert found.n_placed == found.n_steps


def test_another_policy_may_fill_the_cluster_first():
    env = ClusterEnv(busy(), episode="10m", warm_up="30m", warm_up_policy="most-allocated")
    observation, info = env.reset(seed=1)
    n_pods = env.cluster.nodes.n_pods.copy()
    known = observation["nodes"][:, NODE_FEATURES.index("is_usage_known")]
    _, cold = ClusterEnv(busy()).reset(seed=1)
    is_over = False
    while not is_over:
        _, _, _, is_over, last = env.step(int(np.argmax(info["action_mask"])))

    assert n_pods.sum() > 4
    assert np.count_nonzero(n_pods) < 3  # most-allocated packs
    assert known.all()
    assert 1800.0 <= info["now_s"] - cold["now_s"] < 1900.0
    assert last["now_s"] == cold["now_s"] + 2400.0
    assert set(info["reward_terms"].values()) == {0.0}


def test_an_unknown_policy_is_told_the_known_ones():
    with pytest.raises(ConfigError, match="kube-default"):
        ClusterEnv(busy(), warm_up="1h", warm_up_policy="nonsense")
