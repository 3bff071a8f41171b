"""One request as it came, one answer as it goes, and how query parameters are read."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec

from scheduler.simulator.apiserver.errors import ApiError, BadRequestError
from scheduler.simulator.resources import Object

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    query: dict[str, str]
    accept: str = ""
    content_type: str = ""
    user_agent: str = ""
    authorization: str = ""
    body: bytes = b""

    def flag(self, name: str) -> bool:
        """A boolean parameter, read as Go reads it: anything but ``false`` and ``0`` is true."""
        value = self.query.get(name)
        return value is not None and value.lower() not in ("false", "0")

    def number(self, name: str) -> int | None:
        """An integer parameter; None when it is not given.

        Raises:
            BadRequestError: 400: it is no integer.
        """
        text = self.query.get(name, "")
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise BadRequestError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def parse_query(raw: bytes) -> dict[str, str]:
    """The first value of each parameter."""
    found: dict[str, str] = {}
    for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True):
        found.setdefault(key, value)
    return found


@dataclass(slots=True, kw_only=True)
class Response:
    """A whole answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, kw_only=True)
class Stream:
    """An answer whose parts come when they come.

    ``close`` is called once, when the client is gone or the parts are at an end.
    """

    parts: AsyncIterator[bytes]
    close: Callable[[], None]
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = field(default=())
    verb: str = "WATCH"
    """As what it is counted."""


def json_response(
    obj: Object, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Response:
    """An object as a whole answer."""
    return Response(status=status, body=msgspec.json.encode(obj), headers=headers)


def error_response(error: ApiError) -> Response:
    """The Status of a failure as a whole answer."""
    return json_response(error.status, status=error.code, headers=error.headers)
