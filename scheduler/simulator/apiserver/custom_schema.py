"""Custom objects read and checked by the schema of their CustomResourceDefinition.

Of OpenAPI v3 this knows what says which shape a value has: types, properties, elements, bounds,
patterns, enumerations, defaults. Rules in CEL, formats, and ``allOf`` and its like are let pass.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from scheduler.simulator.apiserver.errors import (
    FieldError,
    invalid_value,
    required,
    unsupported,
)
from scheduler.simulator.resources import Object

_OPEN: Final = "x-kubernetes-preserve-unknown-fields"
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_NAMES: Final = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
}
_OUTSIDE: Final = ("apiVersion", "kind", "metadata")
"""What every object has, and no schema describes."""


def read_custom(obj: Object, schema: Object) -> tuple[Object, list[str]]:
    """An object without fields that nobody described, and with defaults; and those fields' paths.

    Args:
        obj: As its author wrote it; not changed.
        schema: The ``openAPIV3Schema`` of its version.
    """
    unknown: list[str] = []
    outside = {key: obj[key] for key in _OUTSIDE if key in obj}
    inside = {key: value for key, value in obj.items() if key not in _OUTSIDE}
    return outside | _read(inside, schema, "", unknown), unknown


def custom_errors(obj: Object, schema: Object) -> Iterator[FieldError]:
    """Where an object is not as its schema says."""
    inside = {key: value for key, value in obj.items() if key not in _OUTSIDE}
    yield from _errors(inside, schema, "")


def _read(value: Any, schema: Object, at: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        items = _items(schema) or {_OPEN: True}
        return [_read(each, items, f"{at}[{i}]", unknown) for i, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties") or {}
    result = {
        name: inner["default"]
        for name, inner in properties.items()
        if "default" in inner and name not in value
    }
    for name, inner in value.items():
        here = f"{at}.{name}".removeprefix(".")
        found = properties.get(name, schema.get("additionalProperties"))
        if isinstance(found, dict):
            result[name] = _read(inner, found, here, unknown)
        elif found or schema.get(_OPEN):
            result[name] = inner
        else:
            unknown.append(here)
    return result


def _errors(value: Any, schema: Object, at: str) -> Iterator[FieldError]:
    if value is None and schema.get("nullable"):
        return
    if not _has_type(value, schema):
        found, wanted = _NAMES.get(type(value), "null"), _wanted(schema)
        detail = f'{at} in body must be of type {wanted}: "{found}"'
        yield invalid_value(at, found, detail)
        return
    if "enum" in schema and value not in schema["enum"]:
        yield unsupported(at, value, tuple(schema["enum"]))
    if isinstance(value, dict):
        yield from _object_errors(value, schema, at)
    elif isinstance(value, list):
        yield from _list_errors(value, schema, at)
    elif isinstance(value, str):
        yield from _text_errors(value, schema, at)
    elif not isinstance(value, bool):
        yield from _number_errors(value, schema, at)


def _has_type(value: Any, schema: Object) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted = schema.get("type")
    if not wanted:
        return True
    if isinstance(value, bool):
        return bool(wanted == "boolean")
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(wanted, (object,)))


def _wanted(schema: Object) -> str:
    return "integer,string" if schema.get("x-kubernetes-int-or-string") else str(schema["type"])


def _object_errors(value: Object, schema: Object, at: str) -> Iterator[FieldError]:
    for name in schema.get("required") or ():
        if name not in value:
            yield required(f"{at}.{name}".removeprefix("."))
    properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, inner in value.items():
        found = properties.get(name, others)
        if isinstance(found, dict):
            yield from _errors(inner, found, f"{at}.{name}".removeprefix("."))


def _list_errors(value: list[Any], schema: Object, at: str) -> Iterator[FieldError]:
    for field, is_wrong, words in _ITEM_BOUNDS:
        if field in schema and is_wrong(len(value), schema[field]):
            detail = f"{at} in body should have at {words} {schema[field]} items"
            yield invalid_value(at, len(value), detail)
    for i, each in enumerate(value):
        yield from _errors(each, _items(schema), f"{at}[{i}]")


def _text_errors(value: str, schema: Object, at: str) -> Iterator[FieldError]:
    for field, is_wrong, words in _LENGTH_BOUNDS:
        if field in schema and is_wrong(len(value), schema[field]):
            detail = f"{at} in body should be at {words} {schema[field]} chars long"
            yield invalid_value(at, value, detail)
    if not _matches(schema.get("pattern", ""), value):
        yield invalid_value(at, value, f"{at} in body should match '{schema['pattern']}'")


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # Go knows patterns that Python does not


def _items(schema: Object) -> Object:
    found = schema.get("items")
    return found if isinstance(found, dict) else {}


def _number_errors(value: float, schema: Object, at: str) -> Iterator[FieldError]:
    for field, is_wrong, words in _BOUNDS:
        if field in schema and is_wrong(value, schema[field]):
            detail = f"{at} in body should be {words} than or equal to {schema[field]}"
            yield invalid_value(at, value, detail)


_Bound = tuple[str, Callable[[float, float], bool], str]
_ITEM_BOUNDS: Final[tuple[_Bound, ...]] = (
    ("minItems", lambda n, least: n < least, "least"),
    ("maxItems", lambda n, most: n > most, "most"),
)
_LENGTH_BOUNDS: Final[tuple[_Bound, ...]] = (
    ("minLength", lambda n, least: n < least, "least"),
    ("maxLength", lambda n, most: n > most, "most"),
)
_BOUNDS: Final[tuple[_Bound, ...]] = (
    ("minimum", lambda value, least: value < least, "greater"),
    ("maximum", lambda value, most: value > most, "less"),
)
