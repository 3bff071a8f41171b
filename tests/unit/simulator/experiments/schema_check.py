"""As much of JSON Schema (2020-12) as the scenario's schema uses; a keyword beyond that fails."""

import re

_SAID_ONLY = {"title", "description", "default", "$defs"}
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def faults(value, schema, *, root, at="$"):
    """List what is wrong with *value*, each fault with its place."""
    if schema is False:
        return [f"{at}: nothing may stand here"]
    found = []
    for keyword, said in schema.items():
        if keyword not in _SAID_ONLY and keyword not in _CHECKS:
            raise NotImplementedError(keyword)
        if keyword in _CHECKS:
            found += _CHECKS[keyword](value, said, schema=schema, root=root, at=at)
    return found


def _ref(value, said, *, root, at, **_):
    schema = root
    for part in said.removeprefix("#/").split("/"):
        schema = schema[part]
    return faults(value, schema, root=root, at=at)


def _any_of(value, said, *, root, at, **_):
    each = [faults(value, schema, root=root, at=at) for schema in said]
    return [] if [] in each else [fault for found in each for fault in found]


def _type(value, said, *, at, **_):
    fits = isinstance(value, _TYPES[said]) and (said == "boolean" or not isinstance(value, bool))
    return [] if fits else [f"{at}: {value!r} is no {said}"]


def _properties(value, said, *, root, at, **_):
    if not isinstance(value, dict):
        return []
    return [
        fault
        for key, schema in said.items()
        if key in value
        for fault in faults(value[key], schema, root=root, at=f"{at}.{key}")
    ]


def _additional(value, said, *, schema, root, at):
    if not isinstance(value, dict):
        return []
    if isinstance(said, bool):
        said = {} if said else False
    others = value.keys() - schema.get("properties", {}).keys()
    return [
        fault
        for key in sorted(others)
        for fault in faults(value[key], said, root=root, at=f"{at}.{key}")
    ]


def _required(value, said, *, at, **_):
    if not isinstance(value, dict):
        return []
    return [f"{at}.{key}: is missing" for key in said if key not in value]


def _items(value, said, *, schema, root, at):
    if not isinstance(value, list):
        return []
    first = len(schema.get("prefixItems", ()))
    return [
        fault
        for index, item in enumerate(value[first:], first)
        for fault in faults(item, said, root=root, at=f"{at}[{index}]")
    ]


def _prefix_items(value, said, *, root, at, **_):
    if not isinstance(value, list):
        return []
    return [
        fault
        for index, (item, schema) in enumerate(zip(value, said, strict=False))
        for fault in faults(item, schema, root=root, at=f"{at}[{index}]")
    ]


def _rule(kinds, fits):
    def check(value, said, *, at, **_):
        is_meant = isinstance(value, kinds) and not isinstance(value, bool)
        return (
            [f"{at}: {value!r} does not keep to {said!r}"]
            if is_meant and not fits(value, said)
            else []
        )

    return check


_CHECKS = {
    "$ref": _ref,
    "anyOf": _any_of,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "items": _items,
    "prefixItems": _prefix_items,
    "enum": _rule(object, lambda value, said: value in said),
    "pattern": _rule(str, lambda value, said: re.search(said, value) is not None),
    "minimum": _rule((int, float), lambda value, said: value >= said),
    "maximum": _rule((int, float), lambda value, said: value <= said),
    "exclusiveMinimum": _rule((int, float), lambda value, said: value > said),
    "exclusiveMaximum": _rule((int, float), lambda value, said: value < said),
    "minItems": _rule(list, lambda value, said: len(value) >= said),
    "maxItems": _rule(list, lambda value, said: len(value) <= said),
}
