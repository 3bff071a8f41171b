"""Plots of a training, by matplotlib: the extra ``lab``.

Figures are made without pyplot, so nothing global is set and no display is needed.
"""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from scheduler.simulator.experiments.pictures import Picture
from scheduler.simulator.training.report import TERM_TITLES, TrainingResults

LEARNING: Final = Picture("learning.png", "Total reward of the episodes that were learnt from")
REWARDS: Final = Picture("rewards.png", "Total reward in unseen worlds, by policy")
TERMS: Final = Picture("terms.png", "What rewards are made of, in unseen worlds, by policy")
_COLOURS: Final = colormaps["tab10"]
_GREY: Final = "#999999"
_DPI: Final = 120
_N_SMOOTHED: Final = 20
"""Episodes that a point of the learning curve sums up."""


def draw_plots(results: TrainingResults, *, directory: Path) -> tuple[Picture, ...]:
    """Draw what there is, as PNG files.

    Args:
        results: What to draw.
        directory: Where the files go; those of an earlier report are dropped.
    """
    drawings = []
    if results.episodes:
        drawings.append((LEARNING, _draw_learning))
    if results.standings:
        drawings += [(REWARDS, _draw_rewards), (TERMS, _draw_terms)]
    for picture in (LEARNING, REWARDS, TERMS):
        (directory / picture.file).unlink(missing_ok=True)
    for picture, draw in drawings:
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(picture.caption, loc="left")
        draw(axes, results)
        # No version of the library, so that its next release need not change the bytes.
        figure.savefig(directory / picture.file, dpi=_DPI, metadata={"Software": None})
    return tuple(picture for picture, _ in drawings)


def _draw_learning(axes: Axes, results: TrainingResults) -> None:
    """Draw a point an episode, how the last ones went, and where policies stand elsewhere."""
    steps = np.array([episode.step for episode in results.episodes])
    rewards = np.array([episode.total_reward for episode in results.episodes])
    axes.scatter(steps, rewards, s=6, color=_GREY, alpha=0.5, linewidths=0, label="an episode")
    n = min(_N_SMOOTHED, len(rewards))
    last = np.lib.stride_tricks.sliding_window_view(rewards, n)
    axes.plot(steps[n - 1 :], last.mean(axis=1), color="black", label=f"mean of the last {n}")
    # Some worlds are hopeless under any policy, and hide in the mean what is learnt for others.
    axes.plot(
        steps[n - 1 :], np.median(last, axis=1), color="black", linestyle=":", label="their median"
    )
    for number, standing in enumerate(results.standings):
        axes.axhline(
            standing.total_reward.mean,
            color=_COLOURS(number),
            linestyle="--",
            linewidth=1.0,
            label=f"{standing.policy}, unseen worlds",
        )
    axes.set_xlabel("steps")
    axes.set_ylabel("total reward")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw_rewards(axes: Axes, results: TrainingResults) -> None:
    """Draw a line a world through the policies, and each policy's mean with its interval."""
    names = [standing.policy for standing in results.standings]
    by_seed: dict[int, dict[str, float]] = {}
    for each in results.judged:
        by_seed.setdefault(each.seed, {})[each.policy] = each.total_reward
    for rewards in by_seed.values():
        column = [rewards.get(name, np.nan) for name in names]
        axes.plot(range(len(names)), column, color=_GREY, alpha=0.5, linewidth=0.8, marker=".")
    for x, standing in enumerate(results.standings):
        axes.errorbar(
            x,
            standing.total_reward.mean,
            yerr=standing.total_reward.half_width,
            color=_COLOURS(x),
            marker="o",
            markersize=8,
            capsize=5,
            linewidth=2,
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel("total reward")
    axes.set_xlabel("grey: one line a world; coloured: mean and 95 % interval")


def _draw_terms(axes: Axes, results: TrainingResults) -> None:
    """Draw what each policy's rewards cost it, term upon term."""
    names = [standing.policy for standing in results.standings]
    below = np.zeros(len(names))
    for number, (term, title) in enumerate(TERM_TITLES.items()):
        weight = getattr(results.weights, term)
        costs = np.array([weight * each.terms[term].mean for each in results.standings])
        if costs.any():
            label = title if weight == 1.0 else f"{title} × {weight:g}"
            axes.bar(names, costs, bottom=below, width=0.6, color=_COLOURS(number), label=label)
            below += costs
    axes.set_ylabel("cost of an episode, mean")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
