"""The laws of a node, one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from scheduler.simulator import physics
from scheduler.simulator.chance import key_of, triangular, uniform
from scheduler.simulator.parameters import CpuPhysics

amounts = st.floats(0, 1e5)


@given(
    wishes=st.lists(st.tuples(amounts, st.floats(2, 1e5), st.integers(0, 2)), max_size=20),
    free=st.lists(st.floats(0, 1e5), min_size=3, max_size=3),
)
def test_shared_cpu_never_exceeds_wish_or_capacity_and_wastes_nothing(wishes, free):
    demand = np.array([w[0] for w in wishes])
    node = np.array([w[2] for w in wishes], dtype=np.intp)
    capacity = np.array(free)

    got = physics.share_cpu(
        demand, weight=np.array([w[1] for w in wishes]), node=node, free=capacity
    )

    used = np.bincount(node, got, minlength=3)
    wanted = np.bincount(node, demand, minlength=3)
    assert np.all(got <= demand + 1e-6)
    assert_allclose(used, np.minimum(wanted, capacity), rtol=1e-6, atol=1e-3)


@given(
    pods=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(-3, 3)), min_size=1)
)
def test_eviction_order_is_above_request_then_priority_then_excess(pods):
    used, requested, priority = (
        np.array(column, dtype=float) for column in zip(*pods, strict=True)
    )

    order = physics.eviction_order(used_bytes=used, requested_bytes=requested, priority=priority)

    ranked = [(used[i] <= requested[i], priority[i], requested[i] - used[i]) for i in order]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize(
    ("qos", "is_critical", "requested", "expected"),
    [
        pytest.param("Guaranteed", False, 500, -997, id="guaranteed"),
        pytest.param("BestEffort", False, 0, 1000, id="best effort"),
        pytest.param("Burstable", False, 500, 500, id="burstable, half of the node"),
        pytest.param("Burstable", False, 0, 999, id="burstable, no memory request"),
        pytest.param("Burstable", False, 1000, 3, id="burstable, whole node"),
        pytest.param("BestEffort", True, 0, -997, id="critical"),
    ],
)
def test_oom_score_adj_is_the_kubelets(qos, is_critical, requested, expected):
    score = physics.oom_score_adj(
        qos=qos, is_critical=is_critical, memory_request_bytes=requested, capacity_bytes=1000
    )

    assert score == expected


def test_contention_slows_work_by_the_queueing_law_up_to_a_bound():
    slower = physics.slow_down(
        np.array([0.0, 0.5, 0.9, 1.0]), neighbours=np.zeros(4), law=CpuPhysics()
    )

    assert_allclose(slower, [1.0, 2.0, 10.0, 20.0])


def test_chance_is_spread_evenly_and_repeats():
    keys = np.array([key_of("k", i) for i in range(20_000)], dtype=np.uint64)

    draws = uniform(keys, index=7, salt=1)

    assert_allclose(np.histogram(draws, bins=10, range=(0, 1))[0], 2000, rtol=0.1)
    assert np.array_equal(draws, uniform(keys, index=7, salt=1))
    assert abs(np.corrcoef(draws, uniform(keys, index=8, salt=1))[0, 1]) < 0.03
    assert abs(np.corrcoef(draws, uniform(keys, index=7, salt=2))[0, 1]) < 0.03
    assert abs(triangular(keys, index=7, salt=1).mean()) < 0.01
