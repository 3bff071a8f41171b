"""Cluster events: recorded as kubelets and controllers do, counted when repeated, kept an hour.

They are stored as ``events.k8s.io/v1``; the ``deprecated…`` fields hold what the core form shows.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Literal

from kube.instants import rfc3339
from scheduler.simulator.resources import EVENTS, NAMESPACES, Object
from scheduler.simulator.store import Change, Store

EVENT_TTL_S: Final = 3600.0
"""Upstream's ``--event-ttl``."""
_MAX_REMEMBERED: Final = 4096

EventType = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class Source:
    """Who reports: a component, on a host if it is a kubelet."""

    component: str
    host: str = ""


def reference_to(obj: Object, *, container: str = "", field: str = "containers") -> Object:
    """Refer to an object, or to a container of a pod, as events do."""
    meta = obj["metadata"]
    found = {
        "kind": obj["kind"],
        "namespace": meta.get("namespace", ""),
        "name": meta["name"],
        "uid": meta["uid"],
        "apiVersion": obj["apiVersion"],
        "resourceVersion": meta["resourceVersion"],
        "fieldPath": f"spec.{field}{{{container}}}" if container else "",
    }
    return {key: value for key, value in found.items() if value}


class Recorder:
    """Writes events to the store and removes those that nobody repeated for an hour.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._serial = 0
        self._names: OrderedDict[tuple[str, ...], tuple[str, str]] = OrderedDict()
        self._written_at_s: OrderedDict[tuple[str, str], float] = OrderedDict()
        store.on_change(self._observe, of=(EVENTS,))

    def record(
        self, about: Object, *, source: Source, reason: str, note: str, type_: EventType = "Normal"
    ) -> None:
        """Record an event, or count it if the same was recorded before.

        Args:
            about: What ``reference_to`` made.
            source: Who reports.
            reason: One word for machines.
            note: A sentence for people.
            type_: Normal or Warning.
        """
        identity = (about.get("uid", ""), about.get("fieldPath", ""), reason, note, source.host)
        known = self._names.get(identity)
        found = self._store.find(EVENTS, *known) if known else None
        now = rfc3339(self._store.now_s())
        if found is not None:
            count = found.get("deprecatedCount", 1) + 1
            self._names.move_to_end(identity)
            self._store.update(
                EVENTS, {**found, "deprecatedCount": count, "deprecatedLastTimestamp": now}
            )
            return
        namespace = about.get("namespace") or "default"
        if not self._is_open(namespace):
            return  # nothing new may enter a namespace that is going, or it would never be empty
        self._serial += 1
        name = f"{about['name']}.{int(self._store.now_s() * 1e9) + self._serial:x}"
        self._remember(identity, (namespace, name))
        self._store.create(
            EVENTS,
            {
                "metadata": {"name": name, "namespace": namespace},
                "reason": reason,
                "regarding": about,
                "note": note,
                "type": type_,
                "reportingController": source.component,
                "reportingInstance": source.host,
                "deprecatedSource": {"component": source.component}
                | ({"host": source.host} if source.host else {}),
                "deprecatedFirstTimestamp": now,
                "deprecatedLastTimestamp": now,
                "deprecatedCount": 1,
            },
        )

    def expire(self) -> None:
        """Remove every event, whoever wrote it, that is older than an hour."""
        oldest_s = self._store.now_s() - EVENT_TTL_S
        while self._written_at_s:
            key, written_at_s = next(iter(self._written_at_s.items()))
            if written_at_s > oldest_s:
                return
            del self._written_at_s[key]
            self._store.delete(EVENTS, *key)

    def _is_open(self, namespace: str) -> bool:
        found = self._store.find(NAMESPACES, None, namespace)
        return found is not None and "deletionTimestamp" not in found["metadata"]

    def _remember(self, identity: tuple[str, ...], key: tuple[str, str]) -> None:
        self._names[identity] = key
        if len(self._names) > _MAX_REMEMBERED:
            self._names.popitem(last=False)

    def _observe(self, change: Change) -> None:
        meta = change.new["metadata"]
        key = (meta["namespace"], meta["name"])
        self._written_at_s.pop(key, None)
        if change.type != "DELETED":
            self._written_at_s[key] = self._store.now_s()
