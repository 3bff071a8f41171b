"""How many pods on each node match a query, kept up to date pod by pod.

The first time a query is asked, all pods are looked at; from then on, only those that come and go.
Pods with the same namespace and labels match the same queries, which is looked up once.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

from kube.selectors import LabelQuery
from scheduler.framework.columns import Amounts, IntColumn
from scheduler.model import PodFacts

_MAX_QUERIES: Final = 1_000
_MAX_ALIKE: Final = 20_000


class PodQuery(NamedTuple):
    """Pods that match every one of some selectors, each within its namespaces."""

    selectors: tuple[tuple[frozenset[str] | None, LabelQuery | None], ...]
    """Namespaces and labels; ``None`` for all namespaces, and for labels that no pod has."""
    counts_terminating: bool = True

    def matches(self, pod: PodFacts) -> bool:
        """Tell whether *pod* is one of them."""
        if pod.is_terminating and not self.counts_terminating:
            return False
        return all(
            query is not None
            and (namespaces is None or pod.namespace in namespaces)
            and query.matches(pod.labels)
            for namespaces, query in self.selectors
        )


class _Alike(NamedTuple):
    """Pods that no query can tell apart."""

    namespace: str
    labels: frozenset[tuple[str, str]]
    is_terminating: bool


class PodCounts:
    """Counts by query; the ones asked for least lately are dropped when there are too many."""

    def __init__(self) -> None:
        self._counts: Amounts[PodQuery] = Amounts()
        self._queries: OrderedDict[PodQuery, None] = OrderedDict()
        self._matched: dict[_Alike, tuple[PodQuery, ...]] = {}

    def fork(self) -> "PodCounts":
        """Copy, at the cost of the columns that change."""
        fork = PodCounts()
        fork._counts, fork._queries = self._counts.fork(), self._queries.copy()
        return fork

    def __contains__(self, query: PodQuery) -> bool:
        return query in self._queries

    def __getitem__(self, query: PodQuery) -> IntColumn:
        """Return the column of a query that was added; must not be written to."""
        self._queries.move_to_end(query)
        return self._counts[query]

    def add_query(self, query: PodQuery, *, pods: Iterable[Iterable[PodFacts]]) -> None:
        """Begin to count a query's pods; *pods* are those of every row, in order."""
        self._queries[query] = None
        self._matched.clear()
        if len(self._queries) > _MAX_QUERIES:
            dropped, _ = self._queries.popitem(last=False)
            for row in self._counts[dropped].nonzero()[0].tolist():
                self._counts.add(row, key=dropped, amount=-self._counts.value(row, key=dropped))
        for row, on_node in enumerate(pods):
            n = sum(query.matches(pod) for pod in on_node)
            self._counts.add(row, key=query, amount=n)

    def count(self, row: int, pod: PodFacts, *, sign: int) -> None:
        """Count a pod that came to a row, or went (``sign`` -1)."""
        if not self._queries:
            return
        alike = _Alike(pod.namespace, frozenset(pod.labels.items()), pod.is_terminating)
        matched = self._matched.get(alike)
        if matched is None:
            if len(self._matched) >= _MAX_ALIKE:
                self._matched.clear()
            matched = tuple(query for query in self._queries if query.matches(pod))
            self._matched[alike] = matched
        for query in matched:
            self._counts.add(row, key=query, amount=sign)

    def append_row(self) -> None:
        """Add a row of zeros at the end."""
        self._counts.append_row()

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        self._counts.remove_row(row)
