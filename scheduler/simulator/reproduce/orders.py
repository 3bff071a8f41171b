"""Orders of arrival, drawn as published experiments drew theirs. Pure.

Recorded orders come of another language's generator, so ours are other draws from the same
distribution: they compare with published results in the mean, not run by run.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from scheduler.simulator.traces.openb import ArrivalOrder, OpenbPod

LOAD_RATIO: Final = 1.3
"""Pods arrive until they ask for this much of the cluster's GPU."""


def draw_order(
    pods: Sequence[OpenbPod], *, n_nodes: int, capacity_milli: int, chance: np.random.Generator
) -> ArrivalOrder:
    """Shuffle pods, tune them to a load of 130 %, and draw which node is preferred among equals.

    If all pods together ask for less, copies of pods drawn evenly (those without cards included)
    follow, up to the first whose share of a card would exceed the load; if for more, pods drawn
    evenly are left out until they do not.

    Args:
        pods: At least one asks for a card.
        n_nodes: How many nodes there are.
        capacity_milli: The GPU of all nodes together, in milli of a card.
        chance: Where luck comes from.
    """
    by_name = sorted(range(len(pods)), key=lambda row: pods[row].name)
    order = np.array(by_name)[chance.permutation(len(pods))].tolist()
    target_milli = LOAD_RATIO * capacity_milli
    asked_milli = sum(pod.n_cards * pod.card_milli for pod in pods)
    if asked_milli <= target_milli:
        while True:
            row = int(chance.integers(len(pods)))
            if asked_milli + pods[row].card_milli > target_milli:
                break
            order.append(row)
            asked_milli += pods[row].n_cards * pods[row].card_milli
    while asked_milli > target_milli:
        pod = pods[order.pop(int(chance.integers(len(order))))]
        asked_milli -= pod.n_cards * pod.card_milli
    return ArrivalOrder(np.array(order, dtype=np.int64), chance.permutation(n_nodes))
