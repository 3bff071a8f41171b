import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.windows import Rollup, decode_all_buckets, encode_buckets

amounts = st.integers(0, 2**53)


def merged(*parts: list[int]) -> Rollup:
    total = Rollup()
    for part in parts:
        total.merge(Rollup.of(part))
    return total


@given(st.lists(st.lists(amounts, max_size=20), max_size=8))
def test_merging_rollups_gives_what_all_values_together_give(parts):
    values = [value for part in parts for value in part]

    rollup = merged(*parts)

    direct = Rollup.of(values)
    assert rollup.count == len(values)
    assert rollup.max == max(values, default=0)
    assert rollup.buckets == direct.buckets
    assert math.isclose(rollup.mean, direct.mean, rel_tol=1e-9, abs_tol=1e-9)
    scale = max(values, default=0) ** 2 or 1
    assert abs(rollup.variance - direct.variance) <= 1e-9 * scale


@given(st.lists(amounts, min_size=1, max_size=50))
def test_mean_and_variance_are_the_populations(values):
    rollup = Rollup.of(values)

    assert math.isclose(rollup.mean, statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-9)
    scale = max(values) ** 2 or 1
    assert abs(rollup.variance - statistics.pvariance(values)) <= 1e-9 * scale


@given(st.lists(amounts, min_size=1, max_size=50), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_is_within_five_percent_of_the_value_of_its_rank(values, q):
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]

    assert Rollup.of(values).quantile(q) == pytest.approx(exact, rel=0.05)


def test_an_empty_rollup_has_neither_variance_nor_quantile():
    assert (Rollup().variance, Rollup().quantile(0.95)) == (0.0, 0.0)


@given(st.lists(amounts, max_size=30))
def test_histograms_survive_packing(values):
    buckets = Rollup.of(values).buckets

    assert decode_all_buckets([encode_buckets(buckets)] * 3) == [buckets] * 3
