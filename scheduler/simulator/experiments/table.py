"""Tables of what an evaluation came to: for a terminal, and as Markdown. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Final

from scheduler.simulator.experiments.results import RunResult
from scheduler.simulator.experiments.statistics import (
    METRICS,
    MODEL_METRICS,
    Comparison,
    Estimate,
    PolicySummary,
    Ratio,
    Summary,
)
from scheduler.simulator.experiments.verdicts import Verdict

MAX_COLUMNS: Final = 100
"""Width of a terminal's table; a wider one goes on below with its other columns."""
_NONE: Final = "-"
_ROUNDING: Final = 1e-9
"""Intervals that are relatively narrower come of rounding: all values are the same."""
_GROUPS: Final = (
    ("Troubles per 1,000 placements", METRICS[:4]),
    ("Throttling in the run, and waiting", METRICS[4:8]),
    ("Use of nodes", METRICS[8:12]),
    ("By the scenario's reward", METRICS[12:13]),
    ("Network, a mean over pods and time", METRICS[13:14]),
    ("Services of which no pod was ready, in the run", METRICS[14:]),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Texts in rows below a head; a text may have several lines."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_words: int = 1
    """How many columns, from the left, hold words; the others hold numbers, and go to the right."""


def metric_tables(summary: Summary) -> list[Table]:
    """Show each policy's means and, below each, its ratio to the baseline.

    What no run tells anything of is left out.
    """
    return [
        Table(
            title,
            ("policy", *(metric.title for metric in metrics)),
            tuple(
                (
                    _name(policy, baseline=summary.baseline),
                    *(_cell(policy, metric.key) for metric in metrics),
                )
                for policy in summary.policies
            ),
        )
        for title, metrics in _GROUPS
        if any(metric.key in policy.values for policy in summary.policies for metric in metrics)
    ]


def waiting_tables(results: Sequence[RunResult]) -> list[Table]:
    """Show how long pods wait in each namespace, a mean over seeds; nothing if all are in one."""
    namespaces = sorted({name for run in results for name in run.pending_p99_s_by_namespace})
    if len(namespaces) < 2:
        return []
    policies = list(dict.fromkeys(run.policy for run in results))
    rows = []
    for policy in policies:
        runs = [run.pending_p99_s_by_namespace for run in results if run.policy == policy]
        found = [[run[name] for run in runs if name in run] for name in namespaces]
        rows.append((policy, *(f"{fmean(each):,.1f}" if each else _NONE for each in found)))
    return [Table("Pending p99 by namespace, s", ("policy", *namespaces), tuple(rows))]


def model_tables(summary: Summary) -> list[Table]:
    """Show how well served models predicted, and how trainings ended; nothing if none learnt."""
    tables = []
    served = [policy for policy in summary.policies if policy.model]
    if served:
        head = ("policy", *(metric.title for metric in MODEL_METRICS))
        rows = tuple(
            (policy.policy, *(estimate_text(policy.model.get(m.key)) for m in MODEL_METRICS))
            for policy in served
        )
        tables.append(Table("The served model against its baselines", head, rows))
    learners = [policy for policy in summary.policies if policy.trainings]
    if learners:
        endings = sorted({ending for policy in learners for ending in policy.trainings})
        rows = tuple(
            (policy.policy, *(f"{policy.trainings.get(ending, 0.0):.1f}" for ending in endings))
            for policy in learners
        )
        tables.append(Table("Trainings a run, by result", ("policy", *endings), rows))
    return tables


def pace_tables(results: Sequence[RunResult]) -> list[Table]:
    """Show how virtual time passed with programs; nothing if none scheduled."""
    paced = [(run, run.pace) for run in results if run.pace is not None]
    if not paced:
        return []
    head = ("program", "seed", "virtual h", "real s", "waits", "waited, s", "in vain", "its cpu, s")
    rows = tuple(
        (
            run.policy,
            str(run.seed),
            f"{run.measured_h:.2f}",
            f"{pace.wall_s:.1f}",
            str(pace.n_waits),
            f"{pace.waited_s:.1f}",
            str(pace.n_timeouts),
            f"{pace.scheduler_cpu_s:.1f}",
        )
        for run, pace in paced
    )
    return [Table("Programs, run by run", head, rows)]


def verdict_table(verdicts: Sequence[Verdict], *, baseline: str) -> Table:
    """Show what was asked of each policy, what it did, and whether that will do."""
    return Table(
        f"Targets, against {baseline}",
        ("policy", "metric", "target", "verdict", "found"),
        tuple(
            (
                verdict.policy,
                verdict.metric,
                _target_text(verdict),
                _verdict_word(verdict),
                _found_text(verdict),
            )
            for verdict in verdicts
        ),
        n_words=4,
    )


def markdown_table(table: Table) -> str:
    """Write a table in Markdown, under its title as a heading."""
    rules = (":--" if i < table.n_words else "--:" for i in range(len(table.head)))
    lines = [_markdown_row(table.head), _markdown_row(rules), *map(_markdown_row, table.rows)]
    return f"### {table.title}\n\n" + "\n".join(lines) + "\n"


def text_table(table: Table) -> str:
    """Write a table in aligned columns."""
    widths = [
        max(len(line) for row in (table.head, *table.rows) for line in row[i].split("\n"))
        for i in range(len(table.head))
    ]
    blocks = [
        "\n".join(
            line
            for row in (table.head, *table.rows)
            for line in _text_lines(row, block=block, widths=widths, n_words=table.n_words)
        )
        for block in _blocks(widths)
    ]
    return f"{table.title}\n" + "\n\n".join(blocks) + "\n"


def estimate_text(estimate: Estimate | None) -> str:
    """Write a mean and half of its interval, to the second digit of the latter."""
    if estimate is None:
        return _NONE
    mean, half_width = estimate.mean, estimate.half_width
    if half_width is None:
        return _number(mean, decimals=_decimals(mean, digits=3))
    is_wide = half_width > _ROUNDING * abs(mean)
    decimals = _decimals(half_width, digits=2) if is_wide else _decimals(mean, digits=3)
    return f"{_number(mean, decimals=decimals)} ± {_number(half_width, decimals=decimals)}"


def ratio_text(ratio: Ratio) -> str:
    """Write a ratio and its interval."""
    if ratio.value is None:
        return "baseline 0"
    if ratio.low is None or ratio.high is None:
        return f"×{ratio.value:.2f}"
    return f"×{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _cell(policy: PolicySummary, key: str) -> str:
    value = estimate_text(policy.values.get(key))
    comparison = policy.against_baseline.get(key)
    return value if comparison is None else f"{value}\n{_comparison_text(comparison)}"


def _comparison_text(comparison: Comparison) -> str:
    if comparison.mean == comparison.baseline_mean == 0.0:
        return "no difference"
    return ratio_text(comparison.ratio)


def _name(policy: PolicySummary, *, baseline: str) -> str:
    return policy.policy if policy.policy == baseline else f"{policy.policy}\n  to {baseline}"


def _target_text(verdict: Verdict) -> str:
    if verdict.scale == "ratio":
        return f"at most ×{verdict.at_most:.2f}"
    return "not clearly more" if verdict.is_chance_excused else "no more"


def _found_text(verdict: Verdict) -> str:
    if verdict.scale == "ratio":
        return ratio_text(Ratio(value=verdict.found, low=verdict.low, high=verdict.high))
    if verdict.found is None or verdict.low is None or verdict.high is None:
        return _NONE if verdict.found is None else f"{verdict.found:+.2f}"
    half_width = (verdict.high - verdict.low) / 2.0
    decimals = _decimals(half_width or verdict.found, digits=2)
    found, low, high = (
        f"{number:+.{decimals}f}" for number in (verdict.found, verdict.low, verdict.high)
    )
    return f"{found} [{low}, {high}]"


def _verdict_word(verdict: Verdict) -> str:
    word = "met" if verdict.is_met else "missed"
    return f"{word}, within chance" if verdict.is_clear is False else word


def _number(value: float, *, decimals: int) -> str:
    return f"{value:,.{decimals}f}"


def _decimals(value: float, *, digits: int) -> int:
    """Count the decimals that show so many significant digits; four at the most."""
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return min(max(digits - 1 - exponent, 0), 4) if value else 0


def _markdown_row(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _blocks(widths: Sequence[int]) -> list[list[int]]:
    """Put columns side by side as far as they fit; each block begins with the first column."""
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(widths)):
        width = sum(widths[i] + 2 for i in blocks[-1]) + widths[column]
        if width > MAX_COLUMNS and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(column)
    return blocks


def _text_lines(
    row: Sequence[str], *, block: Sequence[int], widths: Sequence[int], n_words: int
) -> list[str]:
    cells = [row[i].split("\n") for i in block]
    return [
        "  ".join(
            text.ljust(widths[i]) if i < n_words else text.rjust(widths[i])
            for i, text in zip(block, texts, strict=True)
        ).rstrip()
        for texts in zip_longest(*cells, fillvalue="")
    ]
