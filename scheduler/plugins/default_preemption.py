"""DefaultPreemption: makes room for a pod by evicting pods of less priority.

The steps and criteria are upstream's (kube-scheduler 1.36, ``framework/preemption``), with two
differences: where the search begins is drawn from the pod's uid, not by chance, and a gang is
evicted whole or not at all.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from kube.objects import PodDisruptionBudget
from kube.selectors import LabelQuery, label_query
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult
from scheduler.framework.interface import (
    ClusterEvent,
    FailedSearch,
    PluginArgs,
    PostFilterPlugin,
    PostFilterResult,
)
from scheduler.framework.kept_rows import KeptRows
from scheduler.framework.snapshot import Snapshot, stable_hash
from scheduler.framework.status import PASSED, SUCCESS, Code, unschedulable
from scheduler.model import PodFacts

NOT_HELPFUL: Final = "Preemption is not helpful for scheduling"
NO_VICTIMS: Final = "No preemption victims found for incoming pod"

_MAX_KEPT: Final = 16
_LOWEST_PRIORITY: Final = -(2**31)


class DefaultPreemptionArgs(PluginArgs, frozen=True):
    """Arguments of DefaultPreemption: how many nodes to try."""

    min_candidate_nodes_percentage: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    min_candidate_nodes_absolute: Annotated[int, msgspec.Meta(ge=0)] = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node on which the pod would fit without some pods."""

    node: str
    victims: tuple[PodFacts, ...]
    """The most important first; pods of the victims' gangs on other nodes come last."""
    n_violations: int
    """How many of them a disruption budget protects."""
    rank: tuple[float, ...]
    """The smallest is the best: it breaks fewest budgets, and costs the least important pods."""

    @classmethod
    def of(cls, node: str, *, victims: tuple[PodFacts, ...], n_violations: int) -> "Candidate":
        """Rank a choice, by upstream's criteria in their order."""
        priorities = [victim.priority for victim in victims]
        highest = max(priorities)
        earliest_s = min(_started_s(v) for v in victims if v.priority == highest)
        rank = (
            n_violations,
            highest,
            sum(priority - _LOWEST_PRIORITY for priority in priorities),
            len(priorities),
            -earliest_s,
        )
        return cls(node, victims, n_violations, rank)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a trial of one node came to."""

    candidate: Candidate | None
    reasons: tuple[str, ...] = ()
    """Why it is none."""


_Kept = KeptRows[_Judged]


class DefaultPreemption(PostFilterPlugin):
    """Finds the node where the least would be lost by evicting pods of less priority."""

    name = "DefaultPreemption"
    args_type: ClassVar[type[PluginArgs]] = DefaultPreemptionArgs
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.ASSIGNED_POD_DELETE

    def __init__(self, args: DefaultPreemptionArgs) -> None:
        super().__init__(args)
        self._percentage = args.min_candidate_nodes_percentage
        self._absolute = args.min_candidate_nodes_absolute
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()

    def post_filter(
        self, state: CycleState, *, pod: PodFacts, search: FailedSearch
    ) -> PostFilterResult:
        """Nominate the pod to the node where evicting costs least."""
        reason = _not_eligible(pod, search)
        if reason:
            return PostFilterResult(status=unschedulable(f"preemption: {reason}"))
        candidates, why_not = self.candidates(pod, search=search)
        if not candidates:
            return PostFilterResult(status=unschedulable(f"preemption: {why_not}"), node="")
        chosen = equally_good(candidates)[0]
        return PostFilterResult(status=SUCCESS, node=chosen.node, victims=chosen.victims)

    def candidates(self, pod: PodFacts, *, search: FailedSearch) -> tuple[list[Candidate], str]:
        """Find nodes on which evictions would help.

        Returns:
            The candidates, in the order of the search, and why the nodes looked at are none.
        """
        rows = np.flatnonzero(search.found.codes == Code.UNSCHEDULABLE)
        n_wanted = min(rows.size, max(rows.size * self._percentage // 100, self._absolute))
        kept = self._kept_for(pod, search)
        reasons = Counter({NOT_HELPFUL: search.snapshot.n_nodes - int(rows.size)})
        candidates: list[Candidate] = []
        # Not always from the same end: or the same nodes' pods would be evicted every time.
        ordered = np.roll(rows, -(stable_hash(pod.uid) % max(1, rows.size))).tolist()
        for start in range(0, len(ordered), max(1, n_wanted)):
            judged = _judge(ordered[start : start + n_wanted], pod, search, kept.found)
            reasons.update(chain.from_iterable([each.reasons for each in judged]))
            candidates += [each.candidate for each in judged if each.candidate is not None]
            # More than enough is no reason to break a budget where another node needs none broken.
            if len(candidates) >= n_wanted and any(c.n_violations == 0 for c in candidates):
                break
        n_nodes = search.snapshot.n_nodes
        words = ", ".join(sorted(f"{n} {reason}" for reason, n in reasons.items() if n))
        return candidates, f"0/{n_nodes} nodes are available: {words}."

    def _kept_for(self, pod: PodFacts, search: FailedSearch) -> _Kept:
        """Return the trials of such a pod that still hold."""
        if search.signature is None:
            return _Kept()
        key = (search.signature, pod.priority)
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        kept.update(search.snapshot, nominations=search.nominations)
        return kept


def _judge(
    rows: list[int], pod: PodFacts, search: FailedSearch, kept: dict[int, _Judged]
) -> list[_Judged]:
    """Try some nodes, those aside of which it is known what came of it."""
    # A pod need not make way for itself: what holds for it on its own node is nobody else's.
    own = search.snapshot.rows.get(search.nominations.node_of(pod.uid))
    unknown = [row for row in rows if row == own or row not in kept]
    if not unknown:
        return [kept[row] for row in rows]
    fresh = _Trial(pod, search=search).run(unknown)
    # What depends on a gang depends on other nodes, too.
    gangs = {row for row in fresh if any(pod.pod_group for pod in search.snapshot.pods_on(row))}
    kept |= {row: judged for row, judged in fresh.items() if row != own and row not in gangs}
    return [fresh[row] if row in fresh else kept[row] for row in rows]


def equally_good(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the best candidates, in the order in which they were found."""
    found = list(candidates)
    best = min(candidate.rank for candidate in found)
    return [candidate for candidate in found if candidate.rank == best]


