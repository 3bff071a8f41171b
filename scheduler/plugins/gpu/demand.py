"""Demand: a measure of fragmentation, ours, that asks how many pods fit and where else they could.

FGD's measure takes all idle cards of a node for usable by a shape of pods as soon as one pod of it
fits. So it does not see that the node's CPU will not do for as many pods as its cards would, nor
what pods leave over on the cards; and it weighs a shape that can go anywhere like one that can go
to few nodes only. This measure sees the three, and knows no more than FGD's: the mix of pods to
expect, and the nodes. The descent on it, scores and ties are FGD's own.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn
from scheduler.plugins.gpu.columns import GpuNodes
from scheduler.plugins.gpu.fragmentation import FloatColumn, TypicalWorkload

HOST_WEIGHT: Final = 0.75
"""How much it counts that a node can host one pod of a shape; the rest is for how many fit. Chosen
on one order of arrival of five variants of the trace openb; from 0.7 to 0.8 it makes little
difference."""


class DemandMeasure:
    """The measure for one mix of pods and one cluster.

    Args:
        workload: The mix, *M*.
        idle: The cluster's nodes without any pod.
    """

    def __init__(self, workload: TypicalWorkload, *, idle: GpuNodes) -> None:
        asks = np.flatnonzero(workload.n_cards)
        self._n_cards = workload.n_cards[asks]
        self._cpu_milli = np.maximum(workload.cpu_milli[asks], 1)
        self._card_milli = workload.shares_milli[workload.share_of[asks]]
        self._shares, self._share_of = np.unique(self._card_milli, return_inverse=True)
        self._is_allowed = workload.is_allowed(idle.models)[:, asks]
        self._density = _density(
            workload.p_column[asks],
            can_host=self._is_allowed[idle.model]
            & (idle.free_cpu_milli[:, np.newaxis] >= self._cpu_milli)
            & (idle.n_cards[:, np.newaxis] >= self._n_cards),
            n_cards=idle.n_cards,
        )

    def unserved_milli(self, nodes: GpuNodes) -> FloatColumn:
        """Measure how much idle GPU of each node the workload is not expected to use.

        ``R - Σ_i d_i (a h_i + (1 - a) q_i)`` over the shapes that ask for cards, in milli of a
        card. *R* is the node's idle GPU; ``h_i`` what is idle on cards that have the share of
        shape *i* if the node can host one pod of it, else 0; ``q_i`` what as many pods of it would
        take as the cards have room for and CPU suffices for (parts of a pod included); *a* is
        :data:`HOST_WEIGHT`. The density ``d_i`` is the probability of *i* over the part of all
        cards that are on nodes which could host it when idle, in proportion such that all sum to
        what the probabilities do. With ``d_i = p_i`` and ``a = 1`` it is FGD's ``F_n(M)``.

        Example: FGD's, a node with 16 free cores and cards [300, 1000]; half of the pods ask for 4
        cores and half a card, a quarter for 8 cores and 2 cards, a quarter for 4 cores; each fits
        on any idle node, so densities are probabilities. h = q = 1000 for the half card, 0 for the
        two: 1300 - 0.5 × 1000 = 800, as FGD finds. A share of 300 on card 1 leaves h = 700 and
        q = 500: 1000 - 0.5 × (0.75 × 700 + 0.25 × 500) = 675, where FGD finds 650.

        Returns:
            Shape ``(n_nodes,)``, milli of a card.
        """
        cards = nodes.free_card_milli[:, np.newaxis, :]
        shares = self._shares[:, np.newaxis]
        suffices = cards >= shares
        n_usable = suffices.sum(axis=2)[:, self._share_of]
        usable_milli = (suffices * cards).sum(axis=2)[:, self._share_of]
        n_shares = (cards // shares).sum(axis=2)[:, self._share_of]
        free_cpu_milli = nodes.free_cpu_milli[:, np.newaxis]
        is_host = (free_cpu_milli >= self._cpu_milli) & (n_usable >= self._n_cards)
        n_pods = np.minimum(
            np.where(self._n_cards > 1, n_usable // self._n_cards, n_shares),
            free_cpu_milli / self._cpu_milli,
        )
        used_milli = HOST_WEIGHT * (usable_milli * is_host)
        used_milli += (1.0 - HOST_WEIGHT) * n_pods * (self._n_cards * self._card_milli)
        used_milli *= self._is_allowed[nodes.model]
        unserved: FloatColumn = nodes.free_gpu_milli - (used_milli * self._density).sum(axis=1)
        return unserved


def _density(p: FloatColumn, *, can_host: NDArray[np.bool_], n_cards: IntColumn) -> FloatColumn:
    """Weigh shapes by how often they come over the part of all cards that could host them.

    Args:
        p: How often each comes, shape ``(n_shapes,)``.
        can_host: Shape ``(n_nodes, n_shapes)``.
        n_cards: Of each node.

    Returns:
        Shape ``(n_shapes,)``, summing to what *p* does; 0 for what no node could host.
    """
    hosting = (can_host * n_cards[:, np.newaxis]).sum(axis=0)
    density: FloatColumn = np.where(hosting > 0, p / np.maximum(hosting, 1), 0.0)
    total = float(density.sum())
    return density * (float(p.sum()) / total) if total else density
