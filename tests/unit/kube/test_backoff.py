import random

from hypothesis import given
from hypothesis import strategies as st

from kube.backoff import Backoff


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def test_waits_double_up_to_a_limit_and_start_over_after_success():
    backoff = Backoff(Longest(), base_s=1.0, max_s=5.0)

    first = [backoff.next_delay_s() for _ in range(5)]
    backoff.reset()

    assert first == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert backoff.next_delay_s() == 1.0


def test_the_servers_wish_comes_first():
    backoff = Backoff(Longest(), base_s=1.0)

    assert backoff.next_delay_s(at_least_s=10.0) == 11.0


@given(seed=st.integers(), n=st.integers(1, 50))
def test_jitter_is_full_and_bounded(seed, n):
    backoff = Backoff(random.Random(seed), base_s=0.5, max_s=30.0)

    delays = [backoff.next_delay_s() for _ in range(n)]

    assert all(0 <= d <= min(30.0, 0.5 * 2**i) for i, d in enumerate(delays))
