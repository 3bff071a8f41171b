"""How good the zones of nodes are for a pod, zone by zone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from scheduler.framework.columns import Rows
from scheduler.framework.status import MAX_NODE_SCORE, ScoreColumn
from scheduler.model import ContainerFacts
from scheduler.plugins.numa.zones import Grid, Zones

Asked = Sequence[tuple[int, int, Grid]]
"""Of each resource that is asked for: how much, its weight, and what zones have."""
Strategy = Callable[[Asked], Grid]
"""Rates zones, 0 to 100; 0 also for those that cannot be had."""

_NO_SCORE: Final = MAX_NODE_SCORE + 1


def rate_zones(
    containers: Sequence[ContainerFacts],
    *,
    strategy: Strategy,
    weights: Mapping[str, int],
    zones: Zones,
    rows: Rows,
) -> ScoreColumn:
    """Rate nodes by their worst zone that will do, for each container as if it were alone.

    Args:
        containers: At least one.
        strategy: Rates zones.
        weights: Of resources; 1 of those that it does not name.
        zones: What is available.
        rows: Which nodes to rate.

    Returns:
        The shape of *rows*: the mean over the containers, cut to an integer; 0 to 100.
    """
    total = np.zeros(rows.size, dtype=np.int64)
    is_zone = (np.arange(zones.n_zones)[:, np.newaxis] < zones.counts[rows]).T
    for container in containers:
        asked = [
            (amount, weights.get(name, 1), zones.available(name, rows=rows))
            for name, amount in container.requests
        ]
        rated = np.where(is_zone, strategy(asked), 0)
        worst = np.where(rated > 0, rated, _NO_SCORE).min(axis=1)
        total += np.where(worst == _NO_SCORE, 0, worst)
    return total // len(containers)


def least_allocated(asked: Asked) -> Grid:
    """Prefer zones of which much would be left."""
    return _weighted_mean(asked, _percent_left)


def most_allocated(asked: Asked) -> Grid:
    """Prefer zones of which little would be left."""
    return _weighted_mean(asked, _percent_used)


def balanced_allocation(asked: Asked) -> Grid:
    """Prefer zones of which as much of one resource would be used as of the others.

    100 * (1 - variance), the variance being that of a sample; of one resource there is none.
    """
    fractions = np.array([amount / np.maximum(grid, 1) for amount, _, grid in asked])
    variance = fractions.var(axis=0, ddof=1) if len(asked) > 1 else np.zeros(fractions[0].shape)
    holds = np.logical_and.reduce([grid >= amount for amount, _, grid in asked])
    scores: Grid = np.where(holds, (1.0 - variance) * MAX_NODE_SCORE, 0.0).astype(np.int64)
    return scores


def _weighted_mean(asked: Asked, rate: Callable[[int, Grid], Grid]) -> Grid:
    rated = sum(np.where(grid >= amount, rate(amount, grid), 0) * w for amount, w, grid in asked)
    mean: Grid = np.asarray(rated) // sum(weight for _, weight, _ in asked)
    return mean


def _percent_left(amount: int, grid: Grid) -> Grid:
    return (grid - amount) * MAX_NODE_SCORE // np.maximum(grid, 1)


def _percent_used(amount: int, grid: Grid) -> Grid:
    return amount * MAX_NODE_SCORE // np.maximum(grid, 1)
