from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.clock import ServerClock


class Monotonic:
    def __init__(self) -> None:
        self.now_s = 500.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def local() -> Monotonic:
    return Monotonic()


@pytest.fixture
def clock(local: Monotonic) -> ServerClock:
    return ServerClock(monotonic=local, fallback=lambda: 42.0)


def test_without_an_answer_time_is_the_fallbacks(clock):
    assert clock.now_s() == 42.0


def test_time_goes_on_between_answers(clock, local):
    clock.observe(formatdate(1_000_000, usegmt=True))
    local.now_s += 7.5

    assert clock.now_s() == 1_000_007.5


def test_a_faster_clock_is_followed(clock, local):
    clock.observe(formatdate(1_000_000, usegmt=True))
    local.now_s += 1
    clock.observe(formatdate(1_000_030, usegmt=True))

    assert clock.now_s() == 1_000_030


def test_a_slow_answer_does_not_turn_time_back(clock, local):
    clock.observe(formatdate(1_000_000, usegmt=True))
    local.now_s += 3
    clock.observe(formatdate(1_000_001, usegmt=True))

    assert clock.now_s() == 1_000_003


def test_a_clock_that_was_set_back_is_followed(clock, local):
    clock.observe(formatdate(1_000_000, usegmt=True))
    clock.observe(formatdate(900_000, usegmt=True))

    assert clock.now_s() == 900_000


@pytest.mark.parametrize("header", ["", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_what_is_no_date_is_ignored(clock, header):
    clock.observe(formatdate(1_000_000, usegmt=True))
    clock.observe(header)

    assert clock.now_s() == 1_000_000


@given(waits_s=st.lists(st.floats(0, 10), max_size=20), delay_s=st.floats(0, 4))
def test_at_our_own_pace_it_never_goes_back_and_is_never_late_by_more_than_the_delay(
    waits_s, delay_s
):
    local = Monotonic()
    clock = ServerClock(monotonic=local, fallback=lambda: 42.0)
    clock.observe(formatdate(1_000_000, usegmt=True))
    last_s = clock.now_s()
    for wait_s in waits_s:
        local.now_s += wait_s
        clock.observe(formatdate(1_000_000 + local.now_s - 500 - delay_s, usegmt=True))

        assert clock.now_s() >= last_s
        last_s = clock.now_s()
        assert abs(last_s - (1_000_000 + local.now_s - 500)) < 1e-6
