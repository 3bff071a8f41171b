"""Runs a profile's plugins for one pod: which nodes are feasible, and how good they are."""

import math
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from scheduler.errors import PluginError
from scheduler.framework.columns import Rows
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult, Refusal, Rejection
from scheduler.framework.interface import (
    FailedSearch,
    PostFilterResult,
    PreFilterResult,
)
from scheduler.framework.kept_rows import KeptRows
from scheduler.framework.nominations import Nominations
from scheduler.framework.profile import Profile
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.standing import Standing
from scheduler.framework.status import (
    PASSED,
    BoolColumn,
    Code,
    CodeColumn,
    ScoreColumn,
    Status,
    unresolvable,
)
from scheduler.framework.weighing import normalized
from scheduler.model import PodFacts

_SUCCESS: Final = Code.SUCCESS.word


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The feasible nodes' scores."""

    rows: Rows
    """Shape ``(n_feasible,)``; row numbers of the snapshot."""
    totals: ScoreColumn
    """Shape ``(n_feasible,)``; sum of the weighted scores."""
    columns: Mapping[str, ScoreColumn] = field(default_factory=dict)
    """By plugin, weighted, shape ``(n_feasible,)`` each; plugins that skipped are left out."""
    kept: Container[str] = ()
    """Plugins whose columns are of shape ``(n_nodes,)``."""

    @property
    def by_plugin(self) -> Mapping[str, ScoreColumn]:
        """As ``columns``, all of shape ``(n_feasible,)``."""
        return self.at(np.arange(self.rows.size))

    def at(self, places: Rows) -> dict[str, ScoreColumn]:
        """Return each plugin's scores of the nodes at some places of ``rows``."""
        rows = self.rows[places]
        return {
            name: column[rows if name in self.kept else places]
            for name, column in self.columns.items()
        }


