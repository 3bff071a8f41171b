"""Garbage: dependents of deleted owners, pods of vanished nodes, too many ended pods."""

from typing import Final

from kube.instants import rfc3339
from scheduler.simulator.controllers.ownership import Ownership
from scheduler.simulator.controllers.pods import is_over, with_condition
from scheduler.simulator.resources import NODES, PODS, Object, Resource
from scheduler.simulator.store import Change, ConflictError, NotFoundError, Store

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
POD_GC_S: Final = 20.0
QUARANTINE_S: Final = 40.0
"""How long a node must be gone before its pods go."""
MAX_ENDED_PODS: Final = 1000
"""Upstream's ``--terminated-pod-gc-threshold`` (12,500 there; a simulated store is smaller)."""


class OwnerGarbageCollector:
    """Deletes, or lets go of, what a deleted object owned.

    Args:
        store: What it reads and writes.
        owners: Finds dependents.
    """

    def __init__(self, store: Store, *, owners: Ownership) -> None:
        self._store = store
        self._owners = owners
        self._deleted: dict[str, None] = {}
        self._waiting: dict[tuple[str, str, str], Resource] = {}
        store.on_change(self._observe)

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether there was anything."""
        deleted, self._deleted = self._deleted, {}
        for uid in deleted:
            for resource, dependent in self._owners.dependents(uid):
                self._let_go(resource, dependent, owner_uid=uid, is_orphaned=False)
        for (_, namespace, name), resource in list(self._waiting.items()):
            obj = self._store.find(resource, namespace, name)
            if obj is not None:
                self._serve_finalizers(resource, obj)
        return bool(deleted)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        key = (change.resource.table, meta.get("namespace", ""), meta["name"])
        if change.type == "DELETED":
            self._deleted[meta["uid"]] = None
            self._waiting.pop(key, None)
        elif "deletionTimestamp" in meta and {ORPHAN, FOREGROUND} & set(
            meta.get("finalizers") or ()
        ):
            self._waiting[key] = change.resource

    def _serve_finalizers(self, resource: Resource, owner: Object) -> None:
        meta = owner["metadata"]
        finalizers = list(meta.get("finalizers") or ())
        dependents = self._owners.dependents(meta["uid"])
        if ORPHAN in finalizers:
            for kind, dependent in dependents:
                self._let_go(kind, dependent, owner_uid=meta["uid"], is_orphaned=True)
        elif dependents:
            for kind, dependent in dependents:
                if "deletionTimestamp" not in dependent["metadata"]:
                    self._delete(kind, dependent, finalizer=FOREGROUND)
            return
        kept = [f for f in finalizers if f not in (ORPHAN, FOREGROUND)]
        current = self._store.find(resource, meta.get("namespace"), meta["name"])
        if current is not None:
            self._store.update(
                resource, {**current, "metadata": {**current["metadata"], "finalizers": kept}}
            )

    def _let_go(
        self, resource: Resource, dependent: Object, *, owner_uid: str, is_orphaned: bool
    ) -> None:
        meta = dependent["metadata"]
        others = [o for o in meta.get("ownerReferences") or () if o.get("uid") != owner_uid]
        if others or is_orphaned:
            self._store.update(
                resource, {**dependent, "metadata": {**meta, "ownerReferences": others}}
            )
        elif "deletionTimestamp" not in meta:
            self._delete(resource, dependent)

    def _delete(self, resource: Resource, obj: Object, *, finalizer: str | None = None) -> None:
        meta = obj["metadata"]
        try:
            self._store.delete(
                resource,
                meta.get("namespace"),
                meta["name"],
                # A pod's own deletion takes its time anyway, and pods own nothing.
                finalizer=None if resource is PODS else finalizer,
            )
        except (NotFoundError, ConflictError):
            return  # somebody was faster


class PodGarbageCollector:
    """Removes the pods of nodes that no longer exist, and the oldest of too many ended pods.

    Args:
        store: What it reads and writes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._missing_since_s: dict[str, float] = {}
        self._look_at_s = 0.0
        self._may_be_stranded = True
        store.on_change(self._observe, of=(NODES, PODS))

    def sync(self, now_s: float) -> bool:
        """Do what is due; tell whether anything was removed."""
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + POD_GC_S
        removed = self._may_be_stranded and self._remove_stranded(now_s=now_s)
        return removed | self._remove_ended()

    def _observe(self, change: Change) -> None:
        if change.resource is NODES:
            self._may_be_stranded |= change.type == "DELETED"
            return
        node = change.new["spec"].get("nodeName")
        if node and self._store.find(NODES, None, node) is None:
            self._may_be_stranded = True

    def _remove_stranded(self, *, now_s: float) -> bool:
        pods = self._store.list(PODS)
        nodes = {node["metadata"]["name"] for node in self._store.list(NODES)} | {""}
        stranded = [p for p in pods if p["spec"].get("nodeName", "") not in nodes]
        self._may_be_stranded = bool(stranded)
        names = {pod["spec"]["nodeName"] for pod in stranded}
        self._missing_since_s = {n: self._missing_since_s.get(n, now_s) for n in names}
        removed = False
        for pod in stranded:
            if now_s - self._missing_since_s[pod["spec"]["nodeName"]] < QUARANTINE_S:
                continue
            self._fail(pod, now_s=now_s)
            self._remove(pod)
            removed = True
        return removed

    def _remove_ended(self) -> bool:
        if len(self._store.table(PODS).entries) <= MAX_ENDED_PODS:
            return False
        pods = self._store.list(PODS)
        ended = sorted(
            (pod for pod in pods if is_over(pod) and "deletionTimestamp" not in pod["metadata"]),
            key=lambda pod: str(pod["metadata"]["creationTimestamp"]),
        )
        surplus = ended[: max(0, len(ended) - MAX_ENDED_PODS)]
        for pod in surplus:
            self._remove(pod)
        return bool(surplus)

    def _fail(self, pod: Object, *, now_s: float) -> None:
        if is_over(pod):
            return
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": rfc3339(now_s),
        }
        status = with_condition({**pod["status"], "phase": "Failed"}, condition)
        self._store.update(PODS, {**pod, "status": status})

    def _remove(self, pod: Object) -> None:
        meta = pod["metadata"]
        self._store.delete(PODS, meta["namespace"], meta["name"], grace_period_s=0)
