"""The zones of all nodes in columns: nodes x zones for each resource."""

import copy
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn, Rows
from scheduler.framework.status import BoolColumn
from scheduler.plugins.numa.reports import NOT_REPORTED, UNKNOWN_COST, Report

Grid = NDArray[np.int64]
"""Shape ``(n_nodes, n_zones)``: a resource's amounts, in the order of the zones' numbers.

Zone by zone in memory: there are many nodes and few zones.
"""
Costs = NDArray[np.uint8]
"""Shape ``(n_nodes, n_zones, n_zones)``."""


class Zones:
    """What is available in the zones of each node; rows are those of a snapshot."""

    def __init__(self) -> None:
        self.n_zones = 1
        """As many as the node with the most of them has."""
        self.counts: IntColumn = np.zeros(0, dtype=np.int64)
        """How many zones each node has."""
        self.max_zones: IntColumn = np.ones(0, dtype=np.int64)
        """How many its kubelet copes with."""
        self.is_reported: BoolColumn = np.zeros(0, dtype=np.bool_)
        """Whether anything is known of the node's zones."""
        self.is_single: BoolColumn = np.zeros(0, dtype=np.bool_)
        """Whether its kubelet takes only what fits one zone."""
        self.is_pod_scope: BoolColumn = np.zeros(0, dtype=np.bool_)
        """Whether it places pods as a whole."""
        self.is_valid: BoolColumn = np.zeros(0, dtype=np.bool_)
        """Whether what is known can be relied on."""
        self.costs: Costs = np.zeros((0, 1, 1), dtype=np.uint8)
        self._available: dict[str, Grid] = {}

    def available(self, resource: str, *, rows: Rows) -> Grid:
        """Return a copy of what some nodes have left of a resource; see ``NOT_REPORTED``."""
        grid = self._available.get(resource)
        if grid is None:
            return _nothing(rows.size, n_zones=self.n_zones)
        return _picked(grid, rows)

    def fork(self) -> "Zones":
        """Copy, for changes of what is available."""
        fork = copy.copy(self)
        fork.is_valid = self.is_valid.copy()
        fork._available = {n: grid.copy(order="K") for n, grid in self._available.items()}  # noqa: SLF001 - another of us
        return fork

    def move(self, sources: Rows) -> None:
        """Give each row what another one had; -1 for a row of which nothing is known."""
        is_new = sources < 0
        for name in _COLUMNS:
            column = getattr(self, name)
            # The first row stands in where there is no source; it may not be there, either.
            moved = column[sources] if column.shape[0] else _blank(column, n_rows=sources.size)
            moved[is_new] = 0
            setattr(self, name, moved)
        moved_grids = {name: self._moved(grid, sources) for name, grid in self._available.items()}
        # Resources that no node has any more go.
        self._available = {n: g for n, g in moved_grids.items() if (g != NOT_REPORTED).any()}

    def _moved(self, grid: Grid, sources: Rows) -> Grid:
        if not grid.shape[0]:
            return _nothing(sources.size, n_zones=self.n_zones)
        moved = _picked(grid, sources)
        moved[sources < 0] = NOT_REPORTED
        return moved

    def describe(self, row: int, report: Report) -> None:
        """Write what a node's report says of its kubelet and its zones' distances."""
        if report.n_zones > self.n_zones:
            self._widen(report.n_zones)
        self.counts[row] = report.n_zones
        self.max_zones[row] = report.max_zones
        self.is_reported[row] = True
        self.is_single[row] = report.is_single
        self.is_pod_scope[row] = report.is_pod_scope
        self.costs[row] = UNKNOWN_COST
        if report.n_zones:
            self.costs[row, : report.n_zones, : report.n_zones] = report.costs

    def fill(self, row: int, report: Report, *, taken: Mapping[str, int], is_valid: bool) -> None:
        """Write what is available on a node.

        Args:
            row: The node.
            report: What was, when its agent looked.
            taken: What has been taken since, nobody knows from which zone: by resource.
            is_valid: Whether that can be relied on.
        """
        self.is_valid[row] = is_valid
        for name in report.available:
            if name not in self._available:
                self._available[name] = _nothing(self.counts.size, n_zones=self.n_zones)
        for name, grid in self._available.items():
            grid[row] = NOT_REPORTED
            amounts = report.available.get(name)
            if amounts is not None:
                gone = taken.get(name, 0)
                left = [a if a < 0 else max(0, a - gone) for a in amounts]
                grid[row, : report.n_zones] = left

    def clear(self, row: int) -> None:
        """Forget what was known of a node."""
        for name in _COLUMNS:
            getattr(self, name)[row] = 0
        for grid in self._available.values():
            grid[row] = NOT_REPORTED

    def _widen(self, n_zones: int) -> None:
        more = n_zones - self.n_zones
        self.n_zones = n_zones
        self._available = {
            name: np.pad(grid, ((0, 0), (0, more)), constant_values=NOT_REPORTED)
            for name, grid in self._available.items()
        }
        widths = ((0, 0), (0, more), (0, more))
        self.costs = np.pad(self.costs, widths, constant_values=UNKNOWN_COST)


_COLUMNS = (
    "counts",
    "max_zones",
    "is_reported",
    "is_single",
    "is_pod_scope",
    "is_valid",
    "costs",
)


def _blank(column: NDArray[np.generic], *, n_rows: int) -> NDArray[np.generic]:
    return np.zeros((n_rows, *column.shape[1:]), dtype=column.dtype)


def _nothing(n_nodes: int, *, n_zones: int) -> Grid:
    return np.full((n_nodes, n_zones), NOT_REPORTED, dtype=np.int64, order="F")


def _picked(grid: Grid, rows: Rows) -> Grid:
    return np.asfortranarray(grid.T.take(rows, axis=1).T)
