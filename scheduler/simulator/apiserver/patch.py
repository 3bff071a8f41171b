"""The three kinds of patch: strategic merge, JSON merge, and JSON patch.

Each makes a new object and leaves the old one as it is.
"""

import copy
from typing import Any

from scheduler.simulator.apiserver.errors import ApiError, UnclassifiedError
from scheduler.simulator.apiserver.schema import tables
from scheduler.simulator.resources import Object

_DIRECTIVE, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE_FROM = "$setElementOrder/", "$deleteFromPrimitiveList/"

MERGE_KEYS: dict[str, str] = {
    "Container.env": "name",
    "Container.ports": "containerPort",
    "Container.volumeDevices": "devicePath",
    "Container.volumeMounts": "mountPath",
    "DaemonSetStatus.conditions": "type",
    "DeploymentStatus.conditions": "type",
    "NodeSpec.taints": "key",
    "NodeStatus.addresses": "type",
    "NodeStatus.conditions": "type",
    "NamespaceStatus.conditions": "type",
    "ObjectMeta.ownerReferences": "uid",
    "PersistentVolumeClaimStatus.conditions": "type",
    "PodDisruptionBudgetStatus.conditions": "type",
    "PodSpec.containers": "name",
    "PodSpec.ephemeralContainers": "name",
    "PodSpec.hostAliases": "ip",
    "PodSpec.imagePullSecrets": "name",
    "PodSpec.initContainers": "name",
    "PodSpec.resourceClaims": "name",
    "PodSpec.schedulingGates": "name",
    "PodSpec.topologySpreadConstraints": "topologyKey",
    "PodSpec.volumes": "name",
    "PodStatus.conditions": "type",
    "PodStatus.hostIPs": "ip",
    "PodStatus.podIPs": "ip",
    "ReplicaSetStatus.conditions": "type",
    "ServiceAccount.secrets": "name",
    "ServiceSpec.ports": "port",
    "StatefulSetStatus.conditions": "type",
}
"""The field by which the elements of a list are told apart when the list is merged."""

_SETS = {"ObjectMeta.finalizers", "PersistentVolumeSpec.accessModes"}
"""Lists of plain values that are merged, too."""


def json_merge(target: Any, patch: Any) -> Any:
    """Apply an RFC 7386 merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = json_merge(result.get(key), value)
    return result


def strategic_merge(target: Object, patch: Object, *, type_name: str) -> Object:
    """Apply a strategic merge patch to an object of the named type.

    Raises:
        UnclassifiedError: A directive is not as it must be.
    """
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        replaced: Object = _without_directives(patch)
        return replaced
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise UnclassifiedError(f"unknown patch type: {directive} in map: {go_text(patch)}")
    result = dict(target)
    if _RETAIN in patch:
        kept = set(patch[_RETAIN])
        result = {key: value for key, value in result.items() if key in kept}
    fields = tables().get(type_name, {})
    for key, value in patch.items():
        if key in (_DIRECTIVE, _RETAIN) or key.startswith((_ORDER, _DELETE_FROM)):
            continue
        if value is None:
            result.pop(key, None)
            continue
        kind = fields.get(key, "any").rstrip("!?")
        result[key] = _merge_field(result.get(key), value, name=f"{type_name}.{key}", kind=kind)
    return _apply_list_directives(result, patch, type_name)


def _merge_field(old: Any, new: Any, *, name: str, kind: str) -> Any:
    if isinstance(new, dict):
        inner = kind if kind in tables() else ""
        return strategic_merge(old if isinstance(old, dict) else {}, new, type_name=inner)
    if isinstance(new, list):
        if name in MERGE_KEYS:
            element = kind[1:-1]
            old_list = old if isinstance(old, list) else []
            return _merge_list(old_list, new, key=MERGE_KEYS[name], type_name=element)
        if name in _SETS:
            return [*(old or ()), *(each for each in new if each not in (old or ()))]
        return [_without_directives(each) for each in new if not _is_directive(each)]
    return new


def _is_directive(element: Any) -> bool:
    return isinstance(element, dict) and element.keys() == {_DIRECTIVE}


def _merge_list(old: list[Any], new: list[Any], *, key: str, type_name: str) -> list[Any]:
    if any(isinstance(each, dict) and each.get(_DIRECTIVE) == "replace" for each in new):
        return [_without_directives(each) for each in new if not _is_directive(each)]
    result = list(old)
    added: list[Any] = []
    for element in new:
        if not isinstance(element, dict) or key not in element:
            shown = go_text(element)
            raise UnclassifiedError(f"map: {shown} does not contain declared merge key: {key}")
        places = [i for i, each in enumerate(result) if each.get(key) == element[key]]
        if element.get(_DIRECTIVE) == "delete":
            result = [each for each in result if each.get(key) != element[key]]
        elif places:
            result[places[0]] = strategic_merge(result[places[0]], element, type_name=type_name)
        else:
            added.append(strategic_merge({}, element, type_name=type_name))
    # Without an order of its own, a patch puts what it adds first, as upstream does.
    return added + result


def _apply_list_directives(result: Object, patch: Object, type_name: str) -> Object:
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            field = key.removeprefix(_DELETE_FROM)
            result[field] = [each for each in result.get(field) or () if each not in value]
        elif key.startswith(_ORDER):
            field = key.removeprefix(_ORDER)
            merge_key = MERGE_KEYS.get(f"{type_name}.{field}")
            if isinstance(result.get(field), list):
                result[field] = _ordered(result[field], value, merge_key)
    return result


def _ordered(elements: list[Any], order: list[Any], key: str | None) -> list[Any]:
    def identity(element: Any) -> Any:
        return element.get(key) if key else element

    wanted = [identity(each) for each in order]
    last = len(wanted)
    return sorted(
        elements,
        key=lambda each: wanted.index(identity(each)) if identity(each) in wanted else last,
    )


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_directives(v) for k, v in value.items() if not k.startswith("$")}
    return value


def go_text(value: Any) -> str:
    """A value as Go's ``%v`` prints it."""
    match value:
        case dict():
            inner = " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value))
            return f"map[{inner}]"
        case list():
            return f"[{' '.join(go_text(each) for each in value)}]"
        case bool():
            return "true" if value else "false"
        case None:
            return "<nil>"
        case _:
            return str(value)


