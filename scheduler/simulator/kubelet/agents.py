"""The agents that tell schedulers what the NUMA zones of their nodes have left.

They stand for NFD's topology-updater and the resource topology exporter (RTE): each asks its
kubelet now and then, and writes a ``NodeResourceTopology``, once that kind is served. Pods are
fingerprinted as RTE does it by default: those that have something to themselves.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kube.quantity import CPU
from scheduler.model import PodFacts
from scheduler.plugins.numa.fingerprint import fingerprint
from scheduler.simulator.apiserver.custom import resources_of
from scheduler.simulator.chance import key_of
from scheduler.simulator.hardware import NodeSpec, Numa
from scheduler.simulator.kubelet.admission import advertised
from scheduler.simulator.kubelet.pods import PodKubelets
from scheduler.simulator.kubelet.record import PodRecord
from scheduler.simulator.kubelet.zones import CORE_MILLI, Zones
from scheduler.simulator.resources import CUSTOM_RESOURCE_DEFINITIONS, NODES, Object, Resource
from scheduler.simulator.store import Store
from scheduler.simulator.world import World

DEFINITION: Final = "noderesourcetopologies.topology.node.k8s.io"
_VERSION: Final = "v1alpha2"
_METHOD: Final = "with-exclusive-resources"
_LOCAL_COST: Final = 10
"""What it costs a zone to reach itself, and the others, where firmware tells nothing: Linux'
``LOCAL_DISTANCE`` and ``REMOTE_DISTANCE``."""
_REMOTE_COST: Final = 20


class TopologyAgents:
    """The agents of all nodes that have zones.

    Args:
        store: Where they write.
        world: Where they run: nowhere while a node is down.
        nodes: The nodes that have a kubelet, by name; the caller keeps it current.
        pods: What the kubelets know.
    """

    def __init__(
        self, store: Store, *, world: World, nodes: Mapping[str, NodeSpec], pods: PodKubelets
    ) -> None:
        self._store = store
        self._world = world
        self._nodes = nodes
        self._pods = pods
        self._period_s = world.physics.nodes.topology_s
        self._due_s: dict[str, float] = {}
        self._definition: Object | None = None
        self._resource: Resource | None = None

    def add(self, spec: NodeSpec, *, now_s: float) -> None:
        """Start an agent, if there is anything for it to do."""
        if spec.numa is not None:
            self._due_s[spec.name] = now_s

    def drop(self, name: str) -> None:
        """Stop an agent; what it said goes with the node."""
        self._due_s.pop(name, None)

    def sync(self, now_s: float) -> None:
        """Have those report whose time has come."""
        due = [name for name, due_s in self._due_s.items() if due_s <= now_s]
        resource = self._served() if due else None
        if resource is None:
            return
        for name in due:
            self._due_s[name] = self._next_s(name, now_s=now_s)
            if self._world.is_up(name):
                self._report(self._nodes[name], resource=resource)

    def _served(self) -> Resource | None:
        definition = self._store.find(CUSTOM_RESOURCE_DEFINITIONS, None, DEFINITION)
        if definition is not self._definition:
            self._definition = definition
            served = () if definition is None else resources_of(definition)
            self._resource = next((each for each in served if each.version == _VERSION), None)
        return self._resource

    def _next_s(self, name: str, *, now_s: float) -> float:
        # Agents of many nodes do not look all at once.
        phase_s = self._period_s * (key_of("topology", name) % 1000) / 1000
        n_past = math.floor((now_s - phase_s) / self._period_s)
        return phase_s + self._period_s * (n_past + 1)

    def _report(self, spec: NodeSpec, *, resource: Resource) -> None:
        """Write what is to be said, unless it was."""
        node = self._store.find(NODES, None, spec.name)
        if spec.numa is None or node is None:
            return
        devices = advertised(spec.name, store=self._store)
        zones = Zones.of(spec, numa=spec.numa, devices=devices)
        said = describe(spec.numa, zones=zones, pods=self._pods.active_on(spec.name))
        found = self._store.find(resource, None, spec.name)
        if found is None:
            owner = {"apiVersion": "v1", "kind": "Node", "name": spec.name}
            owner["uid"] = node["metadata"]["uid"]
            meta = {"name": spec.name, "ownerReferences": [owner]}
            self._store.create(resource, {"metadata": meta, **said})
        elif any(found.get(field) != value for field, value in said.items()):
            self._store.update(resource, {**found, **said})


def describe(numa: Numa, *, zones: Zones, pods: Iterable[PodRecord]) -> Object:
    """Write the fields of a ``NodeResourceTopology`` that tell how zones stand.

    Args:
        numa: How the kubelet goes about them.
        zones: What they have.
        pods: Those on the node that are not over.
    """
    held = [(pod, pod.zones) for pod in pods if pod.zones is not None]
    listed = [
        PodFacts(namespace=pod.namespace, name=pod.name, uid=pod.uid)
        for pod, own in held
        if own.is_listed
    ]
    attributes = {
        "topologyManagerPolicy": numa.policy,
        "topologyManagerScope": numa.scope,
        "nodeTopologyPodsFingerprint": fingerprint(listed),
        "nodeTopologyPodsFingerprintMethod": _METHOD,
    }
    free = zones.free(own for _, own in held)
    return {
        "attributes": [{"name": name, "value": value} for name, value in attributes.items()],
        "zones": [_describe_zone(number, zones=zones, free=free) for number in range(numa.zones)],
    }


def _describe_zone(number: int, *, zones: Zones, free: Mapping[str, Sequence[int]]) -> Object:
    costs = [
        {"name": f"node-{other}", "value": _LOCAL_COST if other == number else _REMOTE_COST}
        for other in range(zones.n_zones)
    ]
    resources = [
        {
            "name": resource,
            "capacity": _quantity(resource, zones.capacity[resource][number]),
            "allocatable": _quantity(resource, zones.allocatable[resource][number]),
            "available": _quantity(resource, free[resource][number]),
        }
        for resource in zones.capacity
    ]
    return {"name": f"node-{number}", "type": "Node", "costs": costs, "resources": resources}


def _quantity(resource: str, amount: int) -> str:
    return str(amount // CORE_MILLI if resource == CPU else amount)
