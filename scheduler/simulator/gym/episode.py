"""An episode: a cluster, its end, and what its time costs; and how it is observed.

What an environment with one agent and one with several have in common.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from gymnasium import spaces

from kube.edge.settings import Duration, Interval
from scheduler.plugins.learned.observation import (
    CLOCK_FEATURES,
    NODE_FEATURES,
    POD_FEATURES,
    QUEUE_FEATURES,
    PodState,
    observe,
)
from scheduler.simulator.experiments.policies import BASELINE, policy_of
from scheduler.simulator.experiments.rewards import Meter
from scheduler.simulator.experiments.scenario import Scenario, load_scenario
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.nodes import Bools
from scheduler.simulator.gym.pods import LeanPod
from scheduler.simulator.gym.profiles import run_profile
from scheduler.simulator.usage_traces import UsageLibrary

Features = dict[str, Any]
"""``nodes``, ``pod``, ``queue`` and ``clock``, arrays of ``float32``."""

MAX_FEATURE: Final = 4.0
"""No feature is larger."""
_NO_POD: Final = PodState(0, 0, 0.0, 0)


class Setting:
    """What all episodes of an environment have in common.

    Args:
        scenario: What to build, or its file.
        episode: How long an episode is, in seconds of virtual time, or as ``6h``; the scenario's
            ``measured`` if left out.
        warm_up: How long a policy fills the cluster before an episode begins, likewise; not at all
            if left out, whatever the scenario's ``warm_up`` says.
        warm_up_policy: Which one, by name, or a profile file.
        library: Recorded usage for the workloads to live through, if there is any.
        n_queues: So many schedulers share the work.

    Raises:
        ConfigError: The scenario asks for what is not kept here, or there is no such policy.
        SettingsError: The file cannot be read.
        ValueError: The episode has no length.
    """

    def __init__(
        self,
        scenario: Scenario | Path | str,
        *,
        episode: float | str | None = None,
        warm_up: float | str = 0.0,
        warm_up_policy: str = BASELINE,
        library: UsageLibrary | None = None,
        n_queues: int = 1,
    ) -> None:
        if not isinstance(scenario, Scenario):
            scenario = load_scenario(Path(scenario))
        self.scenario = scenario
        self.length_s = float(scenario.measured if episode is None else Interval.parse(episode))
        self._warm_up_s = float(Duration.parse(warm_up))
        self._policy = policy_of(warm_up_policy)
        self._library = library
        self._n_queues = n_queues
        self.blank = Episode(self._draw(seed=0), length_s=self.length_s)
        """Of a world that nobody will live in; that it could be drawn says that others can."""
        self.n_nodes = len(self.blank.cluster.nodes)

    def observation_space(self) -> spaces.Dict:
        """Describe what an agent sees."""
        return spaces.Dict(
            {
                "nodes": _box(0.0, MAX_FEATURE, self.n_nodes, len(NODE_FEATURES)),
                "pod": _box(-MAX_FEATURE, MAX_FEATURE, len(POD_FEATURES)),
                "queue": _box(0.0, MAX_FEATURE, len(QUEUE_FEATURES)),
                "clock": _box(-1.0, 1.0, len(CLOCK_FEATURES)),
            }
        )

    def action_space(self) -> spaces.Discrete:
        """Describe what an agent may do: a node by its row, or skip."""
        return spaces.Discrete(self.n_nodes + 1)

    def begin(self, *, seed: int) -> "Episode":
        """Draw a world, and let the warm-up pass."""
        cluster = self._draw(seed=seed)
        if self._warm_up_s:
            run_profile(cluster, self._policy, for_s=self._warm_up_s, seed=seed)
        return Episode(cluster, length_s=self.length_s)

    def _draw(self, *, seed: int) -> LeanCluster:
        return LeanCluster(
            self.scenario,
            seed=seed,
            library=self._library,
            warm_up_s=self._warm_up_s,
            n_queues=self._n_queues,
        )


class Episode:
    """A cluster whose time is limited and costs something.

    Args:
        cluster: As it is when the episode begins.
        length_s: How long it lasts, in seconds.
    """

    def __init__(self, cluster: LeanCluster, *, length_s: float) -> None:
        self.cluster = cluster
        self.from_s = cluster.now_s
        self._end_s = cluster.now_s + length_s
        self.meter = Meter(
            cluster.scenario.reward,
            mix=cluster.pod_mix(for_s=length_s),
            now_s=cluster.now_s,
            lacking_core_s=cluster.world.lacking_core_s,
        )
        cluster.witnesses.append(self.meter.witness)

    @property
    def is_over(self) -> bool:
        """Whether its time is over."""
        return self.cluster.now_s >= self._end_s

    def pass_time(self) -> None:
        """Go on to the next instant."""
        cluster = self.cluster
        self.meter.look(cluster.occupancy(), n_pending=cluster.n_pending)
        cluster.advance(min(self._end_s, cluster.next_s()))
        self.meter.pass_until(cluster.now_s, lacking_core_s=cluster.world.lacking_core_s)

    def observe(self, pod: LeanPod | None, *, feasible: Bools, queue: int = 0) -> Features:
        """Say what a scheduler may know that is to place *pod*."""
        cluster = self.cluster
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
            queue=cluster.queues[queue].state,
            feasible=feasible,
            now_s=cluster.now_s,
        )
        return found._asdict()


def _box(low: float, high: float, *shape: int) -> spaces.Box:
    return spaces.Box(low, high, shape=shape, dtype=np.float32)
