"""The simulated cluster whole: world, kubelets, controllers and metrics round one store.

    cluster = Cluster(store, seed=0)
    for spec in draw_nodes(5, seed=0):
        cluster.add_node(spec)
    cluster.step(now_s)  # again and again, as time passes

A node object that a client writes stays what the client wrote: nobody runs there, nothing changes
it. With the annotation ``simulator.ai-scheduler/kubelet: "true"`` it gets a kubelet: hidden traits
are drawn for it, and it is taken to have the capacity that its status names.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from kube.quantity import QuantityError, parse_milli, parse_whole
from scheduler.simulator import changes as ch
from scheduler.simulator.controllers.deployments import DeploymentController
from scheduler.simulator.controllers.disruption import DisruptionController
from scheduler.simulator.controllers.ephemeral_volumes import EphemeralVolumeController
from scheduler.simulator.controllers.garbage import OwnerGarbageCollector, PodGarbageCollector
from scheduler.simulator.controllers.nodes import NodeLifecycleController
from scheduler.simulator.controllers.ownership import Ownership
from scheduler.simulator.controllers.replicasets import ReplicaSetController
from scheduler.simulator.controllers.volume_protection import VolumeProtectionController
from scheduler.simulator.controllers.volumes import VolumeController
from scheduler.simulator.hardware import NodeSpec, NodeTraits, draw_node, make_node
from scheduler.simulator.kubelet.addresses import Addresses
from scheduler.simulator.kubelet.agents import TopologyAgents
from scheduler.simulator.kubelet.announcements import Announcer
from scheduler.simulator.kubelet.nodes import NodeKubelets
from scheduler.simulator.kubelet.pods import PodKubelets
from scheduler.simulator.metrics import MetricsServer
from scheduler.simulator.parameters import USUAL, Physics
from scheduler.simulator.recorder import Recorder
from scheduler.simulator.resources import NODES, Object
from scheduler.simulator.store import Change, Store
from scheduler.simulator.usage import DrawnUsage, UsageModel
from scheduler.simulator.world import World

KUBELET_ANNOTATION: Final = "simulator.ai-scheduler/kubelet"
MAX_ROUNDS: Final = 20
"""Controllers answer each other within one step, but a quarrel of two must not stop the world."""


class Cluster:
    """Everything that acts in the simulated cluster, except the scheduler.

    Args:
        store: The cluster's objects; its clock is the cluster's.
        seed: Decides all chance.
        physics: The world's constants.
        usage: Knows what pods truly use; if left out, that is drawn from their workloads' names.
    """

    def __init__(
        self,
        store: Store,
        *,
        seed: int,
        physics: Physics = USUAL,
        usage: UsageModel | None = None,
    ) -> None:
        self._store = store
        self._seed = seed
        self._physics = physics
        self.world = World(seed=seed, start_s=store.now_s(), physics=physics)
        self._specs: dict[str, NodeSpec] = {}
        self._witnesses: list[Callable[[ch.Change], None]] = []
        self._appeared: dict[str, None] = {}
        self._vanished: dict[str, None] = {}
        self._recorder = Recorder(store)
        addresses = Addresses()
        announcer = Announcer(self._recorder)
        self._nodes = NodeKubelets(
            store, world=self.world, addresses=addresses, announcer=announcer
        )
        self._pods = PodKubelets(
            store,
            world=self.world,
            nodes=self._specs,
            usage=usage or DrawnUsage(seed=seed),
            addresses=addresses,
            announcer=announcer,
        )
        self._agents = TopologyAgents(store, world=self.world, nodes=self._specs, pods=self._pods)
        owners = Ownership(store)
        self._controllers = (
            DeploymentController(store, owners=owners, recorder=self._recorder),
            ReplicaSetController(store, owners=owners, recorder=self._recorder),
            NodeLifecycleController(
                store, with_kubelet=self._specs, recorder=self._recorder, physics=physics.nodes
            ),
            OwnerGarbageCollector(store, owners=owners),
            PodGarbageCollector(store),
            DisruptionController(store),
            EphemeralVolumeController(store, recorder=self._recorder),
            VolumeController(store, recorder=self._recorder),
            VolumeProtectionController(store),
        )
        self.metrics = MetricsServer(
            self.world, store=store, resolution_s=physics.metrics_resolution_s
        )
        store.on_change(self._observe)

    def add_node(self, spec: NodeSpec) -> None:
        """Switch on a node and its kubelet, which registers it."""
        now_s = self._store.now_s()
        self.world.add_node(spec)
        self._specs[spec.name] = spec
        self._nodes.add(spec, now_s=now_s)
        self._agents.add(spec, now_s=now_s)
        self._pods.resync(spec.name)

    def set_node_traits(self, name: str, traits: NodeTraits) -> None:
        """Change what a node hides, as when a disk wears out; it holds from now on.

        Raises:
            WorldError: There is no such node.
        """
        self.world.set_traits(name, traits)
        self._specs[name] = replace(self._specs[name], traits=traits)

    def refresh_usage(self) -> None:
        """Ask the usage model anew for every pod on a node, as when users change their habits.

        Running containers go on from what they use now; nothing restarts.
        """
        self._pods.refresh_usage()

    @property
    def node_specs(self) -> Mapping[str, NodeSpec]:
        """The nodes that have a kubelet, by name; look up only."""
        return self._specs

    def on_world_change(self, witness: Callable[[ch.Change], None]) -> None:
        """Have *witness* told what happens in the world, as no client of the cluster is."""
        self._witnesses.append(witness)

    def step(self, now_s: float) -> None:
        """Let time pass until *now_s*, and everybody do what that calls for."""
        self._follow_nodes()
        self._pods.sync(now_s)
        self._apply(self.world.advance(max(now_s, self.world.now_s)), now_s=now_s)
        self._nodes.beat(now_s)
        for _ in range(MAX_ROUNDS):
            was_busy = [controller.sync(now_s) for controller in self._controllers]
            if not (any(was_busy) | self._pods.sync(now_s)):
                break
        self._agents.sync(now_s)
        self._recorder.expire()
        self.metrics.sync(now_s)

    # --- details

    def _apply(self, changes: Iterable[ch.Change], *, now_s: float) -> None:
        of_pods: list[ch.PodChange] = []
        for change in changes:
            for witness in self._witnesses:
                witness(change)
            match change:
                case ch.NodePressureChanged(node=node, has_memory_pressure=is_short):
                    self._nodes.set_pressure(node, has_memory_pressure=is_short, now_s=now_s)
                case ch.NodeFailed():
                    pass  # nobody is told; the heartbeats stop
                case ch.NodeRecovered(node=node):
                    self._nodes.recover(node, now_s=now_s)
                    self._pods.resync(node)
                case _:
                    of_pods.append(change)
        self._pods.apply(of_pods, now_s=now_s)

    def _observe(self, change: Change) -> None:
        if change.resource is not NODES:
            return
        meta = change.new["metadata"]
        if change.type == "DELETED":
            self._vanished[meta["name"]] = None
        elif (meta.get("annotations") or {}).get(KUBELET_ANNOTATION) == "true":
            self._appeared[meta["name"]] = None

    def _follow_nodes(self) -> None:
        """Stop the kubelets of deleted nodes, start those that clients ask for."""
        vanished, self._vanished = self._vanished, {}
        for name in vanished:
            if name in self._specs and self._store.find(NODES, None, name) is None:
                self._pods.drop_node(name)
                self._nodes.drop(name)
                self._agents.drop(name)
                self.world.remove_node(name)
                del self._specs[name]
        appeared, self._appeared = self._appeared, {}
        for name in appeared:
            node = self._store.find(NODES, None, name)
            if node is not None and name not in self._specs:
                self.add_node(self._spec_of(node))

    def _spec_of(self, node: Object) -> NodeSpec:
        drawn = draw_node(node["metadata"]["name"], seed=self._seed)
        capacity = node["status"].get("capacity") or {}
        spec = make_node(
            drawn.name,
            cpu_milli=_amount(capacity, "cpu", default=drawn.cpu_milli),
            memory_bytes=_amount(capacity, "memory", default=drawn.memory_bytes),
            traits=drawn.traits,
            nodes=self._physics.nodes,
        )
        return replace(spec, max_pods=_amount(capacity, "pods", default=spec.max_pods))


def _amount(quantities: Object, resource: str, *, default: int) -> int:
    if resource not in quantities:
        return default
    text = str(quantities[resource])
    try:
        amount = parse_milli(text) if resource == "cpu" else parse_whole(text)
    except QuantityError:
        return default
    return amount if amount > 0 else default
