"""Reads objects the way the API server's Go types would.

Fields are checked for their type, unknown ones are dropped and reported, quantities are rewritten,
and what Go leaves out of its text when it is empty is left out here, too.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import resources as package_files
from typing import Any, NamedTuple, TypeAlias

import msgspec

from kube.quantity import QuantityError
from scheduler.simulator.apiserver.quantities import WRONG_FORMAT, canonical
from scheduler.simulator.resources import CORE_EVENTS, Object, Resource

Path: TypeAlias = tuple[str | int, ...]


class DecodeError(Exception):
    """A value does not fit its field; the message is as upstream's decoder words it.

    Args:
        message: For the user.
        when_converted: The same, as upstream words it of an object that is JSON no longer.
    """

    def __init__(self, message: str, when_converted: str = "") -> None:
        super().__init__(message)
        self.when_converted = when_converted or message


@dataclass(slots=True)
class Reading:
    """What was found while reading one object."""

    unknown: list[str] = field(default_factory=list)


class At(NamedTuple):
    """Where a value stands: its path, the Go struct it is a field of, and the reading."""

    path: Path
    struct: str
    reading: Reading


Reader: TypeAlias = Callable[[Any, At], Any]
"""Turns a value into what is stored, given where it stands."""


def read_as(name: str, obj: Object) -> tuple[Object, list[str]]:
    """Read an object as the named type; one without a table is taken as it is.

    Raises:
        DecodeError: A field has another type.
    """
    if name not in tables():
        return obj, []
    reading = Reading()
    result: Object = _struct(name)(obj, At((), "", reading))
    return result, reading.unknown


def type_name(resource: Resource) -> str:
    """The name of the resource's type in the tables."""
    return "CoreEvent" if resource is CORE_EVENTS else resource.kind


