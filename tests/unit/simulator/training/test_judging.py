"""A network against its rivals, and in the scheduler as in the environment."""

from itertools import chain

import numpy as np
import pytest

from scheduler.plugins.learned.network import load_network
from scheduler.plugins.learned.observation import QUEUE_FEATURES, Observation
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.rewards import TERMS
from scheduler.simulator.gym.agents import ProfileAgent
from scheduler.simulator.gym.env import ClusterEnv
from scheduler.simulator.training.judging import (
    LEARNED,
    RIVALS,
    Judged,
    NetworkAgent,
    judge_network,
    standings,
)
from tests.networks import write_network
from tests.unit.simulator.training.scenarios import write_scenario

N_PENDING = QUEUE_FEATURES.index("n_pending")
WEIGHTS = {
    "cpu_requested_ratio": 2.0,
    "memory_requested_ratio": -1.3,
    "pods_ratio": 0.7,
    "cpu_usage_ratio": -3.1,
    "memory_usage_ratio": 1.9,
    "is_usage_known": 0.3,
    "cpu_size_ratio": -0.4,
    "pod_memory_ratio": 1.1,
}
"""What no two nodes have alike."""


@pytest.fixture
def env(tmp_path):
    return ClusterEnv(write_scenario(tmp_path))


def network_of(tmp_path, weights):
    return load_network(write_network(tmp_path / "policy.onnx", weights=weights))


def play(env, agent, *, seed):
    """Yield each observation with what the agent is told and does."""
    observation, info = env.reset(seed=seed)
    is_over = False
    while not is_over:
        action = agent.act(observation, info)
        yield observation, info, action
        observation, _, _, is_over, info = env.step(np.int64(action))


def test_the_scheduler_decides_as_the_network_does_in_the_environment(tmp_path, env):
    network = network_of(tmp_path, WEIGHTS)
    agent = NetworkAgent(network, may_wait=False)
    scheduler = ProfileAgent(env, policy_of(str(tmp_path / "policy.onnx")))
    n_alike, n_measured = 0, 0

    for observation, info, action in chain.from_iterable(
        play(env, agent, seed=seed) for seed in range(4)
    ):
        waits_alone = observation["queue"][N_PENDING] == np.float32(np.log10(2.0) / 4.0)
        if info["action_mask"][:-1].sum() < 2 or not waits_alone:
            continue  # the scheduler would not be asked, or is not told of the others here
        chosen = scheduler.act(observation, info)
        logits = network.logits(Observation(**observation))
        assert logits[chosen] >= logits[action] - 1e-5, (chosen, action)
        n_alike += 1
        n_measured += bool(observation["nodes"][:, 5].any())

    assert n_alike > 50
    assert n_measured > 25


def test_only_who_may_wait_waits(tmp_path, env):
    network = network_of(tmp_path, {"is_feasible": -1.0})  # to skip is rated zero
    diligent, idle = (NetworkAgent(network, may_wait=may) for may in (False, True))

    for _, info, action in play(env, diligent, seed=1):
        assert action < 4 or not info["action_mask"][:-1].any()
    assert {action for _, _, action in play(env, idle, seed=1)} == {4}


def test_all_live_through_the_same_worlds(tmp_path, env):
    network = network_of(tmp_path, WEIGHTS)
    judged = list(
        judge_network(env, network, may_wait=False, seeds=[5, 6], must_stop=lambda: False)
    )

    assert [(each.policy, each.seed) for each in judged] == [
        (policy, seed) for seed in (5, 6) for policy in (LEARNED, *RIVALS)
    ]
    assert all(set(each.terms) == set(TERMS) for each in judged)
    again = next(judge_network(env, network, may_wait=False, seeds=[5], must_stop=lambda: False))
    assert again == judged[0]


def test_it_stops_between_episodes_when_asked(tmp_path, env):
    asked = iter([False, False, True])
    judged = judge_network(
        env,
        network_of(tmp_path, WEIGHTS),
        may_wait=False,
        seeds=[5],
        must_stop=lambda: next(asked),
    )

    assert [each.policy for each in judged] == [LEARNED, RIVALS[0]]


def test_gains_are_paired_by_world():
    def episode(policy, seed, total_reward):
        return Judged(
            policy=policy,
            seed=seed,
            total_reward=total_reward,
            terms={"pending": -total_reward},
            n_steps=1,
            n_placed=1,
        )

    judged = [
        episode(LEARNED, 0, -1.0),
        episode(LEARNED, 1, -100.0),
        episode("kube-default", 0, -3.0),
        episode("kube-default", 1, -103.0),
        episode("kube-default", 2, -7.0),  # an interrupted seed
    ]

    learned, default = standings(judged)

    assert learned.learned_gains is None
    assert default.learned_gains.n_seeds == 2
    assert default.learned_gains.mean == pytest.approx(2.5)
    assert default.total_reward.n_seeds == 3
    assert default.terms["pending"].mean == pytest.approx(113.0 / 3)
