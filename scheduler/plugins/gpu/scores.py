"""Published scores to compare with, as Weng et al. configured them (USENIX ATC 2023).

All are whole numbers from 0 to 100 by truncation; more is better. They rate feasible nodes.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn
from scheduler.plugins.gpu.columns import CARD_MILLI, CardMatrix, GpuNodes, GpuPod, LargestNode

Scores = NDArray[np.int64]


def best_fit_scores(pod: GpuPod, *, nodes: GpuNodes, largest: LargestNode) -> Scores:
    """Prefer nodes that the pod leaves with the least CPU and GPU.

    ``trunc(100 (1 - (½ (c_n - c) / C + ½ (R - k m) / G)))``: free CPU and idle GPU that would be
    left, each as a part of the largest node's. The experiments stretched it to 0 to 100 over the
    feasible nodes, which changes no order.

    Example: 16 free cores and 1300 milli of idle GPU, of at most 128 cores and 8 cards; a pod of 4
    cores and a share of 300 leaves 12/128 and 1000/8000, so 100 (1 - (0.0469 + 0.0625)): 89.
    """
    cpu = 0.5 * (nodes.free_cpu_milli - pod.cpu_milli) / largest.cpu_milli
    gpu = 0.5 * (nodes.free_gpu_milli - pod.gpu_milli) / largest.gpu_milli
    return _truncated(100.0 * (1.0 - (cpu + gpu)))


def dot_product_scores(pod: GpuPod, *, nodes: GpuNodes, largest: LargestNode) -> Scores:
    """Prefer nodes whose free resources have the smallest dot product with the pod's requests.

    ``trunc(100 (1 - ½ (c_n/C · c/C + R/G · k m/G)))``; the opposite sign of Tetris' alignment.

    Example: 64 free cores and 8 idle cards, of at most 128 cores and 8 cards; a pod of 32 cores and
    4 cards: 100 (1 - ½ (0.5 × 0.25 + 1 × 0.5)) = 68.75: 68.
    """
    cpu = (nodes.free_cpu_milli / largest.cpu_milli) * (pod.cpu_milli / largest.cpu_milli)
    gpu = (nodes.free_gpu_milli / largest.gpu_milli) * (pod.gpu_milli / largest.gpu_milli)
    return _truncated(100.0 * (1.0 - 0.5 * (cpu + gpu)))


def gpu_packing_scores(pod: GpuPod, *, nodes: GpuNodes) -> Scores:
    """Prefer cards in use, the fullest first; then idle cards of nodes in use; then idle nodes.

    On a node whose *a* cards are all idle, ``max(33 - a, a)``. Else cards that suffice are taken by
    ascending free share; if *q* > 0 of them are idle, ``max(50 - q, 33)``; if none,
    ``max(100 - floor(S/10), 50)`` with *S* the sum of their free shares in per cent. CPU pods rate
    all nodes 0.

    Example: a share of 300 scores 97 where cards are [300, 1000] (S = 30), 49 where the first has
    less than 300 left, and 31 on two idle cards.
    """
    if not pod.n_cards:
        return np.zeros(len(nodes), dtype=np.int64)
    cards = nodes.free_card_milli
    taken = _fullest(cards, share_milli=pod.card_milli, n=pod.n_cards)
    n_idle = (taken == CARD_MILLI).sum(axis=1)
    percent = (taken * 100 // CARD_MILLI).sum(axis=1)
    in_use = np.where(n_idle > 0, np.maximum(50 - n_idle, 33), np.maximum(100 - percent // 10, 50))
    untouched = np.maximum(33 - nodes.n_cards, nodes.n_cards)
    return np.where(nodes.free_gpu_milli == CARD_MILLI * nodes.n_cards, untouched, in_use)


def gpu_clustering_scores(pod: GpuPod, *, nodes: GpuNodes, largest: LargestNode) -> Scores:
    """Prefer nodes on which pods of the same class run: shares, or so many whole cards.

    ``floor(25 (G - R) / G)``, and 75 more where only pods of this class run, 50 where this class
    and others do, 25 where none with cards do. CPU pods rate all nodes 0.

    Example: with 8 cards at most and 2 idle ones, 18; on a node that runs shares alone another
    share scores 93, a whole-card pod 18.
    """
    if not pod.n_cards:
        return np.zeros(len(nodes), dtype=np.int64)
    base: Scores = 25 * (largest.gpu_milli - nodes.free_gpu_milli) // largest.gpu_milli
    hosts_class = nodes.classes & pod.class_bit != 0
    company: Scores = np.select(
        [nodes.classes == pod.class_bit, hosts_class, nodes.classes == 0], [75, 50, 25], default=0
    )
    return base + company


def _fullest(cards: CardMatrix, *, share_milli: int, n: int) -> IntColumn:
    """Take of each node the *n* fullest cards that suffice, shape ``(n_nodes, n)``."""
    usable = np.where(cards >= share_milli, cards, CARD_MILLI + 1)
    return np.sort(usable, axis=1)[:, :n]


def _truncated(scores: NDArray[np.float64]) -> Scores:
    return np.trunc(scores).astype(np.int64)
