"""Pods that were promised a node: room that others with less priority may not take."""

from dataclasses import replace

from scheduler.framework.changes import Changes
from scheduler.model import PodFacts


class Nominations:
    """Who was nominated where, until the pod is placed or gone, or nominated elsewhere."""

    def __init__(self) -> None:
        self.changes: Changes[str] = Changes()
        """Of nodes, by name."""
        self._pods: dict[str, PodFacts] = {}
        self._nodes: dict[str, str] = {}
        self._by_node: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def node_of(self, uid: str) -> str:
        """Return where a pod is nominated; empty if nowhere."""
        return self._nodes.get(uid, "")

    def put(self, pod: PodFacts, *, node: str) -> None:
        """Nominate a pod, or take in that a nominated one changed."""
        if self._nodes.get(pod.uid) == node and self._pods[pod.uid] == pod:
            return
        self.remove(pod.uid)
        self.changes.note(node)
        self._pods[pod.uid], self._nodes[pod.uid] = pod, node
        self._by_node.setdefault(node, {})[pod.uid] = None

    def remove(self, uid: str) -> PodFacts | None:
        """End a promise.

        Returns:
            The pod as if it had been on the node; ``None`` if it was promised nothing.
        """
        node = self._nodes.pop(uid, None)
        if node is None:
            return None
        self.changes.note(node)
        del self._by_node[node][uid]
        if not self._by_node[node]:
            del self._by_node[node]
        return replace(self._pods.pop(uid), node_name=node)

    def on_node(self, node: str) -> list[PodFacts]:
        """List the pods that are nominated to *node*."""
        return [self._pods[uid] for uid in self._by_node.get(node, ())]

    def nodes(self) -> list[str]:
        """List the nodes that someone is nominated to."""
        return list(self._by_node)

    def ahead_of(self, pod: PodFacts, *, node: str) -> list[PodFacts]:
        """List the pods nominated to *node* that *pod* must leave room for."""
        return [
            other
            for other in self.on_node(node)
            if other.uid != pod.uid and other.priority >= pod.priority
        ]
