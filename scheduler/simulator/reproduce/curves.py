"""What an experiment came to, by arrived load. Pure.

Loads, allocation and fragmentation are in per cent of the GPU of the whole cluster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.plugins.gpu.columns import CARD_MILLI, GpuNodes, GpuPod
from scheduler.plugins.gpu.fragmentation import TypicalWorkload, fragmentation_milli
from scheduler.simulator.reproduce.replay import REJECTED, Placements

MAX_LOAD: Final = 130
_BATCH: Final = 2000
"""So many states are measured at once: enough to be quick, and few enough for the memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """By whole arrived load 0 to 130, shape ``(131,)`` each; ``nan`` where nothing arrived.

    A value is the mean over the arrivals after which the load rounds to that number.
    """

    allocated: NDArray[np.float64]
    fragmented: NDArray[np.float64]


def measure(
    placements: Placements,
    *,
    pods: Sequence[GpuPod],
    arrivals: NDArray[np.int64],
    nodes: GpuNodes,
    workload: TypicalWorkload,
) -> Curves:
    """Follow an experiment, and average what was allocated and fragmented by arrived load.

    Args:
        placements: Where each arrival went.
        pods: What could arrive.
        arrivals: Which of them did, in order.
        nodes: Idle, as before the first arrival.
        workload: The mix by which fragmentation is measured.
    """
    capacity_milli = int(nodes.n_cards.sum()) * CARD_MILLI
    asked_milli = np.array([pod.gpu_milli for pod in pods], dtype=np.int64)[arrivals]
    is_placed = placements.nodes != REJECTED
    allocated_milli = np.where(is_placed, asked_milli, 0).cumsum()
    fragmented_milli = fragmentation_milli(nodes, workload=workload).sum() + np.cumsum(
        _fragmentation_changes(
            placements, pods=pods, arrivals=arrivals, nodes=nodes, workload=workload
        )
    )
    load = _load(asked_milli, nodes=nodes)
    return Curves(
        _mean_by_load(allocated_milli * 100.0 / capacity_milli, load=load),
        _mean_by_load(fragmented_milli * 100.0 / capacity_milli, load=load),
    )


def node_usage(
    placements: Placements,
    *,
    pods: Sequence[GpuPod],
    arrivals: NDArray[np.int64],
    nodes: GpuNodes,
) -> NDArray[np.float64]:
    """Follow which part of each node's GPU is allocated, 0 to 1.

    Args:
        placements: Where each arrival went.
        pods: What could arrive.
        arrivals: Which of them did, in order.
        nodes: Idle, as before the first arrival.

    Returns:
        Shape ``(131, n_nodes)``: when the arrived load last rounded to no more than that number;
        NaN where a node has no card.
    """
    capacity_milli = nodes.n_cards * CARD_MILLI
    asked_milli = np.array([pod.gpu_milli for pod in pods], dtype=np.int64)[arrivals]
    load = _load(asked_milli, nodes=nodes)
    placed = np.flatnonzero((placements.nodes != REJECTED) & (load <= MAX_LOAD))
    allocated_milli = np.zeros((MAX_LOAD + 1, len(nodes)))
    np.add.at(allocated_milli, (load[placed], placements.nodes[placed]), asked_milli[placed])
    usage: NDArray[np.float64] = np.full(allocated_milli.shape, np.nan)
    np.divide(allocated_milli.cumsum(axis=0), capacity_milli, out=usage, where=capacity_milli > 0)
    return usage


def _load(asked_milli: NDArray[np.int64], *, nodes: GpuNodes) -> NDArray[np.int64]:
    """Round the load that has arrived with each pod to whole per cents of the GPU."""
    capacity_milli = int(nodes.n_cards.sum()) * CARD_MILLI
    return np.rint(asked_milli.cumsum() * 100.0 / capacity_milli).astype(np.int64)


def _fragmentation_changes(
    placements: Placements,
    *,
    pods: Sequence[GpuPod],
    arrivals: NDArray[np.int64],
    nodes: GpuNodes,
    workload: TypicalWorkload,
) -> NDArray[np.float64]:
    """Tell by how much each arrival changed the fragmentation of all nodes, in milli of a card."""
    latest = fragmentation_milli(nodes, workload=workload)
    changes = np.zeros(len(arrivals))
    placed = np.flatnonzero(placements.nodes != REJECTED)
    now = nodes.take(np.arange(len(nodes)))
    for start in range(0, len(placed), _BATCH):
        batch = placed[start : start + _BATCH]
        rows = placements.nodes[batch]
        after = nodes.take(rows)
        for i, (arrival, row) in enumerate(zip(batch.tolist(), rows.tolist(), strict=True)):
            now.place(pods[arrivals[arrival]], row=row, cards=placements.cards[arrival])
            after.free_cpu_milli[i] = now.free_cpu_milli[row]
            after.free_card_milli[i] = now.free_card_milli[row]
        fragmentation = fragmentation_milli(after, workload=workload)
        for i, (arrival, row) in enumerate(zip(batch.tolist(), rows.tolist(), strict=True)):
            changes[arrival] = fragmentation[i] - latest[row]
            latest[row] = fragmentation[i]
    return changes


def _mean_by_load(values: NDArray[np.float64], *, load: NDArray[np.int64]) -> NDArray[np.float64]:
    is_shown = load <= MAX_LOAD
    count = np.bincount(load[is_shown], minlength=MAX_LOAD + 1)
    total = np.bincount(load[is_shown], weights=values[is_shown], minlength=MAX_LOAD + 1)
    means: NDArray[np.float64] = np.full(MAX_LOAD + 1, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means
