"""Request bodies: decoded, checked to be what the address asks for, and read by the schema."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from scheduler.simulator.apiserver import protobuf
from scheduler.simulator.apiserver.custom_schema import read_custom
from scheduler.simulator.apiserver.errors import (
    BadRequestError,
    FieldError,
    InvalidError,
    UnsupportedMediaTypeError,
    forbidden_field,
    invalid_value,
    required,
    too_long,
    unsupported,
)
from scheduler.simulator.apiserver.go_json import go_json_problem
from scheduler.simulator.apiserver.requests import Request
from scheduler.simulator.apiserver.schema import DecodeError, read_as, type_name
from scheduler.simulator.resources import BUILT_IN, Object, Resource

_SHOWN_BYTES = 30
_MAX_MANAGER_BYTES = 128
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_GO_TYPE_META = (
    r'struct { APIVersion string "json:\"apiVersion,omitempty\""; '
    r'Kind string "json:\"kind,omitempty\"" }'
)
_KINDS = frozenset((each.kind, each.api_version) for each in BUILT_IN)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


def check_options(request: Request, kind: str) -> None:
    """Refuse parameters of a write that mean nothing.

    Raises:
        InvalidError: 422.
    """
    errors = list(_patch_option_errors(request)) if kind == "PatchOptions" else []
    if kind != "DeleteOptions":
        errors += _manager_errors(request.query.get("fieldManager", ""))
    if request.query.get("dryRun", "All") not in ("All", ""):
        errors.append(unsupported("dryRun", [request.query["dryRun"]], ("All",)))
    validation = request.query.get("fieldValidation", "")
    if kind != "DeleteOptions" and validation not in _VALIDATIONS:
        errors.append(unsupported("fieldValidation", validation, _VALIDATIONS))
    if errors:
        raise InvalidError(kind, "meta.k8s.io", "", errors)


def _patch_option_errors(request: Request) -> Iterator[FieldError]:
    is_apply = request.content_type.startswith("application/apply-patch")
    if "force" in request.query and not is_apply:
        yield forbidden_field("force", "may not be specified for non-apply patch")
    if is_apply and not request.query.get("fieldManager"):
        yield required("fieldManager", "is required for apply patch")


def _manager_errors(manager: str) -> Iterator[FieldError]:
    if len(manager.encode()) > _MAX_MANAGER_BYTES:
        yield too_long("fieldManager", _MAX_MANAGER_BYTES)
    for i, char in enumerate(manager):
        if not char.isprintable():
            detail = f"invalid character U+{ord(char):04X} (at position {i})"
            yield invalid_value("fieldManager", manager, detail)


def is_dry_run(request: Request) -> bool:
    """Tell whether nothing may be stored."""
    return request.query.get("dryRun") == "All"


def decode_body(request: Request, expected_kind: str) -> Any:
    """The body as JSON values.

    Raises:
        UnsupportedMediaTypeError: 415.
        UnrecognizedError: 400 for a body that is not JSON, or not protobuf.
        BadRequestError: 400 for a text that is not YAML.
    """
    media_type = request.content_type.partition(";")[0].strip().lower() or "application/json"
    if media_type in YAML_TYPES:
        try:
            return yaml.safe_load(request.body)
        except yaml.YAMLError as error:
            raise BadRequestError(f"error converting YAML to JSON: {error}") from error
    if media_type == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode_object(request.body)
        except protobuf.ProtobufError as error:
            raise UnrecognizedError(expected_kind, str(error), request.body) from error
    if media_type != "application/json":
        raise UnsupportedMediaTypeError(_ACCEPTED)
    try:
        return msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        why = f"couldn't get version/kind; json parse error: {go_json_problem(request.body)}"
        raise UnrecognizedError(expected_kind, why, request.body) from None


class UnrecognizedError(BadRequestError):
    """400 for a body that does not even say what it is.

    Args:
        kind: What it should have been.
        why: It is not.
        body: Shown in part.
    """

    def __init__(self, kind: str, why: str, body: bytes) -> None:
        shown = body[:_SHOWN_BYTES]
        text = shown.decode(errors="replace") if body[:1] == b"{" else shown.hex()
        summary = (text + (" ..." if len(body) > _SHOWN_BYTES else "")) if body else "<empty>"
        super().__init__(
            f"the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
        )


def read_body(request: Request, resource: Resource) -> tuple[Object, tuple[str, ...]]:
    """The object that a request brings, and warnings about fields nobody knows.

    Raises:
        ApiError: 400 or 415.
    """
    obj = decode_body(request, resource.kind)
    check_identity(obj, resource, request.body)
    return read_object_of(request, resource, obj)


def check_identity(obj: Any, resource: Resource, body: bytes) -> None:
    """Refuse a body of another kind or version than the address asks for.

    Raises:
        BadRequestError: 400.
    """
    kind, api_version = identify(obj, resource, body)
    _check_kind(kind, api_version, resource)


def identify(obj: Any, resource: Resource, body: bytes) -> tuple[str, str]:
    """Kind and version of an object, by default those of the address.

    Raises:
        UnrecognizedError: It is no object.
    """
    if not isinstance(obj, dict):
        found = {list: "array", str: "string", bool: "bool", int: "number", float: "number"}
        name = found.get(type(obj), "null")
        why = (
            "couldn't get version/kind; json parse error: "
            f"json: cannot unmarshal {name} into Go value of type {_GO_TYPE_META}"
        )
        raise UnrecognizedError(resource.kind, why, body)
    return obj.get("kind") or resource.kind, obj.get("apiVersion") or resource.api_version


def _check_kind(kind: str, api_version: str, resource: Resource) -> None:
    if (kind, api_version) == (resource.kind, resource.api_version):
        return
    version = api_version.rpartition("/")[2]
    intro = f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
    if (kind, api_version) not in _KINDS:
        raise BadRequestError(
            f'{intro}no kind "{kind}" is registered for version "{api_version}" '
            'in scheme "pkg/api/legacyscheme/scheme.go:30"'
        )
    if kind != resource.kind:
        group = resource.group.partition(".")[0] or "core"
        raise BadRequestError(
            f"{intro}converting (v1.{kind}) to ({group}.{resource.kind}): unknown conversion"
        )
    raise BadRequestError(
        f"the API version in the data ({api_version}) does not match "
        f"the expected API version ({resource.api_version})"
    )


def read_object_of(
    request: Request, resource: Resource, obj: Object
) -> tuple[Object, tuple[str, ...]]:
    """Read an object by the resource's schema, minding ``fieldValidation``.

    Raises:
        BadRequestError: A field has another type, or is unknown and that is forbidden.
    """
    intro = (
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
    )
    try:
        read, unknown = _read(resource, obj)
    except DecodeError as error:
        raise BadRequestError(f"{intro}: {error}") from error
    problems = [f'unknown field "{path}"' for path in unknown]
    validation = request.query.get("fieldValidation") or "Warn"
    if validation != "Ignore":
        problems += [f'duplicate field "{path}"' for path in _duplicates(request)]
    if problems and validation == "Strict":
        raise BadRequestError(f"{intro}: strict decoding error: {', '.join(problems)}")
    if resource.is_custom and not isinstance(obj.get("metadata") or {}, dict):
        raise BadRequestError(f"{intro}: metadata must be an object")
    read = {**read, "metadata": read.get("metadata") or {}}
    return read, tuple(problems) if validation == "Warn" else ()


def _read(resource: Resource, obj: Object) -> tuple[Object, list[str]]:
    if not resource.is_custom:
        return read_as(type_name(resource), obj)
    return (obj, []) if resource.schema is None else read_custom(obj, resource.schema)


class _Repeated(dict[str, Any]):
    """A JSON object that remembers which of its keys came twice."""

    repeated: tuple[str, ...] = ()


def _duplicates(request: Request) -> list[str]:
    if not request.content_type.startswith("application/json") or not _may_repeat(request.body):
        return []

    def build(pairs: list[tuple[str, Any]]) -> _Repeated:
        built = _Repeated(pairs)
        keys = [key for key, _ in pairs]
        built.repeated = tuple({key for key in keys if keys.count(key) > 1})
        return built

    return list(_repeats(json.loads(request.body, object_pairs_hook=build), ""))


def _may_repeat(body: bytes) -> bool:
    # Few bodies repeat a key; most are told apart by counting.
    return body.count(b'":') + body.count(b'" :') > _n_keys(msgspec.json.decode(body))


def _n_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_n_keys, value.values()))
    return sum(map(_n_keys, value)) if isinstance(value, list) else 0


def _repeats(value: Any, at: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, _Repeated):
        found += [f"{at}.{key}".removeprefix(".") for key in value.repeated]
        for key, inner in value.items():
            found += _repeats(inner, f"{at}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            found += _repeats(inner, f"{at}[{i}]")
    return found
