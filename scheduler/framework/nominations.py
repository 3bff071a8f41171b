"""Pods that were promised a node: room that others with less priority may not take."""

from collections.abc import Iterator

from scheduler.model import PodFacts


class Nominations:
    """Who was nominated where, until the pod is placed or gone, or nominated elsewhere."""

    def __init__(self) -> None:
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
        self.remove(pod.uid)
        self._pods[pod.uid], self._nodes[pod.uid] = pod, node
        self._by_node.setdefault(node, {})[pod.uid] = None

    def remove(self, uid: str) -> None:
        """End a promise; one that was never made is no error."""
        node = self._nodes.pop(uid, None)
        if node is None:
            return
        del self._pods[uid]
        del self._by_node[node][uid]
        if not self._by_node[node]:
            del self._by_node[node]

    def on_node(self, node: str) -> list[PodFacts]:
        """List the pods that are nominated to *node*."""
        return [self._pods[uid] for uid in self._by_node.get(node, ())]

    def ahead_of(self, pod: PodFacts) -> Iterator[tuple[PodFacts, str]]:
        """Go through the nominated pods that *pod* must leave room for, with their nodes."""
        for uid, node in self._nodes.items():
            if uid != pod.uid and self._pods[uid].priority >= pod.priority:
                yield self._pods[uid], node
