"""Terms of affinity that pods on nodes carry, and that pods to come are held to, or drawn by."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from scheduler.framework.columns import Amounts, IntColumn
from scheduler.framework.selector_index import SelectorIndex
from scheduler.model import AffinityTerm, PodFacts


class CarriedTerm(NamedTuple):
    """A term, and what it means to those it speaks of."""

    kind: Literal["affinity", "anti-affinity", "preferred"]
    """The first two are required."""
    weight: int
    """Of a preferred term, negative for anti-affinity; else 0."""
    term: AffinityTerm

    def speaks_of(self, pod: PodFacts, *, namespace_labels: Mapping[str, str]) -> bool:
        """Tell whether *pod*, of a namespace with such labels, is one of the term's pods."""
        pods = self.term.pods
        if pods.query is None or not pods.query.matches(pod.labels):
            return False
        return pod.namespace in pods.namespaces or (
            pods.namespace_query is not None and pods.namespace_query.matches(namespace_labels)
        )


class CarriedTerms:
    """How many pods on each node carry a term."""

    def __init__(self) -> None:
        self._amounts: Amounts[CarriedTerm] = Amounts()
        self._index: SelectorIndex[CarriedTerm] = SelectorIndex()
        self._origin: Amounts[CarriedTerm] | None = None
        """Of a fork: what the index knows."""
        self._new: dict[CarriedTerm, None] = {}
        """Of a fork: what the index does not know."""

    def fork(self) -> "CarriedTerms":
        """Copy, for as long as this one does not change; rows may be neither added nor removed."""
        fork = CarriedTerms()
        fork._amounts, fork._index = self._amounts.fork(), self._index
        fork._origin = self._amounts if self._origin is None else self._origin
        fork._new = dict(self._new)
        return fork

    def __getitem__(self, term: CarriedTerm) -> IntColumn:
        """Return a term's column, shape ``(n_rows,)``; a view that must not be written to."""
        return self._amounts[term]

    def total(self, weights: Mapping[CarriedTerm, int]) -> IntColumn:
        """Add up the columns of some terms, each times its weight; shape ``(n_rows,)``."""
        return self._amounts.total(weights)

    def speaking_of(
        self, pod: PodFacts, *, namespace_labels: Mapping[str, str]
    ) -> list[CarriedTerm]:
        """List the terms on any node that *pod* would be held to, or drawn by.

        Args:
            pod: The pod.
            namespace_labels: Those of the pod's namespace.
        """
        filed = self._index.candidates(pod.namespace, labels=pod.labels)
        return [
            term
            for term in (*filed, *self._new)
            if term.speaks_of(pod, namespace_labels=namespace_labels) and term in self._amounts
        ]

    def count(self, row: int, pod: PodFacts, *, sign: int) -> None:
        """Count the terms of a pod that came to a row, or went (``sign`` -1)."""
        for term in carried_terms(pod):
            if sign > 0 and term not in self._amounts:
                self._file(term)
            self._amounts.add(row, key=term, amount=sign)
            if sign < 0 and term not in self._amounts:
                self._unfile(term)

    def _file(self, term: CarriedTerm) -> None:
        if self._origin is None:
            self._index.add(term, namespaces=_reach(term), query=term.term.pods.query)
        elif term not in self._origin:
            self._new[term] = None

    def _unfile(self, term: CarriedTerm) -> None:
        # What a fork was made from does not change, so its index serves both.
        if self._origin is None:
            self._index.remove(term, namespaces=_reach(term), query=term.term.pods.query)

    def append_row(self) -> None:
        """Add a row of zeros at the end."""
        self._amounts.append_row()

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        for term in self._amounts.remove_row(row):
            self._unfile(term)


def _reach(term: CarriedTerm) -> frozenset[str] | None:
    pods = term.term.pods
    return pods.namespaces if pods.namespace_query is None else None


def carried_terms(pod: PodFacts) -> list[CarriedTerm]:
    """List the terms of *pod* that others will be held to, or drawn by."""
    if not (pod.pod_affinity or pod.pod_anti_affinity or pod.preferred_terms):
        return []
    return [
        *(CarriedTerm("affinity", 0, term) for term in pod.pod_affinity),
        *(CarriedTerm("anti-affinity", 0, term) for term in pod.pod_anti_affinity),
        *(CarriedTerm("preferred", each.weight, each.term) for each in pod.preferred_terms),
    ]
