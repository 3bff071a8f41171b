"""Nodes: what they show, and what they hide.

Two nodes of one type are never alike. One is a little slower, one has a worn disk, one has memory
that flips bits. Schedulers cannot see that; they can only see what happens to pods.
"""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec

from kube.edge.settings import Settings
from scheduler.simulator.chance import generator_of
from scheduler.simulator.draws import Draw, check_fields, draw_fields
from scheduler.simulator.parameters import USUAL, NodePhysics

GI: Final = 2**30
MI: Final = 2**20
MAX_ZONES: Final = 8
"""Kubelets cope with no more NUMA zones, as they try all combinations of them."""

TopologyPolicy = Literal["none", "best-effort", "restricted", "single-numa-node"]
TopologyScope = Literal["container", "pod"]

_BOUNDS: Final = {
    "speed": (0.01, 100.0),
    "pull_bytes_per_s": (1.0, 1e15),
    "system_cpu_ratio": (0.0, 1.0),
    "system_memory_ratio": (0.0, 1.0),
    "system_swing_ratio": (0.0, 1.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTraits:
    """What a node hides."""

    speed: float = 1.0
    """Work done per cpu second, 1 being ordinary."""
    pull_bytes_per_s: float = 80e6
    """How fast images arrive and unpack."""
    container_crash_per_hour: float = 0.0
    """Crashes of each container that are the node's fault."""
    fail_per_hour: float = 0.0
    """How often the node dies altogether."""
    outage_s: float = 180.0
    """How long it is gone then, on average."""
    system_cpu_milli: float = 100.0
    """What runs outside of pods."""
    system_memory_bytes: float = 400.0 * MI
    system_swing_ratio: float = 0.1
    """How far the system's usage swings around that."""


class Numa(Settings, frozen=True, kw_only=True):
    """A node's NUMA zones, and how its kubelet goes about them.

    Cores, memory and devices are divided evenly. The kubelet's cpu and memory managers are static:
    guaranteed pods have whole cores, and their memory, to themselves.
    """

    zones: Annotated[int, msgspec.Meta(ge=1, le=MAX_ZONES)] = 2
    policy: TopologyPolicy = "none"
    """The topology manager's: what it takes for a pod to be admitted."""
    scope: TopologyScope = "container"
    """Whether containers are aligned one by one, or the pod as a whole."""
    devices: tuple[str, ...] = ()
    """Those of the node's extended resources that lie in zones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node, whole."""

    name: str
    cpu_milli: int = 4000
    """Capacity, as ``memory_bytes``."""
    memory_bytes: int = 8 * GI
    max_pods: int = USUAL.nodes.max_pods
    image_disk_bytes: int = USUAL.nodes.image_disk_bytes
    """Beyond this, images that no pod uses are removed, the longest unused first."""
    reserved_cpu_milli: int = USUAL.nodes.reserved_cpu_milli
    """Kept from pods for the system, as ``reserved_memory_bytes``; capacity less this (and, for
    memory, less the eviction threshold) is allocatable."""
    reserved_memory_bytes: int = USUAL.nodes.reserved_memory_bytes
    eviction_hard_bytes: int = USUAL.nodes.eviction_hard_bytes
    """The kubelet evicts when less than this is available."""
    numa: Numa | None = None
    """``None`` where nobody looks at zones."""
    traits: NodeTraits = NodeTraits()

    @property
    def allocatable_cpu_milli(self) -> int:
        """What pods may request."""
        return self.cpu_milli - self.reserved_cpu_milli

    @property
    def allocatable_memory_bytes(self) -> int:
        """What pods may request."""
        return self.memory_bytes - self.reserved_memory_bytes - self.eviction_hard_bytes


class NodeNature(Settings, frozen=True):
    """What nodes of one make hide, each trait given or drawn; quiet unless told otherwise."""

    speed: Draw = 1.0
    """Work done per cpu second, 1 being ordinary."""
    pull_bytes_per_s: Draw = 80e6
    """How fast images arrive and unpack."""
    container_crash_per_hour: Draw = 0.0
    """Crashes of each container that are the node's fault."""
    fail_per_hour: Draw = 0.0
    """How often the node dies altogether."""
    outage_s: Draw = 180.0
    """How long it is gone then, on average, beyond the time that it takes to boot."""
    system_cpu_milli: Draw = 100.0
    """What runs outside of pods."""
    system_memory_bytes: Draw = 400.0 * MI
    """What runs outside of pods."""
    system_cpu_ratio: Draw = 0.0
    """What runs outside of pods besides, of the node's capacity; so does the next."""
    system_memory_ratio: Draw = 0.0
    system_swing_ratio: Draw = 0.1
    """How far the system's usage swings around all that."""

    def __post_init__(self) -> None:
        check_fields(self, bounds=_BOUNDS)

    def traits(self, name: str, *, seed: int, cpu_milli: int, memory_bytes: int) -> NodeTraits:
        """Draw a node's traits; each depends on its own distribution and on name and seed alone.

        Args:
            name: The node's.
            seed: The same seed draws the same.
            cpu_milli: Capacity, of which the ratios are; so is ``memory_bytes``.
            memory_bytes: Capacity.
        """
        drawn = draw_fields(self, "node nature", seed, name, bounds=_BOUNDS)
        return NodeTraits(
            speed=drawn["speed"],
            pull_bytes_per_s=drawn["pull_bytes_per_s"],
            container_crash_per_hour=drawn["container_crash_per_hour"],
            fail_per_hour=drawn["fail_per_hour"],
            outage_s=drawn["outage_s"],
            system_cpu_milli=drawn["system_cpu_milli"] + drawn["system_cpu_ratio"] * cpu_milli,
            system_memory_bytes=drawn["system_memory_bytes"]
            + drawn["system_memory_ratio"] * memory_bytes,
            system_swing_ratio=drawn["system_swing_ratio"],
        )


def make_node(
    name: str,
    *,
    cpu_milli: int,
    memory_bytes: int,
    traits: NodeTraits,
    nodes: NodePhysics = USUAL.nodes,
) -> NodeSpec:
    """Describe a node that is, but for its size and traits, as all nodes of its world are."""
    return NodeSpec(
        name=name,
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        max_pods=nodes.max_pods,
        image_disk_bytes=nodes.image_disk_bytes,
        reserved_cpu_milli=nodes.reserved_cpu_milli,
        reserved_memory_bytes=nodes.reserved_memory_bytes,
        eviction_hard_bytes=nodes.eviction_hard_bytes,
        traits=traits,
    )


def draw_nodes(
    n_nodes: int, *, seed: int, cpu_milli: int = 4000, memory_bytes: int = 8 * GI
) -> list[NodeSpec]:
    """Draw ``n1``, ``n2``… with their hidden traits.

    Of every five nodes, one is flaky (its containers crash, it dies now and then) and one is noisy
    (a slow disk, and system daemons that take cpu and memory which nobody requested).

    Args:
        n_nodes: How many.
        seed: The same seed draws the same nodes.
        cpu_milli: Capacity of each.
        memory_bytes: Capacity of each.
    """
    specs = []
    for first in range(0, n_nodes, 5):
        places = generator_of("bad nodes", seed, first).permutation(5)
        for offset in range(min(5, n_nodes - first)):
            name = f"n{first + offset + 1}"
            is_flaky, is_noisy = offset == places[0], offset == places[1]
            traits = _draw_traits(name, seed=seed, is_flaky=is_flaky)
            if is_noisy:
                traits = _make_noisy(traits, cpu_milli=cpu_milli, memory_bytes=memory_bytes)
            specs.append(
                NodeSpec(name=name, cpu_milli=cpu_milli, memory_bytes=memory_bytes, traits=traits)
            )
    return specs


def draw_node(name: str, *, seed: int) -> NodeSpec:
    """Draw a single good node of the usual size."""
    return NodeSpec(name=name, traits=_draw_traits(name, seed=seed, is_flaky=False))


def _draw_traits(name: str, *, seed: int, is_flaky: bool) -> NodeTraits:
    chance = generator_of("node", seed, name)
    return NodeTraits(
        speed=float(chance.uniform(0.9, 1.15)),
        pull_bytes_per_s=float(chance.uniform(60e6, 120e6)),
        container_crash_per_hour=3.0 if is_flaky else float(chance.uniform(0.0, 0.02)),
        fail_per_hour=1 / 12 if is_flaky else 1 / 720,
        outage_s=float(chance.uniform(120.0, 400.0)),
        system_cpu_milli=float(chance.uniform(60.0, 140.0)),
        system_memory_bytes=float(chance.uniform(300.0, 450.0)) * MI,
        system_swing_ratio=0.1,
    )


def _make_noisy(traits: NodeTraits, *, cpu_milli: int, memory_bytes: int) -> NodeTraits:
    return NodeTraits(
        speed=traits.speed * 0.8,
        pull_bytes_per_s=traits.pull_bytes_per_s / 8,
        container_crash_per_hour=traits.container_crash_per_hour,
        fail_per_hour=traits.fail_per_hour,
        outage_s=traits.outage_s,
        system_cpu_milli=0.3 * cpu_milli,
        system_memory_bytes=0.35 * memory_bytes,
        system_swing_ratio=0.35,
    )
