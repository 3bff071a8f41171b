import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scheduler.simulator.experiments.statistics import (
    NODES_IN_USE,
    THROTTLED,
    TROUBLES,
    compare,
    estimate,
    summarise,
)
from tests.unit.simulator.experiments.makers import make_quality, make_run, make_runs

VALUES = st.lists(st.tuples(st.integers(0, 1000), st.integers(100, 1000)), min_size=3, max_size=12)


def find(summary, policy):
    return next(found for found in summary.policies if found.policy == policy)


def test_an_interval_is_students():
    values = [3.0, 5.0, 10.0, 4.0]

    found = estimate(values)

    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert found.n_seeds == 4
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx(
        (low, high)
    )


def test_one_seed_has_no_interval():
    found = estimate([3.0])

    assert (found.mean, found.half_width, found.n_seeds) == (3.0, None, 1)


@given(VALUES)
def test_the_ends_of_a_ratio_are_where_a_paired_t_test_turns(pairs):
    own, other = np.array(pairs, dtype=float).T

    ratio = compare(own.tolist(), other.tolist()).ratio

    if ratio.low is None or np.ptp(own - ratio.value * other) < 1e-6:
        return
    inverse = stats.t.ppf(0.975, len(pairs) - 1)
    for end in (ratio.low, ratio.high):
        rest = own - end * other
        if end > 0.0:
            assert abs(rest.mean()) == pytest.approx(inverse * stats.sem(rest), rel=1e-4, abs=1e-6)
    assert ratio.low <= ratio.value + 1e-9
    assert ratio.value <= ratio.high + 1e-9


def test_what_seeds_have_in_common_does_not_widen_a_comparison():
    found = compare([5.0, 50.0, 500.0], [10.0, 100.0, 1000.0])

    assert found.ratio.value == 0.5
    # As the baseline alone cannot be told from zero, nothing bounds its multiples.
    assert found.ratio.low is None
    found = compare([50.0, 75.0, 100.0], [100.0, 150.0, 200.0])
    assert (found.ratio.low, found.ratio.high) == pytest.approx((0.5, 0.5), abs=1e-6)


def test_none_against_none_is_no_difference():
    found = compare([0.0, 0.0], [0.0, 0.0])

    assert (found.ratio.value, found.ratio.low, found.ratio.high) == (1.0, 1.0, 1.0)
    assert found.difference.mean == 0.0


def test_some_against_none_is_no_number():
    found = compare([1.0, 0.0], [0.0, 0.0])

    assert found.ratio.value is None
    assert found.difference.mean == 0.5


def test_a_single_pair_has_a_ratio_without_interval():
    found = compare([1.0], [2.0])

    assert (found.ratio.value, found.ratio.low, found.difference.half_width) == (0.5, None, None)


def test_compares_on_the_seeds_in_common_and_names_the_missing():
    runs = [*make_runs(troubles=(10, 20, 30)), make_run("ai", seed=1, troubles=10)]

    summary = summarise(runs, baseline="kube-default")

    ai = find(summary, "ai")
    assert summary.seeds == [0, 1, 2]
    assert ai.missing_seeds == [0, 2]
    assert ai.against_baseline[TROUBLES.key].baseline_mean == 20.0
    assert ai.against_baseline[TROUBLES.key].difference.n_seeds == 1


def test_policies_without_a_common_seed_are_not_compared():
    runs = [make_run(seed=0), make_run("ai", seed=1)]

    assert find(summarise(runs, baseline="kube-default"), "ai").against_baseline == {}


def test_the_first_policy_stands_in_for_a_baseline_that_did_not_run():
    runs = [make_run("random"), make_run("ai")]

    summary = summarise(runs, baseline="kube-default")

    assert summary.baseline == "random"
    assert find(summary, "random").against_baseline == {}


def test_counts_are_per_1000_placements_and_all_troubles_are_their_sum():
    runs = [make_run(troubles=3, n_oom_kills=2, n_evictions=1, n_placements=500)]

    [policy] = summarise(runs, baseline="kube-default").policies

    assert policy.values["failed_placements_per_1000"].mean == 6.0
    assert policy.values[TROUBLES.key].mean == 12.0
    assert policy.values[NODES_IN_USE.key].mean == 45.0


def test_what_a_run_does_not_tell_is_left_out():
    runs = [make_run(n_placements=0, throttled=math.nan), make_run(seed=1)]

    [policy] = summarise(runs, baseline="kube-default").policies

    assert policy.values[TROUBLES.key].n_seeds == 1
    assert policy.values[THROTTLED.key].n_seeds == 1


def test_sums_up_models_where_they_served_and_all_trainings():
    runs = [
        make_run("ai", seed=0, model=make_quality(auc=None, brier=0.04), trainings={"served": 2}),
        make_run("ai", seed=1, model=make_quality(brier=0.06), trainings={"kept": 1}),
        make_run("ai", seed=2),
    ]

    [policy] = summarise(runs, baseline="ai").policies

    assert policy.model["brier"].mean == pytest.approx(0.05)
    assert (policy.model["brier"].n_seeds, policy.model["auc"].n_seeds) == (2, 1)
    assert policy.trainings == pytest.approx({"kept": 1 / 3, "served": 2 / 3})


@pytest.mark.parametrize("runs", [[], [make_run(), make_run()]], ids=["none", "one twice"])
def test_refuses_results_that_cannot_be_summed_up(runs):
    with pytest.raises(ValueError, match=r"no run|two results"):
        summarise(runs, baseline="kube-default")
