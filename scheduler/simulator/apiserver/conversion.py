"""Events in their two forms: ``v1`` for older clients, ``events.k8s.io/v1`` as stored."""

from collections.abc import Mapping

from scheduler.simulator.resources import CORE_EVENTS, EVENTS, Object, Resource

_TO_STORED = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_TO_CORE = {stored: core for core, stored in _TO_STORED.items()}


def to_stored(resource: Resource, obj: Object) -> Object:
    """An object of this resource in the form in which it is stored."""
    if resource is not CORE_EVENTS:
        return obj
    renamed = {_TO_STORED.get(key, key): value for key, value in obj.items()}
    return {**renamed, "apiVersion": EVENTS.api_version}


def from_stored(resource: Resource, obj: Object) -> Object:
    """A stored object in the form of this resource."""
    if resource is not CORE_EVENTS:
        return obj
    renamed = {_TO_CORE.get(key, key): value for key, value in obj.items()}
    empty: Object = {"source": {}, "firstTimestamp": None, "lastTimestamp": None, "eventTime": None}
    empty |= {"involvedObject": {}, "reportingComponent": "", "reportingInstance": ""}
    head: Object = {"kind": obj["kind"], "apiVersion": CORE_EVENTS.api_version}
    return head | empty | {key: value for key, value in renamed.items() if key not in head}


STORED_AS: Mapping[Resource, Resource] = {CORE_EVENTS: EVENTS}


def stored_resource(resource: Resource) -> Resource:
    """The resource under which the store keeps the objects of this one."""
    return STORED_AS.get(resource, resource)
