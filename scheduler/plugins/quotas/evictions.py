"""Whom elastic quotas let a pod evict: its own namespace's lesser pods, or who borrowed from it."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts
from scheduler.plugins.preemption.budgets import budgets_of, by_protection
from scheduler.plugins.preemption.rules import EvictionRules, importance
from scheduler.plugins.quotas.claims import Claim
from scheduler.plugins.quotas.shares import Amounts, Shares, asked_by


class OutsideQuotas(EvictionRules):
    """Pods without a quota evict pods of less priority that have none either.

    Args:
        pod: Who looks for room.
        shares: Which namespaces have a quota.
        version: Of these.
    """

    def __init__(self, pod: PodFacts, *, shares: Shares, version: int) -> None:
        super().__init__(pod)
        self._shares = shares
        self._version = version

    @property
    def signature(self) -> Hashable | None:
        """Which namespaces have quotas matters."""
        return self._version

    def may_evict(self, victim: PodFacts) -> bool:
        """Compare priorities, and leave quotas alone."""
        return victim.priority < self.pod.priority and victim.namespace not in self._shares


class WithinQuotas(EvictionRules):
    """Who borrows evicts lesser pods of its own namespace; who does not, those who borrowed.

    What is asked to go already counts as gone.

    Args:
        pod: Who looks for room.
        claim: What it, and those who were promised room before it, would take.
        shares: All quotas.
        snapshot: Who uses how much of them.
    """

    def __init__(self, pod: PodFacts, *, claim: Claim, shares: Shares, snapshot: Snapshot) -> None:
        super().__init__(pod)
        self._claim = claim
        self._shares = shares
        self._snapshot = snapshot
        going = [
            each
            for share in shares
            for each in snapshot.by_namespace.pods(share.namespace)
            if each.is_preempted and each.is_terminating
        ]
        self._used = {
            share.namespace: Counter(snapshot.by_namespace.requested(share.namespace))
            for share in shares
        }
        self._over_max = claim.over_max(self._used[pod.namespace])
        self._over_total = claim.over_total(shares, snapshot=snapshot)
        self._lacked_before = self.n_lacking(())
        self._over_max = _less(self._over_max, [p for p in going if p.namespace == pod.namespace])
        self._over_total = _less(self._over_total, going)
        for each in going:
            self._used[each.namespace].subtract(asked_by(each))
        self._is_borrowing = claim.is_borrowing(shares, used=self._used[pod.namespace])
        self._pool: list[PodFacts] | None = None

    def may_evict(self, victim: PodFacts) -> bool:
        """Compare priorities within the namespace; elsewhere only what is borrowed may go."""
        return self.went_for(victim) and (self._is_borrowing or self._holds_borrowed(victim))

    def went_for(self, victim: PodFacts) -> bool:
        """As ``may_evict``, whether anything is borrowed still or not."""
        if self._is_borrowing:
            is_own = victim.namespace == self.pod.namespace
            return is_own and victim.priority < self.pod.priority
        return victim.namespace != self.pod.namespace and victim.namespace in self._shares

    def potential(self, pods: Iterable[PodFacts]) -> list[PodFacts]:
        """Take the least important first, and of no namespace more than it borrowed."""
        ledger = _Ledger(self._used)
        chosen = []
        for pod in sorted(pods, key=importance, reverse=True):
            if _is_going(pod):
                # It makes room in any case, and what it held counts as given back.
                chosen += [pod] if self.went_for(pod) else []
            elif self.may_evict(pod) and self._may_go_on(pod, ledger):
                ledger.release(pod)
                chosen.append(pod)
        return chosen

    def why_wait(self) -> str:
        """Wait for those who hold what the pod lacks, if it was promised room."""
        is_promised = bool(self._snapshot.nominations.node_of(self.pod.uid))
        if is_promised and self._lacked_before and not self.n_lacking(()):
            return "terminating pods that hold its quota"
        return ""

    def n_lacking(self, victims: Sequence[PodFacts]) -> int:
        """Add up, over resources, what would be used beyond max, or beyond all mins together."""
        new = [victim for victim in victims if not _is_going(victim)]
        own = [victim for victim in new if victim.namespace == self.pod.namespace]
        governed = [victim for victim in new if victim.namespace in self._shares]
        over_max, over_total = _less(self._over_max, own), _less(self._over_total, governed)
        return sum(
            max(0, over_max.get(resource, 0), over_total.get(resource, 0))
            for resource in self._claim.asked
        )

    def elsewhere(self, victims: Sequence[PodFacts]) -> list[PodFacts] | None:
        """Give quota back that is held on other nodes, by those first whom no budget protects."""
        n_lacking = self.n_lacking(victims)
        if not n_lacking:
            return []
        ledger = _Ledger(self._used)
        for victim in victims:
            ledger.release(victim)
        taken, chosen = {victim.uid for victim in victims}, list[PodFacts]()
        for pod in self._candidates():
            if pod.uid in taken or not self._may_go_on(pod, ledger):
                continue
            unit = self._unit(pod)
            left = self.n_lacking([*victims, *chosen, *unit])
            if not unit or left == n_lacking:
                continue
            n_lacking = left
            for member in unit:
                ledger.release(member)
            taken.update(member.uid for member in unit)
            chosen += [member for member in unit if member.uid not in {v.uid for v in victims}]
            if not n_lacking:
                return self._without_needless(victims, chosen)
        return None

    def _without_needless(
        self, victims: Sequence[PodFacts], chosen: list[PodFacts]
    ) -> list[PodFacts]:
        """Keep those without whom it would do as well, protected and important ones first."""
        for pod in self._by_worth(chosen):
            others = [each for each in chosen if each.uid != pod.uid]
            if not pod.pod_group and not self.n_lacking([*victims, *others]):
                chosen = others
        return chosen

    def _candidates(self) -> list[PodFacts]:
        """List who may be evicted anywhere, who is worth least first."""
        if self._pool is None:
            names = (
                [self.pod.namespace] if self._is_borrowing else [s.namespace for s in self._shares]
            )
            pods = (pod for name in names for pod in self._snapshot.by_namespace.pods(name))
            found = [pod for pod in pods if not _is_going(pod) and self.may_evict(pod)]
            self._pool = self._by_worth(found)[::-1]
        return self._pool

    def _by_worth(self, pods: Iterable[PodFacts]) -> list[PodFacts]:
        """Sort pods that budgets protect before others, and then the most important first."""
        ordered = sorted(pods, key=lambda pod: (importance(pod), pod.key))
        protected, others = by_protection(ordered, budgets=budgets_of(self._snapshot))
        return protected + others

    def _unit(self, pod: PodFacts) -> list[PodFacts]:
        """Return who goes with a pod: its gang, or nobody at all if that must be spared."""
        if not pod.pod_group:
            return [pod]
        gang = list(self._snapshot.gang(pod.group_key))
        return gang if all(self.may_evict(member) for member in gang) else []

    def _may_go_on(self, victim: PodFacts, ledger: "_Ledger") -> bool:
        return self._is_borrowing or self._holds_borrowed(victim, ledger)

    def _holds_borrowed(self, victim: PodFacts, ledger: "_Ledger | None" = None) -> bool:
        """Tell whether a pod holds some of what its namespace borrowed and the pod asks for."""
        name = victim.namespace
        used: Amounts = self._used[name] if ledger is None else ledger.used(name)
        held = asked_by(victim)
        return any(
            resource in held and self._shares.over_min(name, resource=resource, used=used) > 0
            for resource in self._claim.asked
        )


class _Ledger:
    """What namespaces would use, victim after victim."""

    def __init__(self, used: dict[str, Counter[str]]) -> None:
        self._before = used
        self._after: dict[str, Counter[str]] = {}

    def used(self, namespace: str) -> Amounts:
        return self._after.get(namespace, self._before[namespace])

    def release(self, pod: PodFacts) -> None:
        if pod.namespace in self._before:
            used = self._after.setdefault(pod.namespace, Counter(self._before[pod.namespace]))
            used.subtract(asked_by(pod))


def _is_going(pod: PodFacts) -> bool:
    return pod.is_preempted and pod.is_terminating


def _less(amounts: dict[str, int], pods: Sequence[PodFacts]) -> dict[str, int]:
    """Subtract what pods take."""
    left = dict(amounts)
    for pod in pods:
        for resource, amount in asked_by(pod).items():
            if resource in left:
                left[resource] -= amount
    return left
