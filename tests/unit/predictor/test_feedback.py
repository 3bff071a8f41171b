import logging
import sqlite3
from contextlib import closing

import numpy as np
import pytest
import sqlalchemy as sa

from predictor.database import open_database
from predictor.feedback import FeedbackStore, Report, StoredPrediction
from tests.predictor_world import START_S

DAY_S = 86_400


class Drops:
    """Counts what could not be stored."""

    def __init__(self):
        self.n = 0

    def __call__(self, n):
        self.n += n


@pytest.fixture
def drops():
    return Drops()


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(database, drops):
    opened = FeedbackStore(database, max_queue_bytes=10_000, on_dropped=drops)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "predictor.db"


def open_file(path):
    return open_database(f"sqlite:///{path}")


def ask(database, query):
    with database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def make_prediction(name="p1", *, n_nodes=3, made_at_s=START_S, p_success=True):
    dice = np.random.default_rng(n_nodes)
    return StoredPrediction(
        id=name,
        made_at_s=made_at_s,
        nodes=tuple(f"n{i}" for i in range(n_nodes)),
        vectors=dice.random((n_nodes, 14)).astype(np.float32),
        p_success=dice.random(n_nodes).astype(np.float32) if p_success else None,
    )


def make_report(**fields):
    defaults = {
        "subject": None,
        "pod_uid": "",
        "pod_namespace": "default",
        "pod_name": "web-1",
        "node": "n1",
        "prediction_id": None,
        "success": True,
        "pod_status": "Running",
        "reason": "healthy",
        "made_at_s": START_S,
        "decided_at_s": START_S + 60,
        "vector": np.arange(14, dtype=np.float32),
        "p_success": None,
    }
    return Report(**(defaults | fields))


def flush(store):
    store.flush(timeout_s=30)


def test_finds_a_prediction_before_and_after_it_is_on_the_disk(store):
    made = make_prediction()

    store.add_predictions([made])
    early = store.find_prediction("p1")
    flush(store)
    late = store.find_prediction("p1")

    for found in (early, late):
        assert found.nodes == made.nodes
        assert found.made_at_s == made.made_at_s
        assert np.array_equal(found.vectors, made.vectors)
        assert np.array_equal(found.p_success, made.p_success)
    assert store.find_prediction("p2") is None


def test_finds_predictions_after_a_restart(store, database, drops):
    store.add_predictions([make_prediction(p_success=False)])
    store.close()

    again = FeedbackStore(database, max_queue_bytes=10_000, on_dropped=drops)

    assert again.find_prediction("p1").p_success is None
    again.close()


def test_keeps_the_names_of_nodes_once_for_many_predictions(store, database):
    store.add_predictions([make_prediction(f"p{i}") for i in range(5)])
    store.add_predictions([make_prediction("other", n_nodes=2)])
    flush(store)

    assert ask(database, "select count(*) from node_lists") == [(2,)]


def test_predictions_beyond_what_may_wait_are_dropped_and_counted(store, drops):
    store.add_predictions([make_prediction("large", n_nodes=500)])
    store.add_predictions([make_prediction("small")])

    assert drops.n == 1
    assert store.find_prediction("large") is None
    assert store.find_prediction("small") is not None


def test_a_report_comes_back_as_a_row_to_learn_from(store):
    store.add_report(make_report(pod_uid="u1", subject="pod/u1", success=False), now_s=START_S)

    [row] = store.reports(limit=10)

    assert row.pod_uid == "u1"
    assert not row.success
    assert row.made_at_s == START_S
    assert row.decided_at_s == START_S + 60
    assert row.vector.tolist() == list(range(14))


def test_a_second_report_about_a_pod_replaces_the_first(store):
    first = store.add_report(
        make_report(subject="pod/u1", success=False, p_success=0.8), now_s=START_S
    )
    second = store.add_report(
        make_report(subject="pod/u1", success=True, p_success=0.8), now_s=START_S + DAY_S
    )

    assert second > first
    assert store.latest_outcomes(10) == [True]
    assert store.n_reports_after(first) == 1
    days = store.performance()
    assert [day.n_feedback for day in days] == [0, 1]
    assert [day.success_rate for day in days] == [None, 1.0]
    assert [day.brier for day in days] == [None, pytest.approx(0.04)]


