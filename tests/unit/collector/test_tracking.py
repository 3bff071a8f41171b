from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.contract import PlacementState
from collector.history import Subject
from collector.outcomes import Fate, Marks
from collector.samples import Usage
from tests.builders import EPOCH_S
from tests.unit.collector.makers import (
    WEB,
    make_facts,
    make_node_facts,
    make_node_sample,
    make_pod_sample,
    make_running,
    make_tracker,
)


def place(tracker, name="web-1", *, at_s=0.0, node="n1", **changes):
    """Let a waiting pod get a node, seen at once."""
    waiting = make_facts(name)
    tracker.see_pod(waiting, now_s=EPOCH_S + at_s)
    placed = replace(waiting, node=node, scheduled_at_s=EPOCH_S + at_s, **changes)
    tracker.see_pod(placed, now_s=EPOCH_S + at_s)
    return placed


def state_of(row) -> PlacementState:
    return msgspec.json.decode(row.state, type=PlacementState)


def node_total(tracker, name="n1"):
    return tracker.history.standing(Subject.NODE, name, now_s=EPOCH_S).total


def test_records_a_placement_with_the_state_before_it():
    tracker = make_tracker("n1")
    tracker.see_pod(make_running("other"), now_s=EPOCH_S)
    tracker.drain()
    place(tracker, at_s=5)

    [row] = tracker.drain().placements.values()

    state = state_of(row)
    assert (row.pod_uid, row.node, row.workload) == ("uid-of-web-1", "n1", WEB)
    assert row.placed_at_s == EPOCH_S + 5
    assert (state.node.n_pods, state.node.requested_cpu_milli) == (1, 500)
    assert state.cluster.n_nodes == 1
    assert state.workload.key == WEB


def test_a_placement_tells_when_its_pod_was_asked_for():
    tracker = make_tracker()
    place(tracker, at_s=5, created_at_s=EPOCH_S + 2)

    [row] = tracker.drain().placements.values()

    assert row.created_at_s == EPOCH_S + 2


def test_the_end_of_a_placed_pod_is_told_once():
    tracker = make_tracker()
    done = replace(place(tracker), phase="Succeeded", ended_at_s=EPOCH_S + 40)
    tracker.drain()

    tracker.see_pod(done, now_s=EPOCH_S + 41)
    assert tracker.drain().ends == {done.uid: EPOCH_S + 40}
    tracker.see_pod(replace(done, is_deleting=True), now_s=EPOCH_S + 50)
    tracker.lose_pod(done, now_s=EPOCH_S + 60)

    assert tracker.drain().ends == {}


def test_a_pod_that_is_deleted_while_it_runs_ends_then():
    tracker = make_tracker()
    running = replace(place(tracker), phase="Running", ended_at_s=EPOCH_S + 1, n_restarts=1)
    tracker.see_pod(running, now_s=EPOCH_S + 2)

    tracker.lose_pod(running, now_s=EPOCH_S + 60)

    assert tracker.drain().ends == {running.uid: EPOCH_S + 60}


def test_of_pods_whose_placement_nobody_saw_no_end_is_told():
    tracker = make_tracker(synced=False)
    tracker.see_pod(make_running(), now_s=EPOCH_S)
    tracker.synced()

    tracker.lose_pod(make_running(), now_s=EPOCH_S + 60)

    assert tracker.drain().ends == {}


def test_a_pod_first_seen_with_a_node_is_a_placement_too_if_it_is_fresh():
    tracker = make_tracker()
    tracker.see_pod(make_facts(node="n1", scheduled_at_s=EPOCH_S), now_s=EPOCH_S + 1)

    assert len(tracker.drain().placements) == 1


def test_what_befell_a_pod_before_it_was_first_seen_is_no_part_of_the_state_it_was_placed_in():
    tracker = make_tracker()
    crashed = make_facts(
        node="n1",
        scheduled_at_s=EPOCH_S,
        n_restarts=2,
        last_oom_at_s=EPOCH_S + 1,
        failure="crashed",
    )
    tracker.see_pod(crashed, now_s=EPOCH_S + 2)

    [row] = tracker.drain().placements.values()

    state = state_of(row)
    assert (state.node.n_restarts, state.node.n_oom_kills, state.node.n_failed_pods) == (0, 0, 0)
    assert (state.workload.n_restarts, state.node.failure_rate) == (0, 0.05)
    assert (node_total(tracker).n_restarts, node_total(tracker).n_oom_kills) == (2, 1)
    assert row.fate is Fate.FAILED


def test_pods_that_run_already_when_first_listed_are_no_placements():
    tracker = make_tracker(synced=False)
    tracker.see_pod(make_running(), now_s=EPOCH_S + 1)
    tracker.synced()
    tracker.see_pod(make_running(n_restarts=3, failure="crashed"), now_s=EPOCH_S + 9)

    assert tracker.drain().placements == {}
    assert node_total(tracker).n_observations == 0
    assert node_total(tracker).n_restarts == 3


