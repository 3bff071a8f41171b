"""Query parameters: typed, and refused with the parameter's name if they are wrong."""

from typing import TypeVar

import msgspec
from werkzeug.datastructures import MultiDict

from kube.edge.problems import ProblemError, invalid

Q = TypeVar("Q", bound="Query")


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of one operation."""


class NoQuery(Query, frozen=True, kw_only=True):
    """An operation without parameters."""


def read_query(args: MultiDict[str, str], query_type: type[Q]) -> Q:
    """Read query parameters.

    Raises:
        ProblemError: 422; names the parameter.
    """
    for name in args:
        if len(args.getlist(name)) > 1:
            raise ProblemError(422, "Invalid request", detail="given more than once", field=name)
    try:
        return msgspec.convert(args.to_dict(), query_type, strict=False)
    except msgspec.ValidationError as error:
        problem = invalid(str(error))
        raise problem from error
