"""Field selectors: which fields of which resource they may name, and how they match."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from scheduler.simulator import resources as r
from scheduler.simulator.apiserver.errors import BadRequestError
from scheduler.simulator.resources import Object, Resource

Getter: TypeAlias = Callable[[Object], str]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _at(path: str, default: str = "") -> Getter:
    steps = path.split(".")

    def get(obj: Object) -> str:
        value: Any = obj
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        return _text(value) or default

    return get


def _same(*paths: str) -> dict[str, Getter]:
    return {path: _at(path) for path in paths}


_NAME = _same("metadata.name")
_NAMESPACED_NAME = _same("metadata.name", "metadata.namespace")
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

_FIELDS: Mapping[Resource, Mapping[str, Getter]] = {
    r.PODS: {
        **_NAMESPACED_NAME,
        **_same("spec.nodeName", "spec.restartPolicy", "spec.schedulerName"),
        **_same("spec.serviceAccountName", "status.phase", "status.podIP", "status.podIPs"),
        **_same("status.nominatedNodeName"),
        "spec.hostNetwork": _at("spec.hostNetwork", "false"),
    },
    r.NODES: {**_NAME, "spec.unschedulable": _at("spec.unschedulable", "false")},
    r.NAMESPACES: {**_NAME, **_same("status.phase")},
    r.SECRETS: {**_NAMESPACED_NAME, **_same("type")},
    r.SERVICES: {**_NAMESPACED_NAME, **_same("spec.clusterIP", "spec.type")},
    r.REPLICATION_CONTROLLERS: {**_NAMESPACED_NAME, "status.replicas": _at("status.replicas", "0")},
    r.CORE_EVENTS: {
        **_NAMESPACED_NAME,
        **{f"involvedObject.{name}": _at(f"regarding.{name}") for name in _REFERENCE},
        **_same("reason", "type"),
        "reportingComponent": _at("reportingController"),
        "source": lambda event: (
            _at("deprecatedSource.component")(event) or _at("reportingController")(event)
        ),
    },
    r.EVENTS: {
        **_NAMESPACED_NAME,
        **{f"regarding.{name}": _at(f"regarding.{name}") for name in _REFERENCE},
        **_same("reason", "type", "reportingController"),
    },
}
"""Of the resources whose selectors go beyond name and namespace. Events are read as stored."""


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field."""

    field: str
    get: Getter
    value: str
    is_equal: bool

    def matches(self, obj: Object) -> bool:
        """Tell whether the object meets the condition."""
        return (self.get(obj) == self.value) is self.is_equal


def parse_field_selector(text: str, resource: Resource) -> tuple[FieldTerm, ...]:
    """Read ``spec.nodeName=,status.phase!=Failed``.

    Raises:
        BadRequestError: 400: it is no selector, or the resource does not support the field.
    """
    terms: list[FieldTerm] = []
    for part in sorted(_split(text)):
        found = re.search(r"(?<!\\)(!=|==|=)", part)
        if found is None:
            raise BadRequestError(f"invalid selector: '{text}'; can't understand '{part}'")
        name, value = part[: found.start()], _unescape(part[found.end() :])
        terms.append(FieldTerm(name, _getter(resource, name), value, found[0] != "!="))
    return tuple(terms)


def _getter(resource: Resource, name: str) -> Getter:
    known = _FIELDS.get(resource)
    if known is None:
        plain = _NAMESPACED_NAME if resource.is_namespaced or not resource.is_custom else _NAME
        if name not in plain:
            if resource.is_custom:
                raise BadRequestError(f"field label not supported: {name}")
            raise BadRequestError(
                f'"{name}" is not a known field selector: '
                'only "metadata.name", "metadata.namespace"'
            )
        return plain[name]
    if name not in known:
        raise BadRequestError(f"field label not supported: {name}")
    return known[name]


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"(?<!\\),", text) if part]


def _unescape(value: str) -> str:
    plain = re.sub(r"\\[\\,=]", "", value)
    if found := re.search(r"[=,]", plain):
        raise BadRequestError(f"invalid field selector: unescaped character in value: {found[0]}")
    return re.sub(r"\\([\\,=])", r"\1", value)
