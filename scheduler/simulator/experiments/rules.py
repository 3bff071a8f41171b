"""Which nodes may take a pod by kube-scheduler's own rules, which every scheduler must respect."""

import msgspec
import numpy as np

from kube.decoding import decode_object
from kube.objects import Node, Pod
from scheduler.cache import ClusterCache
from scheduler.framework.cycle import CycleState
from scheduler.framework.profile import Profile
from scheduler.framework.runtime import FilterRun
from scheduler.framework.standing import Standings
from scheduler.model import NodeFacts, PodFacts
from scheduler.simulator.resources import Object


def read_pod(pod: Object) -> PodFacts:
    """Read a stored pod."""
    return PodFacts.from_pod(decode_object(msgspec.json.encode(pod), Pod))


class Rules:
    """Nodes and the pods on them, and a profile's filters. Volumes and other objects are not known.

    Args:
        profile: Whose filters.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._standings = Standings(profile)
        self._cache = ClusterCache()

    def set_node(self, node: Object) -> None:
        """Take in a node that is there, or changed."""
        found = decode_object(msgspec.json.encode(node), Node)
        self._cache.set_node(NodeFacts.from_node(found))

    def drop_node(self, name: str) -> None:
        """Take in that a node is gone."""
        self._cache.remove_node(name)

    def place(self, pod: PodFacts) -> None:
        """Count a pod where it is bound to."""
        self._cache.add_pod(pod)

    def clear(self, uid: str) -> str:
        """Count a pod no more; tell on which node it was counted, if on any."""
        pod = self._cache.pod(uid)
        self._cache.remove_pod(uid)
        return "" if pod is None else pod.node_name

    def takers(self, pod: PodFacts) -> frozenset[str]:
        """Name the nodes that may take a pod now, nobody making room."""
        snapshot = self._cache.snapshot
        run = FilterRun(
            self._profile,
            state=CycleState(),
            pod=pod,
            snapshot=snapshot,
            standing=self._standings.of(pod, snapshot=snapshot),
        )
        rows = np.flatnonzero(run.run().feasible)
        return frozenset(snapshot.names[row] for row in rows.tolist())
