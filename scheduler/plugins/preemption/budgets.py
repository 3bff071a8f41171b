"""Disruption budgets, as preemption weighs them."""

from collections.abc import Iterable
from dataclasses import dataclass

from kube.objects import PodDisruptionBudget
from kube.selectors import LabelQuery, label_query
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts


@dataclass(frozen=True, slots=True)
class Budget:
    """A disruption budget, read for this search."""

    namespace: str
    query: LabelQuery
    n_allowed: int
    disrupted: frozenset[str]

    def protects(self, pod: PodFacts) -> bool:
        """Tell whether it counts a pod."""
        return (
            pod.namespace == self.namespace
            and pod.name not in self.disrupted
            and self.query.matches(pod.labels)
        )


def budgets_of(snapshot: Snapshot) -> list[Budget]:
    """List the budgets that protect anyone."""
    budgets = []
    for each in snapshot.objects.all(PodDisruptionBudget):
        query = label_query(each.spec.selector)
        if query is not None and query.requirements:
            status = each.status
            disrupted = frozenset(status.disrupted_pods or ())
            namespace = each.metadata.namespace
            budgets.append(Budget(namespace, query, status.disruptions_allowed, disrupted))
    return budgets


def by_protection(
    pods: Iterable[PodFacts], *, budgets: list[Budget]
) -> tuple[list[PodFacts], list[PodFacts]]:
    """Part those whose eviction, in their order, would break a budget from the others."""
    left = [budget.n_allowed for budget in budgets]
    protected: list[PodFacts] = []
    others: list[PodFacts] = []
    for pod in pods:
        is_violating = False
        # As upstream, a pod without labels is protected by none.
        for number, budget in enumerate(budgets) if pod.labels else ():
            if budget.protects(pod):
                left[number] -= 1
                is_violating |= left[number] < 0
        (protected if is_violating else others).append(pod)
    return protected, others
