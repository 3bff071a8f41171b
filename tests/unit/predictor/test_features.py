import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.contract import ClusterState, NodeTaint
from predictor.features import FEATURES, ClusterColumns, NodeColumns, feature_matrix
from tests.predictor_world import GIB, make_node_state

CLUSTER = ClusterState(
    n_nodes=5,
    n_ready=4,
    cpu_usage_ratio=0.25,
    memory_usage_ratio=0.75,
    cpu_requested_ratio=0.5,
    memory_requested_ratio=0.6,
)


def make_row(node=None, *, cluster=CLUSTER, failure_rate=0.05, cpu_milli=500, memory_bytes=GIB):
    matrix = feature_matrix(
        NodeColumns.of([node or make_node_state()]),
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        cluster=ClusterColumns.of([cluster]),
        workload_failure_rate=failure_rate,
    )
    return dict(zip(FEATURES, matrix[0].tolist(), strict=True))


def test_describes_a_pod_on_a_node_in_the_documented_order_and_units():
    row = make_row(
        make_node_state(stability=0.9, failure_rate=0.125),
        failure_rate=0.25,
    )

    assert list(row.items()) == [
        ("pod_cpu_request", 0.5),
        ("pod_memory_request", 1024.0),
        ("node_cpu_utilization", 0.25),
        ("node_memory_utilization", 0.25),
        ("cluster_nodes_total", 5.0),
        ("cluster_nodes_ready", 4.0),
        ("cluster_cpu_utilization", 0.25),
        ("cluster_memory_utilization", 0.75),
        ("node_stability", pytest.approx(0.9)),
        ("node_failure_rate", 0.125),
        ("workload_failure_rate", 0.25),
        ("cluster_resource_pressure", 0.5),
        ("node_health", 1.0),
    ]


def test_counts_what_was_placed_since_the_sample():
    row = make_row(make_node_state(placed_cpu_milli=1000, placed_memory_bytes=4 * GIB))

    assert row["node_cpu_utilization"] == 0.5
    assert row["node_memory_utilization"] == 0.5


def test_takes_requests_for_a_node_that_was_never_sampled():
    node = make_node_state(
        usage_cpu_milli=None, usage_memory_bytes=None, placed_cpu_milli=900, sampled_at_s=None
    )

    row = make_row(node)

    assert row["node_cpu_utilization"] == 0.5
    assert row["node_memory_utilization"] == 0.5


def test_takes_requests_for_a_cluster_that_was_never_sampled():
    cluster = ClusterState(n_nodes=1, n_ready=1, cpu_requested_ratio=0.5)

    row = make_row(cluster=cluster)

    assert row["cluster_cpu_utilization"] == 0.5
    assert row["cluster_resource_pressure"] == 0.25


@pytest.mark.parametrize(
    ("fields", "health"),
    [
        pytest.param({}, 1.0, id="ready"),
        pytest.param({"pressures": ["DiskPressure"]}, 0.5, id="under pressure"),
        pytest.param({"is_ready": False}, 0.0, id="not ready"),
    ],
)
def test_health_falls_with_each_pressure(fields, health):
    assert make_row(make_node_state(**fields))["node_health"] == health


@pytest.mark.parametrize(
    ("effects", "taint_free"),
    [([], 1.0), (["PreferNoSchedule"], 0.5), (["PreferNoSchedule", "NoExecute"], 0.0)],
)
def test_taints_that_keep_pods_off_weigh_more_than_those_that_discourage(effects, taint_free):
    node = make_node_state(taints=[NodeTaint(key="k", effect=effect) for effect in effects])

    assert NodeColumns.of([node]).taint_free.tolist() == [taint_free]


def test_selected_nodes_keep_their_columns():
    nodes = [make_node_state(f"n{i}", usage_cpu_milli=i, n_restarts=i) for i in range(4)]
    columns = NodeColumns.of(nodes)

    taken = columns.take(np.array([3, 1]))

    again = NodeColumns.of([nodes[3], nodes[1]])
    for name in NodeColumns.__slots__:
        assert list(getattr(taken, name)) == list(getattr(again, name)), name


amounts = st.integers(0, 2**62)
maybe_amounts = st.none() | amounts


@given(
    allocatable=amounts,
    usage=maybe_amounts,
    placed=amounts,
    requested=amounts,
    cpu_milli=amounts,
    memory_bytes=amounts,
)
def test_is_never_nan_or_infinite(allocatable, usage, placed, requested, cpu_milli, memory_bytes):
    node = make_node_state(
        allocatable_cpu_milli=allocatable,
        allocatable_memory_bytes=allocatable,
        usage_cpu_milli=usage,
        usage_memory_bytes=usage,
        placed_cpu_milli=placed,
        placed_memory_bytes=placed,
        requested_cpu_milli=requested,
        requested_memory_bytes=requested,
    )

    row = make_row(node, cpu_milli=cpu_milli, memory_bytes=memory_bytes)

    assert np.isfinite(list(row.values())).all()
