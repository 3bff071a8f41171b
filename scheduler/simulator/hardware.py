"""Nodes: what they show, and what they hide.

Two nodes of one type are never alike. One is a little slower, one has a worn disk, one has memory
that flips bits. Schedulers cannot see that; they can only see what happens to pods.
"""

from dataclasses import dataclass
from typing import Final

from scheduler.simulator.chance import generator_of

GI: Final = 2**30
MI: Final = 2**20

EVICTION_HARD_BYTES: Final = 100 * MI
"""The kubelet's default ``memory.available`` threshold."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node, whole."""

    name: str
    cpu_milli: int = 4000
    """Capacity, as ``memory_bytes``."""
    memory_bytes: int = 8 * GI
    max_pods: int = 110
    image_disk_bytes: int = 50 * GI
    """Beyond this, images that no pod uses are removed, the longest unused first."""
    reserved_cpu_milli: int = 100
    """Kept from pods for the system, as ``reserved_memory_bytes``; capacity less this (and, for
    memory, less the eviction threshold) is allocatable."""
    reserved_memory_bytes: int = 400 * MI
    traits: NodeTraits = NodeTraits()

    @property
    def allocatable_cpu_milli(self) -> int:
        """What pods may request."""
        return self.cpu_milli - self.reserved_cpu_milli

    @property
    def allocatable_memory_bytes(self) -> int:
        """What pods may request."""
        return self.memory_bytes - self.reserved_memory_bytes - EVICTION_HARD_BYTES


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
