"""Questions of other threads, and the one thread that answers."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scheduler.cluster.questions import NoAnswerError, Question, Questions
from scheduler.events import AskPrediction, Predicted, PredictionFailed
from tests.unit.scheduler.worlds import make_answer, make_engine, make_pending

PROFILE = "ai-scheduler"


@pytest.fixture
def asked():
    return threading.Semaphore(0)


@pytest.fixture
def questions(asked):
    return Questions(max_waiting=2, wake=asked.release)


@pytest.fixture
def askers():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def names_of(cycle, _):
    return list(cycle.snapshot.names)


def test_the_engines_thread_answers(questions, askers, asked):
    reply = askers.submit(questions.ask, Question(profile=PROFILE, answer=names_of), timeout_s=60.0)
    asked.acquire(timeout=60.0)

    actions = questions.answer(make_engine("n1", "n2"), now_s=0.0)

    assert reply.result(60.0) == ["n1", "n2"]
    assert actions == []


def test_what_goes_wrong_in_answering_is_raised_where_it_was_asked(questions, askers, asked):
    bad = Question(profile=PROFILE, answer=lambda *_: 1 / 0)
    reply = askers.submit(questions.ask, bad, timeout_s=60.0)
    asked.acquire(timeout=60.0)

    questions.answer(make_engine("n1"), now_s=0.0)

    with pytest.raises(ZeroDivisionError):
        reply.result(60.0)


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_question_may_wait_for_the_predictor(questions, askers, asked, is_answered):
    engine, pod = make_engine("n1", predicts=True), make_pending()
    question = Question(
        profile=PROFILE,
        answer=lambda cycle, now_s: cycle.book.get(pod.shape, now_s=now_s) is not None,
        awaits=pod,
    )
    reply = askers.submit(questions.ask, question, timeout_s=60.0)
    asked.acquire(timeout=60.0)

    first, second = (questions.answer(engine, now_s=0.0) for _ in range(2))
    event = (
        Predicted(make_answer([pod.shape], {"n1": 0.5}))
        if is_answered
        else PredictionFailed((pod.shape,), "timed out")
    )
    engine.handle(event, now_s=0.0)
    questions.answer(engine, now_s=0.0)

    assert (first, second) == ([AskPrediction((pod.shape,))], [])
    assert reply.result(60.0) is is_answered


def test_who_asks_when_many_wait_is_turned_away(questions, askers, asked):
    question = Question(profile=PROFILE, answer=names_of)
    for _ in range(2):
        askers.submit(questions.ask, question, timeout_s=60.0)
        asked.acquire(timeout=60.0)

    with pytest.raises(NoAnswerError, match="too many"):
        questions.ask(question, timeout_s=60.0)

    questions.close()


def test_a_question_that_nobody_answers_in_time_is_given_up_and_forgotten(questions):
    answered = []
    question = Question(profile=PROFILE, answer=lambda *_: answered.append(1))

    with pytest.raises(NoAnswerError, match="no answer within"):
        questions.ask(question, timeout_s=0.01)
    questions.answer(make_engine("n1"), now_s=0.0)

    assert answered == []


def test_nobody_waits_for_a_scheduler_that_stops(questions, askers, asked):
    question = Question(profile=PROFILE, answer=names_of)
    reply = askers.submit(questions.ask, question, timeout_s=60.0)
    asked.acquire(timeout=60.0)

    questions.close()

    with pytest.raises(NoAnswerError, match="stopping"):
        reply.result(60.0)
    with pytest.raises(NoAnswerError, match="stopping"):
        questions.ask(question, timeout_s=60.0)
