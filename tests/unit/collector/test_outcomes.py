import pytest

from collector.contract import Outcome
from collector.history import Tally
from collector.outcomes import Marks, Progress, Trial, incidents, is_throttled, judge
from tests.builders import EPOCH_S
from tests.unit.collector.makers import (
    WINDOW_S,
    make_facts,
    make_pod_sample,
    make_running,
)


def verdict(pod, *, at_s: float, ready_at_s: float | None = 10.0, node_lost=False, samples=()):
    trial = Trial(
        EPOCH_S,
        None if ready_at_s is None else EPOCH_S + ready_at_s,
        [(EPOCH_S + s, starved) for s, starved in samples],
    )
    return judge(trial, pod=pod, is_node_lost=node_lost, now_s=EPOCH_S + at_s, window_s=WINDOW_S)


def failure(reason: str, *, at_s: float) -> Outcome:
    return Outcome(success=False, reason=reason, decided_at_s=EPOCH_S + at_s)


def success(*, at_s: float) -> Outcome:
    return Outcome(success=True, reason="healthy", decided_at_s=EPOCH_S + at_s)


def test_is_open_until_the_window_has_passed_since_ready():
    assert verdict(make_running(), at_s=609) is Progress.OPEN
    assert verdict(make_running(), at_s=900) == success(at_s=610)


def test_never_ready_within_the_window_is_a_failed_start():
    assert verdict(make_facts(node="n1"), at_s=599, ready_at_s=None) is Progress.OPEN
    assert verdict(make_facts(node="n1"), at_s=601, ready_at_s=None) == failure(
        "start_failed", at_s=600
    )


@pytest.mark.parametrize("reason", ["oom_killed", "crashed", "evicted", "start_failed"])
def test_a_failure_within_the_window_decides_at_once(reason):
    pod = make_running(failure=reason, ended_at_s=EPOCH_S + 50)

    assert verdict(pod, at_s=60) == failure(reason, at_s=50)


def test_a_failure_after_the_window_does_not_undo_the_success_however_late_it_is_judged():
    pod = make_running(failure="crashed", ended_at_s=EPOCH_S + 650)

    assert verdict(pod, at_s=700) == success(at_s=610)


def test_running_to_completion_is_a_success():
    pod = make_running(phase="Succeeded", ended_at_s=EPOCH_S + 30)

    assert verdict(pod, at_s=40) == success(at_s=30)


def test_ending_well_when_told_to_stop_tells_nothing():
    pod = make_running(phase="Succeeded", is_deleting=True, ended_at_s=EPOCH_S + 30)

    assert verdict(pod, at_s=40) is Progress.CENSORED


def test_a_pod_deleted_too_early_is_never_counted():
    assert verdict(make_running(is_deleting=True), at_s=300) is Progress.CENSORED


def test_a_pod_deleted_after_its_window_was_a_success():
    assert verdict(make_running(is_deleting=True), at_s=650) == success(at_s=610)


def test_what_a_container_says_while_it_is_told_to_stop_is_no_crash():
    pod = make_running(is_deleting=True, failure="crashed", ended_at_s=EPOCH_S + 100)

    assert verdict(pod, at_s=101) is Progress.CENSORED


def test_an_oom_kill_counts_even_if_the_pod_is_deleted_then():
    pod = make_running(is_deleting=True, failure="oom_killed", ended_at_s=EPOCH_S + 100)

    assert verdict(pod, at_s=101) == failure("oom_killed", at_s=100)


def test_a_pod_that_goes_with_its_node_was_lost():
    assert verdict(make_running(is_deleting=True), at_s=300, node_lost=True) == failure(
        "node_lost", at_s=300
    )
    assert verdict(make_running(), at_s=300, node_lost=True) is Progress.OPEN
    assert verdict(make_running(), at_s=700, node_lost=True) == failure("node_lost", at_s=610)


@pytest.mark.parametrize("reason", ["preempted", "node_lost"])
def test_a_disruption_tells_why_the_pod_goes(reason):
    pod = make_running(is_deleting=True, disruption=reason)

    assert verdict(pod, at_s=300) == failure(reason, at_s=300)


@pytest.mark.parametrize(
    ("n_starved", "expected"),
    [
        pytest.param(5, success(at_s=610), id="a quarter is tolerated"),
        pytest.param(6, failure("starved", at_s=610), id="more is not"),
    ],
)
def test_throttled_over_a_quarter_of_the_window_is_starved(n_starved, expected):
    samples = [(20 + 30 * i, i < n_starved) for i in range(20)]

    assert verdict(make_running(), at_s=700, samples=samples) == expected


def test_only_samples_of_the_window_count_for_starvation():
    samples = [(5, True), (100, False), (615, True), (630, True)]

    assert verdict(make_running(), at_s=700, samples=samples) == success(at_s=610)


@pytest.mark.parametrize(
    ("cpu_milli", "limits", "share_ratio", "throttled"),
    [
        pytest.param(979, (("app", 1000),), None, False, id="below the limit"),
        pytest.param(980, (("app", 1000),), None, True, id="at the limit"),
        pytest.param(9000, (), None, False, id="no limit"),
        pytest.param(9000, (("other", 1000),), None, False, id="another container's limit"),
        pytest.param(750, (), 1.5, True, id="its share of a full node"),
        pytest.param(700, (), 1.5, False, id="less than its share of a full node"),
        pytest.param(980, (("app", 1000),), 3.0, True, id="at the limit on a full node"),
    ],
)
def test_throttled_is_at_its_limit_or_at_its_share_of_a_full_node(
    cpu_milli, limits, share_ratio, throttled
):
    pod = make_running(cpu_milli=500, cpu_limits_milli=limits)
    sample = make_pod_sample(cpu_milli=cpu_milli)

    assert is_throttled(sample, pod=pod, share_ratio=share_ratio) is throttled


def test_a_pod_without_a_request_has_no_share_of_a_full_node():
    pod = make_running(cpu_milli=0, cpu_limits_milli=())

    assert is_throttled(make_pod_sample(cpu_milli=1), pod=pod, share_ratio=2.0)


def test_incidents_count_once_however_often_they_are_seen():
    pod = make_running(n_restarts=2, last_oom_at_s=EPOCH_S, failure="evicted")

    first, marks = incidents(pod, marks=Marks(n_restarts=1))
    again, _ = incidents(pod, marks=marks)

    assert first == Tally(n_restarts=1, n_oom_kills=1, n_evictions=1)
    assert again == Tally()
