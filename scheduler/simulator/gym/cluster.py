"""The simulated cluster by its shortest door: the same world and users, no API server, no JSON.

Time stands still while pods are placed, and moves from instant to instant otherwise, as in an
experiment: kubelets' ticks, users' wishes, hidden changes, the collector's looks. Whoever drives it
asks ``offer`` for the next pod and where it may go, and answers with ``bind`` or ``set_aside``;
when there is none, ``advance`` lets time pass.

It differs from the API server's door in this: pods have no objects, so nobody can write to them;
controllers know services and nothing else; a pod that no node would take is offered again as soon
as one would, without the wait that a scheduler imposes on itself; and nobody is preempted.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, assert_never

from kube.instants import parse_rfc3339
from scheduler.errors import ConfigError
from scheduler.events import Event, NodeSeen, NodesMeasured, PodGone, PodSeen
from scheduler.model import Usage, UsageWindow
from scheduler.plugins.learned.observation import NodeState
from scheduler.simulator import changes as ch
from scheduler.simulator.chance import key_of
from scheduler.simulator.experiments.layout import layout
from scheduler.simulator.experiments.rewards import Occupancy, PodMix
from scheduler.simulator.experiments.scenario import Drift, Scenario
from scheduler.simulator.experiments.wishes import Arrival, Deploy, RollOut, Wish, Wishes
from scheduler.simulator.experiments.workload import HiddenUsage
from scheduler.simulator.gym.measured import NodeMetrics
from scheduler.simulator.gym.nodes import Bools, Nodes, by_name
from scheduler.simulator.gym.pods import NOWHERE, LeanPod, Waiting
from scheduler.simulator.gym.services import Services
from scheduler.simulator.gym.templates import Template, Templates
from scheduler.simulator.runs import ContainerSpec, PodSpec
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.usage_traces import UsageLibrary
from scheduler.simulator.world import World

_CONTAINER: Final = "app"

Watcher = Callable[[Event], None]


class LeanCluster:
    """A scenario's cluster, drawn by a seed, at its beginning.

    Args:
        scenario: What to build.
        seed: Decides all chance.
        library: Recorded usage for the workloads to live through, if there is any.
        warm_up_s: When the measured time begins, in seconds from the start; drifts count from
            there.
        n_queues: To so many queues workloads are dealt, by a hash of their name, each for a
            scheduler of its own.

    Raises:
        ConfigError: The scenario asks for what is not kept here; the message says what.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        library: UsageLibrary | None = None,
        warm_up_s: float = 0.0,
        n_queues: int = 1,
    ) -> None:
        if scenario.recording is not None:
            raise ConfigError("the environment does not run recordings; use evaluate")
        if scenario.manifests:
            raise ConfigError("the environment has no objects and reads no manifests; use evaluate")
        if any(group.numa is not None for group in scenario.nodes):
            raise ConfigError("the environment's kubelets know no NUMA zones; use evaluate")
        self.scenario = scenario
        self.now_s = self.start_s = parse_rfc3339(scenario.start)
        self._physics = scenario.physics
        self._wishes = Wishes(scenario, seed=seed, start_s=self.start_s)
        self._usage = HiddenUsage(self._wishes.members, seed=seed, library=library)
        self._templates = Templates()
        for member in self._wishes.members:
            self._templates.of(member, version=1)
        drawn = layout(scenario, seed=seed)
        self.nodes = Nodes(drawn, law=scenario.physics.nodes, now_s=self.start_s)
        self.world = World(seed=seed, start_s=self.start_s, physics=scenario.physics)
        for spec in self.nodes.specs:
            self.world.add_node(spec)
        self._metrics = NodeMetrics(
            self.world, n_nodes=len(self.nodes), resolution_s=scenario.physics.metrics_resolution_s
        )
        self._node_state: NodeState | None = None
        """As observed, until usage is measured anew."""
        self._services = Services(create=self._create, delete=self._delete)
        self.queues = tuple(Waiting() for _ in range(n_queues))
        self._hopeless: set[Template] = set()
        """Those whose pods were found to fit nowhere since room was last given back."""
        self._has_room_back = False
        self._is_news = False
        self._pods: dict[str, LeanPod] = {}
        self._unreported: dict[int, list[ch.PodChange]] = {}
        """What happened on nodes that died before they could tell, by row."""
        self._n_pods = 0
        self._n_of: dict[str, int] = {}
        self._drifts: Timeline[Drift] = Timeline()
        for drift in scenario.drifts:
            self._drifts.push(self.start_s + warm_up_s + float(drift.at), drift)
        self._ended: Timeline[None] = Timeline()
        self._look_s = float(scenario.observation.collection_interval)
        self._next_look_s = self.start_s + self._look_s
        self._looked_at_s = self.start_s
        self.watchers: list[Watcher] = []
        """Are told what a scheduler's watches would say."""
        self.witnesses: list[Callable[[ch.Change], None]] = []
        """Are told what happens in the world, which no scheduler is."""

    # --- what is to be decided

    @property
    def n_pending(self) -> int:
        """How many pods wait for a node, those that were set aside included."""
        return sum(len(queue) for queue in self.queues)

    def offer(self, queue: int = 0) -> tuple[LeanPod, Bools] | None:
        """Name the next pod that has a node to go to, and where it may go, shape ``(n_nodes,)``.

        Args:
            queue: Of which queue.
        """
        waiting = self.queues[queue]
        while (pod := waiting.first()) is not None:
            if pod.template not in self._hopeless:
                feasible = self.nodes.feasible(pod.template)
                if feasible.any():
                    return pod, feasible
                self._hopeless.add(pod.template)
            waiting.set_aside(pod)
        return None

    def bind(self, pod: LeanPod, *, row: int) -> None:
        """Put a waiting pod on a node where it may go; its kubelet takes it in at once."""
        self._queue_of(pod).remove(pod)
        self.nodes.take(pod, row=row)
        self._tell_pod(pod)
        self._admit(pod)

    def set_aside(self, pod: LeanPod) -> None:
        """Pass a waiting pod over until room was given back, or usage was measured anew."""
        self._queue_of(pod).set_aside(pod)

    # --- time

    def next_s(self) -> float:
        """Tell when something may happen: at the kubelets' next tick, or before."""
        tick_s = float(self._physics.tick_s)
        next_tick_s = (math.floor(self.now_s / tick_s) + 1) * tick_s
        planned_s = min(self._wishes.next_at_s, self._drifts.next_at_s, self._ended.next_at_s)
        return max(self.now_s, min(next_tick_s, planned_s, self._next_look_s))

    def advance(self, until_s: float) -> None:
        """Let time pass until *until_s*, and everybody do what that calls for."""
        if self.now_s >= self._next_look_s:
            self._measure()
        self.now_s = until_s
        for change in self.world.advance(until_s):
            for witness in self.witnesses:
                witness(change)
            self._take_in(change)
        self._report_late()
        self._retry()
        self.nodes.beat(until_s)
        self._services.sync()
        self._watch_nodes()
        self._services.sync()
        for row in self.nodes.reports_due(until_s):
            self._report(row)
        self._retry()
        self._metrics.scrape(until_s)
        # Only now, as those who see a new pod know of the pods that have ended before.
        self._live()

    def _live(self) -> None:
        """Let users and fate do what they have to do now."""
        for wish in self._wishes.due(self.now_s):
            self._grant(wish)
        while (due := self._drifts.pop(self.now_s)) is not None:
            self._change(due[1])
        while self._ended.pop(self.now_s) is not None:
            pass  # a pod that ended is swept away, at an instant like any other
        self._services.sync()

    # --- how it stands

    def node_state(self) -> NodeState:
        """Say what a scheduler may know of the nodes, now; it changes as time passes."""
        if self._node_state is None:
            nodes = self.nodes
            self._node_state = NodeState(
                cpu_allocatable_milli=nodes.cpu_allocatable_milli,
                memory_allocatable_bytes=nodes.memory_allocatable_bytes,
                pods_allocatable=nodes.pods_allocatable,
                cpu_requested_milli=nodes.cpu_requested_milli,
                memory_requested_bytes=nodes.memory_requested_bytes,
                n_pods=nodes.n_pods,
                cpu_usage_milli=self._metrics.cpu_milli,
                memory_usage_bytes=self._metrics.memory_bytes,
            )
        self._node_state.restate(slice(None))
        return self._node_state

    def occupancy(self) -> Occupancy:
        """Say how the nodes truly stand."""
        nodes = self.nodes
        return Occupancy(
            cpu_allocatable_milli=nodes.cpu_allocatable_milli,
            memory_allocatable_bytes=nodes.memory_allocatable_bytes,
            pods_allocatable=nodes.pods_allocatable,
            cpu_requested_milli=nodes.cpu_requested_milli,
            memory_requested_bytes=nodes.memory_requested_bytes,
            n_pods=nodes.n_pods,
            cpu_usage_ratio=self.world.sample_nodes().cpu_milli / nodes.cpu_capacity_milli,
        )

    def events(self) -> Iterator[Event]:
        """Say how it stands, as the watches of a scheduler that starts now would."""
        for row in range(len(self.nodes)):
            yield NodeSeen(self.nodes.facts(row))
        for pod in self._pods.values():
            if pod.node != NOWHERE and not pod.is_over:
                yield PodSeen(pod.facts(node_name=self.nodes.names[pod.node]))
        yield self._measured()

    def pod_mix(self, *, for_s: float) -> PodMix | None:
        """Say what kinds of pods come within some seconds; ``None`` if none are described."""
        return self._wishes.pod_mix(for_s=for_s)

    # --- users and fate

    def _grant(self, wish: Wish) -> None:
        match wish:
            case Arrival(member, pods):
                template = self._templates.of(member, version=1)
                for name in pods:
                    self._add(name, template)
            case Deploy(member, replicas):
                template = self._templates.of(member, version=1)
                self._services.deploy(template, replicas=replicas)
            case RollOut(member, version):
                self._services.roll_out(self._templates.of(member, version=version))
            case _:
                assert_never(wish)

    def _change(self, drift: Drift) -> None:
        for row, group in enumerate(self.nodes.groups):
            nature = drift.nodes.get(group)
            if nature is not None:
                spec = self.nodes.specs[row]
                traits = nature.traits(
                    spec.name,
                    seed=self.world.seed,
                    cpu_milli=spec.cpu_milli,
                    memory_bytes=spec.memory_bytes,
                )
                self.world.set_traits(spec.name, traits)
        for name, workload in drift.workloads.items():
            self._usage.change(name, workload)
        for pod in self._pods.values() if drift.workloads else ():
            if self.world.has(pod.uid):
                profiles = {each.name: each.profile for each in self._containers(pod)}
                self.world.set_profiles(pod.uid, profiles)

    # --- pods

    def _create(self, template: Template) -> LeanPod:
        name = template.member.name
        number = self._n_of[name] = self._n_of.get(name, -1) + 1
        return self._add(f"{name}-v{template.number:03d}-{number:05d}", template)

    def _add(self, name: str, template: Template) -> LeanPod:
        pod = LeanPod(
            name=name,
            template=template,
            created_at_s=float(int(self.now_s)),
            number=self._n_pods,
        )
        self._n_pods += 1
        self._pods[pod.uid] = pod
        self._queue_of(pod).add(pod, now_s=self.now_s)
        return pod

    def _queue_of(self, pod: LeanPod) -> Waiting:
        if len(self.queues) == 1:
            return self.queues[0]
        return self.queues[key_of("dealt", pod.template.workload) % len(self.queues)]

    def _admit(self, pod: LeanPod) -> None:
        """Have the node's kubelet carry a pod out, if it lives."""
        if not self.nodes.is_up[pod.node]:
            return  # it will look at all pods when it is back
        pod.is_admitted = True
        template = pod.template
        self.world.place(
            PodSpec(
                uid=pod.uid,
                name=pod.uid,
                node=self.nodes.names[pod.node],
                containers=self._containers(pod),
                restart_policy=template.restart_policy,
                qos=template.qos,
            )
        )

    def _containers(self, pod: LeanPod) -> tuple[ContainerSpec, ...]:
        template = pod.template
        member = template.member
        profile = self._usage.profile(
            pod=pod.uid,
            workload=template.workload,
            container=f"{_CONTAINER}/{template.image}",
            cpu_request_milli=member.cpu_request_milli,
            memory_request_bytes=member.memory_request_bytes,
        )
        container = ContainerSpec(
            name=_CONTAINER,
            image=template.image,
            profile=profile,
            cpu_request_milli=member.cpu_request_milli,
            cpu_limit_milli=member.cpu_limit_milli,
            memory_request_bytes=member.memory_request_bytes,
            memory_limit_bytes=member.memory_limit_bytes,
        )
        return (container,)

    def _delete(self, pod: LeanPod) -> None:
        """Ask a pod to go."""
        pod.is_stopping = True
        if pod.node == NOWHERE:
            self._queue_of(pod).remove(pod)
            self._forget(pod)
            return
        self._tell_pod(pod)
        if self.nodes.is_up[pod.node]:
            self._stop(pod)

    def _stop(self, pod: LeanPod) -> None:
        if self.world.has(pod.uid):
            self.world.stop(pod.uid, grace_s=pod.template.grace_s)
        else:
            self._end(pod)

    def _end(self, pod: LeanPod) -> None:
        """Take in that a pod has finished, was evicted or is gone."""
        if pod.is_over:
            return
        self.nodes.release(pod)
        self._has_room_back = True
        if pod.has_begun or not pod.is_stopping:
            self._ended.push(self.now_s + float(self.scenario.keep_ended_pods), None)
        self._forget(pod)
        self._services.note(pod)

    def _forget(self, pod: LeanPod) -> None:
        pod.is_over = True
        del self._pods[pod.uid]
        for watcher in self.watchers:
            watcher(PodGone(pod.uid, pod.uid))

    def _tell_pod(self, pod: LeanPod) -> None:
        if self.watchers:
            seen = PodSeen(pod.facts(node_name=self.nodes.names[pod.node]))
            for watcher in self.watchers:
                watcher(seen)

    def _retry(self) -> None:
        """Let pods that were set aside queue again, if something has changed for them."""
        if not (self._has_room_back or self._is_news):
            return
        self._hopeless.clear()
        may_fit: dict[Template, bool] = {}
        for queue in self.queues:
            chosen = []
            for pod in queue.aside:
                template = pod.template
                if template not in may_fit:
                    may_fit[template] = bool(self.nodes.feasible(template).any())
                if may_fit[template]:
                    chosen.append(pod)
            queue.take_back(chosen, now_s=self.now_s)
        self._has_room_back = self._is_news = False

    # --- what happens in the world

    def _take_in(self, change: ch.Change) -> None:
        match change:
            case ch.NodePressureChanged(node=name, has_memory_pressure=is_short):
                row = self.nodes.rows[name]
                self.nodes.set_pressure(row, has_pressure=is_short)
                if self.nodes.is_up[row]:
                    self._report(row)
            case ch.NodeFailed(node=name):
                self.nodes.fail(self.nodes.rows[name])
            case ch.NodeRecovered(node=name):
                self._recover(self.nodes.rows[name])
            case _:
                self._take_in_pod(change)

    def _take_in_pod(self, change: ch.PodChange) -> None:
        pod = self._pods.get(change.pod)
        if pod is None or isinstance(change, _NOT_SEEN):
            return
        if isinstance(change, ch.PodStopped):
            self._end(pod)
        elif self.world.is_up(self.nodes.names[pod.node]):
            self._show(pod, change)
        else:
            self._unreported.setdefault(pod.node, []).append(change)

    def _show(self, pod: LeanPod, change: ch.PodChange) -> None:
        """Take in what a kubelet reports of a pod."""
        match change:
            case ch.ContainerStarted(restart_count=restart_count):
                pod.has_begun, pod.restarts = True, restart_count
                pod.is_ready = False
            case ch.ContainerReady():
                pod.is_ready, pod.ready_since_s = True, float(int(self.now_s))
            case ch.PodFinished() | ch.PodEvicted():
                self._end(pod)
                return
            case _:
                pod.is_ready = False
        self._services.note(pod)

    def _report_late(self) -> None:
        """Let nodes that are back report what happened before they died."""
        for row in [row for row in self._unreported if self.nodes.is_up[row]]:
            for change in self._unreported.pop(row):
                pod = self._pods.get(change.pod)
                if pod is not None:
                    self._show(pod, change)

    def _recover(self, row: int) -> None:
        """Take in that a node is back: its kubelet looks at all its pods."""
        self.nodes.recover(row, now_s=self.now_s)
        self._report(row)
        for pod in by_name(self.nodes.pods[row]):
            if pod.is_stopping:
                self._stop(pod)
            elif not pod.is_admitted:
                self._admit(pod)

    def _watch_nodes(self) -> None:
        """Do what the node lifecycle controller does every few seconds."""
        now_s = self.now_s
        if not self.nodes.is_time_to_monitor(now_s):
            return
        for row in self.nodes.give_up(now_s):
            self._tell_node(row)
            for pod in self.nodes.pods[row]:
                pod.is_ready = False
                self._services.note(pod)
        for pod in self.nodes.out_of_patience(now_s):
            self._delete(pod)
            self._services.note(pod)

    def _report(self, row: int) -> None:
        """Let a node write its status."""
        images = self.world.images(self.nodes.names[row])
        self.nodes.report(row, images=images, now_s=self.now_s)
        self._has_room_back = True
        self._tell_node(row)

    def _tell_node(self, row: int) -> None:
        if self.watchers:
            seen = NodeSeen(self.nodes.facts(row))
            for watcher in self.watchers:
                watcher(seen)

    # --- what is measured

    def _measure(self) -> None:
        self._looked_at_s, self._next_look_s = self.now_s, self.now_s + self._look_s
        self._metrics.look(self.now_s)
        self._node_state = None
        self._is_news = True
        if self.watchers:
            measured = self._measured()
            for watcher in self.watchers:
                watcher(measured)

    def _measured(self) -> NodesMeasured:
        cpu, memory = self._metrics.cpu_milli, self._metrics.memory_bytes
        usage = {
            name: Usage(int(cpu[row]), int(memory[row]))
            for row, name in enumerate(self.nodes.names)
            if not math.isnan(cpu[row])
        }
        at_s = self._looked_at_s
        return NodesMeasured(
            usage, {name: UsageWindow(each, None, at_s, at_s) for name, each in usage.items()}
        )


_NOT_SEEN: Final = (ch.SandboxReady, ch.ImagePullStarted, ch.ImagePulled, ch.ImagePullFailed)
"""What changes nothing that is followed here."""
