"""The book of predictions: ages, alignment, and what was placed since."""

import numpy as np
import pytest

from scheduler.framework.snapshot import Snapshot
from scheduler.model import Shape, Usage
from scheduler.predictions import PredictionBook, PredictionSettings
from tests.unit.scheduler.worlds import GI, make_answer, make_facts, make_pending

POD = make_pending(cpu_milli=1000, memory_bytes=GI)
SHAPE = POD.shape


@pytest.fixture
def snapshot():
    snapshot = Snapshot()
    for name in ("n1", "n2", "n3"):
        snapshot.set_node(make_facts(name))
    return snapshot


@pytest.fixture
def book():
    return PredictionBook(PredictionSettings(max_age_s=30.0))


def test_values_follow_their_nodes_whatever_the_order_of_rows(book, snapshot):
    book.take(make_answer([SHAPE], {"n3": 0.3, "n1": 0.1, "gone": 0.9}), now_s=0.0)
    before = book.scores(SHAPE, snapshot=snapshot).scores
    snapshot.remove_node("n1")
    after = book.scores(SHAPE, snapshot=snapshot).scores

    np.testing.assert_allclose(before, [10.0, np.nan, 30.0])
    assert snapshot.names == ["n3", "n2"]
    np.testing.assert_allclose(after, [30.0, np.nan])


def test_counts_what_was_placed_after_the_predictor_looked_and_nothing_earlier(book, snapshot):
    book.note_placed(POD, node="n1", now_s=9.0)
    book.note_placed(POD, node="n2", now_s=11.0)
    book.take(make_answer([SHAPE], {"n1": 0.5, "n2": 0.5}, snapshot_at_s=10.0), now_s=12.0)
    first = book.scores(SHAPE, snapshot=snapshot).unseen_ratio
    book.note_placed(POD, node="n2", now_s=13.0)
    then = book.scores(SHAPE, snapshot=snapshot).unseen_ratio

    assert first.tolist() == [0.0, 0.25, 0.0]
    assert then.tolist() == [0.0, 0.5, 0.0]


def test_what_is_placed_after_the_answer_counts_even_if_our_clock_lags(book, snapshot):
    book.take(make_answer([SHAPE], {"n1": 0.5}, snapshot_at_s=100.0), now_s=60.0)
    book.note_placed(POD, node="n1", now_s=61.0)

    assert book.scores(SHAPE, snapshot=snapshot).unseen_ratio.tolist() == [0.25, 0.0, 0.0]


def test_counts_what_a_pod_of_its_workload_usually_uses(book, snapshot):
    usual = Usage(cpu_milli=200, memory_bytes=GI // 8)
    other = make_pending("other", cpu_milli=1000, workload="default/Deployment/other")
    book.take(make_answer([SHAPE], {"n1": 0.5}, usual=usual), now_s=0.0)
    book.note_placed(POD, node="n1", now_s=1.0)
    book.note_placed(other, node="n2", now_s=1.0)

    assert book.scores(SHAPE, snapshot=snapshot).unseen_ratio.tolist() == [0.05, 0.25, 0.0]


def test_takes_back_as_much_as_was_counted(book, snapshot):
    book.note_placed(POD, node="n1", now_s=1.0)
    book.take(make_answer([SHAPE], {"n1": 0.5}, usual=Usage(200, GI // 8)), now_s=2.0)
    book.note_placed(POD, node="n1", now_s=3.0, sign=-1)
    book.note_placed(POD, node="n2", now_s=3.0)

    unseen = book.scores(SHAPE, snapshot=snapshot).unseen_ratio
    assert unseen.tolist() == pytest.approx([0.0, 0.05, 0.0])


def test_what_is_taken_back_no_longer_counts(book, snapshot):
    book.take(make_answer([SHAPE], {"n1": 0.5}), now_s=0.0)
    book.note_placed(POD, node="n1", now_s=1.0)
    book.note_placed(POD, node="n1", now_s=2.0, sign=-1)

    assert book.scores(SHAPE, snapshot=snapshot).unseen_ratio.tolist() == [0.0, 0.0, 0.0]


def test_a_node_cannot_be_given_away_more_than_once(book, snapshot):
    book.take(make_answer([SHAPE], {"n1": 0.5}), now_s=0.0)
    for _ in range(9):
        book.note_placed(POD, node="n1", now_s=1.0)

    assert book.scores(SHAPE, snapshot=snapshot).unseen_ratio.max() == 1.0


def test_an_answer_ends_an_outage(book):
    book.take_failure([SHAPE], outage="timed out", now_s=0.0)
    out = book.outage(SHAPE, now_s=0.5)
    book.take(make_answer([SHAPE], {"n1": 0.5}), now_s=0.6)

    assert out == "timed out"
    assert book.outage(SHAPE, now_s=0.7) == ""
    assert book.get(SHAPE, now_s=0.7) is not None


def test_memory_is_bounded(book):
    shapes = [make_pending(cpu_milli=i).shape for i in range(2_500)]
    book.take(make_answer(shapes, {"n1": 0.5}), now_s=0.0)
    many = [Shape(i, 0, "default", "default/Job/j") for i in range(100_001)]
    book.take_failure(many, outage="unavailable", now_s=0.0)
    for second in range(1_000):
        book.note_placed(make_pending(f"web-{second}"), node="n1", now_s=float(second))

    assert len(book._entries) == 2_000
    assert len(book._outages) == 100_000
    assert len(book._placed) <= 62
    assert len(book._counted) <= 62
