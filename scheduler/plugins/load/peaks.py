"""Peaks: places pods where they raise the power that machines draw the least."""

import math
from collections.abc import Hashable, Mapping
from typing import ClassVar, Final

import numpy as np

from kube.edge.settings import Settings
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, ScoreColumn
from scheduler.model import PodFacts
from scheduler.plugins.load.arguments import LoadArgs
from scheduler.plugins.load.columns import CpuForecast, FloatColumn, Loads, held_to

_WORST: Final = np.iinfo(np.int64).max
"""Of nodes that cannot be rated; upstream's 0 makes them the best ones."""
_UNITS_PER_WATT: Final = 1e12
_MAX_UNITS: Final = 2.0**61


class PowerModel(Settings, frozen=True, kw_only=True):
    """A machine's power at a cpu utilization of u percent is ``k0 + k1 * exp(k2 * u)``."""

    k0: float = 0.0
    k1: float
    k2: float

    def __post_init__(self) -> None:
        """Refuse what is no number.

        Raises:
            ValueError: Names the field.
        """
        for name, value in (("k0", self.k0), ("k1", self.k1), ("k2", self.k2)):
            if not math.isfinite(value):
                raise ValueError(f"{name} must be a number")


class PeaksArgs(LoadArgs, frozen=True):
    """Arguments of Peaks."""

    node_power_model: Mapping[str, PowerModel] = {}
    """By node."""


class Peaks(ScorePlugin):
    """Prefers nodes whose power rises the least when the pod comes.

    The smallest rise gets 100 and the largest 0. So do nodes without usage or power model, and
    those that the pod would drive over 100 % of their cpu.
    """

    name = "Peaks"
    args_type: ClassVar[type[PluginArgs]] = PeaksArgs
    reads_usage = True

    def __init__(self, args: PeaksArgs) -> None:
        super().__init__(args)
        self._models = args.node_power_model
        self.lacks = "" if self._models else "nodePowerModel: no node has one"
        self._forecast = CpuForecast()

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign what the pod will use."""
        return self._forecast.of_pod(pod)

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Return by how much power rises, in units that are the same for all nodes."""
        loads = Loads.of(state, snapshot=snapshot)
        used, capacity = loads.foreseen(self._forecast), loads.capacity[0]
        before, after = (
            100.0 * used / capacity,
            100.0 * (used + self._forecast.of_pod(pod)) / capacity,
        )
        k1, k2 = self._parameters(snapshot)
        with np.errstate(over="ignore", invalid="ignore"):
            rise = k1 * (np.exp(k2 * after) - np.exp(k2 * before))
        can_rate = loads.is_cpu_known & np.isfinite(rise) & (after <= 100.0)
        units = held_to(np.where(can_rate, rise, 0.0) * _UNITS_PER_WATT, -_MAX_UNITS, _MAX_UNITS)
        return np.where(can_rate, units.astype(np.int64), _WORST)

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Give 100 to the smallest rise, 0 to the largest; where all are alike, 100."""
        can_rate = scores != _WORST
        if not can_rate.any():
            return np.full_like(scores, MIN_NODE_SCORE)
        rises = scores[can_rate].astype(np.float64)
        smallest, spread = rises.min(), np.ptp(rises)
        normalized = np.full_like(scores, MIN_NODE_SCORE)
        lost = MAX_NODE_SCORE * ((rises - smallest) / (spread or 1.0))
        normalized[can_rate] = MAX_NODE_SCORE - lost.astype(np.int64)
        return normalized

    def _parameters(self, snapshot: Snapshot) -> tuple[FloatColumn, FloatColumn]:
        """Return each node's k1 and k2; no numbers where there is no model."""
        models = [self._models.get(name) for name in snapshot.names]
        pairs = [(np.nan, np.nan) if m is None else (m.k1, m.k2) for m in models]
        k1, k2 = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        return k1, k2
