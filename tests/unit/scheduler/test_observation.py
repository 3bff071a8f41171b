"""What a learned policy sees of a cluster."""

import numpy as np
import pytest

from scheduler.model import QueueState
from scheduler.plugins.learned.observation import (
    CLOCK_FEATURES,
    NODE_FEATURES,
    POD_FEATURES,
    QUEUE_FEATURES,
    NodeState,
    PodState,
    observe,
)

NODES = NodeState(
    cpu_allocatable_milli=np.array([4000.0, 8000.0]),
    memory_allocatable_bytes=np.array([8000.0, 8000.0]),
    pods_allocatable=np.array([10.0, 110.0]),
    cpu_requested_milli=np.array([1000.0, 0.0]),
    memory_requested_bytes=np.array([2000.0, 0.0]),
    n_pods=np.array([1.0, 0.0]),
    cpu_usage_milli=np.array([400.0, np.nan]),
    memory_usage_bytes=np.array([4000.0, 100.0]),
)
POD = PodState(cpu_request_milli=2000, memory_request_bytes=400, waited_s=540.0, priority=-9)
QUEUE = QueueState(9, 22_000, 700)


def see(**changes):
    given = {"pod": POD, "queue": QUEUE, "feasible": np.array([True, False]), "now_s": 6 * 3600.0}
    return observe(NODES, **{**given, **changes})


def test_each_node_is_described_beside_its_allocatable():
    first, second = (dict(zip(NODE_FEATURES, row, strict=True)) for row in see().nodes.tolist())

    assert first == pytest.approx(
        {
            "cpu_requested_ratio": 0.25,
            "memory_requested_ratio": 0.25,
            "pods_ratio": 0.1,
            "cpu_usage_ratio": 0.1,
            "memory_usage_ratio": 0.5,
            "is_usage_known": 1.0,
            "pod_cpu_ratio": 0.5,
            "pod_memory_ratio": 0.05,
            "cpu_size_ratio": 0.5,
            "memory_size_ratio": 1.0,
            "is_used": 1.0,
            "is_feasible": 1.0,
        }
    )
    assert second["cpu_usage_ratio"] == second["memory_usage_ratio"] == 0.0
    assert second["is_usage_known"] == second["is_used"] == second["is_feasible"] == 0.0


def test_pod_queue_and_time_of_day_are_described_beside_the_cluster():
    seen = see()

    pod = dict(zip(POD_FEATURES, seen.pod.tolist(), strict=True))
    assert pod == pytest.approx(
        {
            "cpu_request_ratio": 2000 / 6000,
            "memory_request_ratio": 0.05,
            "waited": 0.5,
            "priority": -1 / 9,
        }
    )
    queue = dict(zip(QUEUE_FEATURES, seen.queue.tolist(), strict=True))
    assert queue == pytest.approx(
        {
            "n_pending": 0.25,
            "cpu_pending_ratio": 2.0,
            "memory_pending_ratio": 0.05,
            "cpu_requested_ratio": 1 / 12,
            "memory_requested_ratio": 0.125,
            "used_nodes_ratio": 0.5,
        }
    )
    assert dict(zip(CLOCK_FEATURES, seen.clock.tolist(), strict=True)) == pytest.approx(
        {"sin_day": 1.0, "cos_day": 0.0}, abs=1e-6
    )


def test_nothing_grows_beyond_bounds_or_below_what_a_network_can_take():
    huge = PodState(10**9, 10**15, 1e9, 2_000_000_000)
    seen = see(pod=huge, queue=QueueState(10**6, 10**12, 10**18))

    for features in seen:
        assert features.dtype == np.float32
        assert np.isfinite(features).all()
        assert np.abs(features).max() <= 4.0


def test_the_order_of_nodes_changes_the_order_of_rows_alone():
    turned = NodeState(**{n: getattr(NODES, n)[::-1] for n in NodeState.__dataclass_fields__})
    one = see()
    other = observe(
        turned, pod=POD, queue=QUEUE, feasible=np.array([False, True]), now_s=6 * 3600.0
    )

    assert (other.nodes[::-1] == one.nodes).all()
    assert (other.queue == one.queue).all()
    assert (other.pod == one.pod).all()
