"""DefaultPreemption: makes room for a pod by evicting pods of less priority.

The steps and criteria are upstream's (kube-scheduler 1.36, ``framework/preemption``), with two
differences: where the search begins is drawn from the pod's uid, not by chance, and a gang is
evicted whole or not at all.
"""

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable
from itertools import chain
from typing import Annotated, ClassVar, Final, NamedTuple

import msgspec
import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    ClusterEvent,
    FailedSearch,
    PluginArgs,
    PostFilterPlugin,
    PostFilterResult,
)
from scheduler.framework.kept_rows import KeptRows
from scheduler.framework.snapshot import stable_hash
from scheduler.framework.status import SUCCESS, Code, unschedulable
from scheduler.model import PodFacts
from scheduler.plugins.preemption.rules import ByPriority, EvictionRules
from scheduler.plugins.preemption.trial import Candidate, Judged, Trial, equally_good

NOT_HELPFUL: Final = "Preemption is not helpful for scheduling"

_MAX_KEPT: Final = 16


class DefaultPreemptionArgs(PluginArgs, frozen=True):
    """Arguments of DefaultPreemption: how many nodes to try."""

    min_candidate_nodes_percentage: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    min_candidate_nodes_absolute: Annotated[int, msgspec.Meta(ge=0)] = 100

    def __post_init__(self) -> None:
        """Ask for one node at least.

        Raises:
            ValueError: No node would ever be tried.
        """
        if not (self.min_candidate_nodes_percentage or self.min_candidate_nodes_absolute):
            both = "minCandidateNodesPercentage and minCandidateNodesAbsolute"
            raise ValueError(f"{both} must not both be 0")


_Kept = KeptRows[Judged]


class _Found(NamedTuple):
    """What came of a search for nodes on which evictions would help."""

    candidates: list[Candidate]
    why_not: str
    """Why the other nodes are none."""
    retry_at_s: float
    """When one of them may be, though nothing has changed."""


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
        rules = self.rules(pod, search)
        reason = _not_eligible(rules, search)
        if reason:
            return PostFilterResult(status=unschedulable(f"preemption: {reason}"))
        found = self._find(rules, search)
        if not found.candidates:
            status = unschedulable(f"preemption: {found.why_not}")
            return PostFilterResult(status=status, node="", retry_at_s=found.retry_at_s)
        chosen = equally_good(found.candidates)[0]
        return PostFilterResult(status=SUCCESS, node=chosen.node, victims=chosen.victims)

    def rules(self, pod: PodFacts, search: FailedSearch) -> EvictionRules:
        """Say who may be evicted for a pod."""
        return ByPriority(pod)

    def candidates(self, pod: PodFacts, *, search: FailedSearch) -> tuple[list[Candidate], str]:
        """Find nodes on which evictions would help.

        Returns:
            The candidates, in the order of the search, and why the nodes looked at are none.
        """
        found = self._find(self.rules(pod, search), search)
        return found.candidates, found.why_not

    def _find(self, rules: EvictionRules, search: FailedSearch) -> "_Found":
        rows = np.flatnonzero(search.found.codes == Code.UNSCHEDULABLE)
        n_wanted = min(rows.size, max(rows.size * self._percentage // 100, self._absolute))
        kept = self._kept_for(rules, search)
        reasons = Counter({NOT_HELPFUL: search.snapshot.n_nodes - int(rows.size)})
        candidates, retry_at_s = list[Candidate](), math.inf
        # Not always from the same end: or the same nodes' pods would be evicted every time.
        ordered = np.roll(rows, -(stable_hash(rules.pod.uid) % max(1, rows.size))).tolist()
        for start in range(0, len(ordered), max(1, n_wanted)):
            judged = _judge(ordered[start : start + n_wanted], rules, search, kept.found)
            reasons.update(chain.from_iterable([each.reasons for each in judged]))
            candidates += [each.candidate for each in judged if each.candidate is not None]
            retry_at_s = min([retry_at_s, *(each.until_s for each in judged)])
            # More than enough is no reason to break a budget where another node needs none broken.
            if len(candidates) >= n_wanted and any(c.n_violations == 0 for c in candidates):
                break
        n_nodes = search.snapshot.n_nodes
        words = ", ".join(sorted(f"{n} {reason}" for reason, n in reasons.items() if n))
        return _Found(candidates, f"0/{n_nodes} nodes are available: {words}.", retry_at_s)

    def _kept_for(self, rules: EvictionRules, search: FailedSearch) -> _Kept:
        """Return the trials of such a pod that still hold."""
        if search.signature is None or rules.signature is None:
            return _Kept()
        key = (search.signature, rules.signature, rules.pod.priority)
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        kept.update(search.snapshot, nominations=search.nominations)
        return kept


def _judge(
    rows: list[int], rules: EvictionRules, search: FailedSearch, kept: dict[int, Judged]
) -> list[Judged]:
    """Try some nodes, those aside of which it is known what came of it."""
    # A pod need not make way for itself: what holds for it on its own node is nobody else's.
    own = search.snapshot.rows.get(search.nominations.node_of(rules.pod.uid))
    unknown = [row for row in rows if row == own or row not in kept]
    if not unknown:
        return [kept[row] for row in rows]
    fresh = Trial(rules, search=search).run(unknown)
    # What depends on a gang depends on other nodes, too.
    gangs = {row for row in fresh if any(pod.pod_group for pod in search.snapshot.pods_on(row))}
    kept |= {row: judged for row, judged in fresh.items() if row != own and row not in gangs}
    return [fresh[row] if row in fresh else kept[row] for row in rows]


def _not_eligible(rules: EvictionRules, search: FailedSearch) -> str:
    if not rules.pod.may_preempt:
        return "not eligible due to preemptionPolicy=Never."
    reason = rules.why_wait()
    if reason:
        return f"not eligible due to {reason}."
    row = search.snapshot.rows.get(search.nominations.node_of(rules.pod.uid))
    if row is None or search.found.codes[row] == Code.UNSCHEDULABLE_AND_UNRESOLVABLE:
        return ""
    if any(
        victim.is_terminating and victim.is_preempted and rules.went_for(victim)
        for victim in search.snapshot.pods_on(row)
    ):
        return "not eligible due to a terminating pod on the nominated node."
    return ""