class FilterRun:
    """PreFilter once, then Filter as often as a cycle needs it.

    Args:
        profile: Whose plugins to run.
        state: The cycle's.
        pod: The pod.
        snapshot: The nodes as they are believed to be.
        nominations: Who was promised room.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        state: CycleState,
        pod: PodFacts,
        snapshot: Snapshot,
        nominations: Nominations | None = None,
        standing: Standing | None = None,
    ) -> None:
        self._profile = profile
        self._state = state
        self._pod = pod
        self._snapshot = snapshot
        self._nominations = nominations
        self._search = _Search()
        self._standing = standing

    @property
    def signature(self) -> Hashable | None:
        """Say, after ``run``, what the verdict on a node depends on, besides that node alone.

        ``None`` if it depends on more than can be said.
        """
        if self._standing is None or not all(
            plugin.name in self._search.skipped or plugin.name in self._standing.verdicts
            for plugin in self._profile.filter
        ):
            return None
        return self._standing.signature

    def run(self) -> FilterResult:
        """Run PreFilter and Filter. The first plugin that refuses a node keeps the refusal."""
        refused = self.pre_filter()
        return self.filter() if refused is None else refused

    def pre_filter(self) -> FilterResult | None:
        """Run PreFilter; the result is that of the cycle if the pod is refused everywhere."""
        n_nodes = self._snapshot.n_nodes
        waits: FilterResult | None = None
        for plugin in self._profile.pre_filter:
            result = plugin.pre_filter(self._state, pod=self._pod, snapshot=self._snapshot)
            if not (result.status.is_success or result.status.is_skip):
                refused = _refused(plugin.name, status=result.status, n_nodes=n_nodes)
                if result.status.code is not Code.UNSCHEDULABLE:
                    return refused
                # Evictions may help, and whoever tries them asks all filters.
                waits = refused if waits is None else waits
                continue
            self._search.narrow(plugin.name, result=result)
            if self._search.is_empty:
                refused = _refused("", status=self._search.refusal, n_nodes=n_nodes)
                return replace(refused, rejectors=frozenset(self._search.narrowed_by))
        return waits

    def filter(self) -> FilterResult:
        """Run Filter, after ``pre_filter``."""
        return self._filter(self._snapshot)

    def refilter(self, what_if: Snapshot, rows: Sequence[int]) -> FilterResult:
        """Run Filter on a what-if of the snapshot, after ``run``; only *rows* are to be read."""
        verdicts = self._filter_once(what_if)
        self._leave_room(verdicts, what_if, [what_if.names[row] for row in rows])
        return verdicts.result()

    def afresh(self, snapshot: Snapshot) -> FilterResult:
        """Run PreFilter and Filter on another state of the cluster, of which nothing is known."""
        return FilterRun(
            self._profile,
            state=CycleState(),
            pod=self._pod,
            snapshot=snapshot,
            nominations=self._nominations,
        ).run()

    def _filter(self, snapshot: Snapshot) -> FilterResult:
        """Ask twice where room was promised: a pod must fit beside those who were promised it.

        And without them, because its affinity must not depend on pods that may never come. (A node
        that refuses the pod either way says so for the reasons that hold without them.)
        """
        verdicts = self._filter_once(snapshot)
        if not self._nominations or not verdicts.feasible.any():
            return verdicts.result()
        own = self._nominations.node_of(self._pod.uid)
        if own in snapshot.rows:
            self._leave_room(verdicts, snapshot, [own])
            if verdicts.feasible[snapshot.rows[own]]:
                # Room was made there for this pod: the other nodes need no closer look.
                return verdicts.result()
        self._leave_room(verdicts, snapshot, self._nominations.nodes())
        return verdicts.result()

    def _leave_room(self, verdicts: "_Verdicts", snapshot: Snapshot, nodes: Iterable[str]) -> None:
        """Refuse those of some nodes that have no room beside the pods that were promised it."""
        feasible, rows = verdicts.feasible, snapshot.rows
        on_trial = [row for node in nodes if (row := rows.get(node)) is not None and feasible[row]]
        if not on_trial or self._nominations is None:
            return
        kept = self._kept_room(self._nominations, snapshot).found
        # A pod need not make way for itself: what holds for it on its own node is nobody else's.
        own = rows.get(self._nominations.node_of(self._pod.uid))
        unknown = [row for row in on_trial if row == own or row not in kept]
        fresh = self._beside_promised(self._nominations, snapshot, unknown) if unknown else {}
        for row, refusal in fresh.items():
            if row != own:
                kept[row] = refusal
        found = [(row, fresh[row] if row in fresh else kept[row]) for row in on_trial]
        verdicts.refuse([(row, refusal) for row, refusal in found if refusal is not None])

    def _kept_room(self, nominations: Nominations, snapshot: Snapshot) -> KeptRows[Refusal | None]:
        """Return what is known of such pods beside those who were promised room."""
        if snapshot is not self._snapshot or self._standing is None or self.signature is None:
            return KeptRows()
        kept = self._standing.room(self._pod.priority)
        kept.update(snapshot, nominations=nominations)
        return kept

    def _beside_promised(
        self, nominations: Nominations, snapshot: Snapshot, rows: list[int]
    ) -> dict[int, Refusal | None]:
        """Ask the filters about some rows as if those had come who were promised room there."""
        crowded = snapshot.what_if()
        for row in rows:
            node = snapshot.names[row]
            for pod in nominations.ahead_of(self._pod, node=node):
                crowded.add_pod(pod, node=node)
        found = _Verdicts(snapshot.n_nodes)
        self._ask_filters(found, crowded)
        result = found.result()
        return {row: result.refusal(row) for row in rows}

    def _filter_once(self, snapshot: Snapshot) -> "_Verdicts":
        verdicts = _Verdicts(snapshot.n_nodes)
        if self._search.names is not None:
            verdicts.leave_out(self._search.names, snapshot=snapshot, search=self._search)
        self._ask_filters(verdicts, snapshot)
        return verdicts

    def _ask_filters(self, verdicts: "_Verdicts", snapshot: Snapshot) -> None:
        standing = self._standing if snapshot is self._snapshot else None
        for plugin in self._profile.filter:
            if plugin.name not in self._search.skipped:
                if standing is not None and plugin.name in standing.verdicts:
                    found = standing.verdicts[plugin.name]
                else:
                    found = plugin.filter(self._state, pod=self._pod, snapshot=snapshot)
                if found is not None:
                    if found.codes.shape != (snapshot.n_nodes,):
                        raise PluginError(f"{plugin.name}: not one verdict for each node")
                    verdicts.add(plugin.name, codes=found.codes, reasons=list(found.reasons))


class _Search:
    """What PreFilter leaves to look at."""

    def __init__(self) -> None:
        self.names: frozenset[str] | None = None
        self.narrowed_by: list[str] = []
        self.skipped: set[str] = set()

    def narrow(self, plugin: str, *, result: PreFilterResult) -> None:
        if result.status.is_skip:
            self.skipped.add(plugin)
        if result.node_names is not None:
            known = self.names
            self.names = result.node_names if known is None else known & result.node_names
            self.narrowed_by.append(plugin)

    @property
    def is_empty(self) -> bool:
        return self.names is not None and not self.names

    @property
    def refusal(self) -> Status:
        """Of a search that is empty."""
        if len(self.narrowed_by) == 1:
            return unresolvable(f"node(s) didn't satisfy plugin {self.narrowed_by[0]}")
        return unresolvable(f"{_unsatisfied(self.narrowed_by)} simultaneously")


def _unsatisfied(plugins: Iterable[str]) -> str:
    return f"node(s) didn't satisfy plugin(s) [{' '.join(plugins)}]"


def _refused(plugin: str, *, status: Status, n_nodes: int) -> FilterResult:
    everywhere = np.ones(n_nodes, dtype=np.bool_)
    return FilterResult(
        codes=np.full(n_nodes, status.code, dtype=np.uint8),
        rejections=tuple(Rejection(plugin, reason, everywhere) for reason in status.reasons),
        pre_filter_message=", ".join(status.reasons),
        rejectors=frozenset({plugin} - {""}),
    )


class _Verdicts:
    """Gathers the filters' verdicts, first come first served."""

    def __init__(self, n_nodes: int) -> None:
        self._codes = np.zeros(n_nodes, dtype=np.uint8)
        self._rejections: list[Rejection] = []
        self._rejectors: set[str] = set()

    @property
    def feasible(self) -> BoolColumn:
        """The nodes that nobody has refused so far."""
        return np.equal(self._codes, PASSED)

    def leave_out(self, names: frozenset[str], *, snapshot: Snapshot, search: _Search) -> None:
        outside = np.ones(snapshot.n_nodes, dtype=np.bool_)
        outside[[row for name in names if (row := snapshot.rows.get(name)) is not None]] = False
        self._codes[outside] = Code.UNSCHEDULABLE_AND_UNRESOLVABLE
        self._rejections.append(Rejection("", _unsatisfied(sorted(search.narrowed_by)), outside))
        self._rejectors.update(search.narrowed_by)

    def add(self, plugin: str, *, codes: CodeColumn, reasons: list[tuple[str, BoolColumn]]) -> None:
        new = (codes != PASSED) & (self._codes == PASSED)
        if not new.any():
            return
        self._codes = np.where(new, codes, self._codes)
        self._rejectors.add(plugin)
        self._rejections += [Rejection(plugin, reason, nodes & new) for reason, nodes in reasons]

    def refuse(self, refused: list[tuple[int, Refusal]]) -> None:
        """Take in what single nodes say."""
        rows: dict[Refusal, list[int]] = {}
        for row, refusal in refused:
            rows.setdefault(refusal, []).append(row)
        for (plugin, code, reasons), on_rows in rows.items():
            nodes = np.zeros(self._codes.size, dtype=np.bool_)
            nodes[on_rows] = True
            codes = nodes.astype(np.uint8) * np.uint8(code)
            self.add(plugin, codes=codes, reasons=[(reason, nodes) for reason in reasons])

    def result(self) -> FilterResult:
        return FilterResult(
            self._codes, tuple(self._rejections), rejectors=frozenset(self._rejectors)
        )


