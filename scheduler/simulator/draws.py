"""Numbers as a scenario file writes them: given, or drawn from a distribution.

::

    cpu_ratio: 0.4                                    # always
    cpu_ratio: {uniform: [0.1, 0.7]}
    cpu_ratio: {lognormal: {median: 0.3, sigma: 0.8, max: 4}}
    cpu_ratio: {choice: [0.2, 0.9], weights: [4, 1]}
    cpu_ratio: {quantiles: [[0, 0.1], [0.5, 0.2], [1, 0.9]]}
"""

from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, TypeAlias

import msgspec
import numpy as np

from kube.edge.settings import Settings
from scheduler.simulator.chance import generator_of

NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class LogNormal(Settings, frozen=True):
    """Many small ones and a heavy tail, as durations and usage are; cut off at its ends."""

    median: Annotated[float, msgspec.Meta(gt=0)]
    sigma: NotNegative
    """Standard deviation of the logarithm."""
    min: float = 0.0
    max: float = 1e18


class Distribution(Settings, frozen=True):
    """What a number is drawn from: one of ``uniform``, ``lognormal``, ``choice``, ``quantiles``."""

    uniform: tuple[float, float] | None = None
    """Anything between two bounds, all alike."""
    lognormal: LogNormal | None = None
    choice: Annotated[tuple[float, ...], msgspec.Meta(min_length=1)] | None = None
    """One of a few."""
    weights: tuple[NotNegative, ...] | None = None
    """How likely each choice is, in any unit; all alike if left out."""
    quantiles: Annotated[tuple[tuple[float, float], ...], msgspec.Meta(min_length=2)] | None = None
    """As something was measured: shares from 0 to 1, rising, and below which number so many lie;
    between two of them, all numbers alike."""

    def __post_init__(self) -> None:
        kinds = (self.uniform, self.lognormal, self.choice, self.quantiles)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("give one of uniform, lognormal, choice and quantiles")
        if self.uniform is not None and self.uniform[0] > self.uniform[1]:
            raise ValueError("uniform: the lower bound stands first")
        if self.quantiles is not None:
            _check_quantiles(*zip(*self.quantiles, strict=True))
        if self.weights is not None:
            self._check_weights(self.weights)

    def _check_weights(self, weights: tuple[float, ...]) -> None:
        if self.choice is None or len(weights) != len(self.choice) or not sum(weights):
            raise ValueError("weights: one for each choice, and not all of them 0")

    def draw(self, chance: np.random.Generator) -> float:
        """Draw one."""
        if self.uniform is not None:
            return float(chance.uniform(*self.uniform))
        if self.lognormal is not None:
            p = self.lognormal
            number = float(p.median * np.exp(p.sigma * chance.standard_normal()))
            return min(max(number, p.min), p.max)
        if self.quantiles is not None:
            shares, numbers = zip(*self.quantiles, strict=True)
            return float(np.interp(chance.random(), shares, numbers))
        choice = self.choice or ()
        if self.weights is None:
            return float(choice[int(chance.integers(len(choice)))])
        return float(choice[bisect_right(_cumulative(self.weights), chance.random())])


@lru_cache(maxsize=1024)
def _cumulative(weights: tuple[float, ...]) -> tuple[float, ...]:
    """Add up what each choice is worth; the sum is 1."""
    sums = (np.array(weights) / sum(weights)).cumsum()
    return tuple((sums / sums[-1]).tolist())


def _check_quantiles(shares: tuple[float, ...], numbers: tuple[float, ...]) -> None:
    if (shares[0], shares[-1]) != (0.0, 1.0) or any(a >= b for a, b in pairwise(shares)):
        raise ValueError("quantiles: shares rise from 0 to 1")
    if any(a > b for a, b in pairwise(numbers)):
        raise ValueError("quantiles: numbers do not fall")


Draw: TypeAlias = float | Distribution


def draw(what: Draw, chance: np.random.Generator) -> float:
    """Draw a number; one that is given is given."""
    return what.draw(chance) if isinstance(what, Distribution) else float(what)


Bounds: TypeAlias = Mapping[str, tuple[float, float]]
"""What each field of a group may be at least and at most; those not named, anything from 0."""

_ANYTHING = (0.0, float("inf"))


def draw_fields(nature: Settings, *key: object, bounds: Bounds) -> dict[str, float]:
    """Draw each field of a group of draws, within its bounds.

    Each by luck of its own, so that another distribution of one leaves the others as they were.

    Args:
        nature: A group of which all fields are draws.
        key: The same key draws the same.
        bounds: Where to cut off.
    """
    drawn = {}
    for field in nature.__struct_fields__:
        what = getattr(nature, field)
        is_drawn = isinstance(what, Distribution)
        number = what.draw(generator_of(*key, field)) if is_drawn else float(what)
        low, high = bounds.get(field, _ANYTHING)
        drawn[field] = min(max(number, low), high)
    return drawn


def check_fields(nature: Settings, *, bounds: Bounds) -> None:
    """Refuse a group of draws of which one is meant to be what cannot be.

    The tails of a log-normal are nobody's meaning; they are cut off in silence.

    Args:
        nature: A group of which all fields are draws.
        bounds: What can be.

    Raises:
        ValueError: The message names the field.
    """
    for field in nature.__struct_fields__:
        low, high = bounds.get(field, _ANYTHING)
        for number in _named_in(getattr(nature, field)):
            if not low <= number <= high:
                raise ValueError(f"{field}: {number:g} is not between {low:g} and {high:g}")


def _named_in(what: Draw) -> tuple[float, ...]:
    """List the numbers that somebody wrote down."""
    if not isinstance(what, Distribution):
        return (what,)
    if what.lognormal is not None:
        return (what.lognormal.median,)
    if what.quantiles is not None:
        return tuple(number for _, number in what.quantiles)
    return what.uniform or what.choice or ()
