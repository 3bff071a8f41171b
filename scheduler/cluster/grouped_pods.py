"""Pods by the groups that they belong to, as the watch shows them."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from kube.informer import Added, Deleted, Modified, Synced
from kube.informer import Event as Change
from kube.objects import Pod

T = TypeVar("T")


class GroupedPods(Generic[T]):
    """What matters of the pods of groups, by group and uid; as large as those are many.

    Args:
        read: Names a pod's group, and says what matters of the pod; ``None`` if it has no group.
    """

    def __init__(self, read: Callable[[Pod], tuple[str, T] | None]) -> None:
        self._read = read
        self._groups: dict[str, dict[str, T]] = {}
        self._group_of: dict[str, str] = {}

    def see(self, change: Change[Pod]) -> None:
        """Take in what the watch says of a pod."""
        match change:
            case Added(pod) | Modified(_, pod):
                self._forget(pod.metadata.uid)
                self._add(pod)
            case Deleted(pod):
                self._forget(pod.metadata.uid)
            case Synced():
                pass

    def of(self, group: str) -> Mapping[str, T]:
        """Return what matters of a group's pods, by uid."""
        return self._groups.get(group, {})

    def _add(self, pod: Pod) -> None:
        found = self._read(pod)
        if found is not None:
            group, uid = found[0], pod.metadata.uid
            self._groups.setdefault(group, {})[uid] = found[1]
            self._group_of[uid] = group

    def _forget(self, uid: str) -> None:
        group = self._group_of.pop(uid, None)
        if group is not None:
            del self._groups[group][uid]
            if not self._groups[group]:
                del self._groups[group]
