"""Agents to compare with, and the scheduler's profiles among them."""

import numpy as np
import pytest

from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.gym.agents import (
    FirstFit,
    LeastAllocated,
    ProfileAgent,
    RandomFit,
    rollout,
)
from scheduler.simulator.gym.env import ClusterEnv
from tests.unit.simulator.experiments.worlds import (
    make_group,
    make_job,
    make_scenario,
    make_service,
)


def make_env(*groups, **fields):
    job = make_job(per_hour=240.0, burst=2.0, cpu_request_milli=500.0)
    defaults = {"services": (make_service(),), "jobs": (job,)}
    return ClusterEnv(make_scenario(*groups, **{**defaults, **fields}), episode="30m")


def placements(env, agent, *, seed=1):
    observation, info = env.reset(seed=seed)
    found, is_over = [], False
    while not is_over:
        action = agent.act(observation, info)
        assert info["action_mask"][action]
        found.append(action)
        observation, _, _, is_over, info = env.step(np.int64(action))
    return found


@pytest.mark.parametrize(
    "make_agent",
    [
        lambda env: FirstFit(),
        lambda env: LeastAllocated(),
        lambda env: RandomFit(seed=1),
        lambda env: ProfileAgent(env, policy_of("kube-default")),
    ],
    ids=["first fit", "least allocated", "random", "kube-default"],
)
def test_they_do_what_is_allowed_and_the_same_again(make_agent):
    first, second = make_env(), make_env()

    assert placements(first, make_agent(first)) == placements(second, make_agent(second))


def test_first_fit_fills_one_node_and_least_allocated_all():
    first, least = make_env(), make_env()

    assert set(placements(first, FirstFit())[:4]) == {0}
    assert set(placements(least, LeastAllocated())[:4]) == {0, 1, 2}


def test_a_profile_decides_as_it_is_set_up():
    spread, packed = make_env(), make_env()
    least = placements(spread, ProfileAgent(spread, policy_of("kube-default")))
    most = placements(packed, ProfileAgent(packed, policy_of("most-allocated")))

    assert set(least[:4]) == {0, 1, 2}
    assert len(set(most[:4])) == 1


def test_a_profile_goes_from_episode_to_episode():
    env = make_env()
    agent = ProfileAgent(env, policy_of("kube-default"))
    first = placements(env, agent, seed=1)
    placements(env, agent, seed=2)

    assert placements(env, agent, seed=1) == first


def test_a_profile_whose_predictor_is_not_there_goes_on_without():
    ai, kube = make_env(), make_env()

    assert placements(ai, ProfileAgent(ai, policy_of("ai"))) == placements(
        kube, ProfileAgent(kube, policy_of("kube-default"))
    )


def test_a_profile_skips_a_pod_that_it_would_place_nowhere(tmp_path):
    path = tmp_path / "picky.yaml"
    path.write_text(
        """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: ai-scheduler
    pluginConfig:
      - name: NodeAffinity
        args:
          addedAffinity:
            requiredDuringSchedulingIgnoredDuringExecution:
              nodeSelectorTerms:
                - matchExpressions: [{key: disk, operator: In, values: [ssd]}]
"""
    )
    env = make_env(make_group(count=2))
    env.reset(seed=1)
    agent = ProfileAgent(env, policy_of(str(path)))

    assert set(placements(env, agent)) == {2}
    assert env.cluster.n_pending > 50


def test_a_rollout_counts_steps_placements_and_costs():
    env = make_env(make_group(count=1, cpu="2"))
    found = rollout(env, ProfileAgent(env, policy_of("kube-default")), seed=1)

    assert found.n_steps == found.n_placed > 10
    assert found.terms["pending"] > 0.0
    assert found.total_reward == pytest.approx(-env.scenario.reward.cost_of(found.terms))
    assert rollout(env, FirstFit(), seed=1).n_placed > 10
