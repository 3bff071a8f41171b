"""The objects of the simulated cluster, every change numbered, as etcd would hold them.

One event loop, no I/O. A stored object is a plain ``dict`` that nobody may change in place: to
change one, copy the parts that change and write the copy. So any reader may keep what it read,
and the JSON text of a version is made once.

Controllers and kubelets use ``get``, ``list``, ``create``, ``modify``, ``delete`` and
``on_change``. ``create`` fills in defaults and resolves the priority class, as admission would.
"""

import copy
import random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from kube.instants import parse_rfc3339, rfc3339
from scheduler.simulator.defaults import complete
from scheduler.simulator.history import Entry, Table, Write, WriteKind
from scheduler.simulator.resources import NAMESPACES, PODS, Object, Resource

Objects: TypeAlias = list[Object]
ChangeType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]

DEFAULT_LOG_SIZE = 20_000
"""So many past writes of each resource a watch may resume from."""
_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: a random name spells no word
_MAX_GENERATED_BASE = 58
_TYPES: dict[WriteKind, ChangeType] = {
    WriteKind.ADDED: "ADDED",
    WriteKind.MODIFIED: "MODIFIED",
    WriteKind.DELETED: "DELETED",
}


class StoreError(Exception):
    """A write or read that the store refuses.

    Args:
        resource: What kind of object it was about.
        name: The object's name.
        message: Why, in the API server's words; empty for the usual words.
    """

    def __init__(self, resource: Resource, *, name: str, message: str = "") -> None:
        super().__init__(message or f'{resource.qualified_name} "{name}"')
        self.resource = resource
        self.name = name
        self.message = message


class NotFoundError(StoreError):
    """No such object."""


class AlreadyExistsError(StoreError):
    """The name is taken."""


class ConflictError(StoreError):
    """The object is not the version that the writer meant."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a write did, as ``on_change`` tells it.

    ``old`` is None when the object was added; ``new`` is its last state when it was deleted.
    """

    resource: Resource
    type: ChangeType
    old: Object | None
    new: Object


