"""Families of metrics, and how the samples of one object are written."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from kube.instants import parse_rfc3339
from kube.quantity import parse_quantity
from scheduler.simulator.resources import Object, Resource

Sample: TypeAlias = tuple[str, float]
"""Labels beside those that name the object (``,phase="Running"``, or nothing), and the value."""
Samples: TypeAlias = Callable[[Object], Iterable[Sample]]

_BYTES: Final = ("memory", "storage", "ephemeral_storage")
_BYTES_PREFIXES: Final = ("hugepages_", "attachable_volumes_")
_NOT_IN_NAMES: Final = str.maketrans(dict.fromkeys("-./", "_"))


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of one kind of object."""

    name: str
    help: str
    samples: Samples
    type: Literal["gauge", "counter"] = "gauge"

    @property
    def head(self) -> bytes:
        """The lines before the samples."""
        return f"# HELP {self.name} {self.help}\n# TYPE {self.name} {self.type}\n".encode()


@dataclass(frozen=True, slots=True)
class Kind:
    """All metrics of one kind of object."""

    resource: Resource
    labels: Callable[[Object], str]
    """What names an object: ``node="n1"``."""
    families: tuple[Family, ...]

    def render(self, obj: Object) -> tuple[bytes, ...]:
        """Write the samples of an object, aligned with ``families``."""
        name = self.labels(obj)
        return tuple(
            [
                "".join(
                    [
                        f"{family.name}{{{name}{more}}} {_number(value)}\n"
                        for more, value in family.samples(obj)
                    ]
                ).encode()
                for family in self.families
            ]
        )


def label(name: str, value: object) -> str:
    """Write one more label."""
    text = str(value)
    if "\\" in text or '"' in text or "\n" in text:
        text = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f',{name}="{text}"'


def one_of(name: str, values: Iterable[str], *, actual: str) -> list[Sample]:
    """Write a line for every value: 1 for the one that holds."""
    return [(f',{name}="{value}"', value == actual) for value in values]


def instant(text: object) -> list[Sample]:
    """Write an instant, if there is one, in Unix seconds."""
    return [("", parse_rfc3339(text))] if isinstance(text, str) else []


def amount(value: object) -> list[Sample]:
    """Write a number; what is left out is none."""
    return [("", float(value) if isinstance(value, int | float) else 0)]


def resources(amounts: Mapping[str, str] | None, *, more: str = "") -> list[Sample]:
    """Write amounts of resources with their units, cpu in cores."""
    return [
        (f"{more}{_resource(name)}", float(parse_quantity(str(text))))
        for name, text in (amounts or {}).items()
    ]


def _resource(name: str) -> str:
    if name == "cpu":
        return ',resource="cpu",unit="core"'
    plain = name.translate(_NOT_IN_NAMES)
    is_bytes = plain in _BYTES or plain.startswith(_BYTES_PREFIXES)
    return f'{label("resource", plain)},unit="{"byte" if is_bytes else "integer"}"'


def _number(value: float) -> str:
    """Write a number as short as it can be said exactly."""
    whole = int(value)
    return str(whole) if whole == value else repr(value)
