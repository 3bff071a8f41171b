"""Pictures of how runs went over time, and over pods, by matplotlib: the extra ``lab``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scheduler.simulator.experiments.colours import COLOURS
from scheduler.simulator.experiments.results import RunResult, Timelines

Runs = Mapping[str, Sequence[RunResult]]
"""By policy; only runs that have timelines."""

_BAND: Final = 0.15
_SERIES: Final[tuple[tuple[str, Callable[[Timelines], Sequence[float]]], ...]] = (
    ("cpu used, share", lambda timelines: timelines.cpu_used_ratio),
    ("cpu requested, share", lambda timelines: timelines.cpu_requested_ratio),
    ("pods pending", lambda timelines: timelines.n_pending),
    ("troubles per hour", lambda timelines: timelines.troubles_per_h),
)
_DISTRIBUTIONS: Final[tuple[tuple[str, Callable[[Timelines], Sequence[float]]], ...]] = (
    ("pending time, s", lambda timelines: timelines.pending_quantiles_s),
    ("cpu lacking, share of what was wanted", lambda timelines: timelines.lacking_quantiles_ratio),
)


def with_timelines(runs: Mapping[str, Sequence[RunResult]]) -> Runs:
    """Leave out what has none."""
    found = {policy: [run for run in each if run.timelines] for policy, each in runs.items()}
    return {policy: each for policy, each in found.items() if each}


def draw_course(figure: Figure, *, runs: Runs) -> None:
    """Draw a panel a series, in it a line a policy with the band of its seeds."""
    panels = figure.subplots(len(_SERIES), 1, sharex=True)
    for axes, (title, read) in zip(panels, _SERIES, strict=True):
        for i, (policy, each) in enumerate(runs.items()):
            lines = _stack([read(lines) for lines in _timelines(each)])
            hours = np.arange(lines.shape[1]) * _timelines(each)[0].bin_h
            colour = COLOURS[i % len(COLOURS)]
            axes.fill_between(hours, lines.min(0), lines.max(0), color=colour, alpha=_BAND, lw=0)
            axes.plot(hours, lines.mean(0), color=colour, lw=1.2, label=policy)
        axes.set_ylim(bottom=0.0)
        axes.set_ylabel(title)
        _strip(axes)
    panels[-1].set_xlabel("hours since measuring began")
    _legend(panels[0])


def draw_ecdf(figure: Figure, *, runs: Runs) -> None:
    """Draw a panel a distribution, in it a line a policy with the band of its seeds."""
    panels = figure.subplots(1, len(_DISTRIBUTIONS), sharey=True)
    for axes, (title, read) in zip(panels, _DISTRIBUTIONS, strict=True):
        for i, (policy, each) in enumerate(runs.items()):
            found = [quantiles for lines in _timelines(each) if (quantiles := read(lines))]
            if not found:
                continue
            values = _stack(found)
            shares = np.linspace(0.0, 1.0, values.shape[1])
            colour = COLOURS[i % len(COLOURS)]
            axes.fill_betweenx(
                shares, values.min(0), values.max(0), color=colour, alpha=_BAND, lw=0
            )
            axes.plot(values.mean(0), shares, color=colour, lw=1.2, label=policy)
        axes.set_xscale("symlog", linthresh=_linear_to(title))
        axes.set_xlim(left=0.0)
        axes.set_xlabel(title)
        _strip(axes)
    panels[0].set_ylabel("share of pods")
    _legend(panels[-1])


def draw_heat(figure: Figure, *, runs: Runs) -> None:
    """Draw a panel a policy, a row a node and time to the right, of the first seed of all."""
    panels = np.atleast_1d(figure.subplots(len(runs), 1, sharex=True, sharey=True))
    shown = {policy: min(each, key=lambda run: run.seed) for policy, each in runs.items()}
    hottest = max(max(map(max, lines.heat.cpu_percent)) for lines in _timelines(shown.values()))
    image = None
    for axes, (policy, run) in zip(panels, shown.items(), strict=True):
        [lines] = _timelines([run])
        heat = np.array(lines.heat.cpu_percent)
        image = axes.imshow(
            heat,
            aspect="auto",
            vmin=0.0,
            vmax=max(1, hottest),
            cmap="viridis",
            extent=(0.0, heat.shape[1] * lines.bin_h, heat.shape[0] - 0.5, -0.5),
            interpolation="nearest",
        )
        rows = range(0, heat.shape[0], max(1, heat.shape[0] // 6))
        axes.set_yticks(rows, [lines.heat.nodes[row] for row in rows])
        axes.set_title(f"{policy}, seed {run.seed}", loc="left", fontsize="medium")
    panels[-1].set_xlabel("hours since measuring began")
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="cpu used, %")


def _timelines(runs: Iterable[RunResult]) -> list[Timelines]:
    return [run.timelines for run in runs if run.timelines is not None]


def _stack(lines: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Put lines below each other; an interrupted run may have a bin more or less."""
    length = min(map(len, lines))
    return np.array([line[:length] for line in lines], dtype=np.float64)


def _linear_to(title: str) -> float:
    """Tell up to where an axis is linear, and logarithmic from there."""
    return 1.0 if title.endswith(", s") else 0.01


def _strip(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
