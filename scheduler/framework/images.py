"""Which nodes hold an image, for the images that pods ask for.

A cluster has tens of thousands of image names. The first time one is asked for, all nodes are
looked at; from then on, only those that change.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np

from scheduler.framework.columns import Amounts
from scheduler.framework.status import BoolColumn

_MAX_IMAGES: Final = 1_000


class HeldImage(NamedTuple):
    """An image and where it is."""

    size_bytes: int
    """As the first node said that was found to hold it; as upstream, others are not asked."""
    nodes: BoolColumn
    """Shape ``(n_nodes,)``."""


class HeldImages:
    """Columns by image name; those asked for least lately are dropped when there are too many."""

    def __init__(self) -> None:
        self._holders: Amounts[str] = Amounts()
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def find(self, name: str, *, images: Iterable[Mapping[str, int]]) -> HeldImage:
        """Look an image up; *images* are those of every row, in order: bytes by name."""
        if name not in self._sizes:
            self._track(name, images)
        self._sizes.move_to_end(name)
        return HeldImage(self._sizes[name], np.not_equal(self._holders[name], 0))

    def set_row(self, row: int, images: Mapping[str, int], *, sign: int) -> None:
        """Take in what a node holds, or no longer holds (``sign`` -1)."""
        for name in self._sizes.keys() & images.keys():
            if sign > 0 and not self._holders[name].any():
                self._sizes[name] = images[name]
            self._holders.add(row, key=name, amount=sign)

    def append_row(self) -> None:
        """Add a row without images at the end."""
        self._holders.append_row()

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        self._holders.remove_row(row)

    def _track(self, name: str, images: Iterable[Mapping[str, int]]) -> None:
        if len(self._sizes) >= _MAX_IMAGES:
            dropped, _ = self._sizes.popitem(last=False)
            for row in np.flatnonzero(self._holders[dropped]).tolist():
                self._holders.add(row, key=dropped, amount=-1)
        self._sizes[name] = 0
        for row, held in enumerate(images):
            if name in held:
                self.set_row(row, {name: held[name]}, sign=1)
