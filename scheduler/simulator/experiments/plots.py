"""Plots of an evaluation, by matplotlib: the extra ``lab``.

Figures are made without pyplot, so nothing global is set and no display is needed.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scheduler.simulator.experiments import pictures
from scheduler.simulator.experiments.pictures import Picture
from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.statistics import (
    BASE_RATE_BRIER,
    BRIER,
    ENHANCED_BRIER,
    NODES_IN_USE,
    PENDING_P99,
    THROTTLED,
    TROUBLES,
    Estimate,
    Metric,
    PolicySummary,
    Summary,
    by_seed,
)

_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, which colour-blind people can tell apart; the light yellow is left out."""
_MARKERS: Final = ("o", "s", "D", "^", "v", "P", "X")
_GREY: Final = "#999999"
_DPI: Final = 120


def draw_plots(
    results: Sequence[RunResult], *, summary: Summary, directory: Path
) -> tuple[Picture, ...]:
    """Draw what the results hold, as PNG files.

    Args:
        results: Those that *summary* sums up.
        summary: What gives means and intervals.
        directory: Where the files go.

    Returns:
        The pictures drawn; that of Brier scores only if a model served.
    """
    runs = {
        policy.policy: [run for run in results if run.policy == policy.policy]
        for policy in summary.policies
    }
    drawings: list[tuple[Picture, Callable[[Axes], None]]] = [
        (pictures.TROUBLES, lambda axes: _draw_paired(axes, TROUBLES, runs=runs, summary=summary)),
        (
            pictures.THROTTLED,
            lambda axes: _draw_paired(axes, THROTTLED, runs=runs, summary=summary),
        ),
        (pictures.PENDING, lambda axes: _draw_pending(axes, runs=runs, summary=summary)),
    ]
    served = [policy for policy in summary.policies if BRIER.key in policy.model]
    if served:
        drawings.append((pictures.BRIER, lambda axes: _draw_brier(axes, served)))
    for picture, draw in drawings:
        figure = Figure(figsize=(max(7.0, 1.4 * len(runs)), 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(picture.caption, loc="left")
        draw(axes)
        # No version of the library, so that its next release need not change the bytes.
        figure.savefig(directory / picture.file, dpi=_DPI, metadata={"Software": None})
    return tuple(picture for picture, _ in drawings)


def _draw_paired(
    axes: Axes, metric: Metric, *, runs: dict[str, list[RunResult]], summary: Summary
) -> None:
    """Draw a line a seed through the policies, and each policy's mean with its interval."""
    values = [by_seed(metric, runs[policy.policy]) for policy in summary.policies]
    for seed in summary.seeds:
        axes.plot(
            range(len(values)),
            [column.get(seed, math.nan) for column in values],  # the line breaks at a failed run
            color=_GREY,
            alpha=0.5,
            linewidth=0.8,
            marker=".",
            markersize=4,
            zorder=1,
        )
    for x, policy in enumerate(summary.policies):
        estimate = policy.values.get(metric.key)
        if estimate is not None:
            axes.errorbar(
                x,
                estimate.mean,
                yerr=estimate.half_width,
                color=_COLOURS[x % len(_COLOURS)],
                marker=_MARKERS[x % len(_MARKERS)],
                markersize=8,
                capsize=5,
                linewidth=2,
                zorder=2,
            )
    axes.set_xticks(range(len(summary.policies)), [policy.policy for policy in summary.policies])
    axes.set_xlim(-0.5, len(summary.policies) - 0.5)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(metric.title)
    axes.set_xlabel("grey: one line a seed; coloured: mean and 95 % interval")


def _draw_pending(axes: Axes, *, runs: dict[str, list[RunResult]], summary: Summary) -> None:
    """Draw a small mark a run, and each policy's means with their intervals."""
    for i, policy in enumerate(summary.policies):
        nodes = by_seed(NODES_IN_USE, runs[policy.policy])
        pending_s = by_seed(PENDING_P99, runs[policy.policy])
        seeds = [seed for seed in nodes if seed in pending_s]
        if not seeds:
            continue
        colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        x, y = policy.values[NODES_IN_USE.key], policy.values[PENDING_P99.key]
        axes.scatter(
            [nodes[seed] for seed in seeds],
            [pending_s[seed] for seed in seeds],
            color=colour,
            marker=marker,
            s=14,
            alpha=0.4,
            linewidths=0,
        )
        axes.errorbar(
            x.mean,
            y.mean,
            xerr=x.half_width,
            yerr=y.half_width,
            color=colour,
            marker=marker,
            markersize=8,
            capsize=4,
            linewidth=2,
            label=policy.policy,
        )
    axes.set_xlabel("nodes in use, mean over the run")
    axes.set_ylabel("pending time, p99, s")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_brier(axes: Axes, served: Sequence[PolicySummary]) -> None:
    """Draw three bars a policy: less is better."""
    forecasts = ((BRIER, "model"), (BASE_RATE_BRIER, "base rate"), (ENHANCED_BRIER, "enhanced"))
    width = 0.8 / len(forecasts)
    for i, (metric, label) in enumerate(forecasts):
        estimates: list[Estimate] = [policy.model[metric.key] for policy in served]
        axes.bar(
            [x + (i - 1) * width for x in range(len(served))],
            [estimate.mean for estimate in estimates],
            width=0.9 * width,
            yerr=[estimate.half_width or 0.0 for estimate in estimates],
            capsize=4,
            color=_COLOURS[i],
            label=label,
        )
    axes.set_xticks(range(len(served)), [policy.policy for policy in served])
    axes.set_xlim(-1.0, len(served))
    axes.set_ylabel("Brier score (less is better)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
