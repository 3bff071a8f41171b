"""The laws of a node, each a pure function over columns; ``PHYSICS.md`` gives their sources.

Arrays are aligned: one element a container, or one a node; ``node`` holds each container's node as
an index. Amounts are millicores and bytes.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.chance import Luck
from scheduler.simulator.parameters import CpuPhysics, MemoryPhysics

Floats = NDArray[np.float64]
F = TypeVar("F", float, Floats)
Indices = NDArray[np.intp]

_BURST, _FAST, _SLOW, _MEMORY = 1, 2, 3, 4


def cpu_demand(
    *,
    now_s: float,
    mean_milli: Floats,
    swing: tuple[Floats, Floats],
    bursts: tuple[Floats, Floats],
    luck: Luck,
    law: CpuPhysics,
) -> Floats:
    """Say what containers would use if nothing held them back.

    Args:
        now_s: The time.
        mean_milli: The mean over a day, bursts aside.
        swing: Of the swing within a day, the amplitude as a ratio of the mean, and the phase:
            when in the day it goes upward.
        bursts: The share of windows with a burst, and the multiple used in them.
        luck: The containers'.
        law: The constants.
    """
    amplitude, phase_s = swing
    day = 1.0 + amplitude * np.sin((now_s - phase_s) * (2.0 * np.pi / law.day_s))
    slow = luck.triangular(index=int(now_s // law.slow_noise_window_s), salt=_SLOW)
    noise = 1.0 + law.slow_noise_ratio * slow
    noise += law.fast_noise_ratio * luck.triangular(index=int(now_s), salt=_FAST)
    np.maximum(noise, 0.0, out=noise)
    burst_ratio, burst_factor = bursts
    is_burst = luck.uniform(index=int(now_s // law.burst_window_s), salt=_BURST) < burst_ratio
    return mean_milli * day * noise * np.where(is_burst, burst_factor, 1.0)


def memory_demand(
    *,
    now_s: float,
    age_s: Floats,
    base_bytes: Floats,
    grown_bytes: Floats,
    luck: Luck,
    law: MemoryPhysics,
) -> Floats:
    """Say what working sets containers would have if nothing held them back.

    Args:
        now_s: The time.
        age_s: Since the container's start.
        base_bytes: After warming up.
        grown_bytes: By how much they have grown since.
        luck: The containers'.
        law: The constants.
    """
    cold = law.warm_up_from_ratio
    warm = cold + (1.0 - cold) * np.minimum(1.0, age_s / law.warm_up_s)
    window = int(now_s // law.noise_window_s)
    noise = 1.0 + law.noise_ratio * luck.triangular(index=window, salt=_MEMORY)
    return base_bytes * warm * noise + grown_bytes


def memory_growth(
    *,
    before_bytes: Floats | float,
    per_s: Floats | float,
    passed_s: Floats | float,
    limit_bytes: Floats | float,
) -> Floats:
    """Say by how much memory has grown: *per_s* on top of what it was, up to a limit."""
    return np.minimum(before_bytes + per_s * passed_s, limit_bytes)


def share_cpu(demand: Floats, *, weight: Floats, node: Indices, free: Floats) -> Floats:
    """Share each node's cpu among containers in proportion to weight; nobody gets unused shares.

    What one container leaves of its share goes to the others (max-min fairness, as CFS gives it).

    Args:
        demand: What each container would use.
        weight: Each container's cpu shares, above zero.
        node: Each container's node.
        free: What each node has for containers.

    Returns:
        What each container gets: at most its demand, and on each node at most ``free`` in all.
    """
    n_nodes = len(free)
    granted = demand.copy()
    used = np.bincount(node, weights=demand, minlength=n_nodes)
    hungry = (used > free)[node]
    left = free.astype(np.float64, copy=True)
    while hungry.any():
        weights = np.bincount(node[hungry], weights=weight[hungry], minlength=n_nodes)
        per_weight = np.divide(left, weights, out=np.zeros(n_nodes), where=weights > 0)
        share = weight * per_weight[node]
        sated = hungry & (demand <= share)
        if not sated.any():
            granted[hungry] = share[hungry]
            break
        left -= np.bincount(node[sated], weights=demand[sated], minlength=n_nodes)
        np.maximum(left, 0.0, out=left)
        hungry &= ~sated
    return granted


def slow_down(utilization: F, *, hunger: F | float = 0.0, neighbours: F, law: CpuPhysics) -> F:
    """Say how many times longer work takes than on an idle node (a queue's 1/(1-u)).

    All are arrays, or all are numbers.

    Args:
        utilization: Of the node's cpu, 0 to 1.
        hunger: The container's own hunger for cache, 0 to 1.
        neighbours: The neighbours' hunger, weighted by their part of the node's cpu, 0 to 1.
        law: The constants.
    """
    queueing = 1.0 / (1.0 - np.minimum(utilization, law.max_utilization))
    slower: F = queueing * (1.0 + law.cache_penalty_ratio * hunger * neighbours)
    return slower


def badness(memory_bytes: Floats, *, capacity_bytes: float, oom_score_adj: Floats) -> Floats:
    """Rate containers as the kernel does when it must kill one: the highest goes first."""
    return np.maximum(1000.0 * memory_bytes / capacity_bytes + oom_score_adj, 0.0)


def oom_score_adj(
    *, qos: str, is_critical: bool, memory_request_bytes: int, capacity_bytes: int
) -> int:
    """Say how the kubelet biases the kernel's choice.

    Source: ``pkg/kubelet/qos/policy.go``.
    """
    if is_critical or qos == "Guaranteed":
        return -997
    if qos == "BestEffort":
        return 1000
    return max(3, min(999, 1000 - 1000 * memory_request_bytes // capacity_bytes))


def eviction_order(*, used_bytes: Floats, requested_bytes: Floats, priority: Floats) -> Indices:
    """Rank pods as the kubelet does when memory runs short, the first to go first.

    Those above their request first, then the lower priority, then the most above the request.
    Source: ``rankMemoryPressure`` in ``pkg/kubelet/eviction/helpers.go``.
    """
    above = used_bytes - requested_bytes
    return np.lexsort((-above, priority, above <= 0))


def chance_of(per_s: Floats, *, passed_s: float) -> Floats:
    """Turn a hazard into the chance that it strikes within *passed_s*."""
    return -np.expm1(-per_s * passed_s)
