"""Reads bodies in Kubernetes' protobuf form, which typed Go clients prefer, into JSON values.

Answers are always JSON: those clients go by the answer's media type.
"""

import base64
from collections.abc import Iterator
from functools import cache
from importlib import resources as package_files
from typing import Any

import msgspec

from kube.instants import rfc3339, rfc3339_micro
from scheduler.simulator.resources import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_INT64_SIGN = 1 << 63


class ProtobufError(Exception):
    """The body is not what it says."""


def decode_object(body: bytes) -> Object:
    """An object, with kind and version from its envelope.

    Raises:
        ProtobufError: It is cut off, or of a kind that is not known here.
    """
    if not body.startswith(_MAGIC):
        raise ProtobufError("provided data does not appear to be a protobuf message")
    try:
        envelope = dict(_fields(body[len(_MAGIC) :]))
        head = dict(_fields(envelope.get(1, b"")))
        api_version, kind = head.get(1, b"").decode(), head.get(2, b"").decode()
        name = _message_name(api_version, kind)
        if name not in _messages():
            raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
        decoded = _struct(envelope.get(2, b""), name)
    except (IndexError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise ProtobufError("unexpected EOF") from error
    return {"kind": kind, "apiVersion": api_version, **decoded}


@cache
def _messages() -> dict[str, dict[int, tuple[str, str]]]:
    """JSON name and kind by message and field number; see ``scripts/api_protobuf.py``."""
    text = (package_files.files(__package__) / "protobuf.json").read_bytes()
    return msgspec.json.decode(text, type=dict[str, dict[int, tuple[str, str]]])


def _message_name(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return f"meta.{kind}"
    group, _, version = api_version.rpartition("/")
    return f"{group.partition('.')[0] or 'core'}.{version}.{kind}"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value - 2 * _INT64_SIGN if value >= _INT64_SIGN else value
            continue
        if kind == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}.get(kind, len(data))
        if at + length > len(data):
            raise IndexError
        yield tag >> 3, data[at : at + length]
        at += length


def _struct(data: bytes, name: str) -> Object:
    known = _messages()[name]
    result: Object = {}
    for number, raw in _fields(data):
        if number not in known:
            continue
        key, kind = known[number]
        if kind.startswith("["):
            result.setdefault(key, []).append(_value(raw, kind[1:-1]))
        elif kind.startswith("{"):
            entry = dict(_fields(raw))
            name_text = entry.get(1, b"").decode()
            result.setdefault(key, {})[name_text] = _value(entry.get(2, b""), kind[1:-1])
        elif kind.startswith("^"):
            result.update(_value(raw, kind[1:]))
        else:
            value = _value(raw, kind)
            # Go writes empty texts that its JSON would leave out.
            if value not in ("", None):
                result[key] = value
    return result


def _value(raw: Any, kind: str) -> Any:
    match kind:
        case "string":
            return raw.decode()
        case "int":
            return raw or 0
        case "bool":
            return bool(raw)
        case "bytes":
            return base64.b64encode(raw).decode()
        case "time" | "micro" | "quantity" | "intstr" | "raw":
            return _special(dict(_fields(raw)), kind)
        case _:
            return _struct(raw, kind)


def _special(parts: dict[int, Any], kind: str) -> Any:
    match kind:
        case "quantity":
            return parts.get(1, b"0").decode()
        case "intstr":
            return parts.get(3, b"").decode() if parts.get(1) else parts.get(2, 0)
        case "raw":
            return msgspec.json.decode(parts.get(1) or b"{}")
        case "time":
            return rfc3339(parts[1]) if 1 in parts else None
        case _:
            return rfc3339_micro(parts[1] + parts.get(2, 0) / 1e9) if 1 in parts else None
