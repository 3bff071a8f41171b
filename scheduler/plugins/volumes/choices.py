"""Which volume each claim would get on each node: the smallest that is to be had there."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.plugins.volumes.inventory import Candidate
from scheduler.plugins.volumes.topology import reach

NOTHING: Final = -1
"""Stands for no volume."""
_NEVER: Final = np.iinfo(np.int64).max

_Ranks = NDArray[np.int64]


def rank(candidates: Iterable[tuple[int, Candidate]], *, snapshot: Snapshot, n_best: int) -> _Ranks:
    """Find each node's best candidates.

    There may be a volume for each node, so volumes that ask for one label's value, as local ones
    do, are looked up by value for all nodes at once.

    Args:
        candidates: The best first, each with its rank.
        snapshot: The nodes.
        n_best: How many to find for each node.

    Returns:
        Shape ``(n_nodes, n)``, *n* at least *n_best*: ranks, the best first; a huge number where
        there are no more.
    """
    by_value: dict[str, dict[str, list[int]]] = {}
    by_place: dict[bytes, tuple[Candidate, list[int]]] = {}
    for position, candidate in candidates:
        if candidate.label is None:
            by_place.setdefault(candidate.place, (candidate, []))[1].append(position)
            continue
        of_key = by_value.setdefault(candidate.label[0], {})
        for value in candidate.label[1]:
            of_key.setdefault(value, []).append(position)
    columns = [np.full((snapshot.n_nodes, n_best), _NEVER, dtype=np.int64)]
    for key, positions in by_value.items():
        columns.append(_by_label(snapshot, key=key, positions=positions, n_best=n_best))
    for candidate, found in by_place.values():
        here = reach(snapshot, terms=candidate.terms)
        best = np.array(found[:n_best], dtype=np.int64)
        columns.append(np.where(here[:, np.newaxis], best, _NEVER))
    return np.sort(np.hstack(columns), axis=1)


def _by_label(
    snapshot: Snapshot, *, key: str, positions: dict[str, list[int]], n_best: int
) -> _Ranks:
    ids, n_ids = snapshot.labels.ids(key)
    # The last row stands for nodes without the label, whose id is -1.
    table = np.full((n_ids + 1, n_best), _NEVER, dtype=np.int64)
    for value, found in positions.items():
        number = snapshot.labels.value_id(key, value=value)
        if number >= 0:
            best = found[:n_best]
            table[number, : len(best)] = best
    return table[ids]


def choose(ranks: _Ranks, *, taken: Iterable[IntColumn]) -> IntColumn:
    """Choose each node's best candidate that is not taken there.

    Args:
        ranks: As ``rank`` returns them.
        taken: Ranks that the pod's other claims took, shape ``(n_nodes,)`` each.

    Returns:
        Shape ``(n_nodes,)``: ranks, ``NOTHING`` where no candidate is left.
    """
    chosen = np.full(ranks.shape[0], NOTHING, dtype=np.int64)
    for column in ranks.T:
        is_free = (chosen == NOTHING) & (column != _NEVER)
        for other in taken:
            is_free &= column != other
        chosen[is_free] = column[is_free]
    return chosen
