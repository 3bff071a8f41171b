"""Who owns what, and which pods nobody controls: an index kept current by the store's changes."""

from typing import Final

from scheduler.simulator.resources import PODS, Object, Resource
from scheduler.simulator.store import Change, Store

Dependent = tuple[str, str]
"""Namespace and name."""
_NOBODY: Final = ""


def controller_of(obj: Object) -> Object | None:
    """The reference to the object's managing controller, if it has one."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            found: Object = owner
            return found
    return None


def owner_reference(owner: Object) -> Object:
    """Refer to *owner* as the controller of something."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


class Ownership:
    """Objects by their owners.

    Args:
        store: Whose objects.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dependents: dict[str, dict[tuple[str, Dependent], Resource]] = {}
        self._orphans: dict[str, dict[str, None]] = {}
        store.on_change(self._observe)

    def dependents(self, owner_uid: str) -> list[tuple[Resource, Object]]:
        """All objects that name an owner of that uid."""
        found = []
        for (_, (namespace, name)), resource in self._dependents.get(owner_uid, {}).items():
            obj = self._store.find(resource, namespace, name)
            if obj is not None:
                found.append((resource, obj))
        return found

    def controlled(self, resource: Resource, owner_uid: str) -> list[Object]:
        """The objects of one resource whose controller has that uid."""
        found = []
        for (_, (namespace, name)), kind in self._dependents.get(owner_uid, {}).items():
            if kind is resource:
                obj = self._store.find(resource, namespace, name)
                if obj is not None and (controller_of(obj) or {}).get("uid") == owner_uid:
                    found.append(obj)
        return found

    def orphans(self, namespace: str) -> list[Object]:
        """The pods of a namespace that no controller manages."""
        names = self._orphans.get(namespace, {})
        pods = (self._store.find(PODS, namespace, name) for name in names)
        return [pod for pod in pods if pod is not None]

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.old is not None and change.type == "MODIFIED":
            owners = meta.get("ownerReferences")
            if owners is change.old["metadata"].get("ownerReferences"):
                return  # as with almost every change
        before = set() if change.old is None else _owner_uids(change.old)
        after = set() if change.type == "DELETED" else _owner_uids(change.new)
        dependent = (meta.get("namespace", ""), meta["name"])
        key = (change.resource.table, dependent)
        for uid in before - after:
            owned = self._dependents.get(uid, {})
            owned.pop(key, None)
            if not owned:
                self._dependents.pop(uid, None)
        for uid in after - before:
            self._dependents.setdefault(uid, {})[key] = change.resource
        if change.resource is PODS:
            self._observe_pod(change, dependent=dependent)

    def _observe_pod(self, change: Change, *, dependent: Dependent) -> None:
        namespace, name = dependent
        if change.type != "DELETED" and controller_of(change.new) is None:
            self._orphans.setdefault(namespace, {})[name] = None
        else:
            self._orphans.get(namespace, {}).pop(name, None)


def _owner_uids(obj: Object) -> set[str]:
    owners = obj["metadata"].get("ownerReferences") or ()
    return {owner["uid"] for owner in owners if owner.get("uid")}
