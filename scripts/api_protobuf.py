"""Write the field numbers by which the simulated API server reads protobuf bodies.

    python scripts/api_protobuf.py "$(command -v kubectl)" > \
        scheduler/simulator/apiserver/protobuf.json

Any Go program made with the API's types carries their descriptors, compressed; kubectl does.
"""

import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GROUPS = (
    *("core.v1", "apps.v1", "policy.v1", "coordination.v1", "events.v1", "scheduling.v1"),
    *("storage.v1", "authentication.v1", "authorization.v1", "autoscaling.v1"),
)
META = "k8s.io.apimachinery.pkg.apis.meta.v1."
SPECIAL = {
    f".{META}Time": "time",
    f".{META}MicroTime": "micro",
    f".{META}FieldsV1": "raw",
    ".k8s.io.apimachinery.pkg.api.resource.Quantity": "quantity",
    ".k8s.io.apimachinery.pkg.util.intstr.IntOrString": "intstr",
}
SCALARS = {9: "string", 8: "bool", 12: "bytes"}
INLINE = (
    *("localObjectReference", "volumeSource", "handler", "ephemeralContainerCommon"),
    *("persistentVolumeSource",),
)
MESSAGE, REPEATED = 11, 3


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a descriptor, which has numbers and texts only.

    Raises:
        ValueError: It is no descriptor.
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value: Any
            value, at = varint(data, at)
        elif tag & 7 == 2:
            length, at = varint(data, at)
            value = data[at : at + length]
            at += length
        else:
            raise ValueError("no descriptor")
        yield tag >> 3, value


def descriptors(program: bytes) -> Iterator[tuple[str, bytes]]:
    """Package and text of each file descriptor in a program."""
    for found in re.finditer(b"\x1f\x8b\x08", program):
        try:
            raw = zlib.decompressobj(31).decompress(program[found.start() :][:400_000])
            head = dict(fields(raw))
        except (zlib.error, ValueError, IndexError):
            continue
        package = head.get(2, b"")
        if isinstance(package, bytes) and package.startswith(b"k8s.io"):
            yield package.decode(), raw


def messages(raw: bytes, package: str) -> Iterator[tuple[str, list[dict[int, Any]]]]:
    """Name and fields of each message of a file, those of maps included."""
    for number, value in fields(raw):
        if number == 4:
            yield from message(value, package)


def message(raw: bytes, prefix: str) -> Iterator[tuple[str, list[dict[int, Any]]]]:
    """Name and fields of one message and those inside it."""
    parts = list(fields(raw))
    name = f"{prefix}.{next(value for number, value in parts if number == 1).decode()}"
    yield name, [dict(fields(value)) for number, value in parts if number == 2]
    for number, value in parts:
        if number == 3:
            yield from message(value, name)


def short(name: str) -> str:
    """A type's name without what all of them begin with."""
    return name.removeprefix(".").removeprefix("k8s.io.api.").replace(META, "meta.")


def describe(field: dict[int, Any], known: dict[str, list[dict[int, Any]]]) -> list[str]:
    """JSON name and kind of a field."""
    name, kind = field[1].decode(), field[5]
    if kind != MESSAGE:
        what = SCALARS.get(kind, "int")
    else:
        full = field[6].decode()
        what = SPECIAL.get(full, short(full))
        if full.endswith("Entry") and full[1:] in known:
            value = next(each for each in known[full[1:]] if each[3] == 2)
            return [name, "{" + describe(value, known)[1] + "}"]
    if field[4] == REPEATED:
        return [name, f"[{what}]"]
    return [name, f"^{what}" if name in INLINE else what]


def main() -> None:
    """Print the numbers."""
    program = Path(sys.argv[1]).read_bytes()
    known: dict[str, list[dict[int, Any]]] = {}
    for package, raw in descriptors(program):
        known.update(messages(raw, package))
    wanted = tuple(f"k8s.io.api.{group}." for group in GROUPS)
    table = {
        short(name): {str(field[3]): describe(field, known) for field in found}
        for name, found in known.items()
        if (name.startswith(wanted) or name.startswith(META))
        and not name.endswith(("Entry", "List", "Options"))
    }
    table["meta.DeleteOptions"] = {
        str(field[3]): describe(field, known) for field in known[f"{META}DeleteOptions"]
    }
    lines = [f"{json.dumps(name)}:{json.dumps(table[name])}" for name in sorted(table)]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
