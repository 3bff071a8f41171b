"""Means over seeds, and policies against a baseline on the same seeds. Pure.

Runs of one seed meet the same nodes, workloads and arrivals whatever the policy, so what a policy
changes shows in the differences within seeds, not between them: comparisons are paired. Seeds are
few, so intervals are Student's, never the normal's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from scheduler.simulator.experiments.results import ModelQuality, RunResult

CONFIDENCE: Final = 0.95
"""How often intervals made like ours hold the true mean."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run."""

    key: str
    title: str
    read: Callable[[RunResult], float | None]
    """``None`` or NaN if the run does not say; it is left out of this metric then."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over seeds with its 95 % interval, ``mean ± half_width``."""

    mean: float
    half_width: float | None
    """``None`` for a single seed: one run does not show how much runs differ."""
    n_seeds: int


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """How many times the baseline's mean a policy's mean is."""

    value: float | None
    """``None`` if the baseline had none and the policy some; 1 if neither had any."""
    low: float | None
    """With ``high``, the 95 % interval; both ``None`` for a single seed, and where the baseline's
    mean cannot be told from zero, so that no multiple of it can be excluded."""
    high: float | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A policy against the baseline in one metric, over the seeds that both ran on."""

    mean: float
    baseline_mean: float
    ratio: Ratio
    difference: Estimate
    """Policy less baseline."""


class PolicySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A policy over all its seeds. Metrics that no run tells are left out of the mappings."""

    policy: str
    seeds: list[int]
    missing_seeds: list[int]
    """Those that another policy has a result of."""
    values: dict[str, Estimate]
    """By the keys of ``METRICS``."""
    against_baseline: dict[str, Comparison]
    """Likewise; empty for the baseline itself."""
    model: dict[str, Estimate]
    """By the keys of ``MODEL_METRICS``, over the seeds on which a model served."""
    trainings: dict[str, float]
    """How trainings ended: mean number a run, by result."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All policies, in the order in which their results came."""

    baseline: str
    seeds: list[int]
    policies: list[PolicySummary]


def _per_1000(count: Callable[[RunResult], int]) -> Callable[[RunResult], float | None]:
    def read(run: RunResult) -> float | None:
        return 1000.0 * count(run) / run.n_placements if run.n_placements else None

    return read


def _of_model(read: Callable[[ModelQuality], float | None]) -> Callable[[RunResult], float | None]:
    def read_run(run: RunResult) -> float | None:
        return None if run.model is None else read(run.model)

    return read_run


TROUBLES: Final = Metric("troubles_per_1000", "all troubles", _per_1000(attrgetter("n_troubles")))
THROTTLED: Final = Metric(
    "throttled_core_h", "throttled, core-hours", attrgetter("throttled_core_h")
)
PENDING_P99: Final = Metric("pending_p99_s", "pending p99, s", attrgetter("pending_p99_s"))
COST: Final = Metric("cost", "cost: minus the return", attrgetter("cost"))
NODES_IN_USE: Final = Metric(
    "nodes_in_use", "nodes in use", lambda run: run.n_nodes - run.idle_nodes
)
METRICS: Final = (
    Metric(
        "failed_placements_per_1000",
        "failed placements",
        _per_1000(attrgetter("n_failed_placements")),
    ),
    Metric("oom_kills_per_1000", "OOM kills", _per_1000(attrgetter("n_oom_kills"))),
    Metric("evictions_per_1000", "evictions", _per_1000(attrgetter("n_evictions"))),
    TROUBLES,
    THROTTLED,
    Metric("pending_p50_s", "pending p50, s", attrgetter("pending_p50_s")),
    PENDING_P99,
    Metric("n_never_bound", "never bound", attrgetter("n_never_bound")),
    Metric("cpu_spread_ratio", "cpu spread", attrgetter("cpu_spread_ratio")),
    Metric("memory_spread_ratio", "memory spread", attrgetter("memory_spread_ratio")),
    NODES_IN_USE,
    Metric("idle_nodes", "could be turned off", attrgetter("idle_nodes")),
    COST,
    Metric("network_cost", "cost of reaching dependencies", attrgetter("network_cost")),
    Metric("services_down_h", "service-hours down", attrgetter("services_down_h")),
)
"""What placement came to. Counts are per 1,000 placements, so that a policy does not look good by
binding less."""

BRIER: Final = Metric("brier", "Brier, model", _of_model(attrgetter("brier")))
BASE_RATE_BRIER: Final = Metric(
    "base_rate_brier", "Brier, base rate", _of_model(attrgetter("base_rate_brier"))
)
ENHANCED_BRIER: Final = Metric(
    "enhanced_brier", "Brier, enhanced scoring", _of_model(attrgetter("enhanced_brier"))
)
MODEL_METRICS: Final = (
    Metric("n_rows", "placements predicted", _of_model(attrgetter("n_rows"))),
    Metric("base_rate", "stayed healthy", _of_model(attrgetter("base_rate"))),
    Metric("auc", "AUC, model", _of_model(attrgetter("auc"))),
    Metric("enhanced_auc", "AUC, enhanced scoring", _of_model(attrgetter("enhanced_auc"))),
    BRIER,
    BASE_RATE_BRIER,
    ENHANCED_BRIER,
)
"""How well the served model predicted, beside its two baselines."""


