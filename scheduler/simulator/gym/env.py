"""``ClusterEnv-v0``: place pods on the nodes of a scenario, one at a time.

An episode begins with an empty cluster, or after a warm-up under another policy, and ends when its
time is over. At each step a pod is offered that has at least one node to go to: the head of the
queue, by priority and then by who has queued longer. Action *i* below the number of nodes places
it on node *i*; the last action skips it until room was given back or usage was measured anew.
While there are pods to offer, time stands still; then it moves on to the next instant at which
there is one. The reward of a step is minus the cost of the time that passed with it.

The observation is what a scheduler of the real cluster could know, by the function that
``LearnedPolicy`` uses there; of what is hidden it tells nothing, nor does ``info``.
"""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.experiments.policies import BASELINE
from scheduler.simulator.experiments.scenario import Scenario
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.episode import Features, Setting
from scheduler.simulator.gym.pods import LeanPod
from scheduler.simulator.gym.render import draw_nodes
from scheduler.simulator.usage_traces import UsageLibrary

Info = dict[str, Any]


class ClusterEnv(gymnasium.Env[Features, np.int64]):
    """A cluster whose scheduler is the agent.

    ``info`` has the ``action_mask`` (shape ``(n_nodes + 1,)``), whether the last action
    ``is_valid``, ``now_s``, the ``reward_terms`` of the step, each in its unit and not weighed, the
    name of the offered ``pod`` if there is one, and after ``reset`` the ``node_names``.

    Args:
        scenario: What to build, or its file; its ``reward`` says what counts.
        episode: How long an episode is, in seconds of virtual time, or as ``6h``; the scenario's
            ``measured`` if left out.
        warm_up: How long a policy fills the cluster before an episode begins, likewise; not at all
            if left out, whatever the scenario's ``warm_up`` says.
        warm_up_policy: Which one, by name, or a profile file.
        library: Recorded usage for the workloads to live through, if there is any.
        render_mode: ``ansi`` or none.

    Raises:
        ConfigError: The scenario asks for what the environment does not keep, or there is no such
            policy.
        SettingsError: The file cannot be read.
        ValueError: The episode has no length.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self,
        scenario: Scenario | Path | str,
        *,
        episode: float | str | None = None,
        warm_up: float | str = 0.0,
        warm_up_policy: str = BASELINE,
        library: UsageLibrary | None = None,
        render_mode: str | None = None,
    ) -> None:
        self._setting = Setting(
            scenario,
            episode=episode,
            warm_up=warm_up,
            warm_up_policy=warm_up_policy,
            library=library,
        )
        self.scenario = self._setting.scenario
        self.render_mode = render_mode
        self.observation_space = self._setting.observation_space()
        self.action_space = self._setting.action_space()
        self._n_nodes = self._setting.n_nodes
        self._offered: LeanPod | None = None
        self._mask = np.zeros(self._n_nodes + 1, dtype=np.bool_)
        self._episode = self._setting.blank

    @property
    def cluster(self) -> LeanCluster:
        """The cluster of this episode: for agents that watch it as schedulers do."""
        return self._episode.cluster

    @property
    def offered(self) -> LeanPod | None:
        """The pod that is to be placed; ``None`` at the end of the episode."""
        return self._offered

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Features, Info]:
        """Begin anew.

        Args:
            seed: Draws the whole world; if left out, the world's seed is drawn.
            options: None are known.
        """
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._episode = self._setting.begin(seed=seed)
        self._move()
        self._episode.meter.take()
        info = self._info(is_valid=True)
        info["node_names"] = np.array(self.cluster.nodes.names)
        return self._observe(), info

    def step(self, action: np.int64) -> tuple[Features, float, bool, bool, Info]:
        """Place the offered pod, or skip it; an action that the mask forbids skips it, too."""
        cluster, pod = self.cluster, self._offered
        is_valid = bool(self._mask[action])
        if pod is not None:
            if is_valid and action < self._n_nodes:
                cluster.bind(pod, row=int(action))
            else:
                cluster.set_aside(pod)
        self._move()
        info = self._info(is_valid=is_valid)
        reward = -self.scenario.reward.cost_of(info["reward_terms"])
        return self._observe(), reward, False, self._episode.is_over, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Say which actions are allowed now, shape ``(n_nodes + 1,)``."""
        return self._mask.copy()

    def render(self) -> str | None:
        """Draw the nodes, and say what is offered."""
        if self.render_mode != "ansi":
            return None
        return draw_nodes(self._episode, offered=self._offered, feasible=self._mask[:-1])

    # --- details

    def _move(self) -> None:
        """Find the next pod to offer, letting time pass until there is one."""
        episode = self._episode
        self._offered = None
        self._mask[:-1], self._mask[-1] = False, True
        while not episode.is_over:
            found = episode.cluster.offer()
            if found is not None:
                self._offered, self._mask[:-1] = found
                return
            episode.pass_time()

    def _observe(self) -> Features:
        return self._episode.observe(self._offered, feasible=self._mask[:-1])

    def _info(self, *, is_valid: bool) -> Info:
        info: Info = {
            "action_mask": self._mask.copy(),
            "is_valid": is_valid,
            "now_s": self.cluster.now_s,
            "reward_terms": self._episode.meter.take(),
        }
        if self._offered is not None:
            info["pod"] = self._offered.uid
        return info
