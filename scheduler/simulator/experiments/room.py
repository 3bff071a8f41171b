"""What is left on each node, by requests: what every scheduler must respect. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import msgspec

from kube.decoding import decode_object
from kube.objects import Node, Pod
from scheduler.model import PODS, NodeFacts, PodFacts
from scheduler.simulator.resources import Object

Amounts = Mapping[str, int]

NOTHING: Final[Amounts] = {}


def read_pod(pod: Object) -> PodFacts:
    """Read a stored pod."""
    return PodFacts.from_pod(decode_object(msgspec.json.encode(pod), Pod))


class Room:
    """Nodes, and the pods on them."""

    def __init__(self) -> None:
        self._allocatable: dict[str, Amounts] = {}
        self._requested: dict[str, Counter[str]] = {}
        self._placed: dict[str, tuple[str, Amounts]] = {}
        """By the pods' uid."""

    def set_node(self, node: Object) -> None:
        """Take in a node that is there, or changed."""
        facts = NodeFacts.from_node(decode_object(msgspec.json.encode(node), Node))
        self._allocatable[facts.name] = facts.allocatable

    def drop_node(self, name: str) -> None:
        """Take in that a node is gone."""
        self._allocatable.pop(name, None)

    def place(self, pod: PodFacts) -> None:
        """Count a pod where it is bound to."""
        amounts = {**pod.requests, PODS: 1}
        self._placed[pod.uid] = (pod.node_name, amounts)
        self._requested.setdefault(pod.node_name, Counter()).update(amounts)

    def clear(self, uid: str) -> str:
        """Count a pod no more; tell on which node it was counted, if on any."""
        node, amounts = self._placed.pop(uid, ("", NOTHING))
        if node:
            self._requested[node].subtract(amounts)
        return node

    def holds(self, node: str, *, requests: Amounts) -> bool:
        """Tell whether so much is left on a node."""
        allocatable = self._allocatable.get(node)
        if allocatable is None:
            return False
        requested = self._requested.get(node, NOTHING)
        wanted = {**requests, PODS: 1}
        return all(
            amount <= allocatable.get(name, 0) - requested.get(name, 0)
            for name, amount in wanted.items()
        )
