import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from collector.queries import (
    HistoryQuery,
    MetricsQuery,
    PlacementsQuery,
    PodsQuery,
    Span,
    read_span,
    read_window,
)
from kube.edge.problems import ProblemError
from kube.edge.queries import NoQuery, read_query

NOW_S = 1_790_000_000.0


def span(**query: str) -> Span:
    return read_span(read_query(MultiDict(query), HistoryQuery), now_s=NOW_S)


def test_the_last_hour_in_five_minutes_is_told_unless_asked_otherwise():
    assert span() == Span(start_s=NOW_S - 3600, end_s=NOW_S, step_s=300)


@pytest.mark.parametrize("step", ["1h", "3600", "60m", "3600.0"])
def test_steps_are_durations_or_seconds(step):
    assert span(step=step).step_s == 3600


@pytest.mark.parametrize(
    "start", ["1789999000", "2026-09-21T13:56:40Z", "2026-09-21T15:56:40+02:00"]
)
def test_instants_are_unix_seconds_or_rfc_3339(start):
    assert span(start=start).start_s == 1_789_999_000


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": "nan"}, "start"),
        ({"start": "2026-09-21T13:56:40"}, "start"),
        ({"start": "1e400"}, "start"),
        ({"end": "-1"}, "end"),
        ({"end": "9" * 60}, "end"),
        ({"start": str(NOW_S), "end": str(NOW_S)}, "start"),
        ({"step": "0"}, "step"),
        ({"step": "-5m"}, "step"),
        ({"step": "7m"}, "step"),
        ({"step": "0.5"}, "step"),
        ({"step": "inf"}, "step"),
        ({"step": "1s", "start": "0"}, "step"),
        ({"stop": "1"}, "stop"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(query, field):
    with pytest.raises(ProblemError) as caught:
        span(**query)

    assert (caught.value.details.status, caught.value.details.field) == (422, field)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "-1"}, "since"),
        ({"since": "1.5"}, "since"),
        ({"since": str(2**63)}, "since"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"from": "1"}, "from"),
    ],
)
def test_bad_pages_are_refused_by_name(query, field):
    with pytest.raises(ProblemError) as caught:
        read_query(MultiDict(query), PlacementsQuery)

    assert caught.value.details.field == field


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(ProblemError) as caught:
        read_query(MultiDict([("node", "a"), ("node", "b")]), PodsQuery)

    assert caught.value.details.field == "node"


def test_an_operation_without_parameters_takes_none():
    with pytest.raises(ProblemError):
        read_query(MultiDict({"x": "1"}), NoQuery)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_either_read_or_refused(start, end, step):
    try:
        found = span(start=start, end=end, step=step)
    except ProblemError:
        return

    assert found.start_s < found.end_s


@pytest.mark.parametrize(("text", "window_s"), [("5m", 300), ("900", 900), ("90s", 90)])
def test_a_window_is_a_duration_or_seconds(text, window_s):
    assert read_window(read_query(MultiDict({"window": text}), MetricsQuery)) == window_s
    assert read_window(MetricsQuery()) == 900


@pytest.mark.parametrize("text", ["0", "16m", "-5m", "soon", ""])
def test_a_window_that_is_none_or_not_remembered_is_refused(text):
    with pytest.raises(ProblemError) as caught:
        read_window(MetricsQuery(window=text))

    assert (caught.value.details.status, caught.value.details.field) == (422, "window")
