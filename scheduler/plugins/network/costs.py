"""What it costs to talk from node to node, by the regions and zones that they are in."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

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
UNKNOWN: Final = -1
NOWHERE: Final = -2
_MAX_KEPT: Final = 256

Costs = Mapping[str, Mapping[str, int]]
"""By destination and origin."""


def read_costs(
    topology: NetworkTopology | None, *, weights_name: str
) -> Mapping[str, Mapping[str, Mapping[str, int]]]:
    """Return the costs that a NetworkTopology has under a name, by node label; see ``Costs``."""
    by_key: defaultdict[str, defaultdict[str, dict[str, int]]]
    by_key = defaultdict(lambda: defaultdict(dict))
    weights = (topology.spec.weights if topology is not None else None) or ()
    for info in (i for w in weights if w.name == weights_name for i in w.topology_list or ()):
        for origin in info.origin_list or ():
            for each in origin.cost_list or ():
                by_key[info.topology_key][each.destination][origin.origin] = each.network_cost
    return by_key


class Place(NamedTuple):
    """Where nodes are; numbers of ``Labels.ids``, -1 where a node has no such label."""

    region: int
    zone: int


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
        self._kept: dict[int, IntColumn] = {}
        self._names: Mapping[str, list[str]] = {}
        self.of_node: NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        """Shape ``(n_nodes,)``; the number of each node's place."""
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

    def costs_to(self, place: int) -> IntColumn:
        """Return what it costs to reach a place from each.

        Returns:
            Shape ``(n_places,)``; ``UNKNOWN`` where no cost is given, ``NOWHERE`` where one of both
            is no place at all.
        """
        kept = self._kept.get(place)
        if kept is None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            kept = self._kept[place] = self._find_costs(place)
        return kept

    @property
    def is_somewhere(self) -> NDArray[np.bool_]:
        """Which places are in a region or in a zone."""
        found: NDArray[np.bool_] = (self._regions >= 0) | (self._zones >= 0)
        return found

    def _find_costs(self, place: int) -> IntColumn:
        region, zone = int(self._regions[place]), int(self._zones[place])
        to_zone = self._given(ZONE, zone)[self._zones]
        to_region = self._given(REGION, region)[self._regions]
        costs = np.where(self._regions == region, to_zone, to_region)
        costs[place] = SAME_ZONE_COST
        costs[~self.is_somewhere | ~self.is_somewhere[place]] = NOWHERE
        return costs

    def _given(self, key: str, destination: int) -> IntColumn:
        """Return the costs from each value of a label to one; the last is that of no value."""
        names = self._names[key]
        costs = np.full(len(names) + 1, UNKNOWN, dtype=np.int64)
        if destination >= 0:
            by_origin = self._costs.get(key, {}).get(names[destination], {})
            costs[:-1] = [by_origin.get(name, UNKNOWN) for name in names]
        return costs
