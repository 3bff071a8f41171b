"""How far pods are from those that they talk to, by what it costs to get there.

Reckoned pod by pod from what AppGroups, a NetworkTopology and the nodes' labels say, not by the
code of the plugins that are judged by it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final, TypeVar

from kube.custom import AppGroup, CustomResource, NetworkTopology
from kube.errors import NotFoundError
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import NODES, PODS, Object

T = TypeVar("T", bound=CustomResource)

_REGION: Final = "topology.kubernetes.io/region"
_ZONE: Final = "topology.kubernetes.io/zone"
_APP_GROUP: Final = "appgroup.diktyo.x-k8s.io"
_WORKLOAD: Final = "appgroup.diktyo.x-k8s.io.workload"

SAME_NODE_COST: Final = 0
SAME_ZONE_COST: Final = 1
UNKNOWN_COST: Final = 100
"""Where the NetworkTopology gives none, and where a node has neither region nor zone."""

Costs = Mapping[tuple[str, str, str], int]
"""By node label, origin and destination."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a pod is."""

    node: str
    region: str = ""
    zone: str = ""

    @classmethod
    def of(cls, node: Object) -> "Spot":
        """Read a node's labels."""
        meta = node["metadata"]
        labels = meta.get("labels") or {}
        return cls(meta["name"], labels.get(_REGION, ""), labels.get(_ZONE, ""))

    def cost_to(self, other: "Spot", *, costs: Costs) -> int:
        """Say what it costs to get to another."""
        if self.node == other.node:
            return SAME_NODE_COST
        if not (self.region or self.zone) or not (other.region or other.zone):
            return UNKNOWN_COST
        if self.region != other.region:
            return costs.get((_REGION, self.region, other.region), UNKNOWN_COST)
        if self.zone != other.zone:
            return costs.get((_ZONE, self.zone, other.zone), UNKNOWN_COST)
        return SAME_ZONE_COST


class NetworkMeter:
    """Averages what it costs pods to reach those that they depend on, over time.

    Nothing is measured where there is no NetworkTopology; of several the first by namespace and
    name counts, and of its weights the first.

    Args:
        site: The cluster. What applications and the network are like is read at once, and stays.
    """

    def __init__(self, site: Site) -> None:
        self._store = site.store
        self._groups = _list(site, AppGroup)
        topologies = _list(site, NetworkTopology)
        self._costs = read_costs(topologies[0]) if topologies else None
        self._means: list[float] = []

    def look(self) -> None:
        """Take in where pods are now."""
        if self._costs is None:
            return
        found = mean_network_cost(
            self._store.list(PODS),
            spots={each["metadata"]["name"]: Spot.of(each) for each in self._store.list(NODES)},
            groups=self._groups,
            costs=self._costs,
        )
        if found is not None:
            self._means.append(found)

    @property
    def mean_cost(self) -> float | None:
        """The mean over all looks at which some pod ran beside one that it depends on, if any."""
        return fmean(self._means) if self._means else None


def mean_network_cost(
    pods: Iterable[Object],
    *,
    spots: Mapping[str, Spot],
    groups: Iterable[AppGroup],
    costs: Costs,
) -> float | None:
    """Average what it costs running pods to reach those that they depend on.

    A pod's requests go to all running pods of a workload alike, so each pod and each workload that
    it depends on counts once, with the mean cost to that workload's pods.

    Args:
        pods: All pods; those that do not run do not count.
        spots: By node name.
        groups: Who depends on whom.
        costs: What the network costs.

    Returns:
        ``None`` if no running pod depends on another.
    """
    placed: defaultdict[tuple[str, str], list[Spot]] = defaultdict(list)
    for pod in pods:
        spot = spots.get(pod["spec"].get("nodeName", ""))
        if spot is not None and pod["status"].get("phase") == "Running":
            labels = pod["metadata"].get("labels") or {}
            placed[labels.get(_APP_GROUP, ""), labels.get(_WORKLOAD, "")].append(spot)
    found = [
        fmean(here.cost_to(there, costs=costs) for there in placed[group, needed])
        for group, workload, needed in _dependencies(groups)
        if (group, needed) in placed
        for here in placed[group, workload]
    ]
    return fmean(found) if found else None


def read_costs(topology: NetworkTopology) -> Costs:
    """Return the costs that a NetworkTopology names first."""
    weights = topology.spec.weights or ()
    return {
        (info.topology_key, origin.origin, each.destination): each.network_cost
        for info in (weights[0].topology_list if weights else None) or ()
        for origin in info.origin_list or ()
        for each in origin.cost_list or ()
    }


def _dependencies(groups: Iterable[AppGroup]) -> Iterator[tuple[str, str, str]]:
    """Name application, workload and whom that depends on."""
    for group in groups:
        for each in group.spec.workloads or ():
            for dependency in each.dependencies or ():
                yield group.metadata.name, each.workload.selector, dependency.workload.selector


def _list(site: Site, kind: type[T]) -> list[T]:
    try:
        return site.client.list_objects(kind.collection, kind)[0]
    except NotFoundError:  # no definition of the kind is installed
        return []
