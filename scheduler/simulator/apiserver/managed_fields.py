"""``metadata.managedFields``: which client set which fields, by which kind of write."""

from typing import Any

from kube.instants import rfc3339
from scheduler.simulator.apiserver.patch import MERGE_KEYS
from scheduler.simulator.apiserver.schema import tables, type_name
from scheduler.simulator.resources import Object, Resource

_UNOWNED = ("apiVersion", "kind", "status")
_OWNED_METADATA = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")
_ATOMIC = {
    "ObjectReference",
    "LabelSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "SecretKeySelector",
    "ConfigMapKeySelector",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "LocalObjectReference",
    "TypedLocalObjectReference",
}
"""Types that have one owner as a whole."""


def manager_of(user_agent: str) -> str:
    """The name under which a client's fields are kept: its user agent up to the slash."""
    return user_agent.partition("/")[0][:128] or "unknown"


def record_write(  # noqa: PLR0913 -- a write is all of these
    resource: Resource,
    *,
    old: Object | None,
    new: Object,
    manager: str,
    subresource: str,
    now_s: float,
    operation: str = "Update",
) -> Object:
    """The new object with ``managedFields`` telling of this write.

    Args:
        resource: What is written.
        old: The object before; None when it is created.
        new: The object after.
        manager: Who writes.
        subresource: ``status`` or another part, or empty.
        now_s: Virtual time, as Unix seconds.
        operation: ``Update`` or ``Apply``.
    """
    owned = _fields_of(new, resource, subresource)
    if old is not None:
        owned = _changed(_fields_of(old, resource, subresource), owned, old, new)
    entries = list((new["metadata"] if old is None else old["metadata"]).get("managedFields") or ())
    if not owned:
        return _with_entries(new, entries)
    mine = {"manager": manager, "operation": operation, "subresource": subresource}
    kept: list[Object] = []
    for entry in entries:
        if all(entry.get(key, "") == value for key, value in mine.items()):
            owned = _union(entry.get("fieldsV1") or {}, owned)
        else:
            kept.append(entry)
    entry = {
        "manager": manager,
        "operation": operation,
        "apiVersion": resource.api_version,
        "time": rfc3339(now_s),
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
    }
    if subresource:
        entry["subresource"] = subresource
    return _with_entries(new, [*kept, entry])


def _with_entries(obj: Object, entries: list[Object]) -> Object:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if entries:
        meta["managedFields"] = entries
    return {**obj, "metadata": meta}


def _fields_of(obj: Object, resource: Resource, subresource: str) -> Object:
    name = type_name(resource)
    if subresource == "status":
        status = {"status": obj["status"]} if obj.get("status") else {}
        return _walk(status, name)
    body = {k: v for k, v in obj.items() if k not in (*_UNOWNED, "metadata")}
    owned = _walk(body, name)
    meta = {k: v for k, v in obj["metadata"].items() if k in _OWNED_METADATA}
    if meta:
        owned = {"f:metadata": _walk(meta, "ObjectMeta"), **owned}
    return owned


def _walk(obj: Object, name: str) -> Object:
    fields = tables().get(name, {})
    return {
        f"f:{key}": _owned(value, f"{name}.{key}", fields.get(key, "any").rstrip("!?"))
        for key, value in obj.items()
    }


def _owned(value: Any, place: str, kind: str) -> Object:
    if isinstance(value, dict) and value and kind not in _ATOMIC and kind != "any":
        if kind.startswith("{"):
            return {".": {}} | {f"f:{key}": {} for key in value}
        return _walk(value, kind)
    key = MERGE_KEYS.get(place)
    if isinstance(value, list) and key:
        element = kind[1:-1]
        return {".": {}} | {
            f'k:{{"{key}":{_json(each.get(key))}}}': {".": {}, **_walk(each, element)}
            for each in value
        }
    return {}


def _json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _changed(before: Object, after: Object, old: Object, new: Object) -> Object:
    """The fields that were added, or whose values differ."""
    result: Object = {}
    for key, inner in after.items():
        here, there = _value(old, key), _value(new, key)
        if here == there and key in before:
            continue
        deeper = inner
        if inner and isinstance(here, dict) and isinstance(there, dict):
            deeper = _changed(before.get(key, {}), inner, here, there)
        if deeper or not inner:
            result[key] = deeper
    return result


def _value(container: Any, key: str) -> Any:
    if key == ".":
        return None
    if key.startswith("f:") and isinstance(container, dict):
        return container.get(key[2:])
    return None


def _union(one: Object, other: Object) -> Object:
    result = dict(one)
    for key, inner in other.items():
        result[key] = _union(one.get(key, {}), inner)
    return result
