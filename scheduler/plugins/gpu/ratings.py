"""Scores by shape of pod, rated anew only where something changed."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np

from scheduler.framework.changes import NEVER, Changes
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, ScoreColumn
from scheduler.plugins.gpu.columns import GpuNodes, GpuPod, has_cards, has_model
from scheduler.plugins.gpu.policies import GpuPolicy

_MAX_SHAPES: Final = 128
_MAX_PATCHED_RATIO: Final = 0.5
"""If more of the rows changed, all are rated."""
_FEW: Final = 4
"""Of so many nodes it is cheaper to rate each than to see which are in one state."""


@dataclass(slots=True)
class _Kept:
    scores: ScoreColumn
    version: int = NEVER


class KeptRatings:
    """What a policy says of nodes; shapes that were asked for least lately are forgotten.

    Args:
        policy: Says of a node what depends on the pod and that node alone.
        changes: Rows of the nodes, always the same ones, that are not what they were.
    """

    def __init__(self, policy: GpuPolicy, *, changes: Changes[int]) -> None:
        self._policy = policy
        self._changes = changes
        self._kept: OrderedDict[GpuPod, _Kept] = OrderedDict()

    def scores(self, pod: GpuPod, *, nodes: GpuNodes) -> ScoreColumn:
        """Rate nodes, shape ``(n_nodes,)``, 0 to 100; those that lack cards get 0.

        Returns:
            Not to be written to.
        """
        kept = self._kept.get(pod)
        if kept is None:
            kept = self._kept[pod] = _Kept(np.zeros(len(nodes), dtype=np.int64))
            if len(self._kept) > _MAX_SHAPES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(pod)
        changed = self._changes.since(kept.version)
        if changed is None or len(changed) > _MAX_PATCHED_RATIO * len(nodes):
            kept.scores = self._rate(pod, nodes)
        elif changed:
            rows = np.fromiter(changed, dtype=np.intp, count=len(changed))
            kept.scores = kept.scores.copy()  # who was given them may still hold them
            kept.scores[rows] = self._rate(pod, nodes.take(rows))
        kept.version = self._changes.version
        return kept.scores

    def _rate(self, pod: GpuPod, nodes: GpuNodes) -> ScoreColumn:
        scores = np.zeros(len(nodes), dtype=np.int64)
        able = np.flatnonzero(has_cards(pod, nodes=nodes) & has_model(pod, nodes=nodes))
        if not able.size:
            return scores
        if able.size <= _FEW:
            found = self._policy.score(pod, nodes=nodes.take(able)).astype(np.int64)
            scores[able] = np.clip(found, MIN_NODE_SCORE, MAX_NODE_SCORE)
            return scores
        state = np.column_stack(
            (nodes.free_cpu_milli, nodes.n_cards, nodes.model, nodes.classes, nodes.free_card_milli)
        )[able]
        # Many nodes are in one state: idle, or full, or filled by the same pods.
        rows_as_bytes = state.view(np.dtype((np.void, state.shape[1] * state.itemsize))).ravel()
        _, first, which = np.unique(rows_as_bytes, return_index=True, return_inverse=True)
        found = self._policy.score(pod, nodes=nodes.take(able[first])).astype(np.int64)
        scores[able] = np.clip(found, MIN_NODE_SCORE, MAX_NODE_SCORE)[which]
        return scores
