"""How unevenly pods are spread, and on which nodes one more would make it too uneven."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn
from scheduler.framework.matching import repelling, selected
from scheduler.framework.pod_counts import PodQuery
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn, Code, Verdicts
from scheduler.framework.topology import Domains
from scheduler.model import PodFacts, SpreadConstraint

UNEVEN: Final = "node(s) didn't match pod topology spread constraints"
MISSING: Final = f"{UNEVEN} (missing required label)"

_NONE_LEFT: Final = int(np.iinfo(np.int64).max)


class Inclusion:
    """Which nodes count, by the policies of a constraint.

    Args:
        pod: The pod.
        snapshot: The nodes.
        candidates: Shape ``(n_nodes,)``; others never count.
    """

    def __init__(self, pod: PodFacts, *, snapshot: Snapshot, candidates: BoolColumn) -> None:
        self._pod = pod
        self._snapshot = snapshot
        self._candidates = candidates

    def of(self, constraint: SpreadConstraint) -> BoolColumn:
        """Return them, shape ``(n_nodes,)``."""
        included = self._candidates
        if constraint.honors_node_affinity and self._selected is not None:
            included = included & self._selected
        if constraint.honors_node_taints and self._repelling is not None:
            included = included & ~self._repelling
        return included

    @cached_property
    def _selected(self) -> BoolColumn | None:
        return selected(self._snapshot, pod=self._pod)

    @cached_property
    def _repelling(self) -> BoolColumn | None:
        return repelling(self._snapshot, tolerations=self._pod.tolerations)


def counted_pods(constraint: SpreadConstraint, pod: PodFacts) -> PodQuery:
    """Say which pods count; an empty selector counts none, as in kube-scheduler 1.36."""
    query = constraint.query
    if query is not None and not query.requirements:
        query = None
    return PodQuery(((frozenset((pod.namespace,)), query),), counts_terminating=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Skew:
    """How the pods of one hard constraint are spread over the actual nodes."""

    constraint: SpreadConstraint
    pods: PodQuery
    is_own: int
    """1 if the pod itself would be counted."""
    domains: Domains
    included: BoolColumn
    counts: IntColumn
    """Shape ``(n_nodes,)``."""
    by_domain: IntColumn
    """Shape ``(n_ids,)``; over the included nodes."""
    lowest: tuple[int, int, int]
    """The smallest sum of a domain, the domain's number, and the smallest of the others."""

    @classmethod
    def of(
        cls,
        constraint: SpreadConstraint,
        *,
        pod: PodFacts,
        snapshot: Snapshot,
        domains: Domains,
        inclusion: Inclusion,
    ) -> "_Skew":
        pods, included = counted_pods(constraint, pod), inclusion.of(constraint)
        counts = snapshot.count(pods)
        by_domain = domains.sums(counts, where=included)
        present = np.flatnonzero(domains.sums(included.astype(np.int64)))
        query = constraint.query
        return cls(
            constraint,
            pods=pods,
            is_own=int(query is not None and query.matches(pod.labels)),
            domains=domains,
            included=included,
            counts=counts,
            by_domain=by_domain,
            lowest=_lowest(by_domain, present, constraint.min_domains),
        )

    def is_uneven(self, snapshot: Snapshot) -> BoolColumn:
        """Tell on which nodes the pod would break the constraint; says nothing without the key."""
        lowest, domain, others = self.lowest
        allowed = self.constraint.max_skew - self.is_own
        uneven = self.domains.at_nodes(self.by_domain) - lowest > allowed
        if snapshot is snapshot.actual:
            return uneven
        changes = (snapshot.count(self.pods) - self.counts) * self.included
        rows = np.flatnonzero(changes)
        ids = self.domains.ids[rows]
        here = self.by_domain[ids] + changes[rows]
        # Should this domain become the lowest itself, it is not uneven by either measure.
        elsewhere = np.where(ids == domain, others, lowest)
        uneven[rows] = here - elsewhere > allowed
        return uneven


def _lowest(
    by_domain: IntColumn, present: NDArray[np.intp], min_domains: int
) -> tuple[int, int, int]:
    """Find the smallest sums; with too few domains they count as empty ones."""
    if present.size < min_domains:
        return 0, -1, 0
    sums = by_domain[present]
    first = int(sums.argmin())
    lowest = int(sums[first])
    others = np.delete(sums, first)
    return lowest, int(present[first]), int(others.min(initial=_NONE_LEFT))


@dataclass(frozen=True, slots=True, eq=False)
class HardSpread:
    """A pod's hard constraints over the actual nodes, in order."""

    skews: Sequence[_Skew]

    @classmethod
    def of(
        cls, constraints: Sequence[SpreadConstraint], *, pod: PodFacts, snapshot: Snapshot
    ) -> "HardSpread":
        """Count the pods of the actual snapshot; only nodes with all keys count."""
        domains = [Domains.of(snapshot, key=each.topology_key) for each in constraints]
        candidates = reduce(np.logical_and, (each.has_key for each in domains))
        inclusion = Inclusion(pod, snapshot=snapshot, candidates=candidates)
        return cls(
            [
                _Skew.of(each, pod=pod, snapshot=snapshot, domains=where, inclusion=inclusion)
                for each, where in zip(constraints, domains, strict=True)
            ]
        )

    def verdicts(self, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes of the actual snapshot or of a what-if by the first constraint broken."""
        missing = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        uneven = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        for skew in self.skews:
            has_key = skew.domains.has_key
            missing |= ~(uneven | has_key)
            uneven |= skew.is_uneven(snapshot) & has_key & ~missing
        if not (missing.any() or uneven.any()):
            return None
        codes = missing * np.uint8(Code.UNSCHEDULABLE_AND_UNRESOLVABLE)
        codes += uneven * np.uint8(Code.UNSCHEDULABLE)
        return Verdicts(codes, ((MISSING, missing), (UNEVEN, uneven)))
