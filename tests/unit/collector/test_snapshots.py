"""All that a prediction needs to know, put together."""

import msgspec
import pytest

from collector.contract import cluster_state
from collector.history import HOUR_S, Tally
from collector.snapshots import snapshot_of
from tests.builders import EPOCH_S
from tests.unit.collector.makers import GIB, WEB, make_node_facts, make_running, make_tracker

NOW_S = EPOCH_S + 1000.0


def snapshot(tracker, *, now_s=NOW_S):
    return snapshot_of(tracker.view, tracker.history, at_s=EPOCH_S + 7.0, now_s=now_s)


def observe(tracker, *, node="n1", workload=WEB, n=1, n_failed=0, age_s=0.0):
    tally = Tally(n_observations=n, n_unstable=n_failed, n_failures=n_failed)
    tracker.history.count(tally, node=node, workload=workload, at_s=NOW_S - age_s)


def test_nodes_are_told_with_what_is_on_them_and_the_cluster_is_their_sum():
    tracker = make_tracker("n1", "n2")
    tracker.see_pod(make_running(cpu_milli=500, memory_bytes=GIB), now_s=EPOCH_S)
    told = snapshot(tracker)

    assert [(n.name, n.requested_cpu_milli, n.n_pods) for n in told.nodes] == [
        ("n1", 500, 1),
        ("n2", 0, 0),
    ]
    assert told.cluster == cluster_state(told.nodes)
    assert told.cluster.cpu_requested_ratio == pytest.approx(500 / 8000)


def test_its_version_and_time_are_those_of_the_last_change():
    tracker = make_tracker("n1")
    before = snapshot(tracker)
    tracker.see_node(make_node_facts("n1", is_ready=False))
    after = snapshot(tracker)

    assert before.version == snapshot(make_tracker("n1")).version
    assert after.version > before.version
    assert (before.at_s, after.at_s) == (EPOCH_S + 7.0, EPOCH_S + 7.0)


def test_workloads_are_told_with_their_past_and_others_by_the_prior():
    tracker = make_tracker("n1")
    observe(tracker, n=100, n_failed=50)
    told = snapshot(tracker)

    [web] = told.workloads
    assert web.key == WEB
    assert (web.n_observations, web.n_failures) == (100, 50)
    assert web.failure_rate == pytest.approx(0.5, abs=0.03)
    assert told.prior_failure_rate == tracker.history.prior_failure_rate(NOW_S)
    assert 0.05 < told.prior_failure_rate < 0.5


def test_of_very_many_workloads_those_heard_of_last_are_told():
    tracker = make_tracker("n1")
    for number in range(5_010):
        age_s = 3 * HOUR_S if number < 10 else 0.0
        observe(tracker, workload=f"default/Pod/p{number}", age_s=age_s)
    told = {workload.name for workload in snapshot(tracker).workloads}

    assert len(told) == 5_000
    assert told.isdisjoint({f"p{number}" for number in range(10)})


def test_an_empty_cluster_has_a_snapshot_too():
    tracker = make_tracker("n1")
    tracker.lose_node("n1")
    told = snapshot(tracker)

    assert (told.nodes, told.workloads) == ([], [])
    assert told.prior_failure_rate == 0.05
    assert msgspec.json.decode(msgspec.json.encode(told), type=type(told)) == told
