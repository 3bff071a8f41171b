"""Which cards of a node a pod gets."""

import numpy as np
from numpy.typing import NDArray

from scheduler.plugins.gpu.columns import GpuPod


def best_cards(pod: GpuPod, *, free_milli: NDArray[np.int64]) -> tuple[int, ...]:
    """Choose the fullest card for a share, and the first idle ones for whole cards.

    A share goes to the card with the smallest free share that suffices; of equal ones, to the
    first. (The order in which Weng et al. hand out cards where a policy has no wish of its own.)

    Example: of cards [600, 400, 1000, 400], a share of 300 gets card 1, a whole card is card 2.

    Args:
        pod: It fits there.
        free_milli: Of each of a node's cards, shape ``(n_slots,)``.
    """
    if pod.is_share:
        left = np.where(free_milli >= pod.card_milli, free_milli, np.iinfo(np.int64).max)
        return (int(np.argmin(left)),)
    return tuple(np.flatnonzero(free_milli >= pod.card_milli)[: pod.n_cards].tolist())


def random_cards(
    pod: GpuPod, *, free_milli: NDArray[np.int64], chance: np.random.Generator
) -> tuple[int, ...]:
    """Choose any card that suffices for a share, and the first idle ones for whole cards.

    Args:
        pod: It fits there.
        free_milli: Of each of a node's cards, shape ``(n_slots,)``.
        chance: Where luck comes from.
    """
    if not pod.is_share:
        return best_cards(pod, free_milli=free_milli)
    return (int(chance.choice(np.flatnonzero(free_milli >= pod.card_milli))),)
