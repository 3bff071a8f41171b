"""Errors as RFC 9457 problem documents, and request bodies as typed structs."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

T = TypeVar("T")

PROBLEM: Final = "application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document (``application/problem+json``)."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str = ""
    field: str = ""


class ProblemError(Exception):
    """A request that cannot be served as it is.

    Args:
        status: The HTTP status to answer with.
        title: What kind of problem it is, in a few words.
        detail: What to change.
        field: The offending field, dotted, if there is one.
    """

    def __init__(self, status: int, title: str, *, detail: str = "", field: str = "") -> None:
        super().__init__(f"{title}: {detail}")
        self.details = ProblemDetails(title=title, status=status, detail=detail, field=field)


def decode_body(request: Request, body_type: type[T]) -> T:
    """Read a JSON request body.

    Raises:
        ProblemError: 400 if it is not JSON, 422 if it does not have the shape; names the field.
    """
    try:
        return msgspec.json.decode(request.get_data(cache=False), type=body_type)
    except msgspec.ValidationError as error:
        problem = invalid(str(error))
        raise problem from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, "Malformed JSON", detail=str(error)) from error


def invalid(message: str) -> ProblemError:
    """Turn msgspec's words for a misshapen value into a 422 that names the field."""
    match = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", message, re.DOTALL)
    what, field = (match["what"], match["path"] or "") if match else (message, "")
    named = re.search(r"(?:unknown|required) field `(.+?)`", what)
    if named:
        field = f"{field}.{named[1]}".lstrip(".")
    return ProblemError(422, "Invalid request", detail=what, field=field)


def answer(details: ProblemDetails) -> Response:
    """Make the HTTP answer of a problem document."""
    return Response(
        msgspec.json.encode(details),
        status=details.status,
        mimetype=PROBLEM,
    )


def install(
    app: Flask,
    *,
    max_body_bytes: int,
    max_body_bytes_at: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Make *app* answer every error with a problem document and refuse larger bodies (413).

    Args:
        app: The application.
        max_body_bytes: What a body may have.
        max_body_bytes_at: What it may have at some paths instead.
    """

    @app.before_request
    def refuse_large_bodies() -> None:
        # Flask would refuse them only when they are read, which most operations never do.
        limit = max_body_bytes_at.get(request.path, max_body_bytes)
        if (request.content_length or 0) > limit:
            detail = f"a body may have at most {limit} bytes"
            raise ProblemError(413, "Request too large", detail=detail)

    @app.errorhandler(ProblemError)
    def on_problem(error: ProblemError) -> Response:
        return answer(error.details)

    @app.errorhandler(HTTPException)
    def on_http(error: HTTPException) -> Response:
        details = ProblemDetails(
            title=error.name, status=error.code or 500, detail=error.description or ""
        )
        response = answer(details)
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(error.valid_methods or ())
        return response

    @app.errorhandler(500)
    def on_bug(_: Exception) -> Response:
        # Flask has logged it.
        return answer(ProblemDetails(title="Internal error", status=500))