@cache
def tables() -> dict[str, dict[str, str]]:
    """Field types by type name; see ``scripts/api_schema.py``."""
    text = (package_files.files(__package__) / "schema.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[str, str]])


def shown_path(path: Path) -> str:
    """A path as messages write it: ``spec.containers[0].image``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _mismatch(value: object, at: At, wanted: str) -> DecodeError:
    match value:
        case str():
            found = "string"
        case bool():
            found = "bool"
        case int() | float():
            found = f"number {value}" if wanted.startswith("int") else "number"
        case list():
            found = "array"
        case _:
            found = "object"
    dotted = ".".join(step for step in at.path if isinstance(step, str))
    target = f"struct field {at.struct}.{dotted} of" if at.struct else "value of"
    message = f"json: cannot unmarshal {found} into Go {target} type {wanted}"
    return DecodeError(message, _unconverted(value, wanted))


def _unconverted(value: object, wanted: str) -> str:
    kinds = {str: "string", bool: "bool", int: "int64", float: "float64", list: "slice"}
    found = kinds.get(type(value), "map")
    if wanted.startswith("[]"):
        return f"cannot restore slice from {found}"
    if wanted.startswith("map[") or wanted == "v1.ResourceList":
        return f"cannot restore map from {found}"
    if wanted.startswith("v1."):
        return f"cannot restore struct from: {found}"
    # Go could turn numbers into these, though the API must not.
    is_convertible = found == "int64" and wanted == "string"
    if is_convertible or (found == "float64" and wanted.startswith("int")):
        return f"cannot convert {found} to {wanted}"
    return f"unrecognized type: {wanted}"


@dataclass(frozen=True, slots=True)
class _Field:
    read: Reader
    drops_zero: bool


@cache
def _struct(name: str) -> Reader:
    spec = tables()[name]
    forced = dict.fromkeys(key for key, kind in spec.items() if kind.endswith("Time!"))

    def read(value: Any, at: At) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(value, at, f"v1.{name}")
        fields = _fields(name)
        result: Object = {}
        for key, given in value.items():
            known = fields.get(key)
            if known is None:
                at.reading.unknown.append(shown_path((*at.path, key)))
            elif given is not None:
                inner = known.read(given, At((*at.path, key), name, at.reading))
                if inner is not _NOTHING and (inner or not known.drops_zero):
                    result[key] = inner
        return forced | result if forced else result

    return read


@cache
def _fields(name: str) -> dict[str, _Field]:
    # Made on first use, not with the reader: types refer to themselves.
    return {
        key: _Field(_reader(kind.rstrip("!?")), kind.endswith("?"))
        for key, kind in tables()[name].items()
    }


_NOTHING: Any = object()
"""Stands for a list or map without elements, which Go leaves out."""


@cache
def _reader(kind: str) -> Reader:
    if kind.startswith("["):
        return _list(_reader(kind[1:-1]), kind[1:-1])
    if kind.startswith("{"):
        return _map(_reader(kind[1:-1]), kind[1:-1])
    return _SCALARS.get(kind) or _struct(kind)


def _zero(kind: str) -> Any:
    """What Go makes of a null element."""
    return {} if kind in tables() else {"string": "", "bool": False}.get(kind, 0)


def _go_type(kind: str) -> str:
    return kind if kind in ("string", "int32", "int64", "bool") else f"v1.{kind}"


def _list(read_item: Reader, kind: str) -> Reader:
    def read(value: Any, at: At) -> Any:
        if not isinstance(value, list):
            raise _mismatch(value, at, f"[]{_go_type(kind)}")
        items = [
            read_item(
                _zero(kind) if item is None else item, At((*at.path, i), at.struct, at.reading)
            )
            for i, item in enumerate(value)
        ]
        return items or _NOTHING

    return read


def _map(read_item: Reader, kind: str) -> Reader:
    def read(value: Any, at: At) -> Any:
        if not isinstance(value, dict):
            go = "v1.ResourceList" if kind == "Quantity" else f"map[string]{_go_type(kind)}"
            raise _mismatch(value, at, go)
        items = {
            key: read_item(_zero(kind) if item is None else item, at) for key, item in value.items()
        }
        return items or _NOTHING

    return read


def _typed(kind: type, go: str) -> Reader:
    def read(value: Any, at: At) -> Any:
        if not isinstance(value, kind):
            raise _mismatch(value, at, go)
        return value

    return read


def _integer(bits: int) -> Reader:
    limit = 1 << (bits - 1)

    def read(value: Any, at: At) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or value != int(value) or not -limit <= value < limit:
            raise _mismatch(value, at, f"int{bits}")
        return int(value)

    return read


def _read_float(value: Any, at: At) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _mismatch(value, at, "float64")
    return value


def _read_quantity(value: Any, _at: At) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DecodeError(WRONG_FORMAT)
    try:
        return canonical(str(value).strip())
    except QuantityError as error:
        raise DecodeError(str(error)) from error


_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_INSTANT = re.compile(
    _DAY.pattern + r"T\d\d:\d\d:\d\d(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)"
)
_TIME, _MICRO_TIME = "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05.000000Z07:00"


def _instant(layout: str) -> Reader:
    def read(value: Any, at: At) -> Any:
        if not isinstance(value, str):
            raise _mismatch(value, at, "string")
        if value == "":
            return None
        found = _INSTANT.fullmatch(value)
        instant = _parsed(value) if found else None
        if found is None or instant is None:
            raise _unreadable(value, layout, *_stumble(value))
        if layout == _TIME:
            return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
        # Upstream takes six digits of a second here, no fewer and no more.
        fraction, zone = found["fraction"] or "", found["zone"]
        if len(fraction) < 7:
            raise _unreadable(value, layout, fraction + zone, ".000000")
        if len(fraction) > 7:
            raise _unreadable(value, layout, fraction[7:] + zone, "Z07:00")
        return f"{instant:%Y-%m-%dT%H:%M:%S.%fZ}"

    return read


def _stumble(value: str) -> tuple[str, str]:
    """Where Go's parser stops, and what it looks for there."""
    if _DAY.match(value):
        return (value[11:], "15") if value[10:11] == "T" else (value[10:], "T")
    return (value[4:], "-") if value[:4].isdigit() else (value, "2006")


def _unreadable(value: str, layout: str, rest: str, part: str) -> DecodeError:
    return DecodeError(f'parsing time "{value}" as "{layout}": cannot parse "{rest}" as "{part}"')


def _parsed(instant: str) -> datetime | None:
    try:
        return datetime.fromisoformat(instant).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _read_any(value: Any, _at: At) -> Any:
    return value


_SCALARS: dict[str, Reader] = {
    "string": _typed(str, "string"),
    "bool": _typed(bool, "bool"),
    "int32": _integer(32),
    "int64": _integer(64),
    "float64": _read_float,
    "Quantity": _read_quantity,
    "Time": _instant(_TIME),
    "MicroTime": _instant(_MICRO_TIME),
    "any": _read_any,
}
