"""Turns what the watches say into events for the engine, in the watches' own threads."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from kube.edge.logs import facts
from kube.informer import Added, Deleted, Modified, Synced
from kube.informer import Event as Change
from kube.objects import KubeObject, Node, Pod
from kube.quantity import QuantityError
from scheduler.cluster.inbox import Inbox
from scheduler.events import Event, NodeGone, NodeSeen, ObjectGone, ObjectSeen, PodGone, PodSeen
from scheduler.model import (
    POD_GROUP_SIZE,
    PRIORITY_ANNOTATION,
    NodeFacts,
    PodFacts,
    annotated_priority,
    annotated_size,
)

log = logging.getLogger(__name__)

_NUMBERS: Final = {PRIORITY_ANNOTATION: annotated_priority, POD_GROUP_SIZE: annotated_size}
"""How the annotations that must be numbers are read."""


class News:
    """Handlers for the watches.

    An object whose amounts cannot be read counts as absent: nothing can be promised about it.

    Args:
        inbox: Where the events go.
        followers: Who else is told of pods, before the engine is.
    """

    def __init__(
        self, *, inbox: Inbox, followers: Sequence[Callable[[Change[Pod]], None]] = ()
    ) -> None:
        self._inbox = inbox
        self._followers = followers

    def on_node(self, change: Change[Node]) -> None:
        """Take in a change of a node."""
        match change:
            case Added(node) | Modified(_, node):
                self._inbox.put_news(node_event(node))
            case Deleted(node):
                self._inbox.put_news(NodeGone(node.metadata.name))
            case Synced():
                pass

    def on_object(self, change: Change[KubeObject]) -> None:
        """Take in a change of anything else."""
        match change:
            case Added(found) | Modified(_, found):
                self._inbox.put_news(ObjectSeen(found))
            case Deleted(gone):
                self._inbox.put_news(ObjectGone(type(gone), gone.metadata.key))
            case Synced():
                pass

    def on_pod(self, change: Change[Pod]) -> None:
        """Take in a change of a pod."""
        for tell in self._followers:
            tell(change)
        match change:
            case Added(pod):
                _warn_of_annotations(pod)
                self._inbox.put_news(pod_event(pod))
            case Modified(old, pod):
                if old.metadata.annotations != pod.metadata.annotations:
                    _warn_of_annotations(pod)
                self._inbox.put_news(pod_event(pod))
            case Deleted(pod):
                self._inbox.put_news(PodGone(pod.key, pod.metadata.uid))
            case Synced():
                pass


def node_event(node: Node) -> Event:
    """Read a node that is there; one whose amounts cannot be read is gone."""
    try:
        return NodeSeen(NodeFacts.from_node(node))
    except QuantityError as error:
        log.warning("node left out", extra=facts(node=node.metadata.name, error=str(error)))
        return NodeGone(node.metadata.name)


def pod_event(pod: Pod) -> Event:
    """Read a pod that is there; one whose amounts cannot be read is gone."""
    try:
        return PodSeen(PodFacts.from_pod(pod))
    except QuantityError as error:
        log.warning("pod left out", extra=facts(pod=pod.key, error=str(error)))
        return PodGone(pod.key, pod.metadata.uid)


def _warn_of_annotations(pod: Pod) -> None:
    annotations = pod.metadata.annotations or {}
    for name, read in _NUMBERS.items():
        if name in annotations and read(annotations) is None:
            given = facts(pod=pod.key, annotation=name, text=annotations[name][:64])
            log.warning("annotation is no number and not used", extra=given)