class Store:
    """Versioned objects of all resources.

    Args:
        now_s: Virtual time, as Unix seconds.
        seed: Makes uids and generated names repeatable.
        log_size: How many past writes of each resource a watch may still resume from.
        version: What to count versions from. Clients of an earlier life of the cluster know theirs
            for old when it is beyond all that was counted then.
    """

    def __init__(
        self,
        *,
        now_s: Callable[[], float],
        seed: int = 0,
        log_size: int = DEFAULT_LOG_SIZE,
        version: int = 0,
    ) -> None:
        self.now_s = now_s
        self.version = version
        """The resourceVersion of the last write."""
        self._first_version = version
        self._log_size = log_size
        self._random = random.Random(seed)
        self._tables: dict[str, Table] = {}
        self._callbacks: list[tuple[Callable[[Change], None], frozenset[str]]] = []
        self._told: dict[str, tuple[Callable[[Change], None], ...]] = {}
        """Of the callbacks, those that want to know of a table."""
        self._undelivered: deque[Change] = deque()
        self._is_delivering = False

    # --- reading

    def find(self, resource: Resource, namespace: str | None, name: str) -> Object | None:
        """The object of that name, or None. ``namespace`` is ignored for cluster-wide kinds."""
        table = self._tables.get(resource.table)
        if table is None:
            return None
        entry = table.entries.get(_key(resource, namespace, name))
        return entry.obj if entry is not None else None

    def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        """The object of that name.

        Raises:
            NotFoundError: There is none.
        """
        found = self.find(resource, namespace, name)
        if found is None:
            raise NotFoundError(resource, name=name)
        return found

    def list(self, resource: Resource, namespace: str | None = None) -> Objects:
        """All objects, or those of one namespace, ordered by namespace and name."""
        return [entry.obj for entry in self.table(resource).select(namespace or "")]

    def table(self, resource: Resource) -> Table:
        """The table that holds the resource; watchers of the API server read its log."""
        table = self._tables.get(resource.table)
        if table is None:
            table = Table(self._log_size, oldest=self._first_version)
            self._tables[resource.table] = table
        return table

    def sizes(self) -> dict[str, int]:
        """How many objects there are, by table."""
        return {name: len(table.entries) for name, table in self._tables.items()}

    def on_change(
        self, callback: Callable[[Change], None], *, of: tuple[Resource, ...] = ()
    ) -> None:
        """Have *callback* called after each write, in the order of writes.

        A write made inside a callback is stored at once and told after the current one.

        Args:
            callback: Is told.
            of: About which resources; all of them, and those to come, if left out.
        """
        self._callbacks.append((callback, frozenset(resource.table for resource in of)))
        self._told.clear()

    def keep_log(self, size: int) -> None:
        """Keep so many past writes of each resource from now on, for watches to resume from."""
        self._log_size = size
        for table in self._tables.values():
            table.keep_log(size)

    def compact(self) -> None:
        """Forget the past, as etcd does every few minutes: older versions are expired now."""
        for table in self._tables.values():
            table.compact(self.version)

    # --- writing

    def create(self, resource: Resource, obj: Object) -> Object:
        """Fill in defaults and store a new object.

        Raises:
            AlreadyExistsError: The name is taken.
        """
        return self.insert(resource, complete(resource, obj, among=self))

    def insert(self, resource: Resource, obj: Object) -> Object:
        """Store a new object that is already complete, giving it a uid and a version.

        Raises:
            AlreadyExistsError: The name is taken.
        """
        return self.add(resource, {**obj, "metadata": self.new_metadata(resource, obj)})

    def add(self, resource: Resource, obj: Object) -> Object:
        """Store a new object whose metadata are as ``new_metadata`` made them.

        Raises:
            AlreadyExistsError: The name is taken.
        """
        meta = obj["metadata"]
        key = _key(resource, meta.get("namespace"), meta["name"])
        if key in self.table(resource).entries:
            raise AlreadyExistsError(resource, name=meta["name"])
        meta = {**meta, "resourceVersion": self._next_version()}
        stored = _assemble(resource, obj, meta)
        self._commit(resource, WriteKind.ADDED, key=key, old=None, new=stored)
        return stored

    def new_metadata(self, resource: Resource, obj: Object) -> Object:
        """Metadata as a new object gets it: name, uid, creation time; no version yet."""
        given = obj.get("metadata") or {}
        meta: Object = {"name": given.get("name", "")}
        if prefix := given.get("generateName"):
            meta = {"name": meta["name"] or self._generate_name(prefix), "generateName": prefix}
        if resource.is_namespaced:
            meta["namespace"] = given.get("namespace") or "default"
        meta["uid"] = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        meta["resourceVersion"] = ""
        if resource.counts_generations:
            meta["generation"] = 1
        meta["creationTimestamp"] = rfc3339(self.now_s())
        kept = ("labels", "annotations", "ownerReferences", "finalizers", "managedFields")
        meta.update({field: given[field] for field in kept if given.get(field)})
        return meta

    def update(self, resource: Resource, obj: Object) -> Object:
        """Replace an object; a ``resourceVersion`` or ``uid`` in it must be the current one.

        Writing back an equal object changes nothing and makes no new version. An object that was
        waiting for its finalizers is removed when the last one is gone.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: The version or uid is another one.
        """
        given = obj["metadata"]
        old = self.get(resource, given.get("namespace"), given["name"])
        current = old["metadata"]
        if given.get("uid", current["uid"]) != current["uid"]:
            raise ConflictError(
                resource,
                name=given["name"],
                message=(
                    f"Precondition failed: UID in precondition: {given['uid']}, "
                    f"UID in object meta: {current['uid']}"
                ),
            )
        if (given.get("resourceVersion") or current["resourceVersion"]) != current[
            "resourceVersion"
        ]:
            raise ConflictError(resource, name=given["name"])
        meta = _carry_over(given, current)
        if resource.counts_generations and _spec_changed(resource, old, obj):
            meta["generation"] = current.get("generation", 0) + 1
        new = _assemble(resource, obj, meta)
        if new == old:
            return old
        if _is_released(resource, new):
            return self._remove(resource, old=old, last=new)
        return self._replace(resource, old=old, new=new)

    def put(self, resource: Resource, old: Object, **parts: Object) -> Object:
        """Write a new version of *old*, the current one, with some parts replaced.

        For parts that change every few seconds: nothing is compared, carried over or counted.
        """
        meta = {**old["metadata"], "resourceVersion": self._next_version()}
        stored = {**old, **parts, "metadata": meta}
        key = _key(resource, meta.get("namespace"), meta["name"])
        self._commit(resource, WriteKind.MODIFIED, key=key, old=old, new=stored)
        return stored

    def modify(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        change: Callable[[Object], Object],
    ) -> Object:
        """Read, let *change* alter a deep copy (or make a new object), write if it differs.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: *change* altered the version or uid.
        """
        return self.update(resource, change(copy.deepcopy(self.get(resource, namespace, name))))

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_period_s: int | None = None,
        finalizer: str | None = None,
    ) -> Object:
        """Delete as the API server does, and return the object's last state.

        A pod on a node only gets its ``deletionTimestamp`` and stays until it is deleted with a
        grace of 0, which is its kubelet's to do. A namespace stays, terminating, until its
        finalizers are gone; so does any object with finalizers.

        Args:
            resource: The kind of object.
            namespace: Its namespace; None for cluster-wide kinds.
            name: Its name.
            grace_period_s: For pods; None means what the pod asks for.
            finalizer: One to add, so that dependents are dealt with first.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: The namespace is terminating already.
        """
        old = self.get(resource, namespace, name)
        if resource is NAMESPACES and old["spec"].get("finalizers"):
            return self._terminate_namespace(old)
        finalizers = tuple(old["metadata"].get("finalizers") or ())
        if finalizer and finalizer not in finalizers:
            finalizers = (*finalizers, finalizer)
        grace = _grace_s(old, asked=grace_period_s) if resource is PODS else 0
        if resource is not PODS and not finalizers:
            return self._remove(resource, old=old, last=old)
        marked = self._mark_deleted(old, grace=grace, asked=grace_period_s, finalizers=finalizers)
        if marked is not old:
            marked = self._replace(resource, old=old, new=marked)
        if not _is_released(resource, marked):
            return marked
        # What watched the mark may have finished the deletion meanwhile.
        if self.find(resource, namespace, name) is not marked:
            return marked
        return self._remove(resource, old=marked, last=marked)

    # --- details

    def _terminate_namespace(self, old: Object) -> Object:
        if "deletionTimestamp" in old["metadata"]:
            raise ConflictError(
                NAMESPACES,
                name=old["metadata"]["name"],
                message=(
                    "The system is ensuring all content is removed from this namespace.  "
                    "Upon completion, this namespace will automatically be purged by the system."
                ),
            )
        meta = {**old["metadata"], "deletionTimestamp": rfc3339(self.now_s())}
        status = {**old["status"], "phase": "Terminating"}
        return self._replace(NAMESPACES, old=old, new={**old, "metadata": meta, "status": status})

    def _mark_deleted(
        self, old: Object, *, grace: int, asked: int | None, finalizers: tuple[str, ...]
    ) -> Object:
        meta = dict(old["metadata"])
        if "deletionTimestamp" in meta:
            pending = meta.get("deletionGracePeriodSeconds") or 0
            # A deletion under way may only be hastened.
            if asked is None or grace >= pending:
                return old
            began_s = parse_rfc3339(meta["deletionTimestamp"]) - pending
        else:
            began_s = self.now_s()
            if meta.get("generation"):
                meta["generation"] += 1
        meta["deletionTimestamp"] = rfc3339(began_s + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if finalizers:
            meta["finalizers"] = [*finalizers]
        return {**old, "metadata": meta}

    def _replace(self, resource: Resource, *, old: Object, new: Object) -> Object:
        stored = self._versioned(new)
        key = _key(resource, stored["metadata"].get("namespace"), stored["metadata"]["name"])
        self._commit(resource, WriteKind.MODIFIED, key=key, old=old, new=stored)
        return stored

    def _remove(self, resource: Resource, *, old: Object, last: Object) -> Object:
        stored = self._versioned(last)
        key = _key(resource, stored["metadata"].get("namespace"), stored["metadata"]["name"])
        self._commit(resource, WriteKind.DELETED, key=key, old=old, new=stored)
        return stored

    def _versioned(self, obj: Object) -> Object:
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": self._next_version()}}

    def _commit(
        self, resource: Resource, kind: WriteKind, *, key: str, old: Object | None, new: Object
    ) -> None:
        entry = Entry(key, self.version, new)
        self.table(resource).apply(Write(self.version, kind, entry))
        self._undelivered.append(Change(resource, _TYPES[kind], old, new))
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._undelivered:
                change = self._undelivered.popleft()
                for callback in self._listeners(change.resource.table):
                    callback(change)
        finally:
            self._is_delivering = False

    def _listeners(self, table: str) -> tuple[Callable[[Change], None], ...]:
        found = self._told.get(table)
        if found is None:
            found = tuple(tell for tell, of in self._callbacks if not of or table in of)
            self._told[table] = found
        return found

    def _next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def _generate_name(self, prefix: str) -> str:
        suffix = "".join(self._random.choices(_NAME_ALPHABET, k=5))
        return prefix[:_MAX_GENERATED_BASE] + suffix


def _key(resource: Resource, namespace: str | None, name: str) -> str:
    return f"{namespace or ''}/{name}" if resource.is_namespaced else f"/{name}"


def _assemble(resource: Resource, obj: Object, meta: Object) -> Object:
    """Put kind and version first, where the encoder expects them."""
    body = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion", "metadata")}
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta, **body}


