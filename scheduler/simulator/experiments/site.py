"""A cluster under experiment: the simulated one with its users and its hidden changes.

All that belongs to it can be copied (``copy.deepcopy``), so that several policies go on from one
past. Policies come to it by the door alone: they are told the objects that were written (``news``)
and write through ``client``.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from kube.instants import parse_rfc3339
from scheduler.simulator.apiserver.dispatch import Dispatcher
from scheduler.simulator.apiserver.settings import ApiServerSettings
from scheduler.simulator.cluster import Cluster
from scheduler.simulator.controllers.pods import is_over
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.door import LocalClient
from scheduler.simulator.experiments.layout import layout
from scheduler.simulator.experiments.recorded import (
    RecordedPods,
    RecordedUsage,
    Replay,
    node_spec_of,
)
from scheduler.simulator.experiments.scenario import Drift, Recording, Scenario, Taint
from scheduler.simulator.experiments.users import Users
from scheduler.simulator.experiments.workload import HiddenUsage
from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.manifests import load_manifests
from scheduler.simulator.resources import NODES, PODS
from scheduler.simulator.store import Change, Store
from scheduler.simulator.timeline import Timeline
from scheduler.simulator.usage import UsageModel
from scheduler.simulator.usage_traces import UsageLibrary


class Clock:
    """The time of a site; an object, so that a copy of the site has its own."""

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s

    def now_s(self) -> float:
        """Tell the time, Unix seconds."""
        return self.at_s


class Feed:
    """Keeps what was written until somebody takes it."""

    def __init__(self) -> None:
        self._changes: list[Change] = []

    def put(self, change: Change) -> None:
        """Note a change."""
        self._changes.append(change)

    def take(self) -> list[Change]:
        """Hand over all changes, in order."""
        changes, self._changes = self._changes, []
        return changes


class Site:
    """A scenario's cluster, drawn by a seed, at its beginning.

    Args:
        scenario: What to build.
        seed: Decides all chance.
        library: Recorded usage for the workloads to live through, if there is any.
        version: What the store counts versions from.

    Raises:
        SettingsError: A manifest cannot be read, or is refused.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        library: UsageLibrary | None = None,
        version: int = 0,
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.start_s = parse_rfc3339(scenario.start)
        self.measured_from_s = self.start_s + float(scenario.warm_up)
        self.end_s = self.measured_from_s + float(scenario.measured)
        self.clock = Clock(self.start_s)
        # Nobody watches over HTTP, so no past need be kept to resume from.
        self.store = Store(now_s=self.clock.now_s, seed=seed, log_size=100, version=version)
        for resource, obj in bootstrap_objects():
            self.store.create(resource, obj)
        self.users = Users(scenario, seed=seed, start_s=self.start_s)
        self.usage = HiddenUsage(self.users.members, seed=seed, library=library)
        self._replay: Replay | None = None
        usage: UsageModel = self.usage
        if scenario.recording is not None:
            recorded = self._recorded_pods(scenario.recording)
            self._replay = Replay(recorded)
            usage = RecordedUsage(
                recorded,
                recording=scenario.recording,
                seed=seed,
                others=self.usage,
                library=library,
            )
        self.cluster = Cluster(self.store, seed=seed, physics=scenario.physics, usage=usage)
        self.feed = Feed()
        self.store.on_change(self.feed.put)
        dispatcher = Dispatcher(
            self.store, settings=ApiServerSettings(), metrics_source=self.cluster.metrics
        )
        load_manifests(map(Path, scenario.manifests), dispatcher=dispatcher)
        self.client = LocalClient(dispatcher, now_s=self.clock.now_s)
        self._groups: dict[str, list[NodeSpec]] = {}
        self._add_nodes()
        if scenario.recording is not None:
            self._add_recorded_nodes(scenario.recording)
        self._drifts: Timeline[Drift] = Timeline()
        for drift in scenario.drifts:
            self._drifts.push(self.measured_from_s + float(drift.at), drift)
        self._ended: Timeline[tuple[str, str]] = Timeline()
        self.store.on_change(self._note_ended)

    @property
    def now_s(self) -> float:
        """The time, Unix seconds."""
        return self.clock.at_s

    @property
    def next_at_s(self) -> float:
        """When something is to happen that the world does not know of yet."""
        replay_s = math.inf if self._replay is None else self._replay.next_at_s
        return min(self.users.next_at_s, replay_s, self._drifts.next_at_s, self._ended.next_at_s)

    def copy(self) -> "Site":
        """Copy it, with all that it will ever do."""
        return copy.deepcopy(self)

    def step(self, until_s: float) -> None:
        """Let time pass until *until_s*, and users and fate do what they have to do then."""
        self.clock.at_s = until_s
        if self.next_at_s <= until_s:
            # So that whoever is told of a new pod was told before of those that have ended.
            self.cluster.step(until_s)
        self.users.act(self.client)
        if self._replay is not None:
            self._replay.act(self.client)
        while (due := self._drifts.pop(until_s)) is not None:
            self._change(due[1])
        while (ended := self._ended.pop(until_s)) is not None:
            self._sweep(*ended[1])
        self.cluster.step(until_s)

    # --- details

    def _add_nodes(self) -> None:
        """Switch on the nodes that the scenario describes."""
        for spec, group in layout(self.scenario, seed=self.seed):
            self._groups.setdefault(group.name, []).append(spec)
            self.cluster.add_node(spec)
            self._show(spec.name, labels=group.labels, taints=group.taints)
            self._advertise(spec.name, group.extended_resources)

    def _recorded_pods(self, recording: Recording) -> RecordedPods:
        return RecordedPods(
            recording.load().pods,
            from_s=self.start_s if recording.from_s is None else recording.from_s,
            start_s=self.start_s,
            end_s=self.end_s,
        )

    def _add_recorded_nodes(self, recording: Recording) -> None:
        """Switch recorded nodes on, under their own names."""
        for row in recording.load().nodes:
            traits = recording.node_nature.traits(
                row.name, seed=self.seed, cpu_milli=row.cpu_milli, memory_bytes=row.memory_bytes
            )
            self.cluster.add_node(
                node_spec_of(row, traits=traits, nodes=self.scenario.physics.nodes)
            )
            taints = [Taint(key=k, value=v, effect=effect) for k, v, effect in row.taint_list]
            self._show(row.name, labels=row.label_map, taints=taints)

    def _show(self, name: str, *, labels: Mapping[str, str], taints: Sequence[Taint]) -> None:
        """Put labels and taints on a node object."""
        if not labels and not taints:
            return
        node = self.store.get(NODES, None, name)
        meta = node["metadata"]
        all_labels = {**(meta.get("labels") or {}), **labels}
        written = [
            {"key": t.key, "effect": t.effect, **({"value": t.value} if t.value else {})}
            for t in taints
        ]
        spec = {**node["spec"], "taints": [*(node["spec"].get("taints") or ()), *written]}
        self.store.update(NODES, {**node, "metadata": {**meta, "labels": all_labels}, "spec": spec})

    def _advertise(self, name: str, amounts: Mapping[str, int]) -> None:
        """Write on a node object what it has beside what its kubelet knows of."""
        if not amounts:
            return
        node = self.store.get(NODES, None, name)
        more = {resource: str(amount) for resource, amount in amounts.items()}
        status = node["status"]
        both = {key: {**status[key], **more} for key in ("capacity", "allocatable")}
        self.store.update(NODES, {**node, "status": {**status, **both}})

    def _change(self, drift: Drift) -> None:
        for group, nature in drift.nodes.items():
            for spec in self._groups[group]:
                traits = nature.traits(
                    spec.name,
                    seed=self.seed,
                    cpu_milli=spec.cpu_milli,
                    memory_bytes=spec.memory_bytes,
                )
                self.cluster.set_node_traits(spec.name, traits)
        for name, workload in drift.workloads.items():
            self.usage.change(name, workload)
        if drift.workloads:
            self.cluster.refresh_usage()

    def _note_ended(self, change: Change) -> None:
        if change.resource is not PODS or change.type == "DELETED":
            return
        if not is_over(change.new) or (change.old is not None and is_over(change.old)):
            return
        meta = change.new["metadata"]
        due_s = self.now_s + float(self.scenario.keep_ended_pods)
        self._ended.push(due_s, (meta["namespace"], meta["name"]))

    def _sweep(self, namespace: str, name: str) -> None:
        pod = self.store.find(PODS, namespace, name)
        if pod is not None and is_over(pod):
            self.store.delete(PODS, namespace, name, grace_period_s=0)