def test_restarts_from_before_the_first_list_are_not_counted():
    tracker = make_tracker(synced=False)
    tracker.see_pod(make_running(n_restarts=7), now_s=EPOCH_S)
    tracker.synced()

    assert node_total(tracker).n_restarts == 0


def test_a_placement_seen_too_late_is_not_recorded():
    tracker = make_tracker()
    tracker.see_pod(make_facts(node="n1", scheduled_at_s=EPOCH_S), now_s=EPOCH_S + 31)

    assert tracker.drain().placements == {}
    assert tracker.n_placements == {"recorded": 0, "late": 1}


def test_a_healthy_window_is_a_success_that_counts_for_node_and_workload():
    tracker = make_tracker()
    pod = place(tracker)
    tracker.see_pod(replace(pod, phase="Running", ready_at_s=EPOCH_S + 3), now_s=EPOCH_S + 3)
    tracker.drain()

    tracker.judge_all(now_s=EPOCH_S + 602)
    assert tracker.drain().placements == {}
    tracker.judge_all(now_s=EPOCH_S + 700)

    [row] = tracker.drain().placements.values()
    assert row.fate is Fate.SUCCEEDED
    assert row.outcome.decided_at_s == EPOCH_S + 603
    assert node_total(tracker).n_observations == 1
    assert tracker.n_open == 0


def test_a_crash_is_a_failure_at_once_and_counts_once():
    tracker = make_tracker()
    pod = place(tracker)
    crashed = replace(pod, n_restarts=1, failure="crashed", ended_at_s=EPOCH_S + 4)

    tracker.see_pod(crashed, now_s=EPOCH_S + 5)
    tracker.see_pod(replace(crashed, n_restarts=2), now_s=EPOCH_S + 50)

    [row] = tracker.drain().placements.values()
    total = node_total(tracker)
    assert row.outcome.reason == "crashed"
    assert (total.n_observations, total.n_unstable, total.n_failures) == (1, 1, 1)
    assert total.n_restarts == 2


def test_a_success_that_fails_later_counts_once_as_a_failure():
    tracker = make_tracker()
    pod = place(tracker)
    ready = replace(pod, phase="Running", ready_at_s=EPOCH_S)
    tracker.see_pod(ready, now_s=EPOCH_S)
    tracker.judge_all(now_s=EPOCH_S + 601)

    late = replace(ready, failure="oom_killed", n_restarts=1, last_oom_at_s=EPOCH_S + 900)
    tracker.see_pod(replace(late, ended_at_s=EPOCH_S + 900), now_s=EPOCH_S + 901)
    tracker.see_pod(replace(late, n_restarts=2), now_s=EPOCH_S + 950)

    total = node_total(tracker)
    assert (total.n_observations, total.n_unstable, total.n_failures) == (1, 0, 1)
    assert (total.n_restarts, total.n_oom_kills) == (2, 1)


def test_a_pod_deleted_early_leaves_no_trace_in_the_history():
    tracker = make_tracker()
    pod = place(tracker)
    tracker.lose_pod(pod, now_s=EPOCH_S + 60)

    [row] = tracker.drain().placements.values()
    assert (row.fate, row.outcome) == (Fate.CENSORED, None)
    assert node_total(tracker).n_observations == 0
    assert tracker.n_outcomes == {"unknown": 1}
    assert tracker.view.pods == {}


def test_a_pod_deleted_from_a_node_that_is_not_ready_was_lost_with_it():
    tracker = make_tracker()
    pod = place(tracker)
    tracker.see_node(make_node_facts("n1", is_ready=False))
    tracker.lose_pod(pod, now_s=EPOCH_S + 60)

    [row] = tracker.drain().placements.values()
    assert row.outcome.reason == "node_lost"


def test_a_throttled_pod_was_starved():
    tracker = make_tracker()
    pod = place(tracker, cpu_limits_milli=(("app", 100),))
    tracker.see_pod(replace(pod, phase="Running", ready_at_s=EPOCH_S), now_s=EPOCH_S)
    for at_s in (30, 60, 90):
        usage = Usage(pods=(make_pod_sample(at_s=at_s, cpu_milli=100),))
        tracker.take(usage, now_s=EPOCH_S + at_s)

    tracker.judge_all(now_s=EPOCH_S + 601)

    [row] = tracker.drain().placements.values()
    assert row.outcome.reason == "starved"
    workload = tracker.history.standing(Subject.WORKLOAD, row.workload, now_s=EPOCH_S + 601)
    assert workload.total.n_failures == 1
    # How full the node was is known by itself; what it is like is another matter.
    assert (node_total(tracker).n_observations, node_total(tracker).n_failures) == (1, 0)


