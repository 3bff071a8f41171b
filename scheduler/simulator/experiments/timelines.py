"""How a run went as time passed: bounded series for pictures, from looks at the world. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kube.quantity import parse_milli
from scheduler.simulator.controllers.pods import is_over
from scheduler.simulator.experiments.results import HeatMap, Timelines
from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.resources import Object

MAX_BINS: Final = 96
"""Of a series; even."""
MAX_ROWS: Final = 32
"""Of a heat map; nodes beyond that share rows."""
_QUANTILES: Final = np.linspace(0.0, 1.0, 101)
_N_SERIES: Final = 4


class TimelineKeeper:
    """Takes in what each look shows, in bins that grow as time does.

    Args:
        nodes: Those of the cluster, by name.
        look_s: How far looks are apart, in seconds.
    """

    def __init__(self, nodes: Mapping[str, NodeSpec], *, look_s: float) -> None:
        names = sorted(nodes, key=lambda name: (len(name), name))
        self._cpu_milli = sum(spec.cpu_milli for spec in nodes.values())
        share = -(-len(names) // MAX_ROWS) or 1
        self._row_of = {name: i // share for i, name in enumerate(names)}
        self._labels = [names[i] for i in range(0, len(names), share)]
        rows, milli = list(self._row_of.values()), [nodes[name].cpu_milli for name in names]
        self._row_milli = np.bincount(rows, weights=milli, minlength=len(self._labels))
        self._look_s = look_s
        self._bins = _Bins(_N_SERIES + len(self._labels))
        self._requested_milli: dict[str, int] = {}
        self._pending: set[str] = set()
        self._n_troubles = 0

    def see(self, pod: Object) -> None:
        """Take in a pod that is there, or changed."""
        uid = pod["metadata"]["uid"]
        if is_over(pod):
            self.lose(uid)
        elif not pod["spec"].get("nodeName"):
            self._pending.add(uid)
        elif uid not in self._requested_milli:
            self._pending.discard(uid)
            self._requested_milli[uid] = _requested_milli(pod)

    def lose(self, uid: str) -> None:
        """Take in that a pod is gone."""
        self._pending.discard(uid)
        self._requested_milli.pop(uid, None)

    def look(
        self, nodes: Sequence[str], *, used_milli: NDArray[np.float64], n_troubles: int
    ) -> None:
        """Take in a look.

        Args:
            nodes: Those that run.
            used_milli: Shape ``(n_nodes,)``, in millicores.
            n_troubles: How many there were so far.
        """
        rows = [self._row_of[name] for name in nodes if name in self._row_of]
        known = np.array([name in self._row_of for name in nodes], dtype=np.bool_)
        by_row = np.bincount(rows, weights=used_milli[known], minlength=len(self._labels))
        new, self._n_troubles = n_troubles - self._n_troubles, n_troubles
        total_milli = max(1, self._cpu_milli)
        series = [
            float(np.sum(used_milli)) / total_milli,
            sum(self._requested_milli.values()) / total_milli,
            len(self._pending),
            new * 3600.0 / self._look_s,
        ]
        self._bins.add(np.array([*series, *(by_row / self._row_milli)]))

    def result(self, *, pending_s: Iterable[float], lacking_ratios: Iterable[float]) -> Timelines:
        """Sum up.

        Args:
            pending_s: How long each pod waited.
            lacking_ratios: What share of the cpu that it wanted each placement lacked.
        """
        columns = self._bins.table().T
        used, requested, pending, troubles = columns[:_N_SERIES].round(4).tolist()
        return Timelines(
            bin_h=self._bins.n_per_bin * self._look_s / 3600.0,
            cpu_used_ratio=used,
            cpu_requested_ratio=requested,
            n_pending=pending,
            troubles_per_h=troubles,
            pending_quantiles_s=_quantiles(pending_s),
            lacking_quantiles_ratio=_quantiles(lacking_ratios),
            heat=HeatMap(
                nodes=self._labels,
                cpu_percent=(100.0 * columns[_N_SERIES:]).round().astype(int).tolist(),
            ),
        )


class _Bins:
    """Means over equal numbers of looks; when there are too many, neighbours are put together."""

    def __init__(self, width: int) -> None:
        self.n_per_bin = 1
        self._width = width
        self._rows: list[NDArray[np.float64]] = []
        self._open: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[np.float64]) -> None:
        self._open.append(values)
        if len(self._open) < self.n_per_bin:
            return
        self._rows.append(np.mean(self._open, axis=0))
        self._open = []
        if len(self._rows) == MAX_BINS:
            pairs = zip(self._rows[::2], self._rows[1::2], strict=True)
            self._rows = [(first + second) / 2.0 for first, second in pairs]
            self.n_per_bin *= 2

    def table(self) -> NDArray[np.float64]:
        """Return all bins, one a row; the last may be of fewer looks than the others."""
        rows = [*self._rows, *([np.mean(self._open, axis=0)] if self._open else [])]
        return np.array(rows).reshape(len(rows), self._width)


def _quantiles(values: Iterable[float]) -> list[float]:
    column = np.array(list(values), dtype=np.float64)
    return np.quantile(column, _QUANTILES).round(4).tolist() if column.size else []


def _requested_milli(pod: Object) -> int:
    requests = (
        (container.get("resources") or {}).get("requests") or {}
        for container in pod["spec"]["containers"]
    )
    return sum(parse_milli(each["cpu"]) for each in requests if "cpu" in each)
