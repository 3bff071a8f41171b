"""What was found for pods that ask for the same, brought up to date where zones changed."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.changes import Changes
from scheduler.framework.columns import Rows
from scheduler.framework.snapshot import Snapshot
from scheduler.plugins.numa.demand import Demand
from scheduler.plugins.numa.zones import Zones

T = TypeVar("T", bound=np.generic)

Ask = Callable[[Demand, Snapshot, Zones, Rows], NDArray[T]]
"""Finds something out about some nodes; the answer has the shape of the rows."""

_MAX_DEMANDS: Final = 64


class Answers(Generic[T]):
    """Answers by demand; those asked for least lately are dropped when there are too many.

    Args:
        ask: Finds out about nodes, each by itself.
    """

    def __init__(self, ask: Ask[T]) -> None:
        self._ask = ask
        self._kept: OrderedDict[Demand, tuple[int, NDArray[T]]] = OrderedDict()

    def of(
        self, demand: Demand, *, snapshot: Snapshot, zones: Zones, changes: Changes[int] | None
    ) -> NDArray[T]:
        """Return the answer for every node; it must not be written to.

        Args:
            demand: What is asked for.
            snapshot: The nodes.
            zones: Theirs.
            changes: Rows on which something did; ``None`` for zones of a what-if.
        """
        everywhere = np.arange(snapshot.n_nodes)
        if changes is None:
            return self._ask(demand, snapshot, zones, everywhere)
        kept = self._kept.get(demand)
        rows = None if kept is None else changes.since(kept[0])
        if kept is None or rows is None:
            column = self._ask(demand, snapshot, zones, everywhere)
        else:
            column = kept[1]
            some = np.fromiter(rows, dtype=np.intp, count=len(rows))
            column[some] = self._ask(demand, snapshot, zones, some)
        self._kept[demand] = changes.version, column
        self._kept.move_to_end(demand)
        if len(self._kept) > _MAX_DEMANDS:
            self._kept.popitem(last=False)
        return column
