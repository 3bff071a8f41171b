import random
import threading

import pytest

from kube.errors import RejectedError, ThrottledError, UnavailableError
from kube.retrying import Retrier


class NoWait(threading.Event):
    def __init__(self):
        super().__init__()
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return self.is_set()


def failing(*errors, then="done"):
    course = iter([*errors, then])

    def act():
        step = next(course)
        if isinstance(step, Exception):
            raise step
        return step

    return act


def retrier(stop=None, max_attempts=3):
    return Retrier(random.Random(1), stop=stop or NoWait(), max_attempts=max_attempts)


def test_a_busy_server_is_asked_again_after_the_time_that_it_names():
    stop = NoWait()

    done = retrier(stop).run(failing(ThrottledError("busy", retry_after_s=7.0)))

    assert done == "done"
    assert [wait >= 7.0 for wait in stop.waits] == [True]


def test_the_last_failure_is_told():
    with pytest.raises(UnavailableError, match="third"):
        retrier().run(failing(*(UnavailableError(n) for n in ("first", "second", "third"))))


def test_a_refusal_is_not_repeated():
    stop = NoWait()

    with pytest.raises(RejectedError):
        retrier(stop).run(failing(RejectedError("no", code=422)))

    assert stop.waits == []


def test_who_is_to_stop_does_not_try_again():
    stop = NoWait()
    stop.set()

    with pytest.raises(UnavailableError):
        retrier(stop).run(failing(UnavailableError("away")))


def test_what_the_check_says_before_an_attempt_is_the_end():
    class LostError(Exception):
        pass

    course = iter([None, LostError()])

    def check():
        if (error := next(course)) is not None:
            raise error

    with pytest.raises(LostError):
        retrier().run(failing(UnavailableError("away")), check=check)
