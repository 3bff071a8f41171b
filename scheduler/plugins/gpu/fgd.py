"""FGD, fragmentation gradient descent: place each pod where it adds the least fragmentation.

Source: Weng et al., "Beware of Fragmentation", USENIX ATC 2023.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn, Rows
from scheduler.framework.status import BoolColumn
from scheduler.plugins.gpu.columns import CARD_MILLI, CardMatrix, GpuNodes, GpuPod
from scheduler.plugins.gpu.fragmentation import FloatColumn

Measure: TypeAlias = Callable[[GpuNodes], FloatColumn]
"""How fragmented nodes are, shape ``(n_nodes,)``, in milli of a card."""


class Outcomes(NamedTuple):
    """What placing a pod could come to: one a node, but for shares one a card that would do."""

    row: Rows
    """Which node, ascending."""
    card: IntColumn
    """Which card would give the share; 0 if the pod asks for no share."""
    relief_milli: FloatColumn
    """By how much fragmentation would fall, in milli of a card."""


def outcomes(pod: GpuPod, *, nodes: GpuNodes, measure: Measure) -> Outcomes:
    """Place a pod on paper, on each card that could give it its share.

    Of cards of a node that are equally free only the first is listed. Whole cards are the first
    idle ones. A node that lacks cards has no outcome if the pod asks for a share; otherwise its
    outcome is meaningless, as it is if CPU is lacking.

    Args:
        pod: What is to be placed.
        nodes: Where.
        measure: What should fall.
    """
    row, card = np.nonzero(_is_possible(pod, cards=nodes.free_card_milli))
    n = len(nodes)
    states = nodes.take(np.concatenate((np.arange(n), row)))  # before, and below it after
    states.free_cpu_milli[n:] -= pod.cpu_milli
    after = states.free_card_milli[n:]
    if pod.is_share:
        after[np.arange(len(row)), card] -= pod.card_milli
    elif pod.n_cards:
        is_idle = after == CARD_MILLI
        after[is_idle & (is_idle.cumsum(axis=1) <= pod.n_cards)] = 0
    found = measure(states)
    return Outcomes(row, card, found[row] - found[n:])


def descent_scores(
    pod: GpuPod, *, nodes: GpuNodes, measure: Measure
) -> tuple[NDArray[np.int64], IntColumn]:
    """Score nodes, and choose a card of each, by how much fragmentation falls.

    ``score = trunc(100 / (1 + exp(-D / 1000)))`` with *D* the fall in milli of a card: 50 where
    nothing changes. For a share each card is scored, and the best taken, of equal ones the first.
    One unit of score is about 40 milli near 0, so many nodes tie; who takes the first of those in a
    fixed order packs them one after the other.

    FGD measures by :func:`~scheduler.plugins.gpu.fragmentation.fragmentation_milli`.

    Example: a node with 16 free cores and cards [300, 1000]; half of the pods ask for 4 cores and
    half a card, a quarter for 8 cores and 2 cards, a quarter for 4 cores; so F = 800. A pod of 4
    cores and a share of 300 on card 0 leaves F = 500, score 57; on card 1, F = 650, score 53. Card
    0 is chosen, and the node scores 57.

    Args:
        pod: What is to be placed.
        nodes: Where; feasible, else their scores mean nothing.
        measure: What should fall.

    Returns:
        Scores, 0 to 100, and the best card of each node; both of shape ``(n_nodes,)``. The card is
        of use to shares only.
    """
    row, card, relief_milli = outcomes(pod, nodes=nodes, measure=measure)
    scores = np.zeros((len(nodes), max(1, nodes.free_card_milli.shape[1])), dtype=np.int64)
    scores[row, card] = np.trunc(1.0 / (1.0 + np.exp(-(relief_milli / 1000.0))) * 100.0)
    best = scores.argmax(axis=1)
    return scores[np.arange(len(nodes)), best], best


def _is_possible(pod: GpuPod, *, cards: CardMatrix) -> BoolColumn:
    """Tell on which cards to try, shape ``(n_nodes, n_slots)``: one a node but for shares."""
    if not pod.is_share:
        is_first = np.arange(max(1, cards.shape[1])) == 0
        return np.tile(is_first, (len(cards), 1))
    # Equally free cards come to the same, and the first is preferred.
    n_slots = cards.shape[1]
    is_earlier = np.tri(n_slots, k=-1, dtype=np.bool_)
    is_as_free = cards[:, :, np.newaxis] == cards[:, np.newaxis, :]
    is_possible: BoolColumn = (cards >= pod.card_milli) & ~(is_as_free & is_earlier).any(axis=2)
    return is_possible
