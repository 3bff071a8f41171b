"""What a patch makes of an object, and how one is refused that cannot be applied."""

import json
from typing import Any

import msgspec

from scheduler.simulator.apiserver import patch as patches
from scheduler.simulator.apiserver.bodies import check_identity, read_object_of
from scheduler.simulator.apiserver.errors import (
    ApiError,
    BadRequestError,
    InvalidError,
    UnsupportedMediaTypeError,
    invalid_value,
)
from scheduler.simulator.apiserver.go_json import go_json_problem
from scheduler.simulator.apiserver.requests import Request
from scheduler.simulator.apiserver.schema import DecodeError, type_name
from scheduler.simulator.resources import Object, Resource

APPLY = "application/apply-patch+yaml"
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_STRATEGIC = "application/strategic-merge-patch+json"


def patch_type(request: Request, resource: Resource) -> str:
    """The media type of a patch.

    Raises:
        UnsupportedMediaTypeError: 415: it is none that a custom resource can be patched by.
        ApiError: 415, in the words of the built-in ones.
    """
    kind = request.content_type.partition(";")[0].strip().lower()
    known = [_JSON_PATCH, _MERGE_PATCH]
    if not resource.is_custom:
        known.append(_STRATEGIC)
    known.append(APPLY)
    if kind in known:
        return kind
    if resource.is_custom:
        raise UnsupportedMediaTypeError(", ".join(known))
    message = "415: Unsupported Media Type"
    raise ApiError(415, message, reason="UnsupportedMediaType", details={})


def read_patched(
    request: Request, resource: Resource, obj: Object
) -> tuple[Object, tuple[str, ...]]:
    """The object as the request's patch leaves it, and warnings about fields nobody knows.

    Raises:
        InvalidError: 422: the patch leaves something that is no such object.
        ApiError: The patch cannot be read, or not be applied.
    """
    kind = patch_type(request, resource)
    change = _decoded(request.body, kind)
    if kind == _JSON_PATCH:
        patched = patches.json_patch(obj, change)
    elif kind == _MERGE_PATCH:
        patched = patches.json_merge(obj, change)
    else:
        patched = patches.strategic_merge(obj, change, type_name=type_name(resource))
    try:
        if kind != _STRATEGIC:
            check_identity(patched, resource, request.body)
        return read_object_of(request, resource, patched)
    except BadRequestError as error:
        # What a patch makes unreadable is the patch's fault. Upstream shows the patch when it is
        # a strategic one, and the whole object that came of it otherwise.
        why = str(error).partition(f"cannot be handled as a {resource.kind}: ")[2]
        shown = json.dumps(patched, separators=(",", ":"))
        if kind == _STRATEGIC:
            shown = patches.go_text(change)
            if isinstance(error.__cause__, DecodeError):
                why = error.__cause__.when_converted
        raise InvalidError("", "", "", [invalid_value("patch", shown, why)]) from error


def _decoded(body: bytes, kind: str) -> Any:
    try:
        change = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = go_json_problem(body)
    else:
        problem = _shape_problem(change, kind)
        if not problem:
            return change
    raise BadRequestError(problem if kind == _STRATEGIC else f"error decoding patch: {problem}")


def _shape_problem(change: Any, kind: str) -> str:
    if kind != _JSON_PATCH:
        elements, go_type = [change], "map[string]interface {}"
    elif isinstance(change, list):
        elements, go_type = change, "handlers.jsonPatchOp"
    else:
        found = _go_kind(change)
        return f"json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp"
    strays = [each for each in elements if not isinstance(each, dict)]
    if not strays:
        return ""
    return f"json: cannot unmarshal {_go_kind(strays[0])} into Go value of type {go_type}"


def _go_kind(value: object) -> str:
    match value:
        case dict():
            return "object"
        case list():
            return "array"
        case bool():
            return "bool"
        case str():
            return "string"
        case _:
            return "number"