_FIXED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "generateName",
)


def _carry_over(given: Object, current: Object) -> Object:
    """Keep what only the server may set, whatever the writer sent."""
    meta = {k: v for k, v in current.items() if k in _FIXED or k in ("name", "namespace")}
    meta.update({k: v for k, v in given.items() if k not in _FIXED and v not in (None, {}, [])})
    return meta


def _spec_changed(resource: Resource, old: Object, new: Object) -> bool:
    before, after = old.get("spec"), new.get("spec")
    if before is after or before == after:
        return False
    if resource is PODS and before is not None and after is not None:
        # Binding is no change of the wish, and leaves the generation alone.
        return {**before, "nodeName": ""} != {**after, "nodeName": ""}
    return True


def _is_released(resource: Resource, obj: Object) -> bool:
    """Tell whether a deletion under way has nothing left to wait for."""
    meta = obj["metadata"]
    if "deletionTimestamp" not in meta or meta.get("finalizers"):
        return False
    if resource is NAMESPACES:
        return not obj["spec"].get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")


def _grace_s(pod: Object, *, asked: int | None) -> int:
    is_over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if is_over or not pod["spec"].get("nodeName"):
        return 0
    period = asked
    if period is None:
        period = pod["spec"].get("terminationGracePeriodSeconds") or 0
    return 1 if period < 0 else int(period)
