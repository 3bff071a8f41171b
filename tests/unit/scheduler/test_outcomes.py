"""Judging placements for feedback."""

import pytest

from scheduler.cluster.outcomes import OutcomeTracker
from scheduler.model import PREDICTION_ANNOTATION
from tests.builders import EPOCH_S, at, make_condition, make_container_status, make_pod

WINDOW_S = 600.0
NOW_S = EPOCH_S


def make_tracker():
    return OutcomeTracker(frozenset({"ai-scheduler"}), window_s=WINDOW_S)


def placed(**more):
    conditions = [make_condition("PodScheduled", since=at(0))]
    more.setdefault("annotations", {PREDICTION_ANNOTATION: "p-1"})
    return make_pod(node="n1", conditions=conditions, **more)


def test_healthy_for_the_window_after_ready_is_a_success():
    tracker = make_tracker()
    seen = tracker.see(placed(ready_at=at(30)), now_s=NOW_S + 30)
    early = tracker.due(now_s=NOW_S + 629)

    [feedback] = tracker.due(now_s=NOW_S + 640)

    assert (seen, early) == (None, [])
    assert (feedback.success, feedback.reason) == (True, "healthy")
    assert (feedback.actual_node, feedback.prediction_id) == ("n1", "p-1")
    assert (feedback.pod_uid, feedback.observed_at_s) == ("uid-of-default/web-1", EPOCH_S + 630)
    assert tracker.n_open == 0


def test_not_ready_within_the_window_is_a_failed_start():
    tracker = make_tracker()
    tracker.see(placed(), now_s=NOW_S)

    [feedback] = tracker.due(now_s=NOW_S + WINDOW_S)

    assert (feedback.success, feedback.reason) == (False, "start_failed")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"statuses": [make_container_status(last_terminated=(137, "OOMKilled"))]}, "oom_killed"),
        ({"statuses": [make_container_status(restarts=1)]}, "crashed"),
        ({"statuses": [make_container_status(waiting="ErrImagePull")]}, "start_failed"),
        ({"phase": "Failed", "reason": "Evicted"}, "evicted"),
    ],
)
def test_a_failure_is_told_at_once_and_once(state, reason):
    tracker = make_tracker()
    tracker.see(placed(ready_at=at(10)), now_s=NOW_S + 10)

    feedback = tracker.see(placed(**state), now_s=NOW_S + 60)
    again = tracker.see(placed(**state, version="2"), now_s=NOW_S + 61)

    assert (feedback.success, feedback.reason) == (False, reason)
    assert again is None
    assert tracker.due(now_s=NOW_S + 9999) == []


def test_a_pod_that_ran_to_completion_is_a_success():
    assert make_tracker().see(placed(phase="Succeeded"), now_s=NOW_S).success


def test_a_pod_deleted_early_is_no_outcome():
    tracker = make_tracker()
    tracker.see(placed(ready_at=at(10)), now_s=NOW_S + 10)
    stopping = placed(
        deleted_at=at(50), statuses=[make_container_status(terminated=(143, "Error"))]
    )

    assert tracker.see(stopping, now_s=NOW_S + 50) is None
    assert tracker.due(now_s=NOW_S + 9999) == []
    assert tracker.gone(stopping, now_s=NOW_S + 60) is None
    assert tracker.n_open == 0


def test_ending_well_when_told_to_stop_tells_nothing():
    tracker = make_tracker()
    tracker.see(placed(ready_at=at(10)), now_s=NOW_S + 10)
    stopped = placed(
        deleted_at=at(50),
        phase="Succeeded",
        statuses=[make_container_status(terminated=(0, "Completed"))],
    )

    assert tracker.see(stopped, now_s=NOW_S + 50) is None
    assert tracker.gone(stopped, now_s=NOW_S + 60) is None


def crashed_at(seconds):
    return [make_container_status(restarts=1, last_terminated=(1, "Error"), ended_at=at(seconds))]


def test_a_failure_after_the_window_does_not_undo_the_success_however_late_it_is_seen():
    tracker = make_tracker()
    tracker.see(placed(ready_at=at(10)), now_s=NOW_S + 10)

    feedback = tracker.see(placed(statuses=crashed_at(650)), now_s=NOW_S + 660)

    assert (feedback.success, feedback.observed_at_s) == (True, EPOCH_S + 610)


def test_a_failure_is_dated_by_the_end_of_the_container():
    feedback = make_tracker().see(placed(statuses=crashed_at(50)), now_s=NOW_S + 90)

    assert (feedback.success, feedback.observed_at_s) == (False, EPOCH_S + 50)


def test_a_late_crash_first_seen_after_a_restart_tells_nothing_of_the_placement():
    tracker = make_tracker()
    pod = placed(ready_at=at(5_020), statuses=crashed_at(5_000))

    assert tracker.see(pod, now_s=NOW_S + 5_100) is None
    assert tracker.due(now_s=NOW_S + 9_999) == []
    assert tracker.n_open == 0


def test_an_oom_kill_counts_even_while_the_pod_is_deleted():
    killed = [make_container_status(terminated=(137, "OOMKilled"))]
    tracker = make_tracker()

    feedback = tracker.see(placed(deleted_at=at(5), statuses=killed), now_s=NOW_S + 5)

    assert feedback.reason == "oom_killed"


@pytest.mark.parametrize(
    "pod",
    [
        pytest.param(make_pod(), id="not bound"),
        pytest.param(make_pod(node="n1", scheduler_name="default-scheduler"), id="not ours"),
    ],
)
def test_other_pods_are_not_followed(pod):
    tracker = make_tracker()

    assert tracker.see(pod, now_s=NOW_S) is None
    assert tracker.n_open == 0


def test_after_a_restart_the_pods_themselves_tell_what_is_due():
    tracker = make_tracker()

    feedback = tracker.see(placed(ready_at=at(10)), now_s=NOW_S + 5_000)

    assert (feedback.success, feedback.prediction_id) == (True, "p-1")


def test_a_pod_placed_without_a_prediction_is_told_too():
    feedback = make_tracker().see(placed(annotations={}, phase="Succeeded"), now_s=NOW_S)

    assert feedback.prediction_id is None


def test_the_window_begins_at_the_first_readiness():
    tracker = make_tracker()
    tracker.see(placed(ready_at=at(10)), now_s=NOW_S + 10)
    tracker.see(placed(), now_s=NOW_S + 20)
    tracker.see(placed(ready_at=at(300)), now_s=NOW_S + 300)

    assert len(tracker.due(now_s=NOW_S + 610)) == 1
