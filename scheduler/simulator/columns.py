"""Columns of all containers and nodes: what the physics computes on, thousands at a time."""

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.chance import key_of
from scheduler.simulator.hardware import NodeSpec, NodeTraits
from scheduler.simulator.parameters import CpuPhysics, SystemPhysics
from scheduler.simulator.physics import Floats, Indices

_FIRST_SIZE = 64


def _floats() -> Floats:
    return np.zeros(_FIRST_SIZE)


def _bools() -> NDArray[np.bool_]:
    return np.zeros(_FIRST_SIZE, dtype=np.bool_)


def _keys() -> NDArray[np.uint64]:
    return np.zeros(_FIRST_SIZE, dtype=np.uint64)


def _indices() -> Indices:
    return np.zeros(_FIRST_SIZE, dtype=np.intp)


@dataclass(slots=True)
class _Columns:
    def grow(self, n_rows: int) -> None:
        """Make room for at least *n_rows* rows, doubling."""
        for column in fields(self):
            array = getattr(self, column.name)
            if len(array) < n_rows:
                more = np.zeros(max(n_rows, 2 * len(array)) - len(array), dtype=array.dtype)
                setattr(self, column.name, np.concatenate([array, more]))


@dataclass(slots=True)
class ContainerColumns(_Columns):
    """One row a container; a row is in use from placement until the pod is forgotten."""

    is_running: NDArray[np.bool_] = field(default_factory=_bools)
    node: Indices = field(default_factory=_indices)
    key: NDArray[np.uint64] = field(default_factory=_keys)
    started_at_s: Floats = field(default_factory=_floats)
    cpu_weight: Floats = field(default_factory=_floats)
    cpu_limit_milli: Floats = field(default_factory=_floats)
    memory_limit_bytes: Floats = field(default_factory=_floats)
    oom_score_adj: Floats = field(default_factory=_floats)
    cpu_mean_milli: Floats = field(default_factory=_floats)
    diurnal_amplitude: Floats = field(default_factory=_floats)
    diurnal_phase_s: Floats = field(default_factory=_floats)
    burst_ratio: Floats = field(default_factory=_floats)
    burst_factor: Floats = field(default_factory=_floats)
    memory_base_bytes: Floats = field(default_factory=_floats)
    memory_growth_bytes_per_s: Floats = field(default_factory=_floats)
    memory_growth_limit_bytes: Floats = field(default_factory=_floats)
    grows_since_s: Floats = field(default_factory=_floats)
    grown_before_bytes: Floats = field(default_factory=_floats)
    has_series: NDArray[np.bool_] = field(default_factory=_bools)
    series_cpu_ratio: Floats = field(default_factory=_floats)
    series_memory_ratio: Floats = field(default_factory=_floats)
    crash_per_s: Floats = field(default_factory=_floats)
    cache_hunger: Floats = field(default_factory=_floats)
    work_left_s: Floats = field(default_factory=_floats)
    # What the last tick found:
    cpu_milli: Floats = field(default_factory=_floats)
    memory_bytes: Floats = field(default_factory=_floats)
    throttled_ratio: Floats = field(default_factory=_floats)
    lacking_ratio: Floats = field(default_factory=_floats)
    # Counters since the container's start, all but the first as cAdvisor keeps them:
    lacking_core_s: Floats = field(default_factory=_floats)
    cpu_core_s: Floats = field(default_factory=_floats)
    cfs_periods: Floats = field(default_factory=_floats)
    cfs_throttled_periods: Floats = field(default_factory=_floats)


@dataclass(slots=True)
class NodeColumns(_Columns):
    """One row a node, for ever."""

    is_up: NDArray[np.bool_] = field(default_factory=_bools)
    key: NDArray[np.uint64] = field(default_factory=_keys)
    cpu_capacity_milli: Floats = field(default_factory=_floats)
    memory_capacity_bytes: Floats = field(default_factory=_floats)
    eviction_hard_bytes: Floats = field(default_factory=_floats)
    speed: Floats = field(default_factory=_floats)
    crash_per_s: Floats = field(default_factory=_floats)
    system_cpu_milli: Floats = field(default_factory=_floats)
    system_memory_bytes: Floats = field(default_factory=_floats)
    system_swing_ratio: Floats = field(default_factory=_floats)
    # What the last tick found, pods and system together:
    cpu_milli: Floats = field(default_factory=_floats)
    memory_bytes: Floats = field(default_factory=_floats)
    hunger: Floats = field(default_factory=_floats)
    # Counter since the node was added:
    cpu_core_s: Floats = field(default_factory=_floats)

    def fill(self, index: int, spec: NodeSpec, *, seed: int, law: SystemPhysics) -> None:
        """Set the row of a new node, which is up."""
        self.grow(index + 1)
        traits = spec.traits
        self.is_up[index] = True
        self.key[index] = key_of("node usage", seed, spec.name)
        self.cpu_capacity_milli[index] = spec.cpu_milli
        self.memory_capacity_bytes[index] = spec.memory_bytes
        self.eviction_hard_bytes[index] = spec.eviction_hard_bytes
        self.set_traits(index, traits)
        most = law.max_ratio
        self.cpu_milli[index] = min(traits.system_cpu_milli, most * spec.cpu_milli)
        self.memory_bytes[index] = min(traits.system_memory_bytes, most * spec.memory_bytes)

    def set_traits(self, index: int, traits: NodeTraits) -> None:
        """Set what a node hides; usage follows with the next tick."""
        self.speed[index] = traits.speed
        self.crash_per_s[index] = traits.container_crash_per_hour / 3600.0
        self.system_cpu_milli[index] = traits.system_cpu_milli
        self.system_memory_bytes[index] = traits.system_memory_bytes
        self.system_swing_ratio[index] = traits.system_swing_ratio


def cpu_weight(cpu_request_milli: int, *, law: CpuPhysics) -> float:
    """Say which cpu shares the kubelet gives for a request."""
    return max(law.min_shares, cpu_request_milli * law.shares_per_milli)
