"""Judging a trained network: in worlds that it has not seen, beside profiles of the scheduler."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec
import numpy as np

from scheduler.plugins.learned.network import LearnedNetwork
from scheduler.plugins.learned.observation import Observation
from scheduler.simulator.experiments.policies import BASELINE, policy_of
from scheduler.simulator.experiments.statistics import Estimate, estimate
from scheduler.simulator.gym.agents import Agent, ProfileAgent, rollout
from scheduler.simulator.gym.env import ClusterEnv, Info
from scheduler.simulator.gym.episode import Features

LEARNED: Final = "learned"
RIVALS: Final = (BASELINE, "most-allocated", "random")


class NetworkAgent:
    """Takes the action that a network rates highest.

    Args:
        network: As exported: what is judged is what schedulers will run.
        may_wait: Whether it may leave a pod waiting that a node would take.
    """

    def __init__(self, network: LearnedNetwork, *, may_wait: bool) -> None:
        self._network = network
        self._may_wait = may_wait

    def act(self, observation: Features, info: Info) -> int:
        """Choose an action."""
        allowed = info["action_mask"].copy()
        if not self._may_wait and allowed[:-1].any():
            allowed[-1] = False
        logits = self._network.logits(Observation(**observation))
        return int(np.argmax(np.where(allowed, logits, -np.inf)))


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """An episode under one policy."""

    policy: str
    seed: int
    total_reward: float
    terms: dict[str, float]
    """The costs by name, each in its unit, not weighed."""
    n_steps: int
    n_placed: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How a policy stands."""

    policy: str
    seeds: list[int]
    total_reward: Estimate
    terms: dict[str, Estimate]
    learned_gains: Estimate | None
    """The learned policy's total reward less this one's, paired by seed; ``None`` for itself."""


def judge_network(
    env: ClusterEnv,
    network: LearnedNetwork,
    *,
    may_wait: bool,
    seeds: Sequence[int],
    must_stop: Callable[[], bool],
) -> Iterator[Judged]:
    """Let the network and its rivals live through the same worlds, seed after seed.

    Args:
        env: Where.
        network: As exported.
        may_wait: As in ``NetworkAgent``.
        seeds: Of the worlds.
        must_stop: Asked before each episode.
    """
    agents: dict[str, Callable[[], Agent]] = {
        LEARNED: partial(NetworkAgent, network, may_wait=may_wait)
    }
    for name in RIVALS:
        agents[name] = partial(ProfileAgent, env, policy_of(name))
    for seed in seeds:
        for name, make_agent in agents.items():
            if must_stop():
                return
            played = rollout(env, make_agent(), seed=seed)
            yield Judged(
                policy=name,
                seed=seed,
                total_reward=played.total_reward,
                terms=dict(played.terms),
                n_steps=played.n_steps,
                n_placed=played.n_placed,
            )


def standings(judged: Sequence[Judged]) -> list[Standing]:
    """Sum episodes up by policy, in the order in which policies appear."""
    by_policy: dict[str, dict[int, Judged]] = {}
    for each in judged:
        by_policy.setdefault(each.policy, {})[each.seed] = each
    learned = by_policy.get(LEARNED, {})
    return [
        _standing(policy, episodes, learned={} if policy == LEARNED else learned)
        for policy, episodes in by_policy.items()
    ]


def _standing(policy: str, episodes: dict[int, Judged], *, learned: dict[int, Judged]) -> Standing:
    gains = [
        learned[seed].total_reward - episode.total_reward
        for seed, episode in episodes.items()
        if seed in learned
    ]
    names = next(iter(episodes.values())).terms
    return Standing(
        policy=policy,
        seeds=sorted(episodes),
        total_reward=estimate([episode.total_reward for episode in episodes.values()]),
        terms={
            name: estimate([episode.terms[name] for episode in episodes.values()]) for name in names
        },
        learned_gains=estimate(gains) if gains else None,
    )
