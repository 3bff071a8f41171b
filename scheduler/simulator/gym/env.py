"""``ClusterEnv-v0``: place pods on the nodes of a scenario, one at a time.

An episode begins with an empty cluster (or after a warm-up under another policy) and ends when its
time is over. At each step a pod is offered that has at least one node to go to: the head of the
queue, by priority and then by who has waited longer. Action *i* below the number of nodes places
it on node *i*; the last action skips it until room was given back or usage was measured anew.
While there are pods to offer, time stands still; then it moves on to the next instant at which
there is one. The reward of a step is minus the cost of the time that passed with it.

The observation is what a scheduler of the real cluster could know, by the function that
``LearnedPolicy`` uses there; of what is hidden it tells nothing, nor does ``info``.
"""

from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from kube.edge.settings import Interval
from scheduler.plugins.learned.observation import (
    CLOCK_FEATURES,
    NODE_FEATURES,
    POD_FEATURES,
    QUEUE_FEATURES,
    PodState,
    observe,
)
from scheduler.simulator.experiments.rewards import Meter
from scheduler.simulator.experiments.scenario import Scenario, load_scenario
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.pods import LeanPod
from scheduler.simulator.usage_traces import UsageLibrary

Features = dict[str, Any]
"""``nodes``, ``pod``, ``queue`` and ``clock``, arrays of ``float32``."""
Info = dict[str, Any]

MAX_FEATURE: Final = 4.0
"""No feature is larger."""
_NO_POD: Final = PodState(0, 0, 0.0, 0)


