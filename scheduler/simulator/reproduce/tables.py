"""Tables of what was reproduced. Pure."""

from collections.abc import Sequence
from typing import Final

from scheduler.simulator.experiments.statistics import Estimate
from scheduler.simulator.experiments.table import Table
from scheduler.simulator.reproduce.comparison import BASELINE, LOADS, Gain, Row, Value

_NONE: Final = "-"


def result_tables(rows: Sequence[Row], *, is_wide: bool = False) -> list[Table]:
    """Show allocation and fragmentation of each policy on each variant beside the published ones.

    Args:
        rows: In the order in which they are shown.
        is_wide: Whether to add the means over all published seeds, for which a terminal has no
            room.
    """
    head = ["variant, policy", "seeds"]
    for load in LOADS:
        head += [f"{load} %", "publ.", "diff."]
    head.append("worst")
    if is_wide:
        head += [f"{load} %, all published seeds" for load in LOADS]
    tables = []
    for title, key in (
        ("GPU allocated, % of capacity, by arrived load", "allocated"),
        ("GPU fragmented, % of capacity, by arrived load", "fragmented"),
    ):
        cells = []
        for row in rows:
            values: dict[int, Value] = getattr(row, key)
            line = [f"{row.variant} {row.policy}", _seeds(row)]
            for load in LOADS:
                line += _value(values.get(load))
            line.append(_worst(row))
            if is_wide:
                all_seeds: dict[int, float] = getattr(row, f"published_{key}")
                line += [_percent(all_seeds.get(load)) for load in LOADS]
            cells.append(tuple(line))
        tables.append(Table(title, tuple(head), tuple(cells)))
    return tables


def gain_table(gains: Sequence[Gain]) -> Table:
    """Show what policies of ours allocate more than the baseline, paired by seed."""
    rows = tuple(
        (
            f"{gain.variant} {gain.policy}",
            f"{len(gain.seeds)} ({gain.n_recorded} recorded)",
            *(_estimate(gain.allocated.get(load)) for load in LOADS),
            *(_estimate(gain.fragmented.get(load)) for load in LOADS),
        )
        for gain in gains
    )
    head = (
        "variant, policy",
        "seeds",
        *(f"alloc. {load} %" for load in LOADS),
        *(f"frag. {load} %" for load in LOADS),
    )
    return Table(f"Less {BASELINE}, in points, paired by seed", head, rows)


def _seeds(row: Row) -> str:
    return f"{len(row.seeds)} {'recorded' if row.is_recorded else 'drawn'}"


def _value(value: Value | None) -> tuple[str, str, str]:
    if value is None:
        return _NONE, _NONE, _NONE
    if value.difference is None:
        return _percent(value.ours), _NONE, _NONE
    difference = f"{round(value.difference, 2) + 0.0:+.2f}"  # no minus zero
    return _percent(value.ours), _percent(value.published), difference


def _worst(row: Row) -> str:
    if row.worst_run_difference is not None:
        return f"{row.worst_run_difference:.3f}"
    if row.worst_mean_difference is not None:
        return f"{row.worst_mean_difference:.2f}*"
    return _NONE


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return _NONE
    if estimate.half_width is None:
        return f"{estimate.mean:+.2f}"
    return f"{estimate.mean:+.2f} ± {estimate.half_width:.2f}"
