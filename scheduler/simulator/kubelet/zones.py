"""What the NUMA zones of a node have, and which part of it is a pod's own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from kube.quantity import CPU, MEMORY
from scheduler.simulator.hardware import NodeSpec, Numa

Amounts: TypeAlias = tuple[int, ...]
"""By zone: cpu in millicores, memory in bytes, devices in pieces."""

CORE_MILLI: Final = 1000


@dataclass(frozen=True, slots=True)
class Allotment:
    """What a pod has of its node's zones to itself."""

    amounts: Mapping[str, Amounts]
    """By resource."""
    is_listed: bool
    """Whether any of it is not an init container's alone, which kubelets do not tell agents of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """What a node's zones have, by resource, whoever has it."""

    n_zones: int
    capacity: Mapping[str, Amounts]
    allocatable: Mapping[str, Amounts]
    """Without what is reserved for the system."""

    @classmethod
    def of(cls, spec: NodeSpec, *, numa: Numa, devices: Mapping[str, int]) -> "Zones":
        """Divide what a node has evenly.

        What is reserved for the system is taken from the first zones; of cpu, whole cores.

        Args:
            spec: The node.
            numa: Its zones.
            devices: How many it has of each extended resource; those that are in no zone are left
                out.
        """
        n_zones = numa.zones
        n_cores = spec.cpu_milli // CORE_MILLI
        n_usable_cores = spec.allocatable_cpu_milli // CORE_MILLI
        cores, usable_cores = _divide(n_cores, n_usable=n_usable_cores, n_zones=n_zones)
        memory, usable_memory = _divide(
            spec.memory_bytes, n_usable=spec.allocatable_memory_bytes, n_zones=n_zones
        )
        in_zones = {name: devices[name] for name in numa.devices if name in devices}
        divided = {name: _divide(n, n_usable=n, n_zones=n_zones)[0] for name, n in in_zones.items()}
        return cls(
            n_zones=n_zones,
            capacity={CPU: _milli(cores), MEMORY: memory, **divided},
            allocatable={CPU: _milli(usable_cores), MEMORY: usable_memory, **divided},
        )

    def free(self, held: Iterable[Allotment]) -> dict[str, list[int]]:
        """Tell what zones have left beside what pods have; devices may be fewer than pods had."""
        free = {resource: list(amounts) for resource, amounts in self.allocatable.items()}
        for each in held:
            for resource in each.amounts.keys() & free.keys():
                pairs = zip(free[resource], each.amounts[resource], strict=True)
                free[resource] = [max(0, left - amount) for left, amount in pairs]
        return free


def _divide(amount: int, *, n_usable: int, n_zones: int) -> tuple[Amounts, Amounts]:
    """Divide an amount, and what of it may be used."""
    share, over = divmod(amount, n_zones)
    whole = [share + (zone < over) for zone in range(n_zones)]
    usable = []
    reserved = amount - n_usable
    for part in whole:
        kept = min(part, reserved)
        usable.append(part - kept)
        reserved -= kept
    return tuple(whole), tuple(usable)


def _milli(cores: Amounts) -> Amounts:
    return tuple(n * CORE_MILLI for n in cores)
