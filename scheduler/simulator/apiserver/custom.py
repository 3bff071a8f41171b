"""Custom resources: served as soon as their CustomResourceDefinition is there."""

from collections.abc import Iterator

from kube.instants import rfc3339
from scheduler.simulator.apiserver.routes import Registry
from scheduler.simulator.resources import (
    ALL_VERBS,
    CUSTOM_RESOURCE_DEFINITIONS,
    STATUS_VERBS,
    Object,
    Resource,
    Subresource,
)
from scheduler.simulator.store import Change, Store


class CustomResources:
    """Keeps the registry in step with the definitions in the store.

    Args:
        store: Where definitions and custom objects are kept.
        registry: What is served.
    """

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        for definition in store.list(CUSTOM_RESOURCE_DEFINITIONS):
            self._serve(definition)
        store.on_change(self._see)

    def _see(self, change: Change) -> None:
        if change.resource is not CUSTOM_RESOURCE_DEFINITIONS:
            return
        if change.old is not None:
            for resource in resources_of(change.old):
                self._registry.remove(resource)
        if change.type == "DELETED":
            self._drop(change.new)
            return
        self._serve(change.new)
        if not (change.new.get("status") or {}).get("conditions"):
            self._accept(change.new)

    def _serve(self, definition: Object) -> None:
        for resource in resources_of(definition):
            self._registry.add(resource)

    def _accept(self, definition: Object) -> None:
        now = rfc3339(self._store.now_s())
        reasons = {"NamesAccepted": "NoConflicts", "Established": "InitialNamesAccepted"}
        conditions = [
            {
                "type": kind,
                "status": "True",
                "lastTransitionTime": now,
                "reason": reason,
                "message": "",
            }
            for kind, reason in reasons.items()
        ]
        spec = definition["spec"]
        stored = [each["name"] for each in spec.get("versions") or () if each.get("storage")]
        status = {
            "conditions": conditions,
            "acceptedNames": spec["names"],
            "storedVersions": stored,
        }
        self._store.update(CUSTOM_RESOURCE_DEFINITIONS, {**definition, "status": status})

    def _drop(self, definition: Object) -> None:
        for resource in resources_of(definition):
            for obj in self._store.list(resource):
                meta = obj["metadata"]
                self._store.delete(resource, meta.get("namespace"), meta["name"])


def resources_of(definition: Object) -> Iterator[Resource]:
    """One resource for each version that a definition serves; all share their objects."""
    spec = definition.get("spec") or {}
    names = spec.get("names") or {}
    group, plural, kind = spec.get("group"), names.get("plural"), names.get("kind")
    if not (group and plural and kind):
        return
    for version in spec.get("versions") or ():
        if not version.get("served", True) or not version.get("name"):
            continue
        yield Resource(
            group=group,
            version=version["name"],
            plural=plural,
            singular=names.get("singular") or kind.lower(),
            kind=kind,
            is_namespaced=spec.get("scope") == "Namespaced",
            short_names=tuple(names.get("shortNames") or ()),
            categories=tuple(names.get("categories") or ()),
            verbs=ALL_VERBS,
            subresources=_subresources(version, kind),
            storage=f"{plural}.{group}",
            counts_generations=True,
            is_custom=True,
            columns=tuple(version.get("additionalPrinterColumns") or ()),
            schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        )


def _subresources(version: Object, kind: str) -> tuple[Subresource, ...]:
    if "status" not in (version.get("subresources") or {}):
        return ()
    return (Subresource(name="status", kind=kind, verbs=STATUS_VERBS),)
