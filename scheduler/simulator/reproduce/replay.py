"""The experiment: pods arrive one by one, are placed or rejected, and never depart. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import Rows
from scheduler.plugins.gpu.columns import GpuNodes, GpuPod, feasible_nodes
from scheduler.plugins.gpu.policies import GpuPolicy

REJECTED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Placements:
    """Where each arrival went, in order of arrival."""

    nodes: NDArray[np.int64]
    """Rows of nodes; :data:`REJECTED` if none would do."""
    cards: list[tuple[int, ...]]


@dataclass(slots=True, eq=False)
class _Kept:
    """Scores for one shape of pod, right up to some change."""

    scores: NDArray[np.float64]
    """``-inf`` where CPU, cards or model are lacking."""
    n_seen: int
    """How many changes of nodes they take into account."""


@dataclass(slots=True, eq=False)
class _Rater:
    """Rates all nodes, but looks only at those that changed since a pod like this was rated."""

    policy: GpuPolicy
    nodes: GpuNodes
    changed: list[int] = field(default_factory=list)
    """Rows in which pods were placed, in order."""
    kept: dict[GpuPod, _Kept] = field(default_factory=dict)

    def rate(self, pod: GpuPod) -> NDArray[np.float64]:
        if not self.policy.is_steady:
            return self._scores(pod, rows=np.arange(len(self.nodes)))
        kept = self.kept.get(pod)
        if kept is None:
            kept = _Kept(self._scores(pod, rows=np.arange(len(self.nodes))), len(self.changed))
            self.kept[pod] = kept
        elif kept.n_seen < len(self.changed):
            rows = np.array(sorted(set(self.changed[kept.n_seen :])), dtype=np.intp)
            kept.scores[rows] = self._scores(pod, rows=rows)
            kept.n_seen = len(self.changed)
        return kept.scores

    def _scores(self, pod: GpuPod, *, rows: Rows) -> NDArray[np.float64]:
        scores = np.full(len(rows), -np.inf)
        nodes = self.nodes.take(rows)
        feasible = np.flatnonzero(feasible_nodes(pod, nodes=nodes))
        if feasible.size:
            scores[feasible] = self.policy.score(pod, nodes=nodes.take(feasible))
        return scores


def replay(
    pods: Sequence[GpuPod], *, nodes: GpuNodes, arrivals: NDArray[np.int64], policy: GpuPolicy
) -> Placements:
    """Let pods arrive, and place each on the node of the highest score; of equals, the first row.

    Args:
        pods: What may arrive; pods that ask for the same should be the same object or equal.
        nodes: In the order in which they are preferred among equals; left as they are.
        arrivals: Which of *pods* arrive, in order.
        policy: What rates nodes and hands out cards.
    """
    nodes = nodes.take(np.arange(len(nodes)))
    rater = _Rater(policy, nodes)
    placed = np.full(len(arrivals), REJECTED, dtype=np.int64)
    cards: list[tuple[int, ...]] = []
    for i, which in enumerate(arrivals.tolist()):
        pod = pods[which]
        scores = rater.rate(pod)
        row = int(scores.argmax())
        if scores[row] == -np.inf:
            cards.append(())
            continue
        chosen = policy.choose_cards(pod, node=nodes.take(np.array([row])))
        nodes.place(pod, row=row, cards=chosen)
        rater.changed.append(row)
        placed[i] = row
        cards.append(chosen)
    return Placements(placed, cards)
