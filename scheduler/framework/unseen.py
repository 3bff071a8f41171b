"""Pods that are too new for what is measured of their node to show all that they use.

Usage is measured now and then, often as a mean over minutes. Without these pods a burst would all
go to the node that looked idle before it. trimaran counts pods bound since the end of the window,
or in the minute before it. Of a pod that came during a window, the mean shows only a part: it is
counted for the part of the window in which it was not there yet, where trimaran forgets it.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from kube.quantity import CPU, MEMORY
from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts, UsageWindow

CPU_LIMITED: Final = "cpu limited"
"""Keys of ``Snapshot.unseen`` for the fields of ``CpuTerms``."""
CPU_REQUESTED: Final = "cpu requested"
CONTAINERS_UNSET_MILLI: Final = "containers unset"
"""In thousandths, for of some containers only a part is counted."""

_REPORTING_LAG_S: Final = 60.0
"""What a pod uses in its first minute is hardly measured: trimaran's."""
_MAX_PODS: Final = 200_000
_MAX_AGE_S: Final = 3_600.0
"""A pod that is older is in any window."""


@dataclass(slots=True)
class _Placed:
    pod: PodFacts
    at_s: float
    counted: dict[str, int]
    """What of it is in the snapshot's columns."""


class UnseenPods:
    """Keeps ``Snapshot.unseen``: what pods will use that their nodes' usage does not show.

    Args:
        snapshot: Whose columns to write.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._placed: OrderedDict[str, _Placed] = OrderedDict()
        self._windows: Mapping[str, UsageWindow] = {}

    def add(self, pod: PodFacts, *, now_s: float) -> None:
        """Take in a pod on a node; one that is known already keeps its age.

        Args:
            pod: With the name of its node.
            now_s: When it was placed, if the kubelet does not say.
        """
        known = self._placed.get(pod.uid)
        if known is not None and known.pod.node_name == pod.node_name:
            return
        self.remove(pod.uid)
        at_s = min(now_s, pod.start_time_s or now_s)
        counted = _part(pod, ratio=self._unseen_ratio(pod.node_name, at_s))
        row = self._snapshot.rows.get(pod.node_name)
        if row is None:
            counted = {}
        else:
            self._count(row, counted, sign=1)
        self._placed[pod.uid] = _Placed(pod, at_s, counted)
        if len(self._placed) > _MAX_PODS:
            self.remove(next(iter(self._placed)))

    def remove(self, uid: str) -> None:
        """Take in that a pod is no longer where it was; one that is not known is no error."""
        placed = self._placed.pop(uid, None)
        if placed is None:
            return
        row = self._snapshot.rows.get(placed.pod.node_name)
        if row is not None:
            self._count(row, placed.counted, sign=-1)

    def lose_node(self, name: str) -> None:
        """Take in that a node is gone, with what was counted on it."""
        for placed in self._placed.values():
            if placed.pod.node_name == name:
                placed.counted = {}

    def measured(self, windows: Mapping[str, UsageWindow]) -> None:
        """Count anew, by what the windows of new samples show.

        Args:
            windows: By node; of nodes left out nothing is known, and nothing is counted.
        """
        self._windows = windows
        self._forget()
        columns: dict[str, list[tuple[int, int]]] = {}
        for placed in self._placed.values():
            node = placed.pod.node_name
            row = self._snapshot.rows.get(node)
            ratio = 0.0 if row is None else self._unseen_ratio(node, placed.at_s)
            placed.counted = _part(placed.pod, ratio=ratio)
            for key, amount in placed.counted.items():
                columns.setdefault(key, []).append((row or 0, amount))
        for key in dict.fromkeys((*self._snapshot.unseen.present(), *columns)):
            self._snapshot.unseen.put(key, column=self._column(columns.get(key, [])))

    def _column(self, amounts: list[tuple[int, int]]) -> IntColumn:
        column = np.zeros(self._snapshot.n_nodes, dtype=np.int64)
        if amounts:
            rows, values = np.array(amounts, dtype=np.int64).T
            np.add.at(column, rows, values)
        return column

    def _forget(self) -> None:
        """Let go of pods that are in their node's window from its start on."""
        ends_s = [window.end_s for window in self._windows.values()]
        newest_s = max([*ends_s, *(placed.at_s for placed in self._placed.values())], default=0.0)
        for uid, placed in list(self._placed.items()):
            window = self._windows.get(placed.pod.node_name)
            is_seen = window is not None and placed.at_s <= min(
                window.start_s, window.end_s - _REPORTING_LAG_S
            )
            if is_seen or placed.at_s < newest_s - _MAX_AGE_S:
                del self._placed[uid]

    def _unseen_ratio(self, node: str, at_s: float) -> float:
        """Tell for which part of its node's window a pod is to be counted."""
        window = self._windows.get(node)
        if window is None:
            return 0.0
        if at_s > window.end_s - _REPORTING_LAG_S:
            return 1.0
        if window.end_s <= window.start_s:
            return 0.0
        return min(1.0, max(0.0, (at_s - window.start_s) / (window.end_s - window.start_s)))

    def _count(self, row: int, amounts: Mapping[str, int], *, sign: int) -> None:
        for key, amount in amounts.items():
            self._snapshot.unseen.add(row, key=key, amount=sign * amount)


def _part(pod: PodFacts, *, ratio: float) -> dict[str, int]:
    terms = pod.cpu_terms
    amounts = {
        CPU: pod.requests.get(CPU, 0),
        MEMORY: pod.requests.get(MEMORY, 0),
        CPU_LIMITED: terms.limited_milli,
        CPU_REQUESTED: terms.requested_milli,
        CONTAINERS_UNSET_MILLI: 1000 * terms.n_unset,
    }
    return (
        {key: round(ratio * amount) for key, amount in amounts.items() if amount} if ratio else {}
    )
