"""How full storage would be with a pod's volumes, as a score."""

import numpy as np

from scheduler.framework.columns import IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import ScoreColumn
from scheduler.plugins.scoring_strategies import UtilizationShapePoint, worth_by_percent
from scheduler.plugins.volumes.plan import Plan
from scheduler.plugins.volumes.provisioning import Provisioning

_FULL = 100
"""Percent."""

_Sums = dict[str, tuple[IntColumn, IntColumn]]
"""By class: what is asked for and what there is, in bytes, shape ``(n_nodes,)`` each."""


class UtilizationScore:
    """Rates nodes by the utilization of each class's storage; all classes count alike.

    Args:
        shape: What a utilization is worth.
    """

    def __init__(self, shape: tuple[UtilizationShapePoint, ...]) -> None:
        self._worth = worth_by_percent(shape)

    def rate(self, plan: Plan, *, snapshot: Snapshot, provisioning: Provisioning) -> ScoreColumn:
        """Rate by the volumes chosen; where none is, by the storage that new ones come from.

        Returns:
            Shape ``(n_nodes,)``, 0 to 100.
        """
        chosen = _of_choices(plan, n_nodes=snapshot.n_nodes)
        provisioned = _of_provisions(plan, snapshot=snapshot, provisioning=provisioning)
        has_choice = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        for each in plan.choices:
            has_choice |= ~each.is_missing
        return np.where(has_choice, self._mean(chosen, snapshot), self._mean(provisioned, snapshot))

    def _mean(self, sums: _Sums, snapshot: Snapshot) -> ScoreColumn:
        total = np.zeros(snapshot.n_nodes, dtype=np.int64)
        n_classes = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for asked, there in sums.values():
            # Exact in floating point, but for volumes of petabytes.
            percent = np.minimum(asked * float(_FULL) // np.maximum(there, 1), _FULL)
            total += np.where(asked > 0, self._worth[percent.astype(np.int64)], 0)
            n_classes += asked > 0
        # Rounded half up, which is away from zero here.
        return (2 * total + n_classes) // np.maximum(2 * n_classes, 1)


def _of_choices(plan: Plan, *, n_nodes: int) -> _Sums:
    sums: _Sums = {}
    for each in plan.choices:
        asked, there = sums.setdefault(each.claim.class_name, _no_bytes(n_nodes))
        asked += np.where(each.is_missing, 0, each.claim.requested_bytes or 0)
        # The last element stands for no volume, whose rank is -1.
        capacities = np.zeros(max(each.candidates, default=-1) + 2, dtype=np.int64)
        for position, candidate in each.candidates.items():
            capacities[position] = candidate.capacity_bytes
        there += capacities[each.chosen]
    return sums


def _of_provisions(plan: Plan, *, snapshot: Snapshot, provisioning: Provisioning) -> _Sums:
    sums: _Sums = {}
    for each in plan.provisions:
        asked, there = sums.setdefault(each.claim.class_name, _no_bytes(snapshot.n_nodes))
        capacity_bytes = provisioning.capacity_bytes(each.claim, snapshot=snapshot)
        is_accounted = each.needed & (capacity_bytes >= 0)
        asked += np.where(is_accounted, each.claim.requested_bytes or 0, 0)
        # Several claims come from one and the same pool: it does not grow with them.
        there[is_accounted] = capacity_bytes[is_accounted]
    return sums


def _no_bytes(n_nodes: int) -> tuple[IntColumn, IntColumn]:
    return np.zeros(n_nodes, dtype=np.int64), np.zeros(n_nodes, dtype=np.int64)
