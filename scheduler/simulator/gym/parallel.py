"""Several schedulers that share a cluster, as a PettingZoo parallel environment.

Workloads are dealt among the schedulers by a hash of their name. In each round every scheduler is
offered the head of its own queue and sees the same cluster; all choose at once. They are
optimistic: where two choose one node that has room for only one of them, whoever comes first gets
it, in an order that is drawn for each round, and the other's pod stays pending with
``info["conflict"]``. Time stands still while anybody has a pod to offer. All share one reward:
minus what the time that passed has cost the cluster.
"""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo.utils.env import ParallelEnv

from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.env import Info
from scheduler.simulator.gym.episode import Features, Setting
from scheduler.simulator.gym.nodes import Bools
from scheduler.simulator.gym.pods import LeanPod
from scheduler.simulator.usage_traces import UsageLibrary

Rounds = tuple[
    dict[str, Features], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Info]
]


class ParallelClusterEnv(ParallelEnv[str, Features, np.int64]):  # type: ignore[misc]  # untyped
    """A cluster with several schedulers, each an agent.

    Observations, actions and ``info`` are as in ``ClusterEnv``; ``conflict`` in ``info`` says
    whether the last action came to nothing because another scheduler was faster. An agent that has
    no pod to offer may only skip.

    Args:
        scenario: What to build, or its file; its ``reward`` says what counts.
        n_schedulers: How many there are.
        episode: How long an episode is, in seconds of virtual time, or as ``6h``; the scenario's
            ``measured`` if left out.
        library: Recorded usage for the workloads to live through, if there is any.

    Raises:
        ConfigError: The scenario asks for what the environment does not keep.
        SettingsError: The file cannot be read.
        ValueError: The episode has no length, or there is no scheduler.
    """

    metadata = {"name": "cluster_v0", "render_modes": []}  # noqa: RUF012 - as PettingZoo has it
    render_mode = None

    def __init__(
        self,
        scenario: Scenario | Path | str,
        *,
        n_schedulers: int = 2,
        episode: float | str | None = None,
        library: UsageLibrary | None = None,
    ) -> None:
        if n_schedulers < 1:
            raise ValueError("n_schedulers: at least one")
        self._setting = Setting(scenario, episode=episode, library=library, n_queues=n_schedulers)
        self.scenario = self._setting.scenario
        self.possible_agents = [f"scheduler_{number}" for number in range(n_schedulers)]
        self.agents: list[str] = []
        self.observation_spaces = {
            agent: self._setting.observation_space() for agent in self.possible_agents
        }
        self.action_spaces = {agent: self._setting.action_space() for agent in self.possible_agents}
        self._number = {agent: number for number, agent in enumerate(self.possible_agents)}
        self._chance, _ = seeding.np_random()
        self._offered: dict[str, tuple[LeanPod, Bools]] = {}
        self._episode = self._setting.blank

    @property
    def cluster(self) -> LeanCluster:
        """The cluster of this episode: for agents that watch it as schedulers do."""
        return self._episode.cluster

    def observation_space(self, agent: str) -> spaces.Space[Features]:
        """Describe what an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[np.int64]:
        """Describe what an agent may do: a node by its row, or skip."""
        return self.action_spaces[agent]

    def offered(self, agent: str) -> LeanPod | None:
        """Name the pod that an agent is to place."""
        return self._offered[agent][0] if agent in self._offered else None

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Features], dict[str, Info]]:
        """Begin anew.

        Args:
            seed: Draws the whole world and who is faster; if left out, the world's seed is drawn.
            options: None are known.
        """
        if seed is not None:
            self._chance, _ = seeding.np_random(seed)
        else:
            seed = int(self._chance.integers(2**31))
        self.agents = list(self.possible_agents)
        self._episode = self._setting.begin(seed=seed)
        self._move()
        self._episode.meter.take()
        terms = self._episode.meter.take()
        infos = {agent: self._info(agent, terms=terms) for agent in self.agents}
        for info in infos.values():
            info["node_names"] = np.array(self.cluster.nodes.names)
        return self._observe(), infos

    def step(self, actions: dict[str, np.int64]) -> Rounds:
        """Let all act at once; an action that a mask forbids, or that is missing, is a skip."""
        skip = self._setting.n_nodes
        chosen = {agent: int(actions.get(agent, np.int64(skip))) for agent in self.agents}
        is_valid = {
            agent: action == skip or bool(self._feasible(agent)[action])
            for agent, action in chosen.items()
        }
        lost = set()
        for index in self._chance.permutation(len(self.agents)).tolist():
            agent = self.agents[index]
            row = chosen[agent] if is_valid[agent] and chosen[agent] != skip else None
            if not self._act(agent, row=row):
                lost.add(agent)
        self._move()
        terms = self._episode.meter.take()
        reward, is_over = -self.scenario.reward.cost_of(terms), self._episode.is_over
        observations = self._observe()
        infos = {agent: self._info(agent, terms=terms) for agent in self.agents}
        for agent, info in infos.items():
            info["is_valid"], info["conflict"] = is_valid[agent], agent in lost
        found = (
            observations,
            dict.fromkeys(self.agents, reward),
            dict.fromkeys(self.agents, False),
            dict.fromkeys(self.agents, is_over),
            infos,
        )
        if is_over:
            self.agents = []
        return found

    # --- details

    def _act(self, agent: str, *, row: int | None) -> bool:
        """Do what an agent chose; tell whether nobody was faster."""
        pod = self.offered(agent)
        if pod is None:
            return True
        if row is None:
            self.cluster.set_aside(pod)
            return True
        if not self.cluster.nodes.feasible(pod.template)[row]:
            return False
        self.cluster.bind(pod, row=row)
        return True

    def _move(self) -> None:
        """Find the next pods to offer, letting time pass until there is one."""
        episode = self._episode
        self._offered = {}
        while not (self._offered or episode.is_over):
            for agent, number in self._number.items():
                found = episode.cluster.offer(number)
                if found is not None:
                    self._offered[agent] = found
            if not self._offered:
                episode.pass_time()

    def _feasible(self, agent: str) -> Bools:
        if agent in self._offered:
            return self._offered[agent][1]
        return np.zeros(self._setting.n_nodes, dtype=np.bool_)

    def _observe(self) -> dict[str, Features]:
        return {
            agent: self._episode.observe(
                self.offered(agent), feasible=self._feasible(agent), queue=self._number[agent]
            )
            for agent in self.agents
        }

    def _info(self, agent: str, *, terms: dict[str, float]) -> Info:
        info: Info = {
            "action_mask": np.append(self._feasible(agent), True),
            "is_valid": True,
            "conflict": False,
            "now_s": self.cluster.now_s,
            "reward_terms": dict(terms),
        }
        pod = self.offered(agent)
        if pod is not None:
            info["pod"] = pod.uid
        return info
