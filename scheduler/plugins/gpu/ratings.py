"""What GpuShare says of many nodes at once: whether a pod's cards are there, and how good it is."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, ScoreColumn
from scheduler.plugins.gpu.columns import GpuNodes, GpuPod, has_cards, has_model
from scheduler.plugins.gpu.policies import GpuPolicy

FITS, FEW, OTHER, FULL = range(4)
"""A node has the cards; has too few; has those of other models; has too little free on them."""

_FEW_NODES: Final = 4
"""Of so many it is cheaper to rate each than to see which are in one state."""


def fits(pod: GpuPod, *, nodes: GpuNodes) -> NDArray[np.uint8]:
    """Tell whether nodes have a pod's cards, and what they lack; shape ``(n_nodes,)``."""
    found = np.where(has_cards(pod, nodes=nodes), np.uint8(FITS), np.uint8(FULL))
    found[~has_model(pod, nodes=nodes)] = OTHER
    found[nodes.n_cards < pod.n_cards] = FEW
    return found


def rate(
    pod: GpuPod, *, nodes: GpuNodes, policy: GpuPolicy, found: NDArray[np.uint8]
) -> ScoreColumn:
    """Rate nodes, shape ``(n_nodes,)``, 0 to 100; those that lack cards get 0.

    Args:
        pod: To be placed.
        nodes: Where.
        policy: Says of a node what depends on the pod and that node alone.
        found: What ``fits`` says of them.
    """
    scores = np.zeros(len(nodes), dtype=np.int64)
    able = np.flatnonzero(found == FITS)
    if not able.size:
        return scores
    if able.size <= _FEW_NODES:
        scores[able] = _rate(pod, nodes.take(able), policy)
        return scores
    state = np.column_stack(
        (nodes.free_cpu_milli, nodes.n_cards, nodes.model, nodes.classes, nodes.free_card_milli)
    )[able]
    # Many nodes are in one state: idle, or full, or filled by the same pods.
    rows_as_bytes = state.view(np.dtype((np.void, state.shape[1] * state.itemsize))).ravel()
    _, first, which = np.unique(rows_as_bytes, return_index=True, return_inverse=True)
    scores[able] = _rate(pod, nodes.take(able[first]), policy)[which]
    return scores


def _rate(pod: GpuPod, nodes: GpuNodes, policy: GpuPolicy) -> ScoreColumn:
    found = policy.score(pod, nodes=nodes).astype(np.int64)
    return np.minimum(np.maximum(found, MIN_NODE_SCORE), MAX_NODE_SCORE)
