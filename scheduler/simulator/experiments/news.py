"""What the watches tell, read once for all who follow them."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from kube.decoding import decode_object
from kube.objects import Node, Pod
from scheduler.simulator.resources import NODES, PODS
from scheduler.simulator.store import Change


@dataclass(frozen=True, slots=True)
class News:
    """A change, and the object as clients read it, if it is a pod or a node."""

    change: Change
    found: Node | Pod | None

    @property
    def is_gone(self) -> bool:
        """Whether the object was deleted."""
        return self.change.type == "DELETED"


def read_news(changes: Iterable[Change]) -> list[News]:
    """Read changes as watches tell them."""
    return [News(change, _read(change)) for change in changes]


def _read(change: Change) -> Node | Pod | None:
    if change.resource is NODES:
        return decode_object(msgspec.json.encode(change.new), Node)
    if change.resource is PODS:
        return decode_object(msgspec.json.encode(change.new), Pod)
    return None
