import pytest

from scheduler.simulator.experiments.statistics import summarise
from scheduler.simulator.experiments.verdicts import judge
from tests.unit.simulator.experiments.makers import make_runs


def verdict_on(baseline, policy, *, target="troubles_ratio", expects="better"):
    runs = [*make_runs(**baseline), *make_runs("ai", **policy)]
    verdicts = judge(summarise(runs, baseline="kube-default"), expects=expects)
    return {verdict.target: verdict for verdict in verdicts}[target]


@pytest.mark.parametrize(
    ("troubles", "is_met", "is_clear"),
    [
        pytest.param((50, 51, 49), True, True, id="clearly fewer"),
        pytest.param((40, 75, 58), True, False, id="fewer, within chance"),
        pytest.param((50, 85, 58), False, False, id="too many, within chance"),
        pytest.param((90, 91, 89), False, True, id="clearly too many"),
    ],
)
def test_holds_troubles_to_six_tenths(troubles, is_met, is_clear):
    verdict = verdict_on({"troubles": (100, 101, 99)}, {"troubles": troubles})

    assert (verdict.is_met, verdict.is_clear) == (is_met, is_clear)
    assert verdict.at_most == 0.6


def test_what_neither_had_any_of_is_no_promise_kept():
    runs = [*make_runs(troubles=(0, 0)), *make_runs("ai", troubles=(0, 0))]

    verdicts = judge(summarise(runs, baseline="kube-default"), expects="better")

    assert "troubles_ratio" not in {verdict.target for verdict in verdicts}


def test_policies_that_are_only_compared_with_promise_nothing():
    runs = [*make_runs(troubles=(9, 9)), *make_runs("random", troubles=(99, 99))]

    assert judge(summarise(runs, baseline="kube-default"), expects="better") == []


def test_some_where_the_baseline_had_none_is_a_miss():
    verdict = verdict_on({"troubles": (0, 0)}, {"troubles": (0, 1)})

    assert (verdict.is_met, verdict.found) == (False, None)


@pytest.mark.parametrize(("idle_nodes", "is_met"), [(5.0, True), (4.9, False)])
def test_more_nodes_are_a_miss(idle_nodes, is_met):
    verdict = verdict_on({}, {"idle_nodes": idle_nodes}, target="nodes_in_use_difference")

    assert verdict.is_met is is_met


@pytest.mark.parametrize(("pending_s", "is_met"), [(20.9, True), (21.1, False)])
def test_pods_may_wait_a_twentieth_longer(pending_s, is_met):
    verdict = verdict_on({}, {"pending_p99_s": pending_s}, target="pending_p99_ratio")

    assert verdict.is_met is is_met


@pytest.mark.parametrize(
    ("troubles", "is_met"),
    [
        pytest.param((8, 24, 32), True, id="more, within chance"),
        pytest.param((20, 31, 40), False, id="clearly more"),
        pytest.param((11,), False, id="more, and no interval to excuse it"),
        pytest.param((10,), True, id="as many, without an interval"),
    ],
)
def test_chance_excuses_where_there_is_nothing_to_learn(troubles, is_met):
    verdict = verdict_on(
        {}, {"troubles": troubles}, target="troubles_difference", expects="no_worse"
    )

    assert verdict.is_met is is_met


def test_the_baseline_is_not_judged():
    assert judge(summarise(make_runs(), baseline="kube-default"), expects="better") == []
