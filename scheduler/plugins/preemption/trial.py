"""Trying nodes without some of their pods, and the choice among those that would do."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from scheduler.framework.filter_result import FilterResult
from scheduler.framework.interface import FailedSearch
from scheduler.framework.status import PASSED
from scheduler.model import PodFacts
from scheduler.plugins.preemption.budgets import budgets_of, by_protection
from scheduler.plugins.preemption.rules import EvictionRules, importance

NO_VICTIMS: Final = "No preemption victims found for incoming pod"

_LOWEST_PRIORITY: Final = -(2**31)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node on which the pod would fit without some pods."""

    node: str
    victims: tuple[PodFacts, ...]
    """The most important first; those on other nodes come last."""
    n_violations: int
    """How many of them a disruption budget protects."""
    rank: tuple[float, ...]
    """The smallest is the best: it breaks fewest budgets, and costs the least important pods."""

    @classmethod
    def of(cls, node: str, *, victims: tuple[PodFacts, ...], n_violations: int) -> "Candidate":
        """Rank a choice, by upstream's criteria in their order."""
        priorities = [victim.priority for victim in victims]
        highest = max(priorities)
        _, earliest_s = min(importance(v) for v in victims if v.priority == highest)
        rank = (
            n_violations,
            highest,
            sum(priority - _LOWEST_PRIORITY for priority in priorities),
            len(priorities),
            -earliest_s,
        )
        return cls(node, victims, n_violations, rank)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a trial of one node came to."""

    candidate: Candidate | None
    reasons: tuple[str, ...] = ()
    """Why it is none."""
    until_s: float = math.inf
    """When it may be one though nothing has changed."""


def equally_good(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the best candidates, in the order in which they were found."""
    found = list(candidates)
    best = min(candidate.rank for candidate in found)
    return [candidate for candidate in found if candidate.rank == best]


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


class Trial:
    """Tries some nodes at once: each filter is asked of all of them in one call."""

    def __init__(self, rules: EvictionRules, *, search: FailedSearch) -> None:
        self._rules = rules
        self._search = search
        self._budgets = budgets_of(search.snapshot)
        self._needs_more = rules.n_lacking(()) > 0
        self._what_if = search.snapshot.what_if()
        self._is_spared: dict[str, bool] = {}

    def run(self, rows: Sequence[int]) -> dict[int, Judged]:
        """Judge nodes by their rows."""
        pods_on, until_s = self._search.snapshot.pods_on, self._rules.spared_until_s
        judged = {row: Judged(None, (NO_VICTIMS,), until_s(pods_on(row))) for row in rows}
        nodes = [node for row in rows if (node := self._prepare(row)) is not None]
        if not nodes:
            return judged
        found = self._search.refilter(self._what_if, [node.row for node in nodes])
        fitting = [node for node in nodes if found.codes[node.row] == PASSED]
        self._reprieve(fitting)
        for row in (node.row for node in nodes if found.codes[node.row] != PASSED):
            judged[row] = replace(judged[row], reasons=_reasons(found, row=row))
        for node in fitting:
            candidate = self._candidate(node)
            if candidate is not None:
                judged[node.row] = Judged(candidate)
        return judged

    def _prepare(self, row: int) -> _Node | None:
        """Take all pods off a node that may be evicted."""
        snapshot = self._search.snapshot
        potential = self._rules.potential(snapshot.pods_on(row))
        potential = [pod for pod in potential if not self._must_spare(pod)]
        if not (potential or self._needs_more):
            return None
        name = snapshot.names[row]
        for pod in potential:
            self._what_if.remove_pod(pod, node=name)
        potential.sort(key=importance)
        protected, others = by_protection(potential, budgets=self._budgets)
        return _Node(row, name, spared=protected + others, n_protected=len(protected))

    def _must_spare(self, pod: PodFacts) -> bool:
        """Whether a pod's gang has members that may not be evicted: then none of it may."""
        if not pod.pod_group:
            return False
        key = pod.group_key
        if key not in self._is_spared:
            gang = self._search.snapshot.gang(key)
            self._is_spared[key] = not all(self._rules.may_evict(member) for member in gang)
        return self._is_spared[key]

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
                if codes[node.row] != PASSED or self._is_needed(node, number):
                    pod = node.spared[number]
                    self._what_if.remove_pod(pod, node=node.name)
                    node.victims.append(pod)
                    node.n_violations += number < node.n_protected

    def _is_needed(self, node: _Node, number: int) -> bool:
        """Tell whether the pod would lack more with one of a node's pods than without."""
        if not self._needs_more:
            return False
        without = node.victims + node.spared[number:]
        beside = node.victims + node.spared[number + 1 :]
        return self._rules.n_lacking(beside) > self._rules.n_lacking(without)

    def _candidate(self, node: _Node) -> Candidate | None:
        victims = sorted(node.victims, key=importance)
        victims += self._elsewhere(victims)
        others = self._rules.elsewhere(victims)
        if others is None or not (victims or others):
            return None
        victims += others
        n_violations = node.n_violations
        if len(victims) > len(node.victims):
            protected, _ = by_protection(sorted(victims, key=importance), budgets=self._budgets)
            n_violations = max(n_violations, len(protected))
        return Candidate.of(node.name, victims=tuple(victims), n_violations=n_violations)

    def _elsewhere(self, victims: list[PodFacts]) -> list[PodFacts]:
        """List the rest of the victims' gangs: none of it would be of use alone."""
        keys = dict.fromkeys(victim.group_key for victim in victims if victim.pod_group)
        if not keys:
            return []
        chosen = {victim.uid for victim in victims}
        rest = [m for key in keys for m in self._search.snapshot.gang(key) if m.uid not in chosen]
        return sorted(rest, key=lambda pod: (*importance(pod), pod.key))


def _reasons(found: FilterResult, *, row: int) -> tuple[str, ...]:
    return tuple(each.reason for each in found.rejections if each.nodes[row])
