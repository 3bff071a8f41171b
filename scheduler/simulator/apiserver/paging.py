"""Lists in pages: the continue token, and the past that it points into."""

import base64
import binascii
from dataclasses import dataclass

import msgspec

from scheduler.simulator.apiserver.errors import ApiError, BadRequestError
from scheduler.simulator.apiserver.go_json import go_json_problem
from scheduler.simulator.apiserver.requests import Request
from scheduler.simulator.apiserver.selection import Selection
from scheduler.simulator.history import Entry, Table, TooOldError
from scheduler.simulator.resources import Object

_FORMAT = "meta.k8s.io/v1"
_TOO_OLD_PAGE = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


class _Token(msgspec.Struct, kw_only=True):
    v: str = ""
    rv: int = 0
    start: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: its metadata, and its elements in order."""

    metadata: Object
    entries: list[Entry]


def read_page(table: Table, request: Request, selection: Selection, *, version: int) -> Page:
    """The part of the list that a request asks for.

    Args:
        table: Where the objects are.
        request: Gives ``limit``, ``continue`` and ``resourceVersion``.
        selection: Which objects.
        version: The store's last version.

    Raises:
        ApiError: 400, 410, 422 or 504: the parameters ask for what cannot be.
    """
    limit = request.number("limit") or 0
    token = request.query.get("continue", "")
    if token:
        return _continued(table, token, selection, limit=limit, version=version)
    exact = _exact_version(request, limit=limit, version=version)
    if exact is None:
        entries = table.select(selection.namespace)
        return _cut(entries, selection, limit=limit, version=version)
    try:
        entries = table.select_at(exact, namespace=selection.namespace)
    except TooOldError as error:
        message = f"The provided resource version is too old: {exact} ({error.oldest})"
        raise ApiError(410, message, reason="Expired") from error
    return _cut(entries, selection, limit=limit, version=exact)


def parse_version(text: str) -> int:
    """A ``resourceVersion`` parameter as a number.

    Raises:
        ApiError: 500, as upstream answers for one that is no number.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        message = (
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: '
            f'parsing "{text}": invalid syntax'
        )
        raise ApiError(500, message)
    return int(text)


def check_not_ahead(wanted: int, *, version: int) -> None:
    """Refuse a version that is yet to come.

    Raises:
        ApiError: 504.
    """
    if wanted > version:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise ApiError(
            504,
            f"Timeout: Too large resource version: {wanted}, current: {version}",
            reason="Timeout",
            details={"causes": [cause], "retryAfterSeconds": 1},
            headers=(("Retry-After", "1"),),
        )


def _exact_version(request: Request, *, limit: int, version: int) -> int | None:
    wanted = parse_version(request.query.get("resourceVersion", ""))
    check_not_ahead(wanted, version=version)
    match = request.query.get("resourceVersionMatch", "")
    is_exact = match == "Exact" or (not match and limit > 0)
    return wanted if wanted and is_exact else None


def _cut(entries: list[Entry], selection: Selection, *, limit: int, version: int) -> Page:
    metadata: Object = {"resourceVersion": str(version)}
    if not selection.selects_by_content:
        page = entries[:limit] if limit > 0 else entries
        n_seen = len(page)
    else:
        page, n_seen = _take(entries, selection, limit)
    if n_seen < len(entries):
        metadata["continue"] = _encode(selection, page[-1].key, version)
        if not selection.selects_by_content:
            metadata["remainingItemCount"] = len(entries) - n_seen
    return Page(metadata, page)


def _take(entries: list[Entry], selection: Selection, limit: int) -> tuple[list[Entry], int]:
    page: list[Entry] = []
    for i, entry in enumerate(entries):
        if selection.admits_object(entry.obj):
            if limit > 0 and len(page) == limit:
                return page, i
            page.append(entry)
    return page, len(entries)


def _encode(selection: Selection, key: str, version: int) -> str:
    start = key.removeprefix(selection.namespace) if selection.namespace else key.removeprefix("/")
    text = msgspec.json.encode({"v": _FORMAT, "rv": version, "start": f"{start}\0"})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _continued(table: Table, token: str, selection: Selection, *, limit: int, version: int) -> Page:
    found = _decode(token)
    # Tokens of a namespace begin at its slash; those of cluster-wide kinds leave theirs out.
    start = selection.namespace + found.start
    if not selection.resource.is_namespaced:
        start = f"/{found.start}"
    is_consistent = found.rv > 0
    try:
        entries = (
            table.select_at(found.rv, namespace=selection.namespace)
            if is_consistent and found.rv != version
            else table.select(selection.namespace)
        )
    except TooOldError as error:
        expired = ApiError(410, _TOO_OLD_PAGE, reason="Expired")
        rest = {"v": _FORMAT, "rv": -1, "start": found.start}
        text = base64.urlsafe_b64encode(msgspec.json.encode(rest)).rstrip(b"=").decode()
        expired.status["metadata"] = {"continue": text}
        raise expired from error
    remaining = [entry for entry in entries if entry.key >= start]
    shown = found.rv if is_consistent else version
    return _cut(remaining, selection, limit=limit, version=shown)


def _decode(token: str) -> _Token:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise _bad_token("illegal base64 data at input byte 0") from None
    try:
        found = msgspec.json.decode(text, type=_Token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _bad_token(go_json_problem(text)) from None
    if found.v != _FORMAT:
        raise _bad_token(f'server does not recognize this encoded version "{found.v}"')
    if not found.start:
        raise _bad_token(
            "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)"
        )
    return found


def _bad_token(why: str) -> BadRequestError:
    return BadRequestError(f"invalid continue token: continue key is not valid: {why}")
