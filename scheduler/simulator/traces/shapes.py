"""Pods, or workloads, of like size put together, so that few groups stand for all."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_GRIDS: Final = (1.02, 1.1, 1.25, 1.6, 2.5, 4.0)
"""If there are too many, sizes within such a ratio of each other are taken for one; the finest that
will do is taken."""
_COVERED_SHARE: Final = 0.98
"""So many must be of one of the groups' sizes; the rest joins the nearest."""


def group_by_size(cpu: Floats, memory: Floats, *, max_groups: int) -> Indices:
    """Put what is of like size into groups.

    Args:
        cpu: Shape ``(n,)``, not negative, as *memory*; n is at least 1.
        memory: In any unit.
        max_groups: How many groups there may be.

    Returns:
        Shape ``(n,)``: the group of each, from 0 (the largest) on.
    """
    position = np.log(np.stack([cpu, memory], axis=1) + 1.0)
    cell, largest = _largest_cells(position, max_groups=max_groups)
    for ratio in _GRIDS:
        if np.isin(cell, largest).mean() >= _COVERED_SHARE:
            break
        cells = np.round(position / np.log(ratio))
        cell, largest = _largest_cells(cells, max_groups=max_groups)
    return _nearest(position, cell, largest)


def _largest_cells(cells: Floats, *, max_groups: int) -> tuple[Indices, Indices]:
    """Number the different cells; tell everybody's, and which hold most."""
    _, cell, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    return cell.reshape(-1), np.argsort(-counts, kind="stable")[:max_groups]


def _nearest(position: Floats, cell: Indices, kept: Indices) -> Indices:
    """Assign everybody to a cell that is kept: its own, or the one whose middle is nearest."""
    middles = np.stack([np.median(position[cell == number], axis=0) for number in kept])
    place = np.full(int(cell.max()) + 1, -1, dtype=np.intp)
    place[kept] = np.arange(len(kept))
    group: Indices = place[cell]
    strangers = np.flatnonzero(group < 0)
    for start in range(0, len(strangers), 10_000):
        some = strangers[start : start + 10_000]
        distance = np.abs(position[some][:, None, :] - middles[None]).sum(axis=2)
        group[some] = distance.argmin(axis=1)
    return group
