"""Empties namespaces that are being deleted, as the namespace controller does."""

from collections.abc import Callable, Iterable

from scheduler.simulator.resources import NAMESPACES, Object, Resource
from scheduler.simulator.store import Change, Store


class NamespaceCleaner:
    """Deletes what a terminating namespace holds; lets it go when it is empty.

    Args:
        store: Where objects are kept.
        resources: Answers every resource that lives in namespaces.
    """

    def __init__(self, store: Store, resources: Callable[[], Iterable[Resource]]) -> None:
        self._store = store
        self._resources = resources
        self._terminating: set[str] = set()
        store.on_change(self._see)

    def _see(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.resource is NAMESPACES:
            if change.type == "DELETED":
                self._terminating.discard(meta["name"])
            elif "deletionTimestamp" in meta and meta["name"] not in self._terminating:
                self._terminating.add(meta["name"])
                self._empty(meta["name"])
                self._finish(meta["name"])
        elif change.type == "DELETED" and meta.get("namespace") in self._terminating:
            self._finish(meta["namespace"])

    def _empty(self, namespace: str) -> None:
        for resource in self._resources():
            for obj in self._store.list(resource, namespace):
                name = obj["metadata"]["name"]
                if self._store.find(resource, namespace, name) is not None:
                    self._store.delete(resource, namespace, name)

    def _finish(self, namespace: str) -> None:
        found = self._store.find(NAMESPACES, None, namespace)
        if found is None or not found["spec"].get("finalizers"):
            return
        if any(self._store.list(resource, namespace) for resource in self._resources()):
            return
        self._store.update(NAMESPACES, _released(found))


def _released(namespace: Object) -> Object:
    spec = {key: value for key, value in namespace["spec"].items() if key != "finalizers"}
    return {**namespace, "spec": spec}
