"""The nodes: what is requested of each, and what is said of its health.

A node that dies is believed to be well until its heartbeats have been missing for a while; then it
is tainted, and after the minutes that pods tolerate that, they are driven away: as the node
lifecycle controller of the simulated cluster does, with the same constants.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU, MEMORY
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import PASSED
from scheduler.model import PODS, NodeFacts, PodFacts, Taint
from scheduler.plugins.node_affinity import NodeAffinity, NodeAffinityArgs
from scheduler.plugins.taints import TaintToleration
from scheduler.simulator.chance import key_of
from scheduler.simulator.experiments.scenario import NodeGroup
from scheduler.simulator.gym.pods import LeanPod
from scheduler.simulator.gym.templates import PRESSURE_TAINT, UNREACHABLE_TAINTS, Template
from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.kubelet.nodes import node_labels
from scheduler.simulator.parameters import NodePhysics
from scheduler.simulator.physics import Floats

Bools = NDArray[np.bool_]


class Nodes:
    """All nodes, one row each, in the order in which they were switched on.

    Args:
        drawn: The nodes with their groups.
        law: How kubelets report, and how long they may be silent.
        now_s: When they are switched on, Unix seconds.
    """

    def __init__(
        self, drawn: Sequence[tuple[NodeSpec, NodeGroup]], *, law: NodePhysics, now_s: float
    ) -> None:
        self.specs = tuple(spec for spec, _ in drawn)
        self.names = tuple(spec.name for spec in self.specs)
        self.rows = {name: row for row, name in enumerate(self.names)}
        self.groups = tuple(group.name for _, group in drawn)
        self._law = law
        self._facts = [
            _facts_of(spec, group=group, index=index) for index, (spec, group) in enumerate(drawn)
        ]
        self._empty = Snapshot()
        """The nodes without pods, for the scheduler's plugins."""
        for facts in self._facts:
            self._empty.set_node(facts)
        n = len(drawn)
        self.cpu_capacity_milli = np.array([float(spec.cpu_milli) for spec in self.specs])
        self.cpu_allocatable_milli = self._allocatable(CPU)
        self.memory_allocatable_bytes = self._allocatable(MEMORY)
        self.pods_allocatable = self._allocatable(PODS)
        self.cpu_requested_milli = np.zeros(n)
        """Of all pods that have a node and are not over; so are the next two."""
        self.memory_requested_bytes = np.zeros(n)
        self.n_pods = np.zeros(n)
        self.pods: tuple[dict[LeanPod, None], ...] = tuple({} for _ in drawn)
        self.is_up = np.ones(n, dtype=np.bool_)
        """In truth."""
        self.is_reachable = np.ones(n, dtype=np.bool_)
        """As the cluster believes."""
        self._has_pressure = np.zeros(n, dtype=np.bool_)
        self._images: list[dict[str, int]] = [{} for _ in drawn]
        self._static: dict[str, Bools] = {}
        """Where labels and taints let a workload's pods go, whichever version."""
        self._seen_at_s = np.full(n, now_s)
        wait_s = law.heartbeat_s
        spread = [wait_s * (key_of("lease", name) % 1000 + 1) / 1000 for name in self.names]
        self._renew_at_s = now_s + np.array(spread)
        self._report_at_s = np.full(n, now_s + law.status_s)
        self._next_report_s = now_s + law.status_s
        """When the first of them is due, at the latest."""
        self._unreachable_since_s = np.full(n, np.nan)
        self._monitor_at_s = 0.0

    def __len__(self) -> int:
        return len(self.names)

    # --- pods

    def take(self, pod: LeanPod, *, row: int) -> None:
        """Count a pod on a node."""
        pod.node = row
        self.pods[row][pod] = None
        self._count(pod, sign=1)

    def release(self, pod: LeanPod) -> None:
        """Give back what a pod requested."""
        del self.pods[pod.node][pod]
        self._count(pod, sign=-1)

    def feasible(self, template: Template) -> Bools:
        """Tell where a pod fits and may go; shape ``(n_nodes,)``."""
        free_cpu = self.cpu_allocatable_milli - self.cpu_requested_milli
        free_memory = self.memory_allocatable_bytes - self.memory_requested_bytes
        found: Bools = (free_cpu >= template.cpu_request_milli) & self._may_go(template)
        found &= free_memory >= template.memory_request_bytes
        found &= self.n_pods < self.pods_allocatable
        return found

    # --- what is said of nodes

    def facts(self, row: int) -> NodeFacts:
        """Say what a scheduler reads of a node."""
        told = self._facts[row]
        taints = told.taints
        if not self.is_reachable[row]:
            taints += UNREACHABLE_TAINTS
        elif self._has_pressure[row]:
            taints += (PRESSURE_TAINT,)
        return NodeFacts(
            name=told.name,
            allocatable=told.allocatable,
            labels=told.labels,
            taints=taints,
            images=self._images[row],
        )

    def fail(self, row: int) -> None:
        """Take in that a node has died, which nobody is told."""
        self.is_up[row] = False

    def recover(self, row: int, *, now_s: float) -> None:
        """Take in that a node is back, and says so."""
        self.is_up[row] = self.is_reachable[row] = True
        self._unreachable_since_s[row] = np.nan
        self._renew(np.array([row]), now_s=now_s)

    def set_pressure(self, row: int, *, has_pressure: bool) -> None:
        """Take in that memory is short on a node, or no longer."""
        self._has_pressure[row] = has_pressure

    def beat(self, now_s: float) -> None:
        """Let the nodes that are up send the heartbeats that are due."""
        due = self.is_up & (self._renew_at_s <= now_s)
        if due.any():
            self._renew(np.flatnonzero(due), now_s=now_s)

    def reports_due(self, now_s: float) -> list[int]:
        """Name the nodes that are to write their status, which they do every few minutes."""
        if now_s < self._next_report_s:
            return []
        due = np.flatnonzero(self.is_up & (self._report_at_s <= now_s)).tolist()
        self._next_report_s = now_s + self._law.status_s
        later = self._report_at_s[self._report_at_s > now_s]
        if later.size:
            self._next_report_s = min(self._next_report_s, float(later.min()))
        return due

    def report(self, row: int, *, images: dict[str, int], now_s: float) -> None:
        """Let a node write its status."""
        self._report_at_s[row] = now_s + self._law.status_s
        self._images[row] = images

    def is_time_to_monitor(self, now_s: float) -> bool:
        """Tell whether silent nodes are looked for now; if so, when again is settled."""
        if now_s < self._monitor_at_s:
            return False
        self._monitor_at_s = now_s + self._law.monitor_s
        return True

    def give_up(self, now_s: float) -> list[int]:
        """Take nodes for unreachable that have been silent for too long; name them."""
        silent = self.is_reachable & (now_s - self._seen_at_s > self._law.grace_s)
        if not silent.any():
            return []
        self.is_reachable[silent] = False
        self._unreachable_since_s[silent] = now_s
        return np.flatnonzero(silent).tolist()

    def out_of_patience(self, now_s: float) -> list[LeanPod]:
        """Name the pods that have stayed on unreachable nodes for as long as they tolerate it."""
        if self.is_reachable.all():
            return []
        found = [
            pod
            for row in np.flatnonzero(~self.is_reachable).tolist()
            for pod in self.pods[row]
            if pod.is_active
            and pod.template.stay_s is not None
            and now_s >= self._unreachable_since_s[row] + pod.template.stay_s
        ]
        return sorted(found, key=lambda pod: pod.name)

    # --- details

    def _allocatable(self, resource: str) -> Floats:
        return np.array([float(facts.allocatable[resource]) for facts in self._facts])

    def _count(self, pod: LeanPod, *, sign: int) -> None:
        row = pod.node
        self.cpu_requested_milli[row] += sign * pod.template.cpu_request_milli
        self.memory_requested_bytes[row] += sign * pod.template.memory_request_bytes
        self.n_pods[row] += sign

    def _renew(self, rows: NDArray[np.intp], *, now_s: float) -> None:
        wait_s = self._law.heartbeat_s
        due_s = self._renew_at_s[rows]
        missed = np.maximum(0.0, now_s - due_s) // wait_s
        self._renew_at_s[rows] = due_s + wait_s * (missed + 1)
        self._seen_at_s[rows] = now_s

    def _may_go(self, template: Template) -> Bools:
        """Where selector, affinity and taints let a pod go."""
        found = self._static.get(template.workload)
        if found is None:
            found = self._static[template.workload] = self._filtered(template.facts)
        if not template.tolerates_unreachable:
            found = found & self.is_reachable
        if not template.tolerates_pressure:
            found = found & ~(self._has_pressure & self.is_reachable)
        return found

    def _filtered(self, pod: PodFacts) -> Bools:
        """Ask the scheduler's own plugins about labels and taints, which never change here."""
        snapshot = self._empty
        found = np.ones(len(self), dtype=np.bool_)
        state, affinity = CycleState(), NodeAffinity(NodeAffinityArgs())
        narrowed = affinity.pre_filter(state, pod=pod, snapshot=snapshot)
        if narrowed.node_names is not None:
            found &= np.array([name in narrowed.node_names for name in self.names])
        if not (narrowed.status.is_success or narrowed.status.is_skip):
            return np.zeros(len(self), dtype=np.bool_)
        for plugin in (affinity, TaintToleration(PluginArgs())):
            verdicts = plugin.filter(state, pod=pod, snapshot=snapshot)
            if verdicts is not None:
                found &= verdicts.codes == PASSED
        return found


def _facts_of(spec: NodeSpec, *, group: NodeGroup, index: int) -> NodeFacts:
    return NodeFacts(
        name=spec.name,
        allocatable={
            CPU: spec.allocatable_cpu_milli,
            MEMORY: spec.allocatable_memory_bytes // 1024 * 1024,  # told in whole kibibytes
            PODS: spec.max_pods,
        },
        labels={**node_labels(spec, index=index), **group.labels},
        taints=tuple(Taint(taint.key, taint.value, taint.effect) for taint in group.taints),
    )


def by_name(pods: Iterable[LeanPod]) -> list[LeanPod]:
    """Order pods as lists of the API server do."""
    return sorted(pods, key=lambda pod: pod.name)
