"""What was found out about every node, brought up to date where something changed."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.changes import NEVER, Changes
from scheduler.framework.columns import Rows

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=np.generic)

_MAX_KEPT: Final = 128
_MAX_PATCHED_RATIO: Final = 0.5
"""If more of the rows changed, all are looked at anew."""


class KeptColumns(Generic[K, T]):
    """Columns by what they are asked for; those asked for least lately are dropped.

    Args:
        changes: Rows, always of the same cluster, of which other things hold than before.
    """

    def __init__(self, changes: Changes[int]) -> None:
        self._changes = changes
        self._kept: OrderedDict[K, tuple[int, NDArray[T]]] = OrderedDict()

    def of(
        self, key: K, *, n_rows: int, is_actual: bool, find: Callable[[Rows], NDArray[T]]
    ) -> NDArray[T]:
        """Return what holds of each row.

        Args:
            key: Says, with a row, what holds.
            n_rows: How many there are.
            is_actual: Whether that is so in the cluster; of a what-if, which is soon gone, nothing
                is kept.
            find: Finds it out about some rows, or all in their order, of the shape of them; each by
                itself.

        Returns:
            Shape ``(n_rows,)``; not to be written to, and to be read before this is called again.
        """
        if not is_actual:
            return find(np.arange(n_rows))
        version, column = self._kept.get(key) or (NEVER, None)
        changed = self._changes.since(version)
        if column is None or changed is None or len(changed) > _MAX_PATCHED_RATIO * n_rows:
            column = find(np.arange(n_rows))
        elif changed:
            rows = np.fromiter(changed, dtype=np.intp, count=len(changed))
            column[rows] = find(rows)
        self._kept[key] = self._changes.version, column
        self._kept.move_to_end(key)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return column
