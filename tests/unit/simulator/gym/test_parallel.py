"""Several schedulers on one cluster."""

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from scheduler.simulator.gym.parallel import ParallelClusterEnv
from tests.unit.simulator.experiments.worlds import (
    make_group,
    make_job,
    make_scenario,
    make_service,
)

SERVICES = (make_service(kinds=8, replicas=3.0, cpu_request_milli=1200.0, memory_request_mib=64.0),)


def make_env(*groups, n_schedulers=3, **fields):
    defaults = {"services": SERVICES, "jobs": (make_job(per_hour=240.0),)}
    scenario = make_scenario(*groups, **{**defaults, **fields})
    return ParallelClusterEnv(scenario, n_schedulers=n_schedulers, episode="20m")


def first_fit(infos):
    return {agent: int(np.argmax(info["action_mask"])) for agent, info in infos.items()}


def live(env, *, seed):
    """All rounds of an episode in which everybody takes the first node that would do."""
    _, infos = env.reset(seed=seed)
    rounds = [(infos, {})]
    while env.agents:
        _, rewards, _, _, infos = env.step(first_fit(infos))
        rounds.append((infos, rewards))
    return rounds


def test_it_keeps_pettingzoos_contract():
    parallel_api_test(make_env(), num_cycles=50)
    parallel_seed_test(make_env, num_cycles=50)


def test_two_that_choose_a_node_with_room_for_one_conflict_and_the_loser_tries_again():
    env = make_env(make_group(count=6, cpu="2"), n_schedulers=2, jobs=())
    _, infos = env.reset(seed=1)
    offered = {agent: env.offered(agent) for agent in env.agents}
    assert len({pod.uid for pod in offered.values()}) == 2
    _, _, _, _, infos = env.step(dict.fromkeys(env.agents, np.int64(0)))

    assert sorted(info["conflict"] for info in infos.values()) == [False, True]
    [loser] = [agent for agent, info in infos.items() if info["conflict"]]
    assert infos[loser]["is_valid"]
    assert env.offered(loser) is offered[loser]
    assert infos[loser]["action_mask"].tolist() == [False] + [True] * 6
    assert env.cluster.nodes.n_pods.tolist() == [1.0] + [0.0] * 5


def test_who_is_faster_is_drawn_anew_each_round():
    losers = set()
    for seed in range(10):
        env = make_env(make_group(count=6, cpu="2"), n_schedulers=2, jobs=())
        env.reset(seed=seed)
        infos = env.step(dict.fromkeys(env.agents, np.int64(0)))[4]
        losers |= {agent for agent, info in infos.items() if info["conflict"]}

    assert losers == {"scheduler_0", "scheduler_1"}


def test_a_workload_stays_with_its_scheduler_and_no_node_is_overfilled():
    env = make_env()
    _, infos = env.reset(seed=1)
    owners = {}
    while env.agents:
        for agent in env.agents:
            pod = env.offered(agent)
            if pod is not None:
                owners.setdefault(pod.template.workload, set()).add(agent)
        _, _, _, _, infos = env.step(first_fit(infos))
        nodes = env.cluster.nodes
        assert (nodes.cpu_requested_milli <= nodes.cpu_allocatable_milli).all()

    assert {len(agents) for agents in owners.values()} == {1}
    assert set.union(*owners.values()) == set(env.possible_agents)


def test_all_share_one_reward_and_end_together():
    rounds = live(make_env(), seed=1)

    assert all(len(set(rewards.values())) == 1 for _, rewards in rounds[1:])
    assert any(info["conflict"] for infos, _ in rounds for info in infos.values())
    assert [rewards for _, rewards in live(make_env(), seed=1)] == [r for _, r in rounds]


def test_who_has_nothing_to_place_can_only_skip():
    env = make_env(n_schedulers=3, services=(make_service(kinds=1),), jobs=())
    observations, infos = env.reset(seed=1)
    idle = [agent for agent in env.agents if env.offered(agent) is None]

    assert len(idle) == 2
    for agent in idle:
        assert infos[agent]["action_mask"].tolist() == [False, False, False, True]
        assert "pod" not in infos[agent]
        assert not observations[agent]["pod"].any()


def test_an_action_that_is_not_allowed_or_missing_is_a_skip():
    env = make_env(n_schedulers=2)
    env.reset(seed=1)
    idle_row = np.int64(0)
    busy = [agent for agent in env.agents if env.offered(agent) is not None]
    env.step({})
    assert env.cluster.nodes.n_pods.sum() == 0

    env = make_env(n_schedulers=2, services=(make_service(kinds=1),), jobs=())
    env.reset(seed=1)
    idle = [agent for agent in env.agents if env.offered(agent) is None]
    infos = env.step(dict.fromkeys(idle, idle_row))[4]
    assert len(busy) == 2
    assert [infos[agent]["is_valid"] for agent in idle] == [False]


def test_there_is_at_least_one_scheduler():
    with pytest.raises(ValueError, match="at least one"):
        make_env(n_schedulers=0)
