"""Agents to compare a learned one with: simple ones, and any profile of the scheduler.

``rollout`` lets one live through an episode and tells its return.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    AskPrediction,
    Bind,
    BindSucceeded,
    Event,
    PodGone,
    PodSeen,
    PredictionFailed,
    Tick,
)
from scheduler.plugins.learned.observation import NODE_FEATURES
from scheduler.simulator.experiments.policies import Policy
from scheduler.simulator.experiments.rewards import TERMS
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.env import ClusterEnv, Info
from scheduler.simulator.gym.episode import Features
from scheduler.simulator.gym.pods import LeanPod

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


class ProfileScheduler:
    """Our engine on a lean cluster: told what its watches would say, asked about pod after pod.

    A predictor is not there; a profile that asks one goes on without. Only the pod in question is
    known to wait.

    Args:
        cluster: Where it looks on from now on.
        policy: How it is set up.
        seed: Breaks ties.
    """

    def __init__(self, cluster: LeanCluster, policy: Policy, *, seed: int) -> None:
        settings = EngineSettings(seed=seed, n_recorded_nodes=0)
        self._engine = Engine(policy.profiles(), settings=settings)
        self._cluster = cluster
        self._promised: dict[str, None] = {}
        """Pods that it has chosen a node for, and has not seen there."""
        for event in cluster.events():
            self._see(event)
        cluster.watchers.append(self._see)

    def choose(self, pod: LeanPod) -> int | None:
        """Choose a node for a waiting pod: its row, or ``None`` to let it wait."""
        if pod.uid in self._promised:
            self._forget(pod)  # somebody else was faster there
        self._handle(PodSeen(pod.facts()))
        node = self._decide()
        if node is None:
            self._forget(pod)
            return None
        self._promised[pod.uid] = None
        self._handle(BindSucceeded(pod.uid))
        return self._cluster.nodes.rows[node]

    def _decide(self) -> str | None:
        actions = self._handle(Tick())
        asked = [action for action in actions if isinstance(action, AskPrediction)]
        for action in asked:
            self._handle(PredictionFailed(action.shapes, "unavailable"))
        if asked:
            actions = self._handle(Tick())
        bound = next((action for action in actions if isinstance(action, Bind)), None)
        return None if bound is None else bound.node

    def _see(self, event: Event) -> None:
        if isinstance(event, PodSeen):
            self._promised.pop(event.pod.uid, None)
        self._handle(event)

    def _forget(self, pod: LeanPod) -> None:
        self._promised.pop(pod.uid, None)
        self._handle(PodGone(pod.uid, pod.uid))

    def _handle(self, event: Event) -> list[Any]:
        return list(self._engine.handle(event, now_s=self._cluster.now_s))


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