# --- JSON patch


class _PatchError(Exception):
    """An operation that cannot be done on this object."""


def json_patch(target: Object, operations: list[Object]) -> Object:
    """Apply an RFC 6902 patch.

    Raises:
        ApiError: 422: an operation cannot be done on this object.
    """
    result = copy.deepcopy(target)
    try:
        for operation in operations:
            result = _operate(result, operation)
    except _PatchError as error:
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, message, reason="Invalid", details={}) from error
    return result


def _operate(doc: Any, operation: Object) -> Any:
    path, value = operation.get("path", ""), operation.get("value")
    match operation.get("op"):
        case "add":
            return _add(doc, path, value)
        case "remove":
            return _remove(doc, path)
        case "replace":
            _read(doc, path)
            return _set(doc, path, value)
        case "copy":
            return _add(doc, path, copy.deepcopy(_read(doc, operation.get("from", ""))))
        case "move":
            moved = _read(doc, operation.get("from", ""))
            return _add(_remove(doc, operation.get("from", "")), path, moved)
        case "test":
            return _test(doc, path, value)
        case _:
            raise _PatchError


def _parent(doc: Any, path: str) -> tuple[Any, str]:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    if not steps:
        raise _PatchError
    for step in steps[:-1]:
        doc = _child(doc, step)
    return doc, steps[-1]


def _child(container: Any, step: str) -> Any:
    if isinstance(container, dict) and step in container:
        return container[step]
    if isinstance(container, list):
        return container[_index(step, len(container))]
    raise _PatchError


def _index(step: str, length: int) -> int:
    if not step.removeprefix("-").isdigit() or not -length <= int(step) < length:
        raise _PatchError
    return int(step)


def _read(doc: Any, path: str) -> Any:
    return _child(*_parent(doc, path)) if path else doc


def _set(doc: Any, path: str, value: Any) -> Any:
    if not path:
        return value
    container, step = _parent(doc, path)
    container[int(step) if isinstance(container, list) else step] = value
    return doc


def _add(doc: Any, path: str, value: Any) -> Any:
    if not path:
        return value
    container, step = _parent(doc, path)
    if isinstance(container, list):
        end = len(container)
        container.insert(end if step == "-" else _index(step, end + 1), value)
        return doc
    if not isinstance(container, dict):
        raise _PatchError
    container[step] = value
    return doc


def _remove(doc: Any, path: str) -> Any:
    _read(doc, path)
    container, step = _parent(doc, path)
    del container[int(step) if isinstance(container, list) else step]
    return doc


def _test(doc: Any, path: str, value: Any) -> Any:
    try:
        found = _read(doc, path)
    except _PatchError:
        # What is not there equals null.
        found = None
    if found != value:
        raise _PatchError
    return doc
