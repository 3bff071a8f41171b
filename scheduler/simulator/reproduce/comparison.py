"""Runs against what was published, and policies of ours against FGD. Pure.

All values are per cent of the cluster's GPU, all differences points of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.experiments.statistics import Estimate, estimate
from scheduler.simulator.reproduce.study import RunOutcome
from scheduler.simulator.traces.openb import PublishedCurves

PUBLISHED_NAMES: Final = {
    "random": "Random",
    "dot-product": "DotProd",
    "gpu-clustering": "GpuClustering",
    "gpu-packing": "GpuPacking",
    "best-fit": "BestFit",
    "fgd": "FGD",
}
"""How published files call our policies; a policy of ours is in none."""
CHANCY: Final = frozenset({"random"})
"""Policies that draw luck: a run of theirs is never another's, even on the same arrivals."""
BASELINE: Final = "fgd"
"""What policies of ours are to beat."""
LOADS: Final = (100, 130)
"""Arrived loads of which tables tell."""
MAX_RUN_DIFFERENCE: Final = 0.1
"""In points: a run on recorded arrivals may differ so much from the published one, at any load."""
MAX_MEAN_DIFFERENCE: Final = 0.5
"""In points: likewise means over seeds, where runs cannot be the same; or so many standard errors,
if those are more."""
MAX_STANDARD_ERRORS: Final = 3.0

Published = Mapping[tuple[str, int], PublishedCurves]
"""Of one variant, by the policy's published name and seed."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a policy on a variant, beside what was published."""

    ours: float
    published: float | None
    """The mean over the same seeds where arrivals are recorded, else over all that are published;
    ``None`` if nothing is."""

    @property
    def difference(self) -> float | None:
        """Ours less what was published, in points."""
        return None if self.published is None else self.ours - self.published


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A policy on a variant: means over seeds."""

    variant: str
    policy: str
    seeds: list[int]
    is_recorded: bool
    """Whether arrivals are those of the published experiments."""
    allocated: dict[int, Value]
    """By arrived load, as ``fragmented``."""
    fragmented: dict[int, Value]
    published_allocated: dict[int, float]
    """Means over all published seeds, by arrived load."""
    published_fragmented: dict[int, float]
    worst_run_difference: float | None
    """Between a run and the published one of its seed, over both curves at all whole loads;
    ``None`` if no run has its equal."""
    worst_mean_difference: float | None
    """Between means over seeds, over both curves at the loads of tables; ``None`` if runs are
    compared one by one, or nothing is published."""
    max_mean_difference: float | None
    """How much that may be."""

    @property
    def is_met(self) -> bool:
        """Whether all that is compared is as close as it should be."""
        run, mean, most = (
            self.worst_run_difference,
            self.worst_mean_difference,
            self.max_mean_difference,
        )
        run_met = run is None or run <= MAX_RUN_DIFFERENCE
        return run_met and (mean is None or most is None or mean <= most)


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of ours less the baseline, in points of allocation, over the same seeds."""

    variant: str
    policy: str
    baseline: str
    seeds: list[int]
    n_recorded: int
    """So many of the seeds have the published experiments' arrivals."""
    allocated: dict[int, Estimate]
    """By arrived load."""
    fragmented: dict[int, Estimate]


def compare_with_published(outcomes: Sequence[RunOutcome], *, published: Published) -> Row:
    """Hold one policy's runs of one variant against the published ones.

    Where any arrivals are recorded, runs on drawn ones are left out.

    Args:
        outcomes: At least one; all of one variant and policy.
        published: Of that variant.
    """
    first = outcomes[0]
    recorded = [outcome for outcome in outcomes if outcome.is_recorded]
    shown = sorted(recorded or outcomes, key=lambda outcome: outcome.seed)
    name = PUBLISHED_NAMES.get(first.policy)
    theirs = {seed: curves for (policy, seed), curves in published.items() if policy == name}
    same = [theirs[outcome.seed] for outcome in shown if recorded and outcome.seed in theirs]
    reference = same if len(same) == len(shown) else list(theirs.values())
    row = Row(
        variant=first.variant,
        policy=first.policy,
        seeds=[outcome.seed for outcome in shown],
        is_recorded=bool(recorded),
        allocated=_values([o.allocated for o in shown], [c.allocated for c in reference]),
        fragmented=_values([o.fragmented for o in shown], [c.fragmented for c in reference]),
        published_allocated=_means([c.allocated for c in theirs.values()]),
        published_fragmented=_means([c.fragmented for c in theirs.values()]),
        worst_run_difference=None,
        worst_mean_difference=None,
        max_mean_difference=None,
    )
    if not theirs:
        return row
    if same and first.policy not in CHANCY:
        worst = [
            _worst(outcome, theirs[outcome.seed]) for outcome in shown if outcome.seed in theirs
        ]
        return msgspec.structs.replace(row, worst_run_difference=max(worst))
    return msgspec.structs.replace(
        row,
        worst_mean_difference=_worst_mean(row),
        max_mean_difference=_allowed(list(theirs.values()), n_seeds=len(shown)),
    )


