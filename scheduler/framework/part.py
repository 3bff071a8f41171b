"""Some rows of a snapshot, as a snapshot."""

from typing import Any, Final

from scheduler.framework.columns import Rows
from scheduler.framework.snapshot import Snapshot

_COLUMNS: Final = frozenset(
    {
        "allocatable",
        "capacity",
        "usage",
        "usage_mean",
        "usage_std",
        "unseen",
        "measures",
        "measured_by",
        "requested",
        "limits",
        "scored_requested",
        "taints",
        "host_ports",
        "labels",
        "annotations",
        "images",
        "_marks",
    }
)


class SnapshotPart(Snapshot):
    """Some rows of a snapshot, to be read before it changes, by plugins that sign pods.

    Columns are picked when they are asked for; what says more than one node's own facts and sums
    (objects, counts by query) is not there.

    Args:
        whole: What they are rows of.
        rows: Their numbers.
    """

    def __init__(self, whole: Snapshot, *, rows: Rows) -> None:
        self._whole = whole
        self._picked = rows
        self.names = [whole.names[row] for row in rows.tolist()]
        self.rows = {name: row for row, name in enumerate(self.names)}

    def __getattr__(self, name: str) -> Any:
        """Pick a column when it is first asked for.

        Raises:
            AttributeError: There is none of this name.
        """
        if name not in _COLUMNS:
            raise AttributeError(f"a part of a snapshot has no {name}")
        picked = getattr(self._whole, name).only(self._picked)
        setattr(self, name, picked)
        return picked
