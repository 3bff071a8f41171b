"""JSON texts of stored objects, made once a version and shared by all who ask."""

import msgspec

from scheduler.simulator.apiserver.conversion import from_stored
from scheduler.simulator.history import Entry
from scheduler.simulator.resources import Object, Resource

encode = msgspec.json.encode


def object_text(entry: Entry, resource: Resource) -> bytes:
    """The object, with ``kind`` and ``apiVersion`` first."""
    return head_text(resource) + item_text(entry, resource)[1:]


def item_text(entry: Entry, resource: Resource) -> bytes:
    """The object without ``kind`` and ``apiVersion``, as it stands in a list."""
    text = entry.texts.get(resource.version + resource.group)
    if text is None:
        text = encode(without_head(from_stored(resource, entry.obj)))
        entry.texts[resource.version + resource.group] = text
    return text


def head_text(resource: Resource) -> bytes:
    """The opening of an object's text, up to its first own field."""
    return b'{"kind":"%s","apiVersion":"%s",' % (
        resource.kind.encode(),
        resource.api_version.encode(),
    )


def list_text(resource: Resource, metadata: Object, entries: list[Entry]) -> bytes:
    """A whole list. Elements of custom kinds name their kind, built-in ones do not."""
    text = object_text if resource.is_custom else item_text
    items = b",".join([text(entry, resource) for entry in entries])
    head = b'{"kind":"%sList","apiVersion":"%s","metadata":' % (
        resource.kind.encode(),
        resource.api_version.encode(),
    )
    return head + encode(metadata) + b',"items":[' + items + b"]}"


def without_head(obj: Object) -> Object:
    """A copy without ``kind`` and ``apiVersion``."""
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion")}


def partial_metadata(obj: Object) -> Object:
    """The object reduced to its metadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
