"""Builders for tests of the simulated cluster: quiet nodes, plain pods, and time that passes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from scheduler.simulator import changes as ch
from scheduler.simulator import resources as r
from scheduler.simulator.cluster import Cluster
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.hardware import NodeSpec, NodeTraits
from scheduler.simulator.parameters import USUAL, Physics
from scheduler.simulator.resources import Object, Resource
from scheduler.simulator.runs import ContainerSpec, PodSpec
from scheduler.simulator.store import Store
from scheduler.simulator.usage import UsageModel, UsageProfile
from scheduler.simulator.world import World
from tests.builders import EPOCH_S

MI = 2**20
GI = 2**30

QUIET = NodeTraits(
    pull_bytes_per_s=1e15, system_cpu_milli=0.0, system_memory_bytes=0.0, system_swing_ratio=0.0
)
"""A node on which nothing happens by itself, and images arrive at once."""


def make_sim_node(name: str = "n1", *, traits: NodeTraits = QUIET, **fields: Any) -> NodeSpec:
    """Make a node of the world."""
    return NodeSpec(name=name, traits=traits, **fields)


def make_sim_container(
    name: str = "app",
    *,
    cpu: int = 100,
    memory_mi: float = 100,
    profile: UsageProfile | None = None,
    **fields: Any,
) -> ContainerSpec:
    """Make a container that uses *cpu* millicores and *memory_mi* MiB, more or less steadily."""
    if profile is None:
        usage = {k: fields.pop(k) for k in list(fields) if k in UsageProfile.__slots__}
        profile = UsageProfile(cpu_milli=cpu, memory_bytes=memory_mi * MI, **usage)
    fields.setdefault("image", "registry.example/app:1")
    return ContainerSpec(name=name, profile=profile, **fields)


def make_sim_pod(
    name: str = "web-1",
    *containers: ContainerSpec,
    node: str = "n1",
    **fields: Any,
) -> PodSpec:
    """Make a pod of the world; its uid is its name."""
    return PodSpec(
        uid=name,
        name=f"default/{name}",
        node=node,
        containers=containers or (make_sim_container(),),
        **fields,
    )


def make_world(*pods: PodSpec, nodes: int = 1, seed: int = 0, **node_fields: Any) -> World:
    """Make a world with quiet nodes ``n1``… and some pods placed at its beginning."""
    world = World(seed=seed, start_s=EPOCH_S)
    for index in range(nodes):
        world.add_node(make_sim_node(f"n{index + 1}", **node_fields))
    for pod in pods:
        world.place(pod)
    return world


def only(changes: list[ch.Change], kind: type) -> list[Any]:
    """Those changes that are of one kind."""
    return [change for change in changes if isinstance(change, kind)]


class Simulation:
    """A cluster over a store, in virtual time that passes when a test says so.

    Args:
        nodes: How many quiet nodes there are, ``n1``…
        node_fields: Of each node.
        step_s: How much time passes in a step.
        physics: The world's constants.
        usage: Knows what pods truly use.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        step_s: float = 1.0,
        physics: Physics = USUAL,
        usage: UsageModel | None = None,
        **node_fields: Any,
    ) -> None:
        self.now_s = EPOCH_S
        self._step_s = step_s
        self.store = Store(now_s=self.tell_now_s)
        for resource, obj in bootstrap_objects():
            self.store.create(resource, obj)
        self.cluster = Cluster(self.store, seed=0, physics=physics, usage=usage)
        for index in range(nodes):
            self.cluster.add_node(make_sim_node(f"n{index + 1}", **node_fields))

    def tell_now_s(self) -> float:
        """Tell the time, Unix seconds."""
        return self.now_s

    def run(self, seconds: float) -> None:
        """Let time pass, binding each pending pod to the least filled node that is ready."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + self._step_s)
            self.cluster.step(self.now_s)
            self._bind()

    def run_until(self, condition: Callable[[], bool], *, limit_s: float = 600.0) -> None:
        """Let time pass until *condition* holds.

        Raises:
            AssertionError: It did not within *limit_s*.
        """
        end_s = self.now_s + limit_s
        while not condition():
            if self.now_s >= end_s:
                raise AssertionError(f"not within {limit_s} virtual seconds")
            self.run(self._step_s)

    def create(self, resource: Resource, obj: Object) -> Object:
        """Create an object, in the namespace ``default`` unless it says otherwise."""
        return self.store.create(resource, obj)

    def pods(self) -> list[Object]:
        """All pods."""
        return self.store.list(r.PODS)

    def pod(self, name: str) -> Object:
        """One pod of the namespace ``default``."""
        return self.store.get(r.PODS, "default", name)

    def reasons(self, name: str) -> list[str]:
        """The reasons of the events about an object, in the order of their first time."""
        events = [e for e in self.store.list(r.EVENTS) if e["regarding"]["name"] == name]
        return [
            e["reason"] for e in sorted(events, key=lambda e: int(e["metadata"]["resourceVersion"]))
        ]

    def _bind(self) -> None:
        loads = {
            node["metadata"]["name"]: 0
            for node in self.store.list(r.NODES)
            if not node["spec"].get("taints") and "capacity" in node["status"]
        }
        for pod in self.pods():
            if pod["spec"].get("nodeName") in loads:
                loads[pod["spec"]["nodeName"]] += 1
        for pod in self.pods():
            if loads and not pod["spec"].get("nodeName"):
                node = min(loads, key=lambda name: loads[name])
                loads[node] += 1
                self.store.update(r.PODS, {**pod, "spec": {**pod["spec"], "nodeName": node}})


def pod_manifest(
    name: str = "web-1", *, node: str = "", usage: str | None = None, **spec: Any
) -> Object:
    """Write a pod as a user would, with one container unless *spec* says otherwise."""
    meta: Object = {"name": name, "namespace": "default"}
    if usage is not None:
        meta["annotations"] = {"simulator.ai-scheduler/usage": usage}
    full = {"containers": [container_manifest()], **spec}
    if node:
        full["nodeName"] = node
    return {"metadata": meta, "spec": full}


def container_manifest(name: str = "app", *, image: str = "nginx:1.27", **fields: Any) -> Object:
    """Write a container as a user would."""
    return {"name": name, "image": image, **fields}


def deployment_manifest(
    name: str = "web", *, replicas: int = 3, image: str = "nginx:1.27", **spec: Any
) -> Object:
    """Write a deployment as a user would; its pods use little and start fast."""
    labels = {"app": name}
    usage = '{"cpu": "10m", "memory": "10Mi", "startup_s": 2, "stop_s": 1, "crash_per_hour": 0}'
    annotations = {"simulator.ai-scheduler/usage": usage}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [container_manifest(image=image)]},
            },
            **spec,
        },
    }


def condition(obj: Object, type_: str) -> Object | None:
    """An object's condition."""
    found = [c for c in obj["status"].get("conditions") or () if c["type"] == type_]
    return found[0] if found else None


def with_image(deployment: Object, image: str) -> Object:
    """A deployment with another image in its template."""
    template = deployment["spec"]["template"]
    containers = [{**template["spec"]["containers"][0], "image": image}]
    changed = {**template, "spec": {**template["spec"], "containers": containers}}
    return {**deployment, "spec": {**deployment["spec"], "template": changed}}


def traits(**fields: Any) -> NodeTraits:
    """A quiet node's traits, some of them changed."""
    return replace(QUIET, **fields)