def run_scores(
    profile: Profile,
    *,
    state: CycleState,
    pod: PodFacts,
    snapshot: Snapshot,
    feasible: BoolColumn,
    standing: Standing | None = None,
) -> ScoreResult:
    """Run PreScore, Score and NormalizeScore, and weigh the scores.

    Raises:
        PluginError: A plugin's score left 0..100.
    """
    meter, name = profile.meter, profile.scheduler_name
    began_s = meter.now_s()
    rows = np.flatnonzero(feasible)
    total: ScoreColumn = np.zeros(feasible.size, dtype=np.int64)
    known: Mapping[str, ScoreColumn] = {}
    if standing is not None:
        total, known = standing.scores.weighed(feasible)
    weighing_s = meter.now_s() - began_s
    skipped = {
        plugin.name
        for plugin in profile.pre_score
        if plugin.name not in known
        and plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=feasible).is_skip
    }
    pre_scored_s = meter.passed(
        "PreScore", profile=name, status=_SUCCESS, since_s=began_s + weighing_s
    )
    columns: dict[str, ScoreColumn] = {}
    is_everywhere = rows.size == feasible.size
    totals = total if is_everywhere else total[rows]
    for plugin in profile.score:
        if plugin.name in known:
            columns[plugin.name] = known[plugin.name]
        elif plugin.name not in skipped:
            raw = plugin.score(state, pod=pod, snapshot=snapshot)
            if raw.shape != feasible.shape:
                raise PluginError(f"{plugin.name}: not one score for each node")
            scores = normalized(plugin, raw if is_everywhere else raw.take(rows))
            weight = profile.weights[plugin.name]
            weighted = scores if weight == 1 else scores * weight
            totals += weighted
            columns[plugin.name] = weighted
    meter.passed("Score", profile=name, status=_SUCCESS, since_s=pre_scored_s - weighing_s)
    return ScoreResult(rows, totals, columns, kept=known)


def run_post_filters(
    profile: Profile, *, state: CycleState, pod: PodFacts, search: FailedSearch
) -> PostFilterResult | None:
    """Ask the PostFilter plugins in order, until one makes room.

    Returns:
        What the last one that was asked said, with all reasons; ``None`` without such a plugin,
        or without a node.
    """
    meter, since_s = profile.meter, profile.meter.now_s()
    result = _post_filter(profile, state=state, pod=pod, search=search)
    if result is not None:
        word = result.status.code.word
        meter.passed("PostFilter", profile=profile.scheduler_name, status=word, since_s=since_s)
    return result


def _post_filter(
    profile: Profile, *, state: CycleState, pod: PodFacts, search: FailedSearch
) -> PostFilterResult | None:
    reasons: list[str] = []
    node: str | None = None
    retry_at_s = math.inf
    result: PostFilterResult | None = None
    for plugin in profile.post_filter if search.snapshot.n_nodes else ():
        result = plugin.post_filter(state, pod=pod, search=search)
        if result.status.is_success:
            return replace(result, plugin=plugin.name)
        reasons += result.status.reasons
        node = result.node if node is None else node
        retry_at_s = min(retry_at_s, result.retry_at_s)
    if result is None:
        return None
    status = Status(result.status.code, tuple(reasons))
    return replace(result, node=node, status=status, retry_at_s=retry_at_s)
