"""What it costs to talk from node to node, by the regions and zones that they are in."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kube.custom import NetworkTopology
from scheduler.framework.changes import NEVER
from scheduler.framework.columns import IntColumn, Labels
from scheduler.framework.snapshot import Snapshot

REGION: Final = "topology.kubernetes.io/region"
ZONE: Final = "topology.kubernetes.io/zone"

SAME_ZONE_COST: Final = 1
MAX_COST: Final = 100
"""Of what cannot be told: no cost is given, or a node is in no region or zone."""
_UNKNOWN: Final = -1
_NOWHERE: Final = -2
_MAX_KEPT: Final = 256

Costs = Mapping[str, Mapping[str, int]]
"""By destination and origin."""


def read_costs(topology: NetworkTopology | None, *, weights_name: str) -> Mapping[str, Costs]:
    """Return the costs that a NetworkTopology has under a name, by node label; see ``Costs``."""
    by_key: defaultdict[str, defaultdict[str, dict[str, int]]]
    by_key = defaultdict(lambda: defaultdict(dict))
    weights = (topology.spec.weights if topology is not None else None) or ()
    for info in (i for w in weights if w.name == weights_name for i in w.topology_list or ()):
        for origin in info.origin_list or ():
            for each in origin.cost_list or ():
                by_key[info.topology_key][each.destination][origin.origin] = each.network_cost
    return by_key


class Places:
    """Nodes by place, and what it costs to get from each place to another.

    Kept for as long as neither labels nor costs change.

    Args:
        weights_name: Which of a NetworkTopology's costs count.
    """

    def __init__(self, *, weights_name: str) -> None:
        self._weights_name = weights_name
        self._of: tuple[Labels, NetworkTopology | None] | None = None
        self._version = NEVER
        self._costs: Mapping[str, Costs] = {}
        self._kept: dict[tuple[int, int], IntColumn] = {}
        self._names: Mapping[str, list[str]] = {}
        self.of_node: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        """Shape ``(n_nodes,)``; the number of each node's place."""
        self.own: NDArray[np.int64] = np.zeros((3, 0), dtype=np.int64)
        """Shape ``(3, n_nodes)``: a pod in a node's own place, but not on it, judged as below."""
        self._regions: IntColumn = np.zeros(0, dtype=np.int64)
        self._zones: IntColumn = np.zeros(0, dtype=np.int64)

    @property
    def n_places(self) -> int:
        """How many different places there are."""
        return self._regions.size

    def update(self, snapshot: Snapshot, *, topology: NetworkTopology | None) -> None:
        """Take in the nodes' labels and the costs, if they have changed."""
        version = snapshot.node_changes.version
        known = self._of
        if known is not None and known[0] is snapshot.labels and known[1] is topology:
            if version == self._version:
                return
        else:
            self._costs = read_costs(topology, weights_name=self._weights_name)
        self._of, self._version = (snapshot.labels, topology), version
        self._kept.clear()
        regions, _ = snapshot.labels.ids(REGION)
        zones, n_zones = snapshot.labels.ids(ZONE)
        numbers, self.of_node = np.unique(
            (regions + 1) * (n_zones + 1) + zones + 1, return_inverse=True
        )
        self._regions, self._zones = numbers // (n_zones + 1) - 1, numbers % (n_zones + 1) - 1
        self._names = {key: snapshot.labels.values(key) for key in (REGION, ZONE)}
        is_somewhere = self._is_somewhere[self.of_node]
        cost = np.where(is_somewhere, SAME_ZONE_COST, MAX_COST)
        self.own = np.stack([is_somewhere, ~is_somewhere, cost])

    def judge(self, place: int, *, most: int) -> IntColumn:
        """Judge a pod that is in some place from each place, but not from its own node.

        Args:
            place: Where the pod is.
            most: What it may cost to get there.

        Returns:
            Shape ``(3, n_places)``: whether it is near enough, whether it is too far or nowhere
            (0 or 1, both 0 where that is not known), and what it costs.
        """
        kept = self._kept.get((place, most))
        if kept is None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            costs = self._costs_to(place)
            is_near = (costs >= 0) & (costs <= most)
            is_near[place] = costs[place] == SAME_ZONE_COST
            is_far = (costs == _NOWHERE) | ((costs >= 0) & ~is_near)
            kept = np.stack([is_near, is_far, np.where(costs < 0, MAX_COST, costs)])
            self._kept[place, most] = kept
        return kept

    @property
    def _is_somewhere(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (self._regions >= 0) | (self._zones >= 0)
        return found

    def _costs_to(self, place: int) -> IntColumn:
        region, zone = int(self._regions[place]), int(self._zones[place])
        to_zone = self._given(ZONE, zone)[self._zones]
        to_region = self._given(REGION, region)[self._regions]
        costs = np.where(self._regions == region, to_zone, to_region)
        costs[place] = SAME_ZONE_COST
        costs[~self._is_somewhere | ~self._is_somewhere[place]] = _NOWHERE
        return costs

    def _given(self, key: str, destination: int) -> IntColumn:
        """Return the costs from each value of a label to one; the last is that of no value."""
        names = self._names[key]
        costs = np.full(len(names) + 1, _UNKNOWN, dtype=np.int64)
        if destination >= 0:
            by_origin = self._costs.get(key, {}).get(names[destination], {})
            costs[:-1] = [by_origin.get(name, _UNKNOWN) for name in names]
        return costs
