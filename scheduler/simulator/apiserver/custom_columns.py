"""The columns that a CustomResourceDefinition asks for in tables of its objects."""

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from scheduler.simulator.apiserver.durations import since
from scheduler.simulator.apiserver.table_columns import Column
from scheduler.simulator.resources import Object

_STEP: Final = re.compile(
    r"""\.(?P<name>[\w-]+)|\[(?P<index>\d+)\]"""
    r"""|\[\?\(@\.(?P<field>[\w-]+)\s*==\s*["'](?P<value>[^"']*)["']\)\]"""
)


def columns_of(definitions: tuple[Object, ...]) -> tuple[Column, ...]:
    """The columns beside the name."""
    return tuple(
        Column(
            each.get("name", ""),
            each.get("description", ""),
            each.get("type", "string"),
            each.get("priority", 0),
        )
        for each in definitions
    )


def cells_of(obj: Object, definitions: tuple[Object, ...], *, now_s: float) -> Iterator[Any]:
    """An object's cells; None where it has nothing, or the path is more than names and filters."""
    for each in definitions:
        value = _find(obj, each.get("jsonPath", ""))
        if each.get("type") == "date":
            yield None if value is None else since(str(value), now_s=now_s)
        elif isinstance(value, dict | list):
            yield msgspec.json.encode(value, order="sorted").decode()
        else:
            yield value


def _find(obj: Any, path: str) -> Any:
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        obj = _step(obj, step)
        at = step.end()
    return obj


def _step(value: Any, step: re.Match[str]) -> Any:
    if step["name"]:
        return value.get(step["name"]) if isinstance(value, dict) else None
    items = value if isinstance(value, list) else []
    if step["index"]:
        index = int(step["index"])
        return items[index] if index < len(items) else None
    matching = (
        each
        for each in items
        if isinstance(each, dict) and str(each.get(step["field"])) == step["value"]
    )
    return next(matching, None)