def test_a_full_node_starves_whoever_runs_there():
    tracker = make_tracker()
    pod = place(tracker)
    tracker.see_pod(replace(pod, phase="Running", ready_at_s=EPOCH_S), now_s=EPOCH_S)
    usage = Usage(
        nodes=(make_node_sample(at_s=30, cpu_milli=3990),), pods=(make_pod_sample(at_s=30),)
    )

    tick = tracker.take(usage, now_s=EPOCH_S + 31)

    assert tick.pods["uid-of-web-1"].is_starved


def test_samples_from_the_far_future_are_skipped():
    tracker = make_tracker()

    tick = tracker.take(Usage(nodes=(make_node_sample(at_s=1000),)), now_s=EPOCH_S)

    assert (tick.nodes, tick.n_skipped) == ({}, 1)


def test_goes_on_with_what_an_earlier_run_left_open():
    earlier = make_tracker()
    pod = place(earlier)
    saved = earlier.drain()
    later = make_tracker(synced=False)
    later.load_marks((uid, marks) for uid, marks in saved.marks.items() if marks is not None)
    for row in saved.placements.values():
        later.load_open(row, samples=[])

    ready = replace(pod, phase="Running", ready_at_s=EPOCH_S + 5, n_restarts=0)
    later.see_pod(ready, now_s=EPOCH_S + 100)
    later.synced()
    later.judge_all(now_s=EPOCH_S + 700)

    [row] = later.drain().placements.values()
    assert row.fate is Fate.SUCCEEDED


def test_a_restart_while_we_were_down_is_counted_when_we_are_back():
    tracker = make_tracker(synced=False)
    tracker.load_marks([("uid-of-web-1", Marks(n_restarts=1))])
    tracker.see_pod(make_running(n_restarts=3), now_s=EPOCH_S)

    assert node_total(tracker).n_restarts == 2


def test_the_outcome_of_a_pod_that_vanished_while_we_were_down_stays_unknown():
    earlier = make_tracker()
    place(earlier)
    saved = earlier.drain()
    later = make_tracker(synced=False)
    later.load_marks((uid, marks) for uid, marks in saved.marks.items() if marks is not None)
    for row in saved.placements.values():
        later.load_open(row, samples=[])

    later.synced()

    changes = later.drain()
    [row] = changes.placements.values()
    assert row.fate is Fate.CENSORED
    assert changes.marks == {"uid-of-web-1": None}


def test_marks_of_a_pod_are_dropped_when_it_is_gone():
    tracker = make_tracker()
    pod = place(tracker)
    tracker.lose_pod(pod, now_s=EPOCH_S)

    assert tracker.drain().marks == {"uid-of-web-1": None}


@pytest.mark.parametrize("deleting", [True, False])
def test_a_pod_that_ended_or_is_on_its_way_out_is_no_placement(deleting):
    tracker = make_tracker()
    phase = "Running" if deleting else "Failed"
    tracker.see_pod(make_facts(node="n1", phase=phase, is_deleting=deleting), now_s=EPOCH_S)

    assert tracker.drain().placements == {}


steps = st.lists(
    st.tuples(
        st.sampled_from(["sample", "place", "crash", "wait"]),
        st.floats(0.0, 120.0),
        st.floats(0.0, 25.0),
    ),
    max_size=40,
)


@given(steps)
def test_nothing_newer_than_the_placement_enters_its_state(sequence):
    """Whatever comes in which order, and however late a placement is told."""
    tracker = make_tracker("n1", "n2")
    now_s, n_observed_by = EPOCH_S, {}
    for i, (step, wait_s, lag_s) in enumerate(sequence):
        now_s += wait_s
        if step == "sample":
            offset_s = now_s - EPOCH_S
            nodes = (make_node_sample("n1", at_s=offset_s), make_node_sample("n2", at_s=offset_s))
            tracker.take(Usage(nodes=nodes), now_s=now_s)
        elif step == "place":
            pod = make_facts(f"p{i}", node="n1", scheduled_at_s=now_s - lag_s)
            n_observed_by[pod.uid] = node_total(tracker).n_observations
            tracker.see_pod(pod, now_s=now_s)
        elif step == "crash":
            for pod in list(tracker.view.pods.values())[:1]:
                tracker.see_pod(replace(pod, failure="crashed", n_restarts=1), now_s=now_s)

    for row in tracker.drain().placements.values():
        state = state_of(row)
        sampled_at_s = state.node.sampled_at_s
        assert sampled_at_s is None or sampled_at_s <= row.placed_at_s
        assert state.node.n_observations == n_observed_by[row.pod_uid]
        assert state.node.n_pods == list(tracker.view.pods).index(row.pod_uid)
