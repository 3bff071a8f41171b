"""Whether all that a pod asks for is to be had in one zone."""

from collections.abc import Sequence

import numpy as np

from scheduler.framework.columns import Amounts, Rows
from scheduler.framework.status import BoolColumn
from scheduler.model import ContainerFacts
from scheduler.plugins.numa.demand import may_be_outside_zones
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
    enough left; what is over before the next one starts leaves nothing taken.

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
    refused = np.zeros(rows.size, dtype=np.bool_)
    for number, container in enumerate(containers, 1):
        fits = np.ones((rows.size, zones.n_zones), dtype=np.bool_, order="F")
        for name, amount in container.requests:
            has_enough = left[name] >= amount
            if name in elsewhere:
                has_enough |= elsewhere[name][:, np.newaxis]
            fits &= has_enough
        refused |= ~fits.any(axis=1)
        if not container.is_brief and number < len(containers):
            _take(container, left=left, chosen=fits.argmax(axis=1))
    return refused


def _take(container: ContainerFacts, *, left: dict[str, Grid], chosen: Rows) -> None:
    """Take what a container asks for from one zone of each node."""
    nodes = np.arange(chosen.size)
    for name, amount in container.requests:
        grid = left[name]
        # Less than nothing may be left where it did not fit, which is refused anyway.
        grid[nodes, chosen] -= np.where(grid[nodes, chosen] < 0, 0, amount)
