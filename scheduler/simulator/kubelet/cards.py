"""Which cards of its node a pod gets, as a device plugin for shared GPUs hands them out."""

from collections.abc import Iterable, Mapping

import numpy as np

from scheduler.model import PodFacts
from scheduler.plugins.gpu.asks import AskError, ask_of, cards_of
from scheduler.plugins.gpu.columns import CARD_MILLI


def hand_out(
    pod: PodFacts, *, n_cards: int, held: Iterable[Mapping[int, int]]
) -> dict[int, int] | None:
    """Give a pod the cards that its annotation names, if they are free, or else the emptiest ones.

    NVIDIA's device plugin, too, spreads over the cards where several containers share one.

    Args:
        pod: With its annotations.
        n_cards: How many its node has.
        held: What pods there have of each card, in milli.

    Returns:
        Milli of each card; empty if it asks for none. ``None`` if no cards suffice, or if what it
        asks for cannot be read.
    """
    try:
        ask = ask_of(pod)
    except AskError:
        return None
    if not ask.n_cards:
        return {}
    free = np.full(n_cards, CARD_MILLI, dtype=np.int64)
    for cards in held:
        for card, milli in cards.items():
            free[card] -= milli
    named = cards_of(pod, ask=ask, n_cards=n_cards)
    if named is not None and (free[list(named)] >= ask.card_milli).all():
        return dict.fromkeys(named, ask.card_milli)
    emptiest = np.argsort(-free, kind="stable")[: ask.n_cards].tolist()
    if len(emptiest) < ask.n_cards or (free[emptiest] < ask.card_milli).any():
        return None
    return dict.fromkeys(emptiest, ask.card_milli)