def test_reports_about_nobody_in_particular_all_count(store):
    for success in (True, True, False):
        store.add_report(make_report(success=success, vector=None), now_s=START_S)

    assert store.latest_outcomes(2) == [False, True]
    assert store.reports(limit=10) == []
    assert store.last_report_id() == 3


def test_sums_up_by_day(store):
    store.add_predictions([make_prediction("a"), make_prediction("b", made_at_s=START_S + DAY_S)])
    store.add_predictions([make_prediction("c")])
    flush(store)
    store.add_report(make_report(success=True, p_success=0.9), now_s=START_S)
    store.add_report(make_report(success=False, p_success=0.5), now_s=START_S)

    first, second = store.performance()

    assert (first.day, second.day) == ("2023-11-14", "2023-11-15")
    assert (first.n_predictions, second.n_predictions) == (2, 1)
    assert first.success_rate == 0.5
    assert first.brier == pytest.approx((0.01 + 0.25) / 2)
    assert second.success_rate is None


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        pytest.param({"predictions_since_s": START_S + 2}, ["p2", "p3"], id="age"),
        pytest.param({"max_predictions": 1}, ["p3"], id="count"),
        pytest.param({"max_prediction_bytes": 400}, ["p2", "p3"], id="bytes"),
        pytest.param({}, ["p0", "p1", "p2", "p3"], id="none"),
    ],
)
def test_drops_the_oldest_predictions(store, path, limits, kept):
    store.add_predictions([make_prediction(f"p{i}", made_at_s=START_S + i) for i in range(4)])
    flush(store)

    store.prune(
        **{"predictions_since_s": 0.0, "max_predictions": 9, "max_prediction_bytes": 10**6} | limits
    )

    assert [f"p{i}" for i in range(4) if store.find_prediction(f"p{i}")] == kept


def test_names_of_nodes_go_with_the_last_prediction_that_needs_them(store, database):
    store.add_predictions([make_prediction("old"), make_prediction("new", n_nodes=2)])
    flush(store)

    store.prune(predictions_since_s=0.0, max_predictions=1, max_prediction_bytes=10**6)

    assert ask(database, "select names from node_lists") == [(b'["n0","n1"]',)]


def test_drops_the_oldest_reports_but_not_the_sums(store):
    for i in range(5):
        store.add_report(make_report(made_at_s=START_S + i), now_s=START_S)

    store.prune_reports(since_s=START_S + 1, max_reports=3)

    assert [row.made_at_s - START_S for row in store.reports(limit=9)] == [2, 3, 4]
    assert store.performance()[0].n_feedback == 5


@pytest.mark.parametrize(
    "content",
    [pytest.param(b"no database at all" * 100, id="not a database"), b"SQLite format 3\x00" * 300],
)
def test_a_damaged_database_is_set_aside_and_a_new_one_serves(path, content, caplog):
    path.write_bytes(content)

    with caplog.at_level(logging.ERROR):
        database = open_file(path)

    assert ask(database, "select count(*) from feedback") == [(0,)]
    database.close()
    assert [p.read_bytes() for p in path.parent.glob("*.damaged-*")] == [content]
    assert "set aside" in caplog.text


GARBLED = "update sqlite_master set sql = cast(x'fffefdf6' as text)"


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(["pragma user_version = 99"], id="of another version"),
        pytest.param(["pragma user_version = 0"], id="of somebody else"),
        pytest.param(["pragma writable_schema = on", GARBLED], id="unreadable"),
    ],
)
def test_a_database_of_another_schema_is_set_aside(path, statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("create table feedback (other text)")
        for statement in statements:
            connection.execute(statement)

    open_file(path).close()

    assert list(path.parent.glob("*.damaged-*"))


def test_a_full_disk_costs_predictions_not_the_program(store, database, drops, caplog):
    """Stands for any failure of the disk: the tables are gone."""
    with database.writing() as connection:
        connection.execute(sa.text("drop table predictions"))

    store.add_predictions([make_prediction()])
    flush(store)

    assert drops.n == 1
    assert "predictions not stored" in caplog.text
