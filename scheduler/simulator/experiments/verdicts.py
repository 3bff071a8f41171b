"""What policies are held to, and whether they keep it. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from scheduler.simulator.experiments.scenario import Expectation
from scheduler.simulator.experiments.statistics import (
    NODES_IN_USE,
    PENDING_P99,
    THROTTLED,
    TROUBLES,
    Comparison,
    Metric,
    Summary,
)

Scale = Literal["ratio", "difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How a policy's metric must stand to the baseline's: at most so many times it, or above it."""

    name: str
    metric: Metric
    scale: Scale
    at_most: float
    is_chance_excused: bool = False
    """Whether a number above the limit will do as long as its interval reaches down to it."""


TARGETS: Final[dict[Expectation, tuple[Target, ...]]] = {
    "better": (
        Target(name="troubles_ratio", metric=TROUBLES, scale="ratio", at_most=0.6),
        Target(name="throttled_ratio", metric=THROTTLED, scale="ratio", at_most=0.8),
        Target(name="pending_p99_ratio", metric=PENDING_P99, scale="ratio", at_most=1.05),
        Target(
            name="nodes_in_use_difference", metric=NODES_IN_USE, scale="difference", at_most=0.0
        ),
    ),
    "no_worse": (
        Target(
            name="troubles_difference",
            metric=TROUBLES,
            scale="difference",
            at_most=0.0,
            is_chance_excused=True,
        ),
        Target(
            name="throttled_difference",
            metric=THROTTLED,
            scale="difference",
            at_most=0.0,
            is_chance_excused=True,
        ),
    ),
}


REFERENCES: Final = frozenset({"most-allocated", "random"})
"""Policies that promise nothing."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a policy meets a target."""

    policy: str
    target: str
    metric: str
    """Its title."""
    scale: Scale
    at_most: float
    is_chance_excused: bool
    found: float | None
    """``None`` for a ratio to a baseline that had none."""
    low: float | None
    """With ``high``, the 95 % interval of ``found``; ``None`` where there is none."""
    high: float | None
    is_met: bool
    is_clear: bool | None
    """Whether chance is ruled out: the whole interval is on the same side of the limit as the
    number. ``None`` without an interval, and if the baseline had none."""


def judge(summary: Summary, *, expects: Expectation) -> list[Verdict]:
    """Hold policies to the targets that are promised of them, as far as they can be compared.

    Left out are what others are only compared with, and what neither policy had any of.
    """
    return [
        _judge(target, policy.policy, comparison)
        for policy in summary.policies
        if policy.policy not in REFERENCES
        for target in TARGETS[expects]
        if (comparison := policy.against_baseline.get(target.metric.key)) is not None
        and (comparison.mean or comparison.baseline_mean)
    ]


def _judge(target: Target, policy: str, comparison: Comparison) -> Verdict:
    found, low, high = _on_scale(target.scale, comparison)
    is_met = found is not None and found <= target.at_most
    is_clear = None
    if target.scale == "ratio" and comparison.baseline_mean == 0.0:
        is_met = False  # at most so many times nothing is nothing
    elif low is not None and high is not None:
        if target.is_chance_excused:
            is_met = low <= target.at_most
        is_clear = high <= target.at_most if is_met else low > target.at_most
    return Verdict(
        policy=policy,
        target=target.name,
        metric=target.metric.title,
        scale=target.scale,
        at_most=target.at_most,
        is_chance_excused=target.is_chance_excused,
        found=found,
        low=low,
        high=high,
        is_met=is_met,
        is_clear=is_clear,
    )


def _on_scale(
    scale: Scale, comparison: Comparison
) -> tuple[float | None, float | None, float | None]:
    if scale == "ratio":
        return comparison.ratio.value, comparison.ratio.low, comparison.ratio.high
    mean, half_width = comparison.difference.mean, comparison.difference.half_width
    if half_width is None:
        return mean, None, None
    return mean, mean - half_width, mean + half_width
