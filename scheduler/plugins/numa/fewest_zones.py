"""LeastNUMANodes: how many zones a pod must be spread over, and how far these are apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn, Rows
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, BoolColumn, ScoreColumn
from scheduler.model import ContainerFacts
from scheduler.plugins.numa.demand import may_be_outside_zones
from scheduler.plugins.numa.zones import Grid, Zones

_MAX_COMBINATIONS: Final = 2_000
"""Of one size. Nodes of 16 zones have fewer for up to 3 zones, nodes of 12 for any number."""

Indexes = NDArray[np.intp]
"""Shape ``(n_combinations, n_members)``: ascending numbers of zones."""
Members = NDArray[np.bool_]
"""Shape ``(n_combinations, n_zones)``, in the order of the zones' numbers."""


def rate_fewest_zones(
    containers: Sequence[ContainerFacts], *, zones: Zones, rows: Rows
) -> ScoreColumn:
    """Rate nodes by the zones that the container needs that needs the most of them.

    Args:
        containers: In the order in which they start; what one gets the next ones lack.
        zones: What is available.
        rows: Which nodes to rate.

    Returns:
        The shape of *rows*; 100 where nothing that is asked for is tied to zones, 0 where no number
        of zones has enough.
    """
    resources = {name for each in containers for name, _ in each.requests}
    left = {name: zones.available(name, rows=rows) for name in resources}
    is_tied = {name: np.logical_or.reduce(grid >= 0, axis=1) for name, grid in left.items()}
    n_needed = np.zeros(rows.size, dtype=np.int64)
    is_nearest = np.ones(rows.size, dtype=np.bool_)
    has_room = np.ones(rows.size, dtype=np.bool_)
    for container in containers:
        need = _Need.of(container, left=left, is_tied=is_tied)
        size, chosen, nearest = _choose(need, zones=zones, rows=rows)
        has_room &= (size > 0) | ~need.is_any
        is_nearest &= nearest | ~need.is_any
        n_needed = np.maximum(n_needed, size)
        _take(need, chosen=chosen)
    step = MAX_NODE_SCORE // zones.max_zones[rows]
    scores = MAX_NODE_SCORE - n_needed * step + np.where(is_nearest, step // 2, 0)
    # A node may report more zones than its kubelet copes with.
    scores = np.maximum(np.where(has_room, scores, MIN_NODE_SCORE), MIN_NODE_SCORE)
    rated: ScoreColumn = np.where(n_needed | ~has_room, scores, MAX_NODE_SCORE)
    return rated


@dataclass(frozen=True, slots=True)
class _Need:
    """What one container asks for on some nodes."""

    amounts: Mapping[str, IntColumn]
    """By resource and node; 0 where the node's zones have nothing to do with it."""
    left: Mapping[str, Grid]
    """What zones have, 0 where they report nothing."""
    is_any: BoolColumn
    """Where zones matter at all."""

    @classmethod
    def of(
        cls,
        container: ContainerFacts,
        *,
        left: dict[str, Grid],
        is_tied: Mapping[str, BoolColumn],
    ) -> "_Need":
        amounts = {
            name: np.where(is_tied[name] | (not may_be_outside_zones(name)), amount, 0)
            for name, amount in container.requests
        }
        for name in amounts:
            left[name] = np.maximum(left[name], 0)
        is_any = np.logical_or.reduce([is_tied[name] for name in amounts])
        return cls(amounts, {name: left[name] for name in amounts}, is_any)

    def fits(self, members: Members, nodes: Rows) -> BoolColumn:
        """Tell on which nodes which zones have enough together, ``(n_nodes, n_combinations)``."""
        together = members.T.astype(np.int64)
        fits: BoolColumn = np.logical_and.reduce(
            [
                self.left[name][nodes] @ together >= amounts[nodes][:, np.newaxis]
                for name, amounts in self.amounts.items()
            ]
        )
        return fits


def _choose(need: _Need, *, zones: Zones, rows: Rows) -> tuple[IntColumn, BoolColumn, BoolColumn]:
    """Find the fewest zones that have enough, of these the nearest, of these the first.

    Returns:
        How many they are (0 where there are none), which ones ``(n_nodes, n_zones)``, and whether
        no other zones of this number are nearer.
    """
    size = np.zeros(rows.size, dtype=np.int64)
    chosen = np.zeros((rows.size, zones.n_zones), dtype=np.bool_)
    is_nearest = np.zeros(rows.size, dtype=np.bool_)
    everything = np.ones((1, zones.n_zones), dtype=np.bool_)
    open_nodes = np.flatnonzero(need.is_any)
    open_nodes = open_nodes[need.fits(everything, open_nodes)[:, 0]]
    for n_members in range(1, zones.n_zones + 1):
        if not open_nodes.size or comb(zones.n_zones, n_members) > _MAX_COMBINATIONS:
            break
        indexes, members = _combinations(zones.n_zones, n_members)
        is_there = indexes[:, -1] < zones.counts[rows[open_nodes]][:, np.newaxis]
        distances = _distances(zones, rows[open_nodes], indexes)
        distances[~is_there] = np.inf
        fitting = np.where(need.fits(members, open_nodes), distances, np.inf)
        best = fitting.argmin(axis=1)
        nearest = fitting[np.arange(best.size), best]
        found = np.isfinite(nearest)
        nodes = open_nodes[found]
        size[nodes] = n_members
        chosen[nodes] = members[best[found]]
        is_nearest[nodes] = (nearest == distances.min(axis=1))[found]
        open_nodes = open_nodes[~found]
    return size, chosen, is_nearest


@lru_cache(maxsize=256)
def _combinations(n_zones: int, n_members: int) -> tuple[Indexes, Members]:
    indexes = np.array(list(combinations(range(n_zones), n_members)))
    members = np.zeros((len(indexes), n_zones), dtype=np.bool_)
    np.put_along_axis(members, indexes, values=True, axis=1)
    for each in (indexes, members):
        each.flags.writeable = False
    return indexes, members


def _distances(zones: Zones, nodes: Rows, indexes: Indexes) -> NDArray[np.float64]:
    """Sum up the distances within combinations of one size, ``(n_nodes, n_combinations)``."""
    pairs = zones.costs[nodes][:, indexes[:, :, np.newaxis], indexes[:, np.newaxis, :]]
    summed: NDArray[np.float64] = pairs.sum(axis=(2, 3), dtype=np.float64)
    return summed


def _take(need: _Need, *, chosen: BoolColumn) -> None:
    """Take what a container asks for from its zones, the first ones first."""
    for name, amounts in need.amounts.items():
        grid = need.left[name]
        missing = amounts.copy()
        for zone in range(grid.shape[1]):
            taken = np.where(chosen[:, zone], np.minimum(grid[:, zone], missing), 0)
            grid[:, zone] -= taken
            missing -= taken
