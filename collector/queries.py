"""What one may ask for in the query of an URL."""

import math
from datetime import datetime
from typing import Annotated, Final

import msgspec

from collector.cluster_view import MAX_WINDOW_S
from collector.windows import ROLLUP_S
from kube.edge.problems import ProblemError
from kube.edge.queries import Query
from kube.edge.settings import Duration

MAX_POINTS: Final = 11_000
"""As many as Prometheus gives for one series."""
_DEFAULT_SPAN_S: Final = 3600.0
_MAX_STEP_S: Final = 366 * 86_400

Text = Annotated[str, msgspec.Meta(max_length=253)]


class MetricsQuery(Query, frozen=True, kw_only=True):
    """What "lately" means."""

    window: Annotated[str, msgspec.Meta(max_length=32)] = "15m"
    """A duration such as ``5m``, or seconds; at most fifteen minutes."""


class PodsQuery(Query, frozen=True, kw_only=True):
    """Which pods; all if none is given."""

    namespace: Text = ""
    node: Text = ""
    workload: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """``namespace/kind/name``."""


class PlacementsQuery(Query, frozen=True, kw_only=True):
    """Which page of placements."""

    since: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    """The ``next_since`` of the page before."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500


def read_window(query: MetricsQuery) -> float:
    """Find out how many seconds are meant.

    Raises:
        ProblemError: 422; names the parameter.
    """
    try:
        window_s = Duration.parse(query.window)
    except ValueError as error:
        problem = _refuse("window", str(error))
        raise problem from error
    if not 0 < window_s <= MAX_WINDOW_S:
        problem = _refuse("window", "must be more than 0, and at most 15m")
        raise problem
    return window_s


class HistoryQuery(Query, frozen=True, kw_only=True):
    """Which part of a node's past. Instants are Unix seconds or RFC 3339."""

    start: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """An hour before the end if absent."""
    end: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """Now if absent."""
    step: Annotated[str, msgspec.Meta(max_length=32)] = "5m"
    """A duration such as ``1h``, or seconds; a multiple of five minutes, or less than that."""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the past."""

    start_s: float
    end_s: float
    step_s: int


def read_span(query: HistoryQuery, *, now_s: float) -> Span:
    """Find out which part of the past is meant.

    Raises:
        ProblemError: 422; names the parameter.
    """
    end_s = _instant("end", query.end) if query.end else now_s
    start_s = _instant("start", query.start) if query.start else end_s - _DEFAULT_SPAN_S
    step_s = _step(query.step)
    if start_s >= end_s:
        problem = _refuse("start", "must be before end")
        raise problem
    if (end_s - start_s) / step_s > MAX_POINTS:
        problem = _refuse("step", f"would give more than {MAX_POINTS} points")
        raise problem
    return Span(start_s=start_s, end_s=end_s, step_s=step_s)


def _step(text: str) -> int:
    try:
        step_s = float(text) if _is_number(text) else float(Duration.parse(text))
    except ValueError as error:
        raise _refuse("step", str(error)) from error
    if not (1 <= step_s <= _MAX_STEP_S and step_s.is_integer()):
        raise _refuse("step", "must be whole seconds, at least 1, at most a year")
    if step_s >= ROLLUP_S and step_s % ROLLUP_S:
        raise _refuse("step", "must be a multiple of 5m, or less than that")
    return int(step_s)


def _instant(name: str, text: str) -> float:
    try:
        instant_s = float(text) if _is_number(text) else _read_rfc_3339(text)
    except (ValueError, OverflowError, OSError) as error:
        raise _refuse(name, "neither Unix seconds nor an RFC 3339 instant") from error
    # Beyond the year 9999 no clock is right, and integers of the database might overflow.
    if not (math.isfinite(instant_s) and 0 <= instant_s < 253_402_300_800):
        raise _refuse(name, "out of range")
    return instant_s


def _read_rfc_3339(text: str) -> float:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError("no time zone")
    return instant.timestamp()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _refuse(name: str, detail: str) -> ProblemError:
    return ProblemError(422, "Invalid request", detail=detail, field=name)