def _not_eligible(pod: PodFacts, search: FailedSearch) -> str:
    if not pod.may_preempt:
        return "not eligible due to preemptionPolicy=Never."
    row = search.snapshot.rows.get(search.nominations.node_of(pod.uid))
    if row is None or search.found.codes[row] == Code.UNSCHEDULABLE_AND_UNRESOLVABLE:
        return ""
    if any(
        victim.is_terminating and victim.is_preempted and victim.priority < pod.priority
        for victim in search.snapshot.pods_on(row)
    ):
        return "not eligible due to a terminating pod on the nominated node."
    return ""


@dataclass(frozen=True, slots=True)
class _Budget:
    """A disruption budget, read for this search."""

    namespace: str
    query: LabelQuery
    n_allowed: int
    disrupted: frozenset[str]

    def protects(self, pod: PodFacts) -> bool:
        return (
            pod.namespace == self.namespace
            and pod.name not in self.disrupted
            and self.query.matches(pod.labels)
        )


def _budgets(snapshot: Snapshot) -> list[_Budget]:
    budgets = []
    for each in snapshot.objects.all(PodDisruptionBudget):
        query = label_query(each.spec.selector)
        if query is not None and query.requirements:
            status = each.status
            disrupted = frozenset(status.disrupted_pods or ())
            namespace = each.metadata.namespace
            budgets.append(_Budget(namespace, query, status.disruptions_allowed, disrupted))
    return budgets


def _started_s(pod: PodFacts) -> float:
    """A pod that has not started is newer than all that have."""
    return pod.start_time_s or float("inf")


def _importance(pod: PodFacts) -> tuple[int, float]:
    """Sort by this: the most important pod first."""
    return -pod.priority, _started_s(pod)


@dataclass(slots=True)
class _Node:
    """A node on trial."""

    row: int
    name: str
    spared: list[PodFacts]
    """Whom to try to keep: those that budgets protect first, then by importance."""
    n_protected: int
    """So many at the head of ``spared`` are protected by budgets."""
    victims: list[PodFacts] = field(default_factory=list)
    n_violations: int = 0


