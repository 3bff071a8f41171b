"""Plots of a reproduction, by matplotlib: the extra ``lab``.

Figures are made without pyplot, so nothing global is set and no display is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scheduler.simulator.experiments.pictures import Picture
from scheduler.simulator.reproduce.comparison import PUBLISHED_NAMES, Published
from scheduler.simulator.reproduce.curves import MAX_LOAD
from scheduler.simulator.reproduce.study import RunOutcome, Study
from scheduler.simulator.traces.openb import PublishedCurves

_FULL_FROM: Final = 80
"""Below this load all policies place almost all; allocation is drawn from here on."""
_LOADS: Final = np.arange(MAX_LOAD + 1)
_COLOURS: Final = colormaps["tab10"]
_DPI: Final = 120
_LEAST_TICKED: Final = 0.02
"""Models of fewer of the nodes than this get no tick of their own: it would hide another's."""


def draw_curves(
    outcomes: Sequence[RunOutcome], *, published: Published, directory: Path
) -> Picture:
    """Draw allocation and fragmentation of a variant against arrived load.

    Args:
        outcomes: Of one variant.
        published: Of that variant.
        directory: Where the file goes.
    """
    variant = outcomes[0].variant
    picture = Picture(
        f"curves-{variant}.png", f"{variant}: allocated and fragmented GPU against arrived load"
    )
    figure = Figure(figsize=(13.0, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    allocated, fragmented = figure.subplots(1, 2)
    for number, policy in enumerate(dict.fromkeys(outcome.policy for outcome in outcomes)):
        runs = [outcome for outcome in outcomes if outcome.policy == policy]
        theirs = _same_seeds(runs, published=published)
        colour = _COLOURS(number % _COLOURS.N)
        _draw_policy(
            allocated,
            [run.allocated for run in runs],
            theirs=[curves.allocated for curves in theirs],
            label=policy,
            colour=colour,
        )
        _draw_policy(
            fragmented,
            [run.fragmented for run in runs],
            theirs=[curves.fragmented for curves in theirs],
            label=policy,
            colour=colour,
        )
    allocated.set_xlim(_FULL_FROM, MAX_LOAD)
    allocated.set_ylim(_FULL_FROM, 100.0)
    allocated.set_ylabel("allocated, % of the cluster's GPU")
    fragmented.set_xlim(0, MAX_LOAD)
    fragmented.set_ylim(bottom=0.0)
    fragmented.set_ylabel("fragmented, % of the cluster's GPU")
    for axes in (allocated, fragmented):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("arrived load, % of the cluster's GPU")
    allocated.set_title(f"{variant}: mean and range of seeds; dashed: published", loc="left")
    fragmented.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _save(figure, directory / picture.file)
    return picture


def draw_heat_maps(
    usages: Mapping[str, NDArray[np.float64]], *, study: Study, seed: int, directory: Path
) -> Picture:
    """Draw which nodes' GPU was allocated when, a panel a policy.

    Args:
        usages: By policy, shape ``(131, n_nodes)``: the allocated part of each node's GPU, 0 to 1,
            nodes as the trace lists them; NaN where a node has no card.
        study: The variant that was run.
        seed: That of the runs.
        directory: Where the file goes.
    """
    picture = Picture(
        f"placement-{study.variant}.png",
        f"{study.variant}, seed {seed}: allocated part of each node's GPU against arrived load",
    )
    order = sorted(range(len(study.nodes)), key=lambda row: (study.nodes[row].model, row))
    models = [study.nodes[row].model for row in order]
    starts = [row for row, model in enumerate(models) if row == 0 or model != models[row - 1]]
    figure = Figure(figsize=(3.0 * len(usages) + 1.5, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(usages), squeeze=False, sharey=True)[0]
    image = None
    for axes, (policy, usage) in zip(panels, usages.items(), strict=True):
        image = axes.imshow(
            usage[:, order].T,
            aspect="auto",
            interpolation="nearest",
            cmap="viridis",
            vmin=0.0,
            vmax=1.0,
        )
        axes.set_title(policy, loc="left")
        axes.set_xlabel("arrived load, %")
    shown = [row for row in starts if models.count(models[row]) >= _LEAST_TICKED * len(models)]
    panels[0].set_yticks(shown, [models[row] or "no card" for row in shown])
    panels[0].set_ylabel("nodes by model, as the trace lists them")
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="allocated part of the node's GPU")
    _save(figure, directory / picture.file)
    return picture


def _same_seeds(runs: Sequence[RunOutcome], *, published: Published) -> list[PublishedCurves]:
    """Find what was published of a policy on the same arrivals; if nothing was, on any."""
    name = PUBLISHED_NAMES.get(runs[0].policy)
    theirs = {seed: curves for (policy, seed), curves in published.items() if policy == name}
    recorded = {run.seed for run in runs if run.is_recorded}
    same = [curves for seed, curves in theirs.items() if seed in recorded]
    return same or list(theirs.values())


def _draw_policy(
    axes: Axes,
    curves: Sequence[Sequence[float]],
    *,
    theirs: Sequence[NDArray[np.float64]],
    label: str,
    colour: tuple[float, float, float, float],
) -> None:
    ours = np.array(curves, dtype=np.float64)
    told = ~np.isnan(ours).any(axis=0)
    loads, ours = _LOADS[told], ours[:, told]
    axes.plot(loads, ours.mean(axis=0), color=colour, linewidth=1.6, label=label)
    axes.fill_between(
        loads, ours.min(axis=0), ours.max(axis=0), color=colour, alpha=0.2, linewidth=0
    )
    if theirs:
        axes.plot(_LOADS, np.mean(theirs, axis=0), color="#000000", linewidth=0.8, linestyle="--")


def _save(figure: Figure, path: Path) -> None:
    # No version of the library, so that its next release need not change the bytes.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
