"""CrossNodePreemption: makes room by evicting pods on any nodes, not only where the pod will run.

That may help where a rule looks beyond a node: anti-affinity or spreading over zones, say. Each
trial asks all filters about the whole cluster, so this is for small clusters, and as a model.
"""

from collections.abc import Collection, Iterable, Iterator
from itertools import combinations
from typing import ClassVar, Final

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    ClusterEvent,
    FailedSearch,
    PostFilterPlugin,
    PostFilterResult,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import PASSED, SUCCESS, Code, unschedulable
from scheduler.model import PodFacts
from scheduler.plugins.default_preemption import NOT_HELPFUL
from scheduler.plugins.preemption.budgets import budgets_of, by_protection
from scheduler.plugins.preemption.rules import ByPriority, importance
from scheduler.plugins.preemption.trial import Candidate

_MAX_PODS: Final = 1_000
_MAX_TRIALS: Final = 256
_MAX_EXHAUSTIVE: Final = 7
"""Of so many pods and gangs all subsets are tried."""

Unit = tuple[PodFacts, ...]
"""A pod, or a gang: it goes whole or not at all."""


class CrossNodePreemption(PostFilterPlugin):
    """Looks for pods of less priority, wherever they are, without which the pod would fit."""

    name = "CrossNodePreemption"
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.ASSIGNED_POD_DELETE

    def post_filter(
        self, state: CycleState, *, pod: PodFacts, search: FailedSearch
    ) -> PostFilterResult:
        """Nominate the pod where it fits without the victims."""
        reason = _not_eligible(pod, search)
        if reason:
            return PostFilterResult(status=unschedulable(f"preemption: {reason}"))
        if not (search.found.codes == Code.UNSCHEDULABLE).any():
            return PostFilterResult(status=unschedulable(f"preemption: {NOT_HELPFUL}."), node="")
        trial = _Trial(search, units=_units(pod, search.snapshot))
        try:
            victims = trial.victims()
        except _CutShortError:
            why = f"no victims were found in {_MAX_TRIALS} trials."
            return PostFilterResult(status=unschedulable(f"preemption: {why}"), node="")
        if not victims:
            why = "No preemption victims found for incoming pod."
            return PostFilterResult(status=unschedulable(f"preemption: {why}"), node="")
        return PostFilterResult(status=SUCCESS, node=trial.node(victims), victims=tuple(victims))


class _CutShortError(Exception):
    """All trials were used up."""


class _Trial:
    """Tries the cluster without some of its pods.

    Args:
        search: What failed.
        units: Who may be evicted.
    """

    def __init__(self, search: FailedSearch, *, units: list[Unit]) -> None:
        self._search = search
        self._budgets = budgets_of(search.snapshot)
        self._units = units
        self._cluster = search.snapshot.copy()
        self._gone: set[int] = set()
        """Units, by their place, that the copy is without."""
        self._n_trials = 0
        self._fitting: list[int] = []
        """Rows where the pod fits, as the last trial found."""

    def victims(self) -> list[PodFacts]:
        """Find whom to evict, the most important first; nobody if that would not help.

        Raises:
            _CutShortError: It would take too many trials.
        """
        every = range(len(self._units))
        is_small = len(every) <= _MAX_EXHAUSTIVE
        gone = self._cheapest(every) if is_small else self._spare(every)
        return sorted(self._pods(gone), key=importance)

    def node(self, victims: Iterable[PodFacts]) -> str:
        """Choose where the pod fits, of the nodes of the last trial: where most victims are."""
        names = [victim.node_name for victim in victims]
        fitting = [self._cluster.names[row] for row in self._fitting]
        return min(fitting, key=lambda name: (-names.count(name), name))

    def _cheapest(self, every: range) -> Collection[int]:
        """Try all subsets, those first that cost least."""
        subsets = [s for size in every for s in combinations(every, size + 1)]
        for subset in sorted(subsets, key=self._rank):
            if self._fits_without(subset):
                return subset
        return ()

    def _spare(self, every: range) -> Collection[int]:
        """Put back whom the pod fits beside, half by half: nobody is left who could stay."""
        gone = set(every)
        if not self._fits_without(gone):
            return ()
        pods = sorted(self._pods(every), key=importance)
        protected, others = by_protection(pods, budgets=self._budgets)
        order = {pod.uid: place for place, pod in enumerate(protected + others)}
        units = sorted(every, key=lambda i: min(order[pod.uid] for pod in self._units[i]))
        chunks = [units]
        while chunks:
            chunk = chunks.pop()
            if len(chunk) < len(units) and self._fits_without(gone.difference(chunk)):
                gone.difference_update(chunk)
            elif len(chunk) > 1:
                half = len(chunk) // 2
                chunks += [chunk[half:], chunk[:half]]
        self._fits_without(gone)
        return gone

    def _rank(self, subset: Collection[int]) -> tuple[float, ...]:
        victims = sorted(self._pods(subset), key=importance)
        protected, _ = by_protection(victims, budgets=self._budgets)
        return Candidate.of("", victims=tuple(victims), n_violations=len(protected)).rank

    def _pods(self, units: Iterable[int]) -> Iterator[PodFacts]:
        return (pod for unit in units for pod in self._units[unit])

    def _fits_without(self, units: Collection[int]) -> bool:
        """Tell whether the pod fits somewhere once these have gone, and no others.

        Raises:
            _CutShortError: It would be one trial too many.
        """
        if self._n_trials >= _MAX_TRIALS:
            raise _CutShortError
        self._n_trials += 1
        wanted = set(units)
        for pod in self._pods(wanted - self._gone):
            self._cluster.remove_pod(pod, node=pod.node_name)
        for pod in self._pods(self._gone - wanted):
            self._cluster.add_pod(pod, node=pod.node_name)
        self._gone = wanted
        found = self._search.afresh(self._cluster)
        self._fitting = np.flatnonzero(found.codes == PASSED).tolist()
        return bool(self._fitting)


def _not_eligible(pod: PodFacts, search: FailedSearch) -> str:
    if not pod.may_preempt:
        return "not eligible due to preemptionPolicy=Never."
    if search.nominations.node_of(pod.uid) and any(
        victim.is_terminating and victim.is_preempted for victim in _outranked(pod, search.snapshot)
    ):
        return "not eligible due to terminating pods of less priority."
    return ""


def _outranked(pod: PodFacts, snapshot: Snapshot) -> Iterator[PodFacts]:
    rules = ByPriority(pod)
    for row in range(snapshot.n_nodes):
        yield from (other for other in snapshot.pods_on(row) if rules.may_evict(other))


def _units(pod: PodFacts, snapshot: Snapshot) -> list[Unit]:
    """List who may be evicted: of many, those that matter least."""
    rules = ByPriority(pod)
    units: dict[str, Unit] = {}
    for other in _outranked(pod, snapshot):
        gang = tuple(snapshot.gang(other.group_key)) if other.pod_group else (other,)
        on_nodes = all(member.node_name in snapshot.rows for member in gang)
        if on_nodes and all(rules.may_evict(member) for member in gang):
            units.setdefault(other.group_key or other.uid, gang)
    ordered = sorted(units.values(), key=lambda unit: min(importance(each) for each in unit))
    chosen: list[Unit] = []
    n_pods = 0
    for unit in reversed(ordered):
        n_pods += len(unit)
        if n_pods > _MAX_PODS:
            break
        chosen.append(unit)
    return chosen