class _Trial:
    """Tries some nodes at once: each filter is asked of all of them in one call."""

    def __init__(self, pod: PodFacts, *, search: FailedSearch) -> None:
        self._pod = pod
        self._search = search
        self._budgets = _budgets(search.snapshot)
        self._what_if = search.snapshot.what_if()
        self._is_spared: dict[str, bool] = {}

    def run(self, rows: Sequence[int]) -> dict[int, _Judged]:
        """Judge nodes by their rows."""
        judged = dict.fromkeys(rows, _Judged(None, (NO_VICTIMS,)))
        nodes = [node for row in rows if (node := self._prepare(row)) is not None]
        if not nodes:
            return judged
        found = self._search.refilter(self._what_if, [node.row for node in nodes])
        fitting = [node for node in nodes if found.codes[node.row] == PASSED]
        self._reprieve(fitting)
        judged |= {node.row: _Judged(None, _reasons(found, row=node.row)) for node in nodes}
        return judged | {node.row: _Judged(self._candidate(node)) for node in fitting}

    def _prepare(self, row: int) -> _Node | None:
        """Take all pods of less priority off a node."""
        snapshot, priority = self._search.snapshot, self._pod.priority
        lower = [
            pod
            for pod in snapshot.pods_on(row)
            if pod.priority < priority and not self._must_spare(pod)
        ]
        if not lower:
            return None
        name = snapshot.names[row]
        for pod in lower:
            self._what_if.remove_pod(pod, node=name)
        lower.sort(key=_importance)
        protected, others = self._by_protection(lower)
        return _Node(row, name, spared=protected + others, n_protected=len(protected))

    def _must_spare(self, pod: PodFacts) -> bool:
        """Whether a pod's gang has members that may not be evicted: then none of it may."""
        if not pod.pod_group:
            return False
        key = pod.group_key
        if key not in self._is_spared:
            gang = self._search.snapshot.gang(key)
            self._is_spared[key] = any(m.priority >= self._pod.priority for m in gang)
        return self._is_spared[key]

    def _by_protection(self, pods: list[PodFacts]) -> tuple[list[PodFacts], list[PodFacts]]:
        """Part those whose eviction would break a budget from the others."""
        if not self._budgets:
            return [], pods
        left = [budget.n_allowed for budget in self._budgets]
        protected: list[PodFacts] = []
        others: list[PodFacts] = []
        for pod in pods:
            is_violating = False
            # As upstream, a pod without labels is protected by none.
            for number, budget in enumerate(self._budgets) if pod.labels else ():
                if budget.protects(pod):
                    left[number] -= 1
                    is_violating |= left[number] < 0
            (protected if is_violating else others).append(pod)
        return protected, others

    def _reprieve(self, nodes: list[_Node]) -> None:
        """Put pods back, one of each node at a time, and keep those that the pod fits beside."""
        n_rounds = max((len(node.spared) for node in nodes), default=0)
        for number in range(n_rounds):
            on_trial = [node for node in nodes if number < len(node.spared)]
            for node in on_trial:
                self._what_if.add_pod(node.spared[number], node=node.name)
            rows = [node.row for node in on_trial]
            codes = self._search.refilter(self._what_if, rows).codes
            for node in on_trial:
                if codes[node.row] != PASSED:
                    pod = node.spared[number]
                    self._what_if.remove_pod(pod, node=node.name)
                    node.victims.append(pod)
                    node.n_violations += number < node.n_protected

    def _candidate(self, node: _Node) -> Candidate | None:
        if not node.victims:
            return None
        victims = sorted(node.victims, key=_importance)
        return Candidate.of(
            node.name,
            victims=(*victims, *self._elsewhere(victims)),
            n_violations=node.n_violations,
        )

    def _elsewhere(self, victims: list[PodFacts]) -> list[PodFacts]:
        """List the rest of the victims' gangs: none of it would be of use alone."""
        keys = dict.fromkeys(victim.group_key for victim in victims if victim.pod_group)
        if not keys:
            return []
        chosen = {victim.uid for victim in victims}
        rest = [m for key in keys for m in self._search.snapshot.gang(key) if m.uid not in chosen]
        return sorted(rest, key=lambda pod: (*_importance(pod), pod.key))


def _reasons(found: FilterResult, *, row: int) -> tuple[str, ...]:
    return tuple(each.reason for each in found.rejections if each.nodes[row])
