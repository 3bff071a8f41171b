"""The pods of each namespace that have a node, and what they request together."""

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from scheduler.model import PODS, PodFacts

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class NamespacedPods:
    """Of the cluster as it is believed to be, pods on nodes that are not known (yet) included."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, PodFacts]] = {}
        self._requested: dict[str, Counter[str]] = {}

    def requested(self, namespace: str) -> Mapping[str, int]:
        """Return what a namespace's pods request, by resource; ``pods`` is their number."""
        return self._requested.get(namespace, _NOTHING)

    def pods(self, namespace: str) -> Iterable[PodFacts]:
        """Go through a namespace's pods, oldest known first."""
        return self._pods.get(namespace, {}).values()

    def copy(self) -> "NamespacedPods":
        """Copy, for changes that are only tried."""
        other = NamespacedPods()
        other._pods = {name: dict(pods) for name, pods in self._pods.items()}
        other._requested = {name: Counter(sums) for name, sums in self._requested.items()}
        return other

    def restate(self, pod: PodFacts) -> None:
        """Take in what changed of a pod that was counted, and counts as before."""
        self._pods[pod.namespace][pod.uid] = pod

    def add(self, pod: PodFacts) -> None:
        """Count a pod."""
        self._pods.setdefault(pod.namespace, {})[pod.uid] = pod
        requested = self._requested.setdefault(pod.namespace, Counter())
        for resource, amount in pod.requests.items():
            requested[resource] += amount
        requested[PODS] += 1

    def remove(self, pod: PodFacts) -> None:
        """Take a pod back that was counted.

        Raises:
            KeyError: It was not.
        """
        pods = self._pods[pod.namespace]
        counted = pods.pop(pod.uid)
        if not pods:
            del self._pods[pod.namespace], self._requested[pod.namespace]
            return
        requested = self._requested[pod.namespace]
        for resource, amount in counted.requests.items():
            requested[resource] -= amount
        requested[PODS] -= 1