def gains(outcomes: Iterable[RunOutcome]) -> list[Gain]:
    """Pair the runs of policies that nobody published with the baseline's, by variant and seed."""
    runs: dict[tuple[str, str], dict[int, RunOutcome]] = {}
    for outcome in outcomes:
        runs.setdefault((outcome.variant, outcome.policy), {})[outcome.seed] = outcome
    found = []
    for (variant, policy), own in runs.items():
        base = runs.get((variant, BASELINE), {})
        seeds = sorted(own.keys() & base.keys())
        if policy in PUBLISHED_NAMES or not seeds:
            continue
        gain = Gain(
            variant=variant,
            policy=policy,
            baseline=BASELINE,
            seeds=seeds,
            n_recorded=sum(own[seed].is_recorded for seed in seeds),
            allocated=_differences([(own[s].allocated, base[s].allocated) for s in seeds]),
            fragmented=_differences([(own[s].fragmented, base[s].fragmented) for s in seeds]),
        )
        found.append(gain)
    return found


def verdict(rows: Sequence[Row]) -> tuple[str, bool]:
    """Sum up how far from the published results all rows are.

    Returns:
        The last lines of a report, and whether all is as close as it should be.
    """
    lines = []
    runs = [row.worst_run_difference for row in rows if row.worst_run_difference is not None]
    means = [row.worst_mean_difference for row in rows if row.worst_mean_difference is not None]
    if means:
        most = max(row.max_mean_difference or 0.0 for row in rows)
        lines.append(
            f"worst difference of means, where runs cannot be the same: {max(means):.2f} points "
            f"(up to {most:.2f} is chance)"
        )
    if runs:
        lines.append(f"worst difference {max(runs):.3f} points")
    elif means:
        lines.append(f"worst difference {max(means):.3f} points")
    else:
        lines.append("nothing published to compare with")
    return "\n".join(lines), all(row.is_met for row in rows)


def _values(
    ours: Sequence[Sequence[float]], theirs: Sequence[NDArray[np.float64]]
) -> dict[int, Value]:
    published = _means(theirs)
    return {
        load: Value(ours=mean, published=published.get(load)) for load, mean in _means(ours).items()
    }


def _means(
    curves: Sequence[Sequence[float]] | Sequence[NDArray[np.float64]],
) -> dict[int, float]:
    """Average curves at the loads of tables; a load that none of them tells of is left out."""
    means = {}
    for load in LOADS:
        told = [float(curve[load]) for curve in curves if not math.isnan(curve[load])]
        if told:
            means[load] = sum(told) / len(told)
    return means


def _worst(outcome: RunOutcome, published: PublishedCurves) -> float:
    """Find the largest difference at any load that both tell of."""
    ours = np.concatenate((outcome.allocated, outcome.fragmented))
    theirs = np.concatenate((published.allocated, published.fragmented))
    is_told = ~np.isnan(ours) & ~np.isnan(theirs)
    return float(np.abs(ours - theirs)[is_told].max(initial=0.0))


def _worst_mean(row: Row) -> float | None:
    differences = (
        value.difference for values in (row.allocated, row.fragmented) for value in values.values()
    )
    return max((abs(each) for each in differences if each is not None), default=None)


def _allowed(published: Sequence[PublishedCurves], *, n_seeds: int) -> float:
    """Tell how far means over seeds may be apart by chance, judged by how published seeds vary."""
    if len(published) < 2:
        return MAX_MEAN_DIFFERENCE
    curves = [curve for each in published for curve in (each.allocated, each.fragmented)]
    stds = [
        float(np.nanstd(np.array(part)[:, LOADS], axis=0, ddof=1).max())
        for part in (curves[::2], curves[1::2])
    ]
    standard_error = max(stds) * math.sqrt(1.0 / n_seeds + 1.0 / len(published))
    return max(MAX_MEAN_DIFFERENCE, MAX_STANDARD_ERRORS * standard_error)


def _differences(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> dict[int, Estimate]:
    found = {}
    for load in LOADS:
        told = [own[load] - base[load] for own, base in pairs]
        told = [each for each in told if not math.isnan(each)]
        if told:
            found[load] = estimate(told)
    return found
