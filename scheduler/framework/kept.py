"""What plugins said of every node, brought up to date in place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scheduler.framework.columns import Rows
from scheduler.framework.interface import ScorePlugin
from scheduler.framework.profile import Profile
from scheduler.framework.status import BoolColumn, CodeColumn, ScoreColumn, Verdicts
from scheduler.framework.weighing import are_in_range, normalized


@dataclass(slots=True)
class _Refusals:
    """One filter's verdicts."""

    codes: CodeColumn
    reasons: dict[str, BoolColumn]

    @classmethod
    def of(cls, verdicts: Verdicts | None, *, n_nodes: int) -> "_Refusals":
        if verdicts is None:
            return cls(np.zeros(n_nodes, dtype=np.uint8), {})
        reasons: dict[str, BoolColumn] = {}
        for reason, nodes in verdicts.reasons:
            reasons[reason] = nodes | reasons[reason] if reason in reasons else nodes.copy()
        return cls(verdicts.codes.copy(), reasons)

    def patch(self, rows: Rows, new: "_Refusals") -> None:
        self.codes[rows] = new.codes
        for reason in new.reasons:
            if reason not in self.reasons:
                self.reasons[reason] = np.zeros(self.codes.size, dtype=np.bool_)
        for reason, nodes in self.reasons.items():
            nodes[rows] = new.reasons.get(reason, False)


class KeptVerdicts:
    """Verdicts by filter."""

    def __init__(self) -> None:
        self._n_nodes = 0
        self._refusals: dict[str, _Refusals | None] = {}

    def __contains__(self, plugin: str) -> bool:
        return plugin in self._refusals

    def __getitem__(self, plugin: str) -> Verdicts | None:
        """Return what a filter says, to be read before it changes; ``None`` passes all nodes.

        Raises:
            KeyError: Nothing is kept of it.
        """
        refusals = self._refusals[plugin]
        if refusals is None:
            return None
        return Verdicts(refusals.codes, list(refusals.reasons.items()))

    def replace(self, told: Mapping[str, Verdicts | None], *, n_nodes: int) -> None:
        """Keep what is said of all nodes."""
        self._n_nodes = n_nodes
        self._refusals = {
            name: None if verdicts is None else _Refusals.of(verdicts, n_nodes=n_nodes)
            for name, verdicts in told.items()
        }

    def patch(self, rows: Rows, told: Mapping[str, Verdicts | None]) -> None:
        """Take in what some of the filters say of some rows."""
        for name, verdicts in told.items():
            refusals = self._refusals[name]
            if refusals is None and verdicts is None:
                continue
            if refusals is None:
                refusals = self._refusals[name] = _Refusals.of(None, n_nodes=self._n_nodes)
            refusals.patch(rows, _Refusals.of(verdicts, n_nodes=rows.size))
            if not refusals.codes.any():
                self._refusals[name] = None


@dataclass(slots=True)
class _Weighed:
    """Weighted scores of some plugins, and their sum; shape ``(n_nodes,)`` each."""

    by_plugin: dict[str, ScoreColumn]
    total: ScoreColumn

    @classmethod
    def none(cls, n_nodes: int) -> "_Weighed":
        return cls({}, np.zeros(n_nodes, dtype=np.int64))

    def add(self, plugin: str, column: ScoreColumn) -> None:
        self.by_plugin[plugin] = column
        self.total += column

    def patch(self, plugin: str, rows: Rows, new: ScoreColumn) -> None:
        self.total[rows] += new - self.by_plugin[plugin][rows]
        self.by_plugin[plugin][rows] = new


class KeptScores:
    """Scores by plugin, and their sum.

    Args:
        profile: Whose plugins they are.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._raw: dict[str, ScoreColumn] = {}
        self._absolute = _Weighed.none(0)
        """Of the plugins that leave NormalizeScore as it is: true whatever nodes are feasible."""
        self._is_in_range = True
        self._relative: dict[str, ScoreColumn] = {}
        """Of the others, normalized among the nodes that were feasible the last time; without
        those that are to be normalized anew."""
        self._feasible: BoolColumn = np.zeros(0, dtype=np.bool_)
        """These nodes."""

    def weighed(self, feasible: BoolColumn) -> tuple[ScoreColumn, Mapping[str, ScoreColumn]]:
        """Return the sum of the weighted scores, and each plugin's.

        Returns:
            Shape ``(n_nodes,)`` each, to be read before they change; of nodes that are not feasible
            they say nothing.

        Raises:
            PluginError: A plugin's score left 0..100.
        """
        if not self._is_in_range:
            self._check(feasible)
        if not np.array_equal(self._feasible, feasible):
            self._feasible = feasible.copy()
            self._relative.clear()
        self._normalize()
        total = self._absolute.total.copy()
        for column in self._relative.values():
            total += column
        return total, {**self._absolute.by_plugin, **self._relative}

    def replace(self, told: Mapping[str, ScoreColumn], *, n_nodes: int) -> None:
        """Keep the scores of all nodes, as they are before normalization."""
        self._raw = {name: column.copy() for name, column in told.items()}
        self._absolute = _Weighed.none(n_nodes)
        for plugin in self._plugins(is_relative=False):
            column = self._raw[plugin.name] * self._profile.weights[plugin.name]
            self._absolute.add(plugin.name, column)
        self._is_in_range = all(are_in_range(self._raw[n]) for n in self._absolute.by_plugin)
        self._relative.clear()

    def patch(self, rows: Rows, told: Mapping[str, ScoreColumn]) -> None:
        """Take in some plugins' scores of some rows."""
        for plugin, new in told.items():
            column = self._raw[plugin]
            if np.array_equal(column[rows], new):
                continue
            column[rows] = new
            if plugin in self._absolute.by_plugin:
                self._absolute.patch(plugin, rows, new * self._profile.weights[plugin])
                self._is_in_range = self._is_in_range and are_in_range(new)
            else:
                # One node's score may be the measure of all the others'.
                self._relative.pop(plugin, None)

    def _normalize(self) -> None:
        rows = np.flatnonzero(self._feasible)
        for plugin in self._plugins(is_relative=True):
            if plugin.name not in self._relative:
                column = np.zeros(self._feasible.size, dtype=np.int64)
                scores = normalized(plugin, self._raw[plugin.name][rows])
                column[rows] = scores * self._profile.weights[plugin.name]
                self._relative[plugin.name] = column

    def _check(self, feasible: BoolColumn) -> None:
        """Hold the feasible nodes' scores to their range; the others' do not matter."""
        for plugin in self._plugins(is_relative=False):
            normalized(plugin, self._raw[plugin.name][feasible])

    def _plugins(self, *, is_relative: bool) -> Iterator[ScorePlugin]:
        for plugin in self._profile.score:
            has_own = type(plugin).normalize is not ScorePlugin.normalize
            if plugin.name in self._raw and has_own == is_relative:
                yield plugin
