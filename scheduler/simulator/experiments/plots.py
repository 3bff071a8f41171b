"""Plots of an evaluation, by matplotlib: the extra ``lab``.

Figures are made without pyplot, so nothing global is set and no display is needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scheduler.simulator.experiments import pictures
from scheduler.simulator.experiments.colours import COLOURS
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
from scheduler.simulator.experiments.time_plots import (
    draw_course,
    draw_ecdf,
    draw_heat,
    with_timelines,
)

_Runs = Mapping[str, Sequence[RunResult]]

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
        The pictures drawn; those of time only if a run tells of it, that of Brier scores only if a
        model served.
    """
    runs = {
        policy.policy: [run for run in results if run.policy == policy.policy]
        for policy in summary.policies
    }
    wide = (max(7.0, 1.4 * len(runs)), 4.5)
    drawings = [
        _Drawing(pictures.TROUBLES, wide, partial(_draw_paired, TROUBLES, runs, summary)),
        _Drawing(pictures.THROTTLED, wide, partial(_draw_paired, THROTTLED, runs, summary)),
        _Drawing(pictures.PENDING, wide, partial(_draw_pending, runs, summary)),
    ]
    told = with_timelines(runs)
    if told:
        height = 1.0 + 1.8 * len(told)
        drawings += [
            _Drawing(pictures.COURSE, (10.0, 9.0), partial(draw_course, runs=told)),
            _Drawing(pictures.ECDF, (10.0, 4.5), partial(draw_ecdf, runs=told)),
            _Drawing(pictures.HEAT, (10.0, height), partial(draw_heat, runs=told)),
        ]
    served = [policy for policy in summary.policies if BRIER.key in policy.model]
    if served:
        drawings.append(_Drawing(pictures.BRIER, wide, partial(_draw_brier, served)))
    for drawing in drawings:
        figure = Figure(figsize=drawing.size, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(drawing.picture.caption, x=0.01, ha="left")
        drawing.draw(figure)
        # No version of the library, so that its next release need not change the bytes.
        path = directory / drawing.picture.file
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    return tuple(drawing.picture for drawing in drawings)


@dataclass(frozen=True, slots=True)
class _Drawing:
    picture: Picture
    size: tuple[float, float]
    """Width and height, in inches."""
    draw: Callable[[Figure], None]


def _single(figure: Figure) -> Axes:
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _draw_paired(metric: Metric, runs: _Runs, summary: Summary, figure: Figure) -> None:
    """Draw a line a seed through the policies, and each policy's mean with its interval."""
    axes = _single(figure)
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
                color=COLOURS[x % len(COLOURS)],
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


def _draw_pending(runs: _Runs, summary: Summary, figure: Figure) -> None:
    """Draw a small mark a run, and each policy's means with their intervals."""
    axes = _single(figure)
    for i, policy in enumerate(summary.policies):
        nodes = by_seed(NODES_IN_USE, runs[policy.policy])
        pending_s = by_seed(PENDING_P99, runs[policy.policy])
        seeds = [seed for seed in nodes if seed in pending_s]
        if not seeds:
            continue
        colour, marker = COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)]
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


def _draw_brier(served: Sequence[PolicySummary], figure: Figure) -> None:
    """Draw three bars a policy: less is better."""
    axes = _single(figure)
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
            color=COLOURS[i],
            label=label,
        )
    axes.set_xticks(range(len(served)), [policy.policy for policy in served])
    axes.set_xlim(-1.0, len(served))
    axes.set_ylabel("Brier score (less is better)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