def summarise(results: Sequence[RunResult], *, baseline: str) -> Summary:
    """Sum the runs up, each policy over its seeds and against the baseline on common ones.

    Args:
        results: At most one of a policy and seed.
        baseline: The policy to compare with; if it has no result, the first that has.

    Raises:
        ValueError: There is no result, or two of one policy and seed.
    """
    if not results:
        raise ValueError("no run has a result")
    runs: dict[str, dict[int, RunResult]] = {}
    for run in results:
        of_policy = runs.setdefault(run.policy, {})
        if run.seed in of_policy:
            raise ValueError(f"two results of policy {run.policy!r} on seed {run.seed}")
        of_policy[run.seed] = run
    if baseline not in runs:
        baseline = results[0].policy
    seeds = sorted({run.seed for run in results})
    policies = [
        _summarise_policy(policy, runs=runs, baseline=baseline, seeds=seeds) for policy in runs
    ]
    return Summary(baseline=baseline, seeds=seeds, policies=policies)


def _summarise_policy(
    policy: str,
    *,
    runs: Mapping[str, Mapping[int, RunResult]],
    baseline: str,
    seeds: Sequence[int],
) -> PolicySummary:
    own = runs[policy]
    results = list(own.values())
    comparisons: dict[str, Comparison] = {}
    if policy != baseline:
        for metric in METRICS:
            comparison = _compare_metric(metric, own, runs[baseline])
            if comparison is not None:
                comparisons[metric.key] = comparison
    endings = sorted({ending for run in results for ending in run.trainings})
    return PolicySummary(
        policy=policy,
        seeds=sorted(own),
        missing_seeds=[seed for seed in seeds if seed not in own],
        values=_estimates(METRICS, results),
        against_baseline=comparisons,
        model=_estimates(MODEL_METRICS, results),
        trainings={
            ending: sum(run.trainings.get(ending, 0) for run in results) / len(results)
            for ending in endings
        },
    )


def _estimates(metrics: Sequence[Metric], runs: Sequence[RunResult]) -> dict[str, Estimate]:
    found = {metric.key: by_seed(metric, runs) for metric in metrics}
    return {key: estimate(list(values.values())) for key, values in found.items() if values}


def by_seed(metric: Metric, runs: Sequence[RunResult]) -> dict[int, float]:
    """Read a metric of one policy's runs, lowest seed first; runs that do not tell are left out."""
    ordered = sorted(runs, key=attrgetter("seed"))
    found = ((run.seed, metric.read(run)) for run in ordered)
    return {
        seed: float(value) for seed, value in found if value is not None and math.isfinite(value)
    }


def _compare_metric(
    metric: Metric, own: Mapping[int, RunResult], baseline: Mapping[int, RunResult]
) -> Comparison | None:
    values = by_seed(metric, list(own.values()))
    baselines = by_seed(metric, list(baseline.values()))
    common = [seed for seed in values if seed in baselines]
    if not common:
        return None
    return compare([values[seed] for seed in common], [baselines[seed] for seed in common])


def estimate(values: Sequence[float]) -> Estimate:
    """Estimate a mean from one value a seed, with Student's t interval.

    Args:
        values: At least one.
    """
    n_seeds = len(values)
    column = np.asarray(values, dtype=np.float64)
    half_width = None
    if n_seeds > 1:
        half_width = _t(n_seeds) * float(column.std(ddof=1)) / math.sqrt(n_seeds)
    return Estimate(mean=float(column.mean()), half_width=half_width, n_seeds=n_seeds)


def compare(values: Sequence[float], baselines: Sequence[float]) -> Comparison:
    """Compare two policies over the same seeds.

    Args:
        values: The policy's, one a seed, at least one; none negative.
        baselines: The baseline's on the same seeds, in the same order.
    """
    own, other = np.asarray(values, dtype=np.float64), np.asarray(baselines, dtype=np.float64)
    return Comparison(
        mean=float(own.mean()),
        baseline_mean=float(other.mean()),
        ratio=_ratio(own, other),
        difference=estimate((own - other).tolist()),
    )


def _ratio(own: NDArray[np.float64], other: NDArray[np.float64]) -> Ratio:
    """Divide the means; the interval is Fieller's, for paired values.

    It holds every ratio r that a paired t-test of ``own - r·other`` against zero does not
    exclude, so it and the interval of the difference agree on whether there is one: a quadratic
    in r. Unlike a bootstrap it needs no chance, and it does not get too narrow with few seeds.
    Source: E. C. Fieller, Some Problems in Interval Estimation, Journal of the Royal Statistical
    Society B 16 (1954), 175-185.
    """
    mean, baseline_mean = float(own.mean()), float(other.mean())
    if baseline_mean == 0.0:
        nothing = 1.0 if mean == 0.0 else None
        return Ratio(value=nothing, low=nothing, high=nothing)
    value = mean / baseline_mean
    if own.size < 2:
        return Ratio(value=value, low=None, high=None)
    # Variances and covariance of the two means, times the squared quantile.
    spread = _t(own.size) ** 2 * np.cov(own, other) / own.size
    square = baseline_mean**2 - float(spread[1, 1])
    if square <= 0.0:
        return Ratio(value=value, low=None, high=None)
    half_linear = mean * baseline_mean - float(spread[0, 1])
    constant = mean**2 - float(spread[0, 0])
    root = math.sqrt(max(half_linear**2 - square * constant, 0.0))
    return Ratio(
        value=value,
        low=max((half_linear - root) / square, 0.0),
        high=(half_linear + root) / square,
    )


def _t(n_seeds: int) -> float:
    """Look up how many standard errors an interval reaches to each side."""
    return float(stdtrit(n_seeds - 1, 0.5 + CONFIDENCE / 2.0))
