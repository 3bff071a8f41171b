"""The world: nodes and pods in virtual time, moved by discrete events and nothing else.

No I/O, no clock, no dice but those keyed by the seed: the same calls give the same changes. The
kubelets and controllers of the simulated cluster, the Gymnasium environment and the experiments
all drive this one class::

    world = World(seed=7, start_s=0.0)
    world.add_node(NodeSpec(name="n1"))
    world.place(pod)
    for change in world.advance(3600.0):
        ...

Starts, pulls and restarts happen at their exact times; usage, kills, evictions and crashes are
evaluated for all nodes at once at every tick, as the kubelet's housekeeping does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator import changes as ch
from scheduler.simulator.chance import generator_of
from scheduler.simulator.columns import ContainerColumns, NodeColumns
from scheduler.simulator.due import Due, Kind
from scheduler.simulator.hardware import NodeSpec, NodeTraits
from scheduler.simulator.housekeeping import Housekeeping
from scheduler.simulator.lifecycle import Lifecycle
from scheduler.simulator.parameters import USUAL, Physics
from scheduler.simulator.physics import Floats
from scheduler.simulator.runs import NodeRun, PodRun, PodSpec
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.usage import UsageProfile


class WorldError(ValueError):
    """The world was asked for something impossible: an unknown node, a pod placed twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the kubelets measured at their last housekeeping.

    The arrays named ``node_…`` follow ``nodes``, those named ``container_…`` follow ``containers``.
    Counters (``…_core_s``, ``…_periods``) grow until the container restarts.
    """

    at_s: float
    nodes: tuple[str, ...]
    """Those that are up."""
    node_cpu_milli: Floats
    node_memory_bytes: Floats
    node_cpu_core_s: Floats
    containers: tuple[tuple[str, str], ...]
    """(pod uid, container name) of all that run, init containers too."""
    container_started_at_s: Floats
    container_cpu_milli: Floats
    container_memory_bytes: Floats
    container_throttled_ratio: Floats
    container_cpu_core_s: Floats
    container_cfs_periods: Floats
    container_cfs_throttled_periods: Floats
    container_lacking_ratio: Floats
    """Of the cpu that a container would use if nothing held it back, what neither its limit nor
    its neighbours let it have; no kubelet knows this, nor the counter ``…_lacking_core_s``."""
    container_lacking_core_s: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSample:
    """What the kubelets measured of all nodes, as they were added; shape ``(n_nodes,)`` each."""

    at_s: float
    is_up: NDArray[np.bool_]
    cpu_milli: Floats
    memory_bytes: Floats
    cpu_core_s: Floats
    """A counter."""


class World:
    """Nodes, pods and time.

    Args:
        seed: Decides all chance.
        start_s: The time at the beginning, in Unix seconds.
        physics: The constants.
    """

    def __init__(
        self,
        *,
        seed: int,
        start_s: float,
        physics: Physics = USUAL,
    ) -> None:
        self.now_s = start_s
        self.seed = seed
        self.physics = physics
        self._timeline: Timeline[Due] = Timeline()
        self._containers = ContainerColumns()
        self._columns = NodeColumns()
        self._runs: list[NodeRun] = []
        self._nodes: dict[str, NodeRun] = {}
        self._lifecycle = Lifecycle(
            self._timeline,
            containers=self._containers,
            nodes=self._columns,
            seed=seed,
            physics=physics,
        )
        self._housekeeping = Housekeeping(
            self._lifecycle,
            containers=self._containers,
            nodes=self._columns,
            runs=self._runs,
            physics=physics,
        )
        self._ticked_at_s = start_s
        self._plan_tick(start_s)

    # --- nodes

    def add_node(self, spec: NodeSpec) -> None:
        """Switch on a node.

        Raises:
            WorldError: There is one of that name.
        """
        if spec.name in self._nodes:
            raise WorldError(f"node {spec.name!r} exists")
        run = NodeRun(spec, row=len(self._runs))
        self._columns.fill(run.row, spec, seed=self.seed, law=self.physics.system)
        self._runs.append(run)
        self._nodes[spec.name] = run
        self._draw_failure(run)

    def set_traits(self, name: str, traits: NodeTraits) -> None:
        """Change what a node hides; it holds from now on.

        Raises:
            WorldError: There is no such node.
        """
        run = self._node(name)
        self._spend_hazard(run)
        run.spec = replace(run.spec, traits=traits)
        self._columns.set_traits(run.row, traits)
        if run.is_up:
            self._plan_failure(run)

    def remove_node(self, name: str) -> None:
        """Switch a node off for good; its pods are forgotten.

        Raises:
            WorldError: There is no such node.
        """
        run = self._node(name)
        for pod in list(run.pods.values()):
            self._lifecycle.forget(pod)
        run.is_up = run.has_memory_pressure = False
        run.epoch += 1
        run.failure_epoch += 1
        self._columns.is_up[run.row] = False
        self._columns.cpu_milli[run.row] = self._columns.memory_bytes[run.row] = 0.0
        del self._nodes[name]

    def fail_node(self, name: str, *, outage_s: float) -> None:
        """Make a node die now and come back after *outage_s*; the news come with ``advance``.

        Raises:
            WorldError: There is no such node.
        """
        self._fail(self._node(name), outage_s=outage_s)

    def is_up(self, name: str) -> bool:
        """Tell whether the node exists and runs."""
        run = self._nodes.get(name)
        return run is not None and run.is_up

    def images(self, name: str) -> dict[str, int]:
        """Tell the images on a node with their sizes in bytes, the last used last.

        Raises:
            WorldError: There is no such node.
        """
        return dict(self._node(name).images)

    # --- pods

    def place(self, pod: PodSpec) -> None:
        """Put a pod on its node, whether that is up or not.

        Raises:
            WorldError: The node is unknown, or the pod is placed already.
        """
        if pod.uid in self._lifecycle.pods:
            raise WorldError(f"pod {pod.name!r} is placed already")
        self._lifecycle.place(pod, node=self._node(pod.node), now_s=self.now_s)

    def stop(self, uid: str, *, grace_s: float) -> None:
        """Tell a pod to stop within *grace_s*; ``PodStopped`` follows.

        Raises:
            WorldError: There is no such pod (any more).
        """
        self._lifecycle.stop(self._pod(uid), grace_s=grace_s, now_s=self.now_s)

    def remove(self, uid: str) -> None:
        """Make a pod vanish at once and without a word.

        Raises:
            WorldError: There is no such pod (any more).
        """
        self._lifecycle.forget(self._pod(uid))

    def set_profiles(self, uid: str, profiles: Mapping[str, UsageProfile]) -> None:
        """Have a pod's containers, by name, use something else from now on, without a restart.

        Raises:
            WorldError: There is no such pod (any more).
        """
        for container in self._pod(uid).containers:
            profile = profiles.get(container.spec.name)
            if profile is not None and profile != container.spec.profile:
                self._lifecycle.rows.set_profile(container, profile, now_s=self.now_s)

    def has(self, uid: str) -> bool:
        """Tell whether the pod is placed and has neither finished, been evicted nor stopped."""
        return uid in self._lifecycle.pods

    # --- time

    def advance(self, until_s: float) -> list[ch.Change]:
        """Let time pass, and tell what happened, in order.

        Raises:
            WorldError: *until_s* is in the past.
        """
        if until_s < self.now_s:
            raise WorldError("time does not run backwards")
        while (due := self._timeline.pop(until_s)) is not None:
            self.now_s = max(self.now_s, due[0])
            self._handle(due[1])
        self.now_s = until_s
        changes = list(self._lifecycle.emitted)
        self._lifecycle.emitted.clear()
        return changes

    def sample(self) -> Sample:
        """Read what the last housekeeping measured."""
        nodes, c = self._columns, self._containers
        up = np.array([run.row for run in self._nodes.values() if run.is_up], dtype=np.intp)
        rows = np.flatnonzero(c.is_running)
        names = self._lifecycle.rows.names
        return Sample(
            at_s=self._ticked_at_s,
            nodes=tuple(run.spec.name for run in self._nodes.values() if run.is_up),
            node_cpu_milli=nodes.cpu_milli[up],
            node_memory_bytes=nodes.memory_bytes[up],
            node_cpu_core_s=nodes.cpu_core_s[up],
            containers=tuple([names[row] for row in rows.tolist()]),
            container_started_at_s=c.started_at_s[rows],
            container_cpu_milli=c.cpu_milli[rows],
            container_memory_bytes=c.memory_bytes[rows],
            container_throttled_ratio=c.throttled_ratio[rows],
            container_cpu_core_s=c.cpu_core_s[rows],
            container_cfs_periods=c.cfs_periods[rows],
            container_cfs_throttled_periods=c.cfs_throttled_periods[rows],
            container_lacking_ratio=c.lacking_ratio[rows],
            container_lacking_core_s=c.lacking_core_s[rows],
        )

    def sample_nodes(self) -> NodeSample:
        """Read what the last housekeeping measured of the nodes alone; removed ones are not up."""
        nodes, n = self._columns, len(self._runs)
        return NodeSample(
            at_s=self._ticked_at_s,
            is_up=nodes.is_up[:n].copy(),
            cpu_milli=nodes.cpu_milli[:n].copy(),
            memory_bytes=nodes.memory_bytes[:n].copy(),
            cpu_core_s=nodes.cpu_core_s[:n].copy(),
        )

    @property
    def lacking_core_s(self) -> float:
        """Core-seconds that containers wished for and did not get, all since the beginning."""
        return self._housekeeping.lacking_core_s

    # --- details

    def _handle(self, due: Due) -> None:
        match due.kind:
            case Kind.TICK:
                self._ticked_at_s = self.now_s
                self._plan_tick(self.now_s)
                self._housekeeping.tick(self.now_s)
            case Kind.SANDBOX:
                self._lifecycle.on_sandbox(due, now_s=self.now_s)
            case Kind.PULLED:
                self._lifecycle.pulls.on_pulled(due, now_s=self.now_s)
            case Kind.RETRY_PULL | Kind.START | Kind.READY | Kind.FINISH:
                self._lifecycle.on_container(due, now_s=self.now_s)
            case Kind.STOP:
                self._lifecycle.on_stop(due, now_s=self.now_s)
            case Kind.NODE_FAIL | Kind.NODE_RECOVER:
                self._handle_node(due)

    def _handle_node(self, due: Due) -> None:
        run = due.node
        if run is None:
            return
        if due.kind is Kind.NODE_FAIL and due.epoch == run.failure_epoch:
            chance = generator_of("outage", self.seed, run.spec.name, run.n_failures)
            outage_s = chance.exponential(run.spec.traits.outage_s)
            self._fail(run, outage_s=self.physics.nodes.boot_s + outage_s)
        elif due.kind is Kind.NODE_RECOVER and due.epoch == run.epoch:
            self._columns.is_up[run.row] = True
            self._lifecycle.on_node_recover(run, now_s=self.now_s)
            self._draw_failure(run)

    def _fail(self, run: NodeRun, *, outage_s: float) -> None:
        if run.is_up:
            run.n_failures += 1
            run.failure_epoch += 1
            self._columns.is_up[run.row] = False
            self._lifecycle.on_node_fail(run, now_s=self.now_s)
        else:
            run.epoch += 1  # down already: the planned recovery is void
        self._timeline.push(
            self.now_s + outage_s, Due(Kind.NODE_RECOVER, node=run, epoch=run.epoch)
        )

    def _draw_failure(self, run: NodeRun) -> None:
        chance = generator_of("failure", self.seed, run.spec.name, run.n_failures)
        run.hazard_left = chance.standard_exponential()
        self._plan_failure(run)

    def _plan_failure(self, run: NodeRun) -> None:
        """Plan when the node will have run through the hazard that is left to it."""
        run.failure_epoch += 1
        run.hazard_at_s = self.now_s
        per_hour = run.spec.traits.fail_per_hour
        if per_hour > 0:
            wait_s = 3600.0 / per_hour * run.hazard_left
            due = Due(Kind.NODE_FAIL, node=run, epoch=run.failure_epoch)
            self._timeline.push(self.now_s + wait_s, due)

    def _spend_hazard(self, run: NodeRun) -> None:
        """Take off the hazard that the node has run through since its failure was planned."""
        if run.is_up:
            passed_h = (self.now_s - run.hazard_at_s) / 3600.0
            run.hazard_left -= run.spec.traits.fail_per_hour * passed_h

    def _plan_tick(self, now_s: float) -> None:
        # On the grid, whatever the start: ticks of two worlds fall together.
        tick_s = self.physics.tick_s
        self._lifecycle.next_tick_s = (math.floor(now_s / tick_s) + 1) * tick_s
        self._timeline.push(self._lifecycle.next_tick_s, Due(Kind.TICK))

    def _node(self, name: str) -> NodeRun:
        run = self._nodes.get(name)
        if run is None:
            raise WorldError(f"no node {name!r}")
        return run

    def _pod(self, uid: str) -> PodRun:
        run = self._lifecycle.pods.get(uid)
        if run is None:
            raise WorldError(f"no pod {uid!r}")
        return run
