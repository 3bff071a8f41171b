"""From an answer that is no success to the error it stands for."""

from collections.abc import Mapping
from typing import Final

import msgspec

from kube import errors

_DEFAULT_RETRY_AFTER_S: Final = 1.0
_MAX_RETRY_AFTER_S: Final = 300.0
"""A server that asks for more is asked again anyway."""
_MAX_MESSAGE_CHARS: Final = 500


class StatusCause(msgspec.Struct, frozen=True):
    """One of several things that are wrong."""

    reason: str | None = None


class StatusDetails(msgspec.Struct, frozen=True):
    """What exactly is wrong."""

    causes: list[StatusCause] | None = None


class Status(msgspec.Struct, frozen=True):
    """How an API server says that something went wrong (``kind: Status``)."""

    message: str | None = None
    reason: str | None = None
    code: int = 0
    details: StatusDetails | None = None

    @property
    def is_version_unknown(self) -> bool:
        """Whether the server has never been at the version asked for, as after losing its data."""
        causes = (self.details and self.details.causes) or []
        return any(cause.reason == "ResourceVersionTooLarge" for cause in causes) or (
            "Too large resource version" in (self.message or "")
        )


def read_status(body: bytes) -> Status:
    """Read the Status in *body*; anything else becomes the message of one."""
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Status(message=body[:_MAX_MESSAGE_CHARS].decode(errors="replace").strip())


def error_of(
    code: int, *, status: Status, headers: Mapping[str, str], request: str = ""
) -> errors.KubeError:
    """Make the error that an answer stands for.

    Args:
        code: The HTTP status, or the code of an event of type ERROR in a watch.
        status: What the server says about it.
        headers: Of the answer.
        request: What was asked, for the message.
    """
    reason = status.message or status.reason or "no reason given"
    message = f"{request}: {code} {reason}".removeprefix(": ")
    if code == 410 or status.is_version_unknown:
        return errors.GoneError(message)
    if code == 404:
        return errors.NotFoundError(message)
    if code == 409:
        return errors.ConflictError(message)
    retry_after = headers.get("Retry-After")
    if code == 429 or (code >= 500 and retry_after is not None):
        return errors.ThrottledError(message, retry_after_s=_seconds(retry_after))
    if 300 <= code < 500:
        return errors.RejectedError(message, code=code)
    return errors.UnavailableError(message)


def _seconds(retry_after: str | None) -> float:
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return _DEFAULT_RETRY_AFTER_S
    return min(float(retry_after), _MAX_RETRY_AFTER_S)
