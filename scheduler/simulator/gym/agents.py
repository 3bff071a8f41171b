"""Agents to compare a learned one with: simple ones, and any profile of the scheduler.

``rollout`` lets one live through an episode and tells its return.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from scheduler.plugins.learned.observation import NODE_FEATURES
from scheduler.simulator.experiments.policies import Policy
from scheduler.simulator.experiments.rewards import TERMS
from scheduler.simulator.gym.env import ClusterEnv, Info
from scheduler.simulator.gym.episode import Features
from scheduler.simulator.gym.profiles import ProfileScheduler

_CPU: Final = NODE_FEATURES.index("cpu_requested_ratio")
_MEMORY: Final = NODE_FEATURES.index("memory_requested_ratio")


class Agent(Protocol):
    """Chooses actions."""

    def act(self, observation: Features, info: Info) -> int:
        """Choose an action that ``info["action_mask"]`` allows."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What came of an episode."""

    total_reward: float
    terms: Mapping[str, float]
    """The costs by name, each in its unit, not weighed."""
    n_steps: int
    n_placed: int


def rollout(env: ClusterEnv, agent: Agent, *, seed: int) -> Rollout:
    """Let an agent live through an episode."""
    observation, info = env.reset(seed=seed)
    terms = dict.fromkeys(TERMS, 0.0)
    total_reward, n_steps, n_placed, is_over = 0.0, 0, 0, False
    skip = env.scenario.n_nodes
    while not is_over:
        action = agent.act(observation, info)
        n_placed += action != skip and bool(info["action_mask"][action])
        observation, reward, _, is_over, info = env.step(np.int64(action))
        total_reward += reward
        n_steps += 1
        for name, amount in info["reward_terms"].items():
            terms[name] += amount
    return Rollout(total_reward, terms, n_steps, n_placed)


class FirstFit:
    """Takes the first node that would do."""

    def act(self, observation: Features, info: Info) -> int:
        """Choose an action."""
        return int(np.argmax(info["action_mask"]))


class LeastAllocated:
    """Takes the node of which least is requested, cpu and memory together."""

    def act(self, observation: Features, info: Info) -> int:
        """Choose an action."""
        nodes, mask = observation["nodes"], info["action_mask"]
        if not mask[:-1].any():
            return len(nodes)
        requested = nodes[:, _CPU] + nodes[:, _MEMORY]
        return int(np.argmin(np.where(mask[:-1], requested, np.inf)))


class RandomFit:
    """Takes any node that would do; skips only where there is none.

    Args:
        seed: The same seed chooses the same.
    """

    def __init__(self, *, seed: int) -> None:
        self._chance = np.random.default_rng(seed)

    def act(self, observation: Features, info: Info) -> int:
        """Choose an action."""
        rows = np.flatnonzero(info["action_mask"][:-1])
        return int(self._chance.choice(rows)) if rows.size else len(observation["nodes"])


class ProfileAgent:
    """A profile of the scheduler as an agent.

    Args:
        env: Where it acts.
        policy: How the scheduler is set up.
        seed: Breaks ties.
    """

    def __init__(self, env: ClusterEnv, policy: Policy, *, seed: int = 0) -> None:
        self._env = env
        self._policy = policy
        self._seed = seed
        self._cluster = env.cluster
        self._scheduler = ProfileScheduler(env.cluster, policy, seed=seed)

    def act(self, observation: Features, info: Info) -> int:
        """Choose an action; skip where the scheduler would leave the pod waiting."""
        env = self._env
        if env.cluster is not self._cluster:  # another episode
            self._cluster = env.cluster
            self._scheduler = ProfileScheduler(env.cluster, self._policy, seed=self._seed)
        row = None if env.offered is None else self._scheduler.choose(env.offered)
        return env.scenario.n_nodes if row is None else row
