"""Whether all that a pod asks for is to be had in one zone."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import Amounts, Rows
from scheduler.framework.status import BoolColumn
from scheduler.model import ContainerFacts
from scheduler.plugins.numa.demand import is_reused, may_be_outside_zones
from scheduler.plugins.numa.zones import Grid, Zones


def cannot_align(
    containers: Sequence[ContainerFacts],
    *,
    zones: Zones,
    allocatable: Amounts[str],
    rows: Rows,
) -> BoolColumn:
    """Tell on which nodes some container finds no zone that has all that it asks for.

    As kubelets do it: one container after the other gets the zone with the lowest number that has
    enough left. What is over before the next one starts leaves nothing taken; but its cores and
    devices are the pod's, and who asks for the like after it must be in their zone.

    Args:
        containers: In the order in which they start.
        zones: What is available.
        allocatable: Of the nodes as a whole: what no zone has may still be there.
        rows: Which nodes to look at.

    Returns:
        The shape of *rows*.
    """
    resources = {name for each in containers for name, _ in each.requests}
    left = {name: zones.available(name, rows=rows) for name in resources}
    elsewhere = {
        name: (allocatable[name][rows] > 0) & (grid < 0).all(axis=1)
        for name, grid in left.items()
        if may_be_outside_zones(name)
    }
    had: dict[str, Grid] = {}
    refused = np.zeros(rows.size, dtype=np.bool_)
    for number, container in enumerate(containers, 1):
        fits = np.ones((rows.size, zones.n_zones), dtype=np.bool_, order="F")
        for name, amount in container.requests:
            has_enough = left[name] >= amount
            if name in elsewhere:
                has_enough |= elsewhere[name][:, np.newaxis]
            fits &= has_enough
            if name in had and is_reused(name, amount):
                fits &= _is_no_other(had[name])
        refused |= ~fits.any(axis=1)
        if number < len(containers):
            chosen = fits.argmax(axis=1)
            _reuse(container, left=left, had=had, chosen=chosen)
            if not container.is_brief:
                _take(container, left=left, chosen=chosen)
    return refused


def _is_no_other(had: Grid) -> NDArray[np.bool_]:
    """Tell in which zones all lies that the pod has to reuse, if there is any."""
    has = had > 0
    there: NDArray[np.bool_] = has.sum(axis=1, keepdims=True) == has
    return there


def _reuse(
    container: ContainerFacts, *, left: Mapping[str, Grid], had: dict[str, Grid], chosen: Rows
) -> None:
    """Note what an init container leaves to those after it, or one of these takes of that."""
    nodes = np.arange(chosen.size)
    for name, amount in container.requests:
        if not is_reused(name, amount) or not (container.is_brief or name in had):
            continue
        grid = had.setdefault(name, np.zeros_like(left[name]))
        before = grid[nodes, chosen]
        # What no zone reports has no zone to be reused in.
        is_there = left[name][nodes, chosen] >= 0
        after = np.maximum(before, amount) if container.is_brief else np.maximum(before - amount, 0)
        grid[nodes, chosen] = np.where(is_there, after, before)


def _take(container: ContainerFacts, *, left: dict[str, Grid], chosen: Rows) -> None:
    """Take what a container asks for from one zone of each node."""
    nodes = np.arange(chosen.size)
    for name, amount in container.requests:
        grid = left[name]
        # Less than nothing may be left where it did not fit, which is refused anyway.
        grid[nodes, chosen] -= np.where(grid[nodes, chosen] < 0, 0, amount)