class ClusterEnv(gymnasium.Env[Features, np.int64]):
    """A cluster whose scheduler is the agent.

    Args:
        scenario: What to build, or its file; its ``reward`` says what counts.
        episode: How long an episode is, in seconds of virtual time; the scenario's ``measured`` if
            left out.
        library: Recorded usage for the workloads to live through, if there is any.
        render_mode: ``ansi`` or none.

    Raises:
        ConfigError: The scenario asks for what the environment does not keep.
        SettingsError: The file cannot be read.
        ValueError: The episode has no length.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium has it

    def __init__(
        self,
        scenario: Scenario | Path | str,
        *,
        episode: float | None = None,
        library: UsageLibrary | None = None,
        render_mode: str | None = None,
    ) -> None:
        if not isinstance(scenario, Scenario):
            scenario = load_scenario(Path(scenario))
        self.scenario = scenario
        self.render_mode = render_mode
        self._episode_s = float(scenario.measured if episode is None else Interval.parse(episode))
        self._library = library
        n_nodes = scenario.n_nodes
        self.observation_space = spaces.Dict(
            {
                "nodes": _box(0.0, MAX_FEATURE, n_nodes, len(NODE_FEATURES)),
                "pod": _box(-MAX_FEATURE, MAX_FEATURE, len(POD_FEATURES)),
                "queue": _box(0.0, MAX_FEATURE, len(QUEUE_FEATURES)),
                "clock": _box(-1.0, 1.0, len(CLOCK_FEATURES)),
            }
        )
        self.action_space = spaces.Discrete(n_nodes + 1)
        self._n_nodes = n_nodes
        self._offered: LeanPod | None = None
        self._mask = np.zeros(n_nodes + 1, dtype=np.bool_)
        self._cluster = LeanCluster(scenario, seed=0, library=library)
        self._begin(self._cluster)

    @property
    def cluster(self) -> LeanCluster:
        """The cluster of this episode: for agents that watch it as schedulers do."""
        return self._cluster

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
        self._begin(LeanCluster(self.scenario, seed=seed, library=self._library))
        self._move()
        self._meter.take()
        info = self._info(is_valid=True)
        info["node_names"] = np.array(self._cluster.nodes.names)
        return self._observe(), info

    def step(self, action: np.int64) -> tuple[Features, float, bool, bool, Info]:
        """Place the offered pod, or skip it; an action that the mask forbids skips it, too."""
        cluster, pod = self._cluster, self._offered
        is_valid = bool(self._mask[action])
        if pod is not None:
            if is_valid and action < self._n_nodes:
                cluster.bind(pod, row=int(action))
            else:
                cluster.set_aside(pod)
        self._move()
        info = self._info(is_valid=is_valid)
        reward = -self.scenario.reward.cost_of(info["reward_terms"])
        return self._observe(), reward, False, self._is_over, info

    def action_masks(self) -> NDArray[np.bool_]:
        """Say which actions are allowed now, shape ``(n_nodes + 1,)``."""
        return self._mask.copy()

    def render(self) -> str | None:
        """Draw the nodes, and say what is offered."""
        if self.render_mode != "ansi":
            return None
        state = self._cluster.node_state()
        cpu = state.cpu_requested_milli / state.cpu_allocatable_milli
        memory = state.memory_requested_bytes / state.memory_allocatable_bytes
        passed_s, n_pending = self._cluster.now_s - self._from_s, len(self._cluster.waiting)
        lines = [f"{passed_s:.0f} s, {n_pending} pending"]
        for row, name in enumerate(self._cluster.nodes.names):
            bar = "#" * round(20 * cpu[row])
            mark = " " if self._offered is None or self._mask[row] else "x"
            text = f"{mark} {name:8s} |{bar:20s}| cpu {cpu[row]:4.0%} memory {memory[row]:4.0%}"
            lines.append(f"{text} {state.n_pods[row]:3.0f} pods")
        if self._offered is not None:
            lines.append(f"offered: {self._offered.name}")
        return "\n".join(lines)

    # --- details

    @property
    def _is_over(self) -> bool:
        return self._cluster.now_s >= self._end_s

    def _begin(self, cluster: LeanCluster) -> None:
        self._cluster = cluster
        self._from_s = cluster.now_s
        self._end_s = cluster.now_s + self._episode_s
        mix = cluster.pod_mix(for_s=self._episode_s)
        self._meter = Meter(
            self.scenario.reward,
            mix=mix,
            now_s=cluster.now_s,
            lacking_core_s=cluster.world.lacking_core_s,
        )
        cluster.witnesses.append(self._meter.witness)

    def _move(self) -> None:
        """Find the next pod to offer, letting time pass until there is one."""
        cluster = self._cluster
        self._offered = None
        while not self._is_over:
            found = cluster.offer()
            if found is not None:
                self._offered, self._mask[:-1] = found
                break
            self._meter.look(cluster.occupancy(), n_pending=len(cluster.waiting))
            cluster.advance(min(self._end_s, cluster.next_s()))
            lacking_core_s = cluster.world.lacking_core_s
            self._meter.pass_until(cluster.now_s, lacking_core_s=lacking_core_s)
        else:
            self._mask[:-1] = False
        self._mask[-1] = True

    def _observe(self) -> Features:
        cluster, pod = self._cluster, self._offered
        state = _NO_POD
        if pod is not None:
            template = pod.template
            state = PodState(
                template.cpu_request_milli,
                template.memory_request_bytes,
                cluster.now_s - pod.created_at_s,
                template.facts.priority,
            )
        found = observe(
            cluster.node_state(),
            pod=state,
            queue=cluster.waiting.state,
            feasible=self._mask[:-1],
            now_s=cluster.now_s,
        )
        return found._asdict()

    def _info(self, *, is_valid: bool) -> Info:
        info: Info = {
            "action_mask": self._mask.copy(),
            "is_valid": is_valid,
            "now_s": self._cluster.now_s,
            "reward_terms": self._meter.take(),
        }
        if self._offered is not None:
            info["pod"] = self._offered.uid
        return info


def _box(low: float, high: float, *shape: int) -> spaces.Box:
    return spaces.Box(low, high, shape=shape, dtype=np.float32)
