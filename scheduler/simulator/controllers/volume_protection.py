"""Keeps claims that pods use, and volumes that claims use, from vanishing under them."""

from typing import Final

from scheduler.simulator.claims import claim_names
from scheduler.simulator.resources import PODS, PVCS, PVS, Object, Resource
from scheduler.simulator.store import Change, Store
from scheduler.simulator.workqueue import WorkQueue

FINALIZERS: Final = {
    PVCS.table: "kubernetes.io/pvc-protection",
    PVS.table: "kubernetes.io/pv-protection",
}
_RESOURCES: Final = {PVCS.table: PVCS, PVS.table: PVS}

Key = tuple[str, str, str]
"""Table, namespace and name."""


class VolumeProtectionController:
    """Adds the protecting finalizers, and removes them from what is deleted and used no more.

    Args:
        store: What it reads and writes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: WorkQueue[Key] = WorkQueue()
        self._users: dict[tuple[str, str], set[str]] = {}
        store.on_change(self._observe, of=(PODS, PVCS, PVS))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""

        def handle(key: Key) -> None:
            table, namespace, name = key
            obj = self._store.find(_RESOURCES[table], namespace, name)
            if obj is not None:
                self._sync_object(_RESOURCES[table], obj)

        return self._queue.work(now_s, handle)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        if change.resource is PODS:
            self._observe_pod(change)
        elif change.type != "DELETED":
            self._queue.add((change.resource.table, meta.get("namespace", ""), meta["name"]))

    def _observe_pod(self, change: Change) -> None:
        pod, meta = change.new, change.new["metadata"]
        # Before it is bound, no kubelet knows of the pod, and none will start it on what is going.
        is_user = change.type != "DELETED" and bool(pod["spec"].get("nodeName"))
        for _, claim in claim_names(pod):
            users = self._users.setdefault((meta["namespace"], claim), set())
            if is_user:
                users.add(meta["uid"])
                continue
            users.discard(meta["uid"])
            if not users:
                del self._users[meta["namespace"], claim]
                self._queue.add((PVCS.table, meta["namespace"], claim))

    def _sync_object(self, resource: Resource, obj: Object) -> None:
        meta, finalizer = obj["metadata"], FINALIZERS[resource.table]
        held = list(meta.get("finalizers") or ())
        is_going = "deletionTimestamp" in meta
        if finalizer not in held and not is_going:
            held.append(finalizer)
        elif finalizer in held and is_going and not self._is_used(resource, obj):
            held.remove(finalizer)
        else:
            return
        self._store.update(resource, {**obj, "metadata": {**meta, "finalizers": held}})

    def _is_used(self, resource: Resource, obj: Object) -> bool:
        if resource is PVS:
            return bool(obj["status"].get("phase") == "Bound")
        meta = obj["metadata"]
        return bool(self._users.get((meta["namespace"], meta["name"])))
