"""Numbers of scenario files: given, or drawn."""

import msgspec
import numpy as np
import pytest

from kube.edge.settings import Settings
from scheduler.simulator.draws import (
    Distribution,
    Draw,
    LogNormal,
    check_fields,
    draw,
    draw_fields,
)


class Group(Settings, frozen=True):
    size: Draw = 1.0
    share: Draw = 0.5


def drawn(what, *, n=4000):
    chance = np.random.default_rng(5)
    return np.array([draw(what, chance) for _ in range(n)])


def test_a_number_that_is_given_is_given():
    assert set(drawn(3.5, n=10)) == {3.5}
    assert set(drawn(2, n=10)) == {2.0}


def test_a_uniform_draw_lies_between_its_bounds_and_nowhere_more_often():
    numbers = drawn(Distribution(uniform=(2.0, 6.0)))

    assert numbers.min() >= 2.0
    assert numbers.max() < 6.0
    assert numbers.mean() == pytest.approx(4.0, abs=0.1)
    assert numbers.std() == pytest.approx(4.0 / np.sqrt(12), rel=0.05)


def test_a_lognormal_draw_has_its_median_and_spread_and_is_cut_off_at_its_ends():
    free = np.log(drawn(Distribution(lognormal=LogNormal(median=10.0, sigma=0.5))))
    cut = drawn(Distribution(lognormal=LogNormal(median=10.0, sigma=2.0, min=1.0, max=30.0)))

    assert np.median(free) == pytest.approx(np.log(10.0), abs=0.05)
    assert free.std() == pytest.approx(0.5, rel=0.05)
    assert (cut.min(), cut.max()) == (1.0, 30.0)


def test_a_choice_is_made_by_its_weights():
    alike = drawn(Distribution(choice=(1.0, 5.0)))
    weighted = drawn(Distribution(choice=(1.0, 5.0), weights=(3.0, 1.0)))

    assert set(alike) == {1.0, 5.0}
    assert np.mean(alike == 1.0) == pytest.approx(0.5, abs=0.04)
    assert np.mean(weighted == 1.0) == pytest.approx(0.75, abs=0.04)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        pytest.param({}, "give one of", id="nothing"),
        pytest.param({"uniform": [0, 1], "choice": [1]}, "give one of", id="two of them"),
        pytest.param({"uniform": [2, 1]}, "the lower bound stands first", id="wrong way round"),
        pytest.param({"uniform": [1]}, "length 2", id="one bound"),
        pytest.param({"choice": []}, "length >= 1", id="no choice"),
        pytest.param({"choice": [1, 2], "weights": [1]}, "weights: one for each", id="a weight"),
        pytest.param({"choice": [1], "weights": [0]}, "not all of them 0", id="no weight"),
        pytest.param({"choice": [1], "weights": [-1]}, ">= 0", id="negative weight"),
        pytest.param({"uniform": [1, 2], "weights": [1]}, "weights", id="weights of no choice"),
        pytest.param({"lognormal": {"median": 0, "sigma": 1}}, "> 0", id="median 0"),
        pytest.param({"lognormal": {"median": 1}}, "sigma", id="no sigma"),
        pytest.param({"normal": [0, 1]}, "normal", id="unknown"),
    ],
)
def test_a_distribution_that_is_none_is_refused(written, words):
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert(written, Draw)


def test_the_same_key_draws_the_same_and_another_something_else():
    group = Group(size=Distribution(uniform=(0.0, 1.0)))

    assert draw_fields(group, "n1", bounds={}) == draw_fields(group, "n1", bounds={})
    assert draw_fields(group, "n1", bounds={}) != draw_fields(group, "n2", bounds={})


def test_another_distribution_of_one_field_leaves_the_others_as_they_were():
    lucky = Distribution(uniform=(0.0, 1.0))
    before = draw_fields(Group(size=lucky, share=lucky), "n1", bounds={})
    after = draw_fields(Group(size=Distribution(choice=(7.0, 9.0)), share=lucky), "n1", bounds={})

    assert after["size"] in {7.0, 9.0}
    assert after["share"] == before["share"]
    assert before["size"] != before["share"]


def test_tails_are_cut_off_in_silence_but_what_somebody_wrote_is_not():
    wide = Group(share=Distribution(lognormal=LogNormal(median=0.9, sigma=3.0)))
    bounds = {"share": (0.0, 1.0)}
    check_fields(wide, bounds=bounds)
    shares = [draw_fields(wide, number, bounds=bounds)["share"] for number in range(50)]

    assert max(shares) == 1.0
    for share in (1.5, Distribution(uniform=(0.5, 1.5)), Distribution(choice=(0.1, 2.0))):
        with pytest.raises(ValueError, match=r"share: .* is not between 0 and 1"):
            check_fields(Group(share=share), bounds=bounds)
    with pytest.raises(ValueError, match="size: -1 is not between 0 and inf"):
        check_fields(Group(size=-1.0), bounds=bounds)


def test_quantiles_are_drawn_as_they_were_measured():
    numbers = drawn(Distribution(quantiles=((0.0, 1.0), (0.5, 2.0), (0.9, 2.0), (1.0, 12.0))))

    assert np.mean(numbers < 2.0) == pytest.approx(0.5, abs=0.03)
    assert np.mean(numbers == 2.0) == pytest.approx(0.4, abs=0.03)
    assert np.mean(numbers > 7.0) == pytest.approx(0.05, abs=0.015)
    assert (numbers.min() >= 1.0, numbers.max() <= 12.0) == (True, True)


@pytest.mark.parametrize(
    "quantiles",
    [
        pytest.param(((0.0, 1.0), (0.5, 2.0)), id="without an end"),
        pytest.param(((0.1, 1.0), (1.0, 2.0)), id="without a beginning"),
        pytest.param(((0.0, 1.0), (0.5, 2.0), (0.5, 3.0), (1.0, 4.0)), id="one share twice"),
        pytest.param(((0.0, 2.0), (1.0, 1.0)), id="numbers that fall"),
    ],
)
def test_quantiles_that_make_no_sense_are_refused(quantiles):
    with pytest.raises(ValueError, match="quantiles: "):
        Distribution(quantiles=quantiles)


def test_quantiles_out_of_bounds_are_refused():
    group = Group(share=Distribution(quantiles=((0.0, 0.5), (1.0, 2.0))))

    with pytest.raises(ValueError, match="share: 2 is not between"):
        check_fields(group, bounds={"share": (0.0, 1.0)})
