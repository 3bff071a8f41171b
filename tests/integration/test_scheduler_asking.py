"""Asking the predictor: what every shape is answered with, and when."""

import random
import time

import pytest

from scheduler.cluster.predictions import PredictionAsker
from scheduler.events import Predicted, PredictionFailed
from scheduler.model import Shape
from tests.integration.fake_predictor import FakePredictor

A, B, C = (Shape(i, i, "default", "default/Job/j") for i in (1, 2, 3))


@pytest.fixture
def predictor():
    with FakePredictor({"n1": 0.9}) as running:
        yield running
        running.may_answer.set()


class Told:
    def __init__(self):
        self.events, self.asked = [], []

    def deliver(self, event):
        self.events.append(event)

    def failures(self):
        return [(e.shapes, e.outage) for e in self.events if isinstance(e, PredictionFailed)]

    def answers(self):
        return [e.answer.shapes for e in self.events if isinstance(e, Predicted)]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def make_asker(predictor, told):
    askers = []

    def make(*, timeout_s, url=predictor.url):
        asker = PredictionAsker(
            url,
            timeout_s=timeout_s,
            give_up_s=30.0,
            deliver=told.deliver,
            on_asked=lambda result, took_s: told.asked.append(result),
            rng=random.Random(1),
        )
        askers.append(asker)
        return asker

    yield make
    predictor.may_answer.set()
    for asker in askers:
        asker.stop()


def wait_until(condition, *, timeout_s=30.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.005)


def test_what_is_asked_while_a_question_is_under_way_is_asked_next(predictor, told, make_asker):
    predictor.may_answer.clear()
    asker = make_asker(timeout_s=60.0)
    asker.ask((A,))
    wait_until(lambda: predictor.n_requests == 1)
    asker.ask((B,))
    asker.ask((C,))
    predictor.may_answer.set()
    wait_until(lambda: len(told.asked) == 2)

    assert told.answers() == [(A,), (B, C)]
    assert told.failures() == []


def test_a_shape_does_not_wait_longer_because_another_was_asked_before_it(
    predictor, told, make_asker
):
    predictor.may_answer.clear()
    asker = make_asker(timeout_s=0.05)
    asker.ask((A,))
    wait_until(lambda: predictor.n_requests == 1)
    asker.ask((B,))
    wait_until(lambda: asker.enforce_budget() is None)
    asker.ask((C,))

    assert [shapes for shapes, _ in told.failures()][-1] == (C,)
    assert {s for shapes, _ in told.failures() for s in shapes} == {A, B, C}
    assert {outage for _, outage in told.failures()} == {"timed out"}
    assert predictor.n_requests == 1


def test_an_answer_that_comes_too_late_serves_the_pods_that_come_next(predictor, told, make_asker):
    predictor.may_answer.clear()
    asker = make_asker(timeout_s=0.01)
    asker.ask((A,))
    wait_until(lambda: predictor.n_requests == 1 and asker.enforce_budget() is None)
    predictor.may_answer.set()
    wait_until(lambda: told.asked)

    assert told.failures() == [((A,), "timed out")]
    assert (told.answers(), told.asked) == ([(A,)], ["late"])


def test_a_predictor_that_fails_keeps_nobody_waiting(predictor, told, make_asker):
    predictor.may_answer.clear()
    predictor.status = 500
    asker = make_asker(timeout_s=60.0)
    asker.ask((A,))
    wait_until(lambda: predictor.n_requests == 1)
    asker.ask((B,))
    predictor.may_answer.set()
    wait_until(told.failures)
    asker.ask((C,))

    assert told.failures() == [((A, B), "unavailable"), ((C,), "unavailable")]
    assert asker.is_resting
    assert predictor.n_requests == 1
