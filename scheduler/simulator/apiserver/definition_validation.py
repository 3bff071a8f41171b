"""What is wrong with a CustomResourceDefinition."""

from collections.abc import Iterator, Sequence

from scheduler.simulator.apiserver.errors import (
    FieldError,
    invalid_value,
    required,
    unsupported,
)
from scheduler.simulator.resources import Object

_SCOPES = ("Cluster", "Namespaced")
_PROTECTED = ("k8s.io", "kubernetes.io")
_APPROVAL = "api-approved.kubernetes.io"


def definition_errors(definition: Object) -> Iterator[FieldError]:
    """Everything wrong with a complete definition."""
    spec, name = definition["spec"], definition["metadata"]["name"]
    names, group = spec.get("names") or {}, spec.get("group", "")
    wanted = f"{names.get('plural', '')}.{group}"
    if name != wanted:
        yield invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from _approval_errors(definition, group)
    if not group:
        yield required("spec.group")
    if not spec.get("scope"):
        yield required("spec.scope")
    elif spec["scope"] not in _SCOPES:
        yield unsupported("spec.scope", spec["scope"], _SCOPES)
    for field in ("plural", "kind"):
        if not names.get(field):
            yield required(f"spec.names.{field}")
    yield from _version_errors(spec.get("versions") or ())


def _approval_errors(definition: Object, group: str) -> Iterator[FieldError]:
    is_protected = group.endswith(tuple(f".{domain}" for domain in _PROTECTED))
    if is_protected and not (definition["metadata"].get("annotations") or {}).get(_APPROVAL):
        detail = (
            f'protected groups must have approval annotation "{_APPROVAL}", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield required(f"metadata.annotations[{_APPROVAL}]", detail)


def _version_errors(versions: Sequence[Object]) -> Iterator[FieldError]:
    stored = [each for each in versions if each.get("storage")]
    if len(stored) != 1:
        shown = [each.get("name", "") for each in versions]
        detail = "must have exactly one version marked as storage version"
        yield invalid_value("spec.versions", shown, detail)
    for i, version in enumerate(versions):
        at = f"spec.versions[{i}]"
        if not version.get("name"):
            yield required(f"{at}.name")
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            yield required(f"{at}.schema.openAPIV3Schema", "schemas are required")
        elif not schema.get("type"):
            where = f"{at}.schema.openAPIV3Schema.type"
            yield required(where, "must not be empty at the root")
        elif schema["type"] != "object":
            where = f"{at}.schema.openAPIV3Schema.type"
            yield invalid_value(where, schema["type"], "must be object at the root")
