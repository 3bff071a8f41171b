"""Look-ahead: place each pod where what is left serves the pods to come best. Ours.

A descent like FGD's, on another measure. FGD takes all idle GPU of a node for usable by a shape as
soon as one pod of it fits. That forgets how many fit, what they would leave over on the cards, how
much CPU there is for all of them, and that some shapes can go to few nodes only. Here an idle share
is wasted as far as the same mix of pods is not expected to fill it:

* Shapes count by their *density*: how often they come, over the part of the cluster's GPU that
  could host them. So nodes that few can replace (of a model that pods insist on, or with many
  cards) are kept for those who need them.
* What a node is worth to a shape is between what FGD takes (all its usable cards, if it hosts one)
  and what as many copies as fit would take, their CPU counted.
* What is idle on a card is worth what a few pods, offered one after the other, would take of it if
  the card could pass on those that would leave it worse.

It knows what FGD knows, the mix and the nodes, and nothing of who comes next.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn
from scheduler.plugins.gpu.columns import CARD_MILLI, GpuNodes, GpuPod
from scheduler.plugins.gpu.fgd import Outcomes, outcomes
from scheduler.plugins.gpu.fragmentation import FloatColumn, TypicalWorkload

HOST_WEIGHT: Final = 0.7
"""How much hosting one pod of a shape counts; the rest is for how many copies fit."""
OFFERS: Final = 10
"""So many pods are offered to a card."""
OFFERS_WEIGHT: Final = 0.4
"""How much what they leave over counts; the rest is for what nodes are worth to shapes."""
STEP_MILLI: Final = 10.0
"""Falls of waste that are as alike as this are equal, so that the first node of a fixed order is
taken and nodes are filled one after the other."""
_NOISE_MILLI: Final = 1e-6
"""What floating-point sums may be off by; it must not make equal falls differ."""


class LookAhead:
    """The measure of waste, for one mix of pods and one cluster.

    Args:
        workload: The mix; at least one shape asks for cards.
        idle: The cluster's nodes without any pod.
    """

    def __init__(self, workload: TypicalWorkload, *, idle: GpuNodes) -> None:
        asks = np.flatnonzero(workload.n_cards)
        shapes = [workload.shapes[i] for i in asks]
        self._n_cards = workload.n_cards[asks]
        self._card_milli = np.array([shape.card_milli for shape in shapes], dtype=np.int64)
        self._cpu_milli = np.maximum(workload.cpu_milli[asks], 1)
        self._shares, self._share_of = np.unique(self._card_milli, return_inverse=True)
        self._is_allowed = workload.is_allowed(idle.models)[:, asks]
        p = workload.p_column[asks]
        self._density = _density(
            p,
            can_host=self._is_allowed[idle.model]
            & (idle.free_cpu_milli[:, np.newaxis] >= self._cpu_milli)
            & (idle.n_cards[:, np.newaxis] >= self._n_cards),
            n_cards=idle.n_cards,
        )
        p_share: FloatColumn = np.zeros(len(self._shares))
        np.add.at(p_share, self._share_of, p)
        self._left_over = left_over_milli(self._shares, p=p_share, n_offers=OFFERS)

    def wasted_milli(self, nodes: GpuNodes) -> FloatColumn:
        """Measure how much idle GPU of each node is not expected to be used.

        ``(1 - w) (R - Σ_i d_i (a h_i + (1 - a) q_i)) + w Σ_g L(r_g)`` with *R* the node's idle GPU,
        ``d_i`` the density of shape *i*, ``h_i`` what is idle on cards that have its share if the
        node can host one (else 0), ``q_i`` what as many copies would take as cards have room for
        and CPU suffices for (parts of a copy included), ``L`` from :func:`left_over_milli`, *a*
        :data:`HOST_WEIGHT` and *w* :data:`OFFERS_WEIGHT`.

        Example: a node with 16 free cores and cards [300, 1000], and one shape alone, 4 cores and
        half a card. It can host one, on card 1: h = 1000; of 2 copies there is room for (4 by CPU):
        q = 1000. So of R = 1300, 300 are wasted; two offers leave 300 over, too. With 6 free cores,
        1.5 copies: q = 750 and 0.6 (1300 - (0.7 × 1000 + 0.3 × 750)) + 0.4 × 300 = 345.

        Returns:
            Shape ``(n_nodes,)``, milli of a card.
        """
        cards = nodes.free_card_milli
        is_allowed = self._is_allowed[nodes.model]
        by_share = cards[:, np.newaxis, :]
        suffices = by_share >= self._shares[:, np.newaxis]
        n_usable = suffices.sum(axis=2)[:, self._share_of]
        usable = (suffices * by_share).sum(axis=2)[:, self._share_of]
        n_shares = (by_share // self._shares[:, np.newaxis]).sum(axis=2)[:, self._share_of]
        free_cpu = nodes.free_cpu_milli[:, np.newaxis]
        is_host = (free_cpu >= self._cpu_milli) & (n_usable >= self._n_cards)
        n_copies = np.minimum(
            np.where(self._n_cards > 1, n_usable // self._n_cards, n_shares),
            free_cpu / self._cpu_milli,
        )
        worth = HOST_WEIGHT * (usable * is_host)
        worth += (1.0 - HOST_WEIGHT) * n_copies * (self._n_cards * self._card_milli)
        expected: FloatColumn = (worth * is_allowed * self._density).sum(axis=1)
        left_over: FloatColumn = self._left_over[cards].sum(axis=1)
        unexpected: FloatColumn = cards.sum(axis=1) - expected
        return (1.0 - OFFERS_WEIGHT) * unexpected + OFFERS_WEIGHT * left_over

    def scores(self, pod: GpuPod, *, nodes: GpuNodes) -> tuple[NDArray[np.int64], IntColumn]:
        """Score nodes, and choose a card of each, by how much waste falls.

        ``floor(D / STEP_MILLI)`` with *D* the fall, most often negative. For a share each card is
        scored, and the best taken, of equal ones the first.

        Args:
            pod: What is to be placed.
            nodes: Where; feasible, else their scores mean nothing.

        Returns:
            Scores (whole steps, not 0 to 100), and the best card of each node, both of shape
            ``(n_nodes,)``. The card is of use to shares only.
        """
        found: Outcomes = outcomes(pod, nodes=nodes, measure=self.wasted_milli)
        scores = np.full(
            (len(nodes), max(1, nodes.free_card_milli.shape[1])), np.iinfo(np.int64).min
        )
        scores[found.row, found.card] = np.floor((found.relief_milli + _NOISE_MILLI) / STEP_MILLI)
        best = scores.argmax(axis=1)
        return scores[np.arange(len(nodes)), best], best


def left_over_milli(shares: NDArray[np.int64], *, p: FloatColumn, n_offers: int) -> FloatColumn:
    """Tell how much of a card stays idle after some offers, if it may pass on any.

    ``L_0(r) = r``, and ``L_k(r) = Σ_s p_s min(L_{k-1}(r), L_{k-1}(r - s))`` where *s* fits.

    Example: shares of 500 alone: after one offer 1000 leaves 500, after two 0; 300 stays 300.

    Args:
        shares: Distinct shares that pods ask of a card, in milli.
        p: How often each is asked for; need not sum to 1.
        n_offers: How many pods are offered.

    Returns:
        Shape ``(1001,)``: by what is idle now, in milli.
    """
    left = np.arange(CARD_MILLI + 1, dtype=np.float64)
    for _ in range(n_offers):
        after = np.zeros(CARD_MILLI + 1)
        for share, weight in zip(shares.tolist(), (p / p.sum()).tolist(), strict=True):
            taken = left.copy()
            taken[share:] = np.minimum(left[share:], left[: CARD_MILLI + 1 - share])
            after += weight * taken
        left = after
    return left


def _density(p: FloatColumn, *, can_host: NDArray[np.bool_], n_cards: IntColumn) -> FloatColumn:
    """Weigh shapes by how often they come over the part of all cards that could host them.

    Args:
        p: How often each comes, shape ``(n_shapes,)``.
        can_host: Shape ``(n_nodes, n_shapes)``.
        n_cards: Of each node.

    Returns:
        Shape ``(n_shapes,)``, summing to 1; 0 for what no node could host.
    """
    hosting = (can_host * n_cards[:, np.newaxis]).sum(axis=0)
    density: FloatColumn = np.where(hosting > 0, p / np.maximum(hosting, 1), 0.0)
    return density / max(float(density.sum()), np.finfo(np.float64).tiny)
