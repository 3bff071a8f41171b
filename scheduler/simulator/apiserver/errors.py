"""Failures as the API server words them: an exception that is a ``Status``."""

from dataclasses import dataclass
from typing import Any

import msgspec

from scheduler.simulator.resources import Object, Resource

CONFLICT_ADVICE = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
NOT_ROUTED = "the server could not find the requested resource"


class ApiError(Exception):
    """A request that fails.

    Args:
        code: HTTP status.
        message: For the user.
        reason: The machine-readable word; empty when upstream gives none.
        details: What it was about; None leaves it out.
        headers: Further response headers.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        details: Object | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers
        self.status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
        }
        if reason:
            self.status["reason"] = reason
        if details is not None:
            self.status["details"] = details
        self.status["code"] = code


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong: its path, the cause's reason, and the cause's message."""

    field: str
    reason: str
    message: str


def required(field: str, detail: str = "") -> FieldError:
    """A field that must be given."""
    text = f"Required value: {detail}" if detail else "Required value"
    return FieldError(field, "FieldValueRequired", text)


def invalid_value(field: str, value: object, detail: str) -> FieldError:
    """A field whose value cannot be."""
    return FieldError(field, "FieldValueInvalid", f"Invalid value: {_shown(value)}: {detail}")


def unsupported(field: str, value: object, supported: tuple[str, ...]) -> FieldError:
    """A field whose value is none of those allowed."""
    allowed = ", ".join(f'"{each}"' for each in supported)
    text = f"Unsupported value: {_shown(value)}: supported values: {allowed}"
    return FieldError(field, "FieldValueNotSupported", text)


def duplicate(field: str, value: object, detail: str = "") -> FieldError:
    """A value that is there already."""
    text = f"Duplicate value: {_shown(value)}" + (f": {detail}" if detail else "")
    return FieldError(field, "FieldValueDuplicate", text)


def forbidden_field(field: str, detail: str) -> FieldError:
    """A field that must not be given, or not be changed."""
    return FieldError(field, "FieldValueForbidden", f"Forbidden: {detail}")


def missing_value(field: str, value: object) -> FieldError:
    """A reference to something that is not there."""
    return FieldError(field, "FieldValueNotFound", f"Not found: {_shown(value)}")


def too_long(field: str, limit: int) -> FieldError:
    """A text beyond its limit."""
    return FieldError(field, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            return f'"{escaped}"'
        case None:
            return '"null"'
        case int() | float():
            return str(value)
        case _:
            return msgspec.json.encode(value).decode()


def about(resource: Resource, name: str, **more: Any) -> Object:
    """The ``details`` of a failure about one object, by its plural."""
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details | more


class NoSuchObjectError(ApiError):
    """404 for an object."""

    def __init__(self, resource: Resource, name: str) -> None:
        message = f'{resource.qualified_name} "{name}" not found'
        super().__init__(404, message, reason="NotFound", details=about(resource, name))


class NoSuchPathError(ApiError):
    """404 for an address that is nothing's."""

    def __init__(self) -> None:
        super().__init__(404, NOT_ROUTED, reason="NotFound", details={})


class NotAllowedError(ApiError):
    """405."""

    def __init__(self) -> None:
        message = "the server does not allow this method on the requested resource"
        super().__init__(405, message, reason="MethodNotAllowed", details={})


class NameTakenError(ApiError):
    """409 on creation."""

    def __init__(self, resource: Resource, name: str) -> None:
        message = f'{resource.qualified_name} "{name}" already exists'
        super().__init__(409, message, reason="AlreadyExists", details=about(resource, name))


class StaleError(ApiError):
    """409 on a change."""

    def __init__(self, resource: Resource, name: str, why: str = "") -> None:
        subject = f'{resource.qualified_name} "{name}"'
        message = f"Operation cannot be fulfilled on {subject}: {why or CONFLICT_ADVICE}"
        super().__init__(409, message, reason="Conflict", details=about(resource, name))


class UnmetPreconditionError(ApiError):
    """409 on a deletion, where upstream names the kind instead of the plural."""

    def __init__(self, resource: Resource, name: str, why: str) -> None:
        kind, group = resource.kind, resource.group
        qualified = f"{kind}.{group}" if group else kind
        message = f'Operation cannot be fulfilled on {qualified} "{name}": {why}'
        details = about(resource, name, kind=kind)
        super().__init__(409, message, reason="Conflict", details=details)


class NotPermittedError(ApiError):
    """403, by admission."""

    def __init__(self, resource: Resource, name: str, why: str) -> None:
        message = f'{resource.qualified_name} "{name}" is forbidden: {why}'
        super().__init__(403, message, reason="Forbidden", details=about(resource, name))


class BadRequestError(ApiError):
    """400.

    Args:
        message: For the user.
    """

    def __init__(self, message: str) -> None:
        super().__init__(400, message, reason="BadRequest")


class UnclassifiedError(ApiError):
    """500 without a reason, as upstream answers for errors it did not classify."""

    def __init__(self, message: str) -> None:
        super().__init__(500, message)


class VersionExpiredError(ApiError):
    """410."""

    def __init__(self, message: str) -> None:
        super().__init__(410, message, reason="Expired")


class UnsupportedMediaTypeError(ApiError):
    """415."""

    def __init__(self, accepted: str) -> None:
        message = (
            "the body of the request was in an unknown format - "
            f"accepted media types include: {accepted}"
        )
        super().__init__(415, message, reason="UnsupportedMediaType")


class InvalidError(ApiError):
    """422, naming every wrong field.

    Args:
        kind: Of the object.
        group: Of the kind; empty for the core group.
        name: Of the object.
        errors: At least one.
    """

    def __init__(self, kind: str, group: str, name: str, errors: list[FieldError]) -> None:
        qualified = f"{kind}.{group}" if group else kind
        texts = [f"{error.field}: {error.message}" for error in errors]
        listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
        details: Object = {"name": name} if name else {}
        if group:
            details["group"] = group
        if kind:
            details["kind"] = kind
        details["causes"] = [
            {"reason": error.reason, "message": error.message, "field": error.field}
            for error in errors
        ]
        message = f'{qualified} "{name}" is invalid: {listed}'
        super().__init__(422, message, reason="Invalid", details=details)
