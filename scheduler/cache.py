"""The cluster as the scheduler believes it to be: confirmed by the API server, or assumed.

A pod counts on its node from the moment it is assumed, so that the next cycle sees it, until the
API server says otherwise. The snapshot is kept up to date with every change, never rebuilt.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from kube.custom import CustomResource
from kube.objects import KubeObject
from kube.quantity import CPU, MEMORY
from kube.storage import (
    CsiDriver,
    CsiNode,
    CsiStorageCapacity,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    VolumeAttachment,
)
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.unseen import UnseenPods
from scheduler.model import NodeFacts, PodFacts, Usage, UsageWindow, Utilization

_LONG_AGO_S: Final = 0.0

_KIND_EVENTS: Final[dict[type[KubeObject], ClusterEvent]] = {
    PersistentVolumeClaim: ClusterEvent.CLAIM,
    PersistentVolume: ClusterEvent.VOLUME,
    StorageClass: ClusterEvent.STORAGE_CLASS,
    CsiNode: ClusterEvent.CSI_NODE,
    CsiDriver: ClusterEvent.CSI_DRIVER,
    CsiStorageCapacity: ClusterEvent.CSI_STORAGE_CAPACITY,
}


class ClusterCache:
    """Nodes and the pods on them.

    Args:
        follows_usage: Whether to keep track of pods that are too new for their nodes' usage.

    Pods on nodes that are not known (yet) are remembered and counted when the node appears: lists
    and watches of the two kinds come in any order.
    """

    def __init__(self, *, follows_usage: bool = False) -> None:
        self.snapshot = Snapshot()
        self._unseen = UnseenPods(self.snapshot) if follows_usage else None
        self._nodes: dict[str, NodeFacts] = {}
        self._placements: dict[str, PodFacts] = {}
        self._orphans: dict[str, dict[str, PodFacts]] = {}
        self._assumed: set[str] = set()

    @property
    def n_pods(self) -> int:
        """How many pods are placed, assumed ones included."""
        return len(self._placements)

    @property
    def n_assumed(self) -> int:
        """How many of them are only assumed."""
        return len(self._assumed)

    def pod(self, uid: str) -> PodFacts | None:
        """Return a placed pod."""
        return self._placements.get(uid)

    def is_assumed(self, uid: str) -> bool:
        """Tell whether the pod was placed by us and is not confirmed yet."""
        return uid in self._assumed

    def set_node(self, facts: NodeFacts) -> Change:
        """Add a node, or take in that it changed.

        Returns:
            What that may mean for waiting pods; its event is empty if nothing.
        """
        before = self._nodes.get(facts.name)
        if before == facts:
            return Change(ClusterEvent(0))
        self._nodes[facts.name] = facts
        self.snapshot.set_node(facts)
        if before is None:
            for pod in self._orphans.pop(facts.name, {}).values():
                self.snapshot.by_namespace.remove(pod)
                self.snapshot.add_pod(pod, node=facts.name)
            return Change(ClusterEvent.NODE_ADD, after=facts)
        return Change(_changes(before, facts), before=before, after=facts)

    def remove_node(self, name: str) -> Change:
        """Forget a node; its pods stay known until they are gone themselves."""
        before = self._nodes.pop(name, None)
        if before is None:
            return Change(ClusterEvent(0))
        pods = self.snapshot.remove_node(name)
        if self._unseen is not None:
            self._unseen.lose_node(name)
        for pod in pods:
            self._add_orphan(pod, node=name)
        return Change(ClusterEvent.NODE_DELETE, before=before)

    def set_usage(self, usage: Mapping[str, Usage], *, windows: Mapping[str, UsageWindow]) -> None:
        """Take in what all nodes that are measured use, and have used."""
        self.snapshot.set_usage(usage, windows=windows)
        if self._unseen is not None:
            self._unseen.measured(windows)

    def set_utilization(
        self,
        means: Mapping[str, Utilization],
        *,
        deviations: Mapping[str, Utilization],
        start_s: float,
        end_s: float,
    ) -> None:
        """Take in what part of themselves all nodes that are measured used over some time."""
        windows: dict[str, UsageWindow] = {}
        for name, mean in means.items():
            row = self.snapshot.rows.get(name)
            if row is not None:
                deviation = deviations.get(name)
                std = None if deviation is None else self._amounts(deviation, row=row)
                windows[name] = UsageWindow(self._amounts(mean, row=row), std, start_s, end_s)
        self.set_usage({name: each.mean for name, each in windows.items()}, windows=windows)

    def _amounts(self, utilization: Utilization, *, row: int) -> Usage:
        capacity = self.snapshot.capacity
        return Usage(
            round(utilization.cpu_ratio * capacity.value(row, key=CPU)),
            round(utilization.memory_ratio * capacity.value(row, key=MEMORY)),
        )

    def set_object(self, found: KubeObject) -> Change:
        """Add an object that is neither node nor pod, or take in that it changed."""
        before = self.snapshot.objects.put(found)
        is_custom = isinstance(found, CustomResource)
        event = ClusterEvent.CUSTOM if is_custom else _KIND_EVENTS.get(type(found), ClusterEvent(0))
        return Change(event, before=before, after=found)

    def remove_object(self, kind: type[KubeObject], key: str) -> Change:
        """Forget an object."""
        before = self.snapshot.objects.find(kind, key)
        if before is None or not self.snapshot.objects.remove(kind, key):
            return Change(ClusterEvent(0))
        if kind is VolumeAttachment:
            return Change(ClusterEvent.VOLUME_ATTACHMENT_DELETE, before=before)
        is_custom = issubclass(kind, CustomResource)
        return Change(ClusterEvent.CUSTOM if is_custom else ClusterEvent(0), before=before)

    def assume(self, pod: PodFacts, *, node: str, now_s: float = _LONG_AGO_S) -> None:
        """Count a pod on the node chosen for it, before that is confirmed."""
        self._place(replace(pod, node_name=node), now_s=now_s)
        self._assumed.add(pod.uid)

    def mark_preempted(self, uid: str, *, is_preempted: bool) -> None:
        """Take a placed pod for one that is asked to go, or no longer."""
        pod = self._placements.get(uid)
        if pod is not None:
            is_assumed = self.is_assumed(uid)
            marked = replace(pod, is_terminating=is_preempted, is_preempted=is_preempted)
            self._place(marked, now_s=_LONG_AGO_S)
            if is_assumed:
                self._assumed.add(uid)

    def forget(self, uid: str) -> bool:
        """Take an assumed pod back.

        Returns:
            Whether it was assumed; a confirmed pod stays.
        """
        if not self.is_assumed(uid):
            return False
        self.remove_pod(uid)
        return True

    def add_pod(self, pod: PodFacts, *, now_s: float = _LONG_AGO_S) -> None:
        """Count a pod that the API server says is on a node; confirms or corrects an assumption."""
        self._place(pod, now_s=now_s)
        self._assumed.discard(pod.uid)

    def remove_pod(self, uid: str) -> bool:
        """Stop counting a pod.

        Returns:
            Whether it was counted.
        """
        if self._unseen is not None:
            self._unseen.remove(uid)
        return self._uncount(uid)

    def _uncount(self, uid: str) -> bool:
        pod = self._placements.pop(uid, None)
        if pod is None:
            return False
        self._assumed.discard(uid)
        node = pod.node_name
        if node in self._nodes:
            self.snapshot.remove_pod(pod, node=node)
        else:
            orphans = self._orphans[node]
            self.snapshot.by_namespace.remove(orphans.pop(uid))
            if not orphans:
                del self._orphans[node]
        return True

    def _place(self, pod: PodFacts, *, now_s: float) -> None:
        before = self._placements.get(pod.uid)
        if before is not None and _counts_alike(before, pod):
            if (before.scheduled_at_s, before.annotations) != (pod.scheduled_at_s, pod.annotations):
                self._restate(before, said=pod)
            return
        self._uncount(pod.uid)
        self._placements[pod.uid] = pod
        if self._unseen is not None:
            self._unseen.add(pod, now_s=now_s)
        if pod.node_name in self._nodes:
            self.snapshot.add_pod(pod, node=pod.node_name)
        else:
            self._add_orphan(pod, node=pod.node_name)

    def _restate(self, pod: PodFacts, *, said: PodFacts) -> None:
        """Take in when a pod was scheduled, and its annotations: no reason to count it anew."""
        restated = replace(pod, scheduled_at_s=said.scheduled_at_s, annotations=said.annotations)
        self._placements[pod.uid] = restated
        if pod.node_name in self._nodes:
            self.snapshot.restate_pod(restated, node=pod.node_name)
        else:
            self._orphans[pod.node_name][pod.uid] = restated
            self.snapshot.by_namespace.restate(restated)

    def _add_orphan(self, pod: PodFacts, *, node: str) -> None:
        self._orphans.setdefault(node, {})[pod.uid] = pod
        self.snapshot.by_namespace.add(pod)


def pod_change(before: PodFacts | None, after: PodFacts) -> Change:
    """Tell what news of a pod on a node may mean for waiting pods."""
    if before is None:
        return Change(ClusterEvent.ASSIGNED_POD_ADD, after=after)
    event = ClusterEvent(0)
    if before.node_name != after.node_name:
        event |= ClusterEvent.ASSIGNED_POD_DELETE
    if any(amount > after.requests.get(r, 0) for r, amount in before.requests.items()):
        event |= ClusterEvent.ASSIGNED_POD_SCALE_DOWN
    if before.labels != after.labels:
        event |= ClusterEvent.ASSIGNED_POD_LABEL
    if after.is_terminating and not before.is_terminating:
        # Some rules count only pods that are there to stay.
        event |= ClusterEvent.ASSIGNED_POD_LABEL
    return Change(event, before=before, after=after)


def _counts_alike(one: PodFacts, other: PodFacts) -> bool:
    """Most updates of a running pod are of its status and change nothing that plugins read."""
    wish, annotations = one.nominated_node_name, one.annotations
    if other.nominated_node_name != wish or other.annotations != annotations:
        # Its wish for a node is over once it has one; and annotations are read where they matter.
        other = replace(other, nominated_node_name=wish, annotations=annotations)
    return one == other


def _changes(before: NodeFacts, after: NodeFacts) -> ClusterEvent:
    """Tell what changed for the better, or may have."""
    event = ClusterEvent(0)
    if any(amount > before.allocatable.get(r, 0) for r, amount in after.allocatable.items()):
        event |= ClusterEvent.NODE_ALLOCATABLE
    if before.labels != after.labels:
        event |= ClusterEvent.NODE_LABEL
    if set(before.taints) - set(after.taints) or (
        before.is_unschedulable and not after.is_unschedulable
    ):
        event |= ClusterEvent.NODE_TAINT
    return event
