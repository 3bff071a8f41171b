"""Errors as RFC 9457 problem documents, and request bodies as typed structs."""

import logging
import re
from typing import TypeVar

import msgspec
from flask import Flask, Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

log = logging.getLogger(__name__)

T = TypeVar("T")


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
        mimetype="application/problem+json",
    )


def install(app: Flask, *, max_body_bytes: int) -> None:
    """Make *app* answer every error with a problem document and refuse larger bodies (413)."""
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    @app.errorhandler(ProblemError)
    def on_problem(error: ProblemError) -> Response:
        return answer(error.details)

    @app.errorhandler(HTTPException)
    def on_http(error: HTTPException) -> Response:
        status = error.code or 500
        detail = error.description or ""
        if isinstance(error, RequestEntityTooLarge):
            detail = f"a body may have at most {max_body_bytes} bytes"
        response = answer(ProblemDetails(title=error.name, status=status, detail=detail))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(error.valid_methods or ())
        return response

    @app.errorhandler(500)
    def on_bug(error: Exception) -> Response:
        log.error("request failed", exc_info=getattr(error, "original_exception", error))
        return answer(ProblemDetails(title="Internal error", status=500))
