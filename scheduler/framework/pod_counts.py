"""How many pods on each node match a query, kept up to date pod by pod.

Pods that no query can tell apart are counted together. A query that is asked for the first time
looks at those counts, not at pods; from then on it follows the pods that come and go.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from kube.selectors import LabelQuery
from scheduler.framework.columns import Amounts, IntColumn
from scheduler.framework.selector_index import SelectorIndex, demanded_labels
from scheduler.model import PodFacts

_MAX_QUERIES: Final = 1_000


class PodTraits(NamedTuple):
    """All that a query asks of a pod."""

    namespace: str
    pairs: frozenset[tuple[str, str]]
    is_terminating: bool

    @classmethod
    def of(cls, pod: PodFacts) -> "PodTraits":
        """Describe a pod."""
        return cls(pod.namespace, frozenset(pod.labels.items()), pod.is_terminating)

    @property
    def labels(self) -> Mapping[str, str]:
        """The pairs, by key."""
        return dict(self.pairs)


class PodQuery(NamedTuple):
    """Pods that match every one of some selectors, each within its namespaces."""

    selectors: tuple[tuple[frozenset[str] | None, LabelQuery | None], ...]
    """Namespaces and labels; ``None`` for all namespaces, and for labels that no pod has."""
    counts_terminating: bool = True

    def matches(self, pod: PodFacts | PodTraits) -> bool:
        """Tell whether *pod* is one of them."""
        if pod.is_terminating and not self.counts_terminating:
            return False
        labels = pod.labels
        return all(
            query is not None
            and (namespaces is None or pod.namespace in namespaces)
            and query.matches(labels)
            for namespaces, query in self.selectors
        )


class PodCounts:
    """Counts by query; the ones asked for least lately are dropped when there are too many."""

    def __init__(self) -> None:
        self._by_traits: Amounts[PodTraits] = Amounts()
        self._filed: dict[tuple[str, str] | None, dict[PodTraits, None]] = {}
        """The known traits by each of their labels; all of them under ``None``."""
        self._counts: Amounts[PodQuery] = Amounts()
        self._queries: OrderedDict[PodQuery, None] = OrderedDict()
        self._index: SelectorIndex[PodQuery] = SelectorIndex()

    def fork(self) -> "PodCountsFork":
        """Copy, for as long as this one does not change."""
        return PodCountsFork(self)

    def __getitem__(self, query: PodQuery) -> IntColumn:
        """Return a query's column, shape ``(n_rows,)``; must not be written to."""
        if query in self._queries:
            self._queries.move_to_end(query)
        else:
            self._add(query)
        return self._counts[query]

    def count(self, row: int, pod: PodFacts, *, sign: int) -> None:
        """Count a pod that came to a row, or went (``sign`` -1)."""
        traits = PodTraits.of(pod)
        if sign > 0 and traits not in self._by_traits:
            for place in (None, *traits.pairs):
                self._filed.setdefault(place, {})[traits] = None
        self._by_traits.add(row, key=traits, amount=sign)
        if sign < 0 and traits not in self._by_traits:
            self._unfile(traits)
        for query in self._index.candidates(pod.namespace, labels=pod.labels):
            if query.matches(pod):
                self._counts.add(row, key=query, amount=sign)

    def append_row(self) -> None:
        """Add a row of zeros at the end."""
        self._by_traits.append_row()
        self._counts.append_row()

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        for traits in self._by_traits.remove_row(row):
            self._unfile(traits)
        self._counts.remove_row(row)

    def _add(self, query: PodQuery) -> None:
        self._queries[query] = None
        namespaces, labels = _first_selector(query)
        self._index.add(query, namespaces=namespaces, query=labels)
        matching = {traits: 1 for traits in self._likely(labels) if query.matches(traits)}
        self._counts.put(query, column=self._by_traits.total(matching))
        if len(self._queries) > _MAX_QUERIES:
            dropped, _ = self._queries.popitem(last=False)
            self._counts.drop(dropped)
            namespaces, labels = _first_selector(dropped)
            self._index.remove(dropped, namespaces=namespaces, query=labels)

    def _likely(self, labels: LabelQuery | None) -> Iterator[PodTraits]:
        if labels is not None:
            for place in demanded_labels(labels):
                yield from self._filed.get(place, ())

    def _unfile(self, traits: PodTraits) -> None:
        for place in (None, *traits.pairs):
            filed = self._filed[place]
            del filed[traits]
            if not filed:
                del self._filed[place]


class PodCountsFork:
    """The counts of what a what-if departs from, and what it changed."""

    def __init__(self, origin: PodCounts) -> None:
        self._origin = origin
        self._changes: dict[PodTraits, dict[int, int]] = {}
        """How many pods came to each row, less those that went."""
        self._columns: dict[PodQuery, IntColumn] = {}

    def fork(self) -> "PodCountsFork":
        """Copy."""
        fork = PodCountsFork(self._origin)
        fork._changes = {traits: dict(rows) for traits, rows in self._changes.items()}
        return fork

    def __getitem__(self, query: PodQuery) -> IntColumn:
        """Return a query's column, shape ``(n_rows,)``; must not be written to."""
        column = self._columns.get(query)
        if column is None:
            column = self._columns[query] = self._origin[query].copy()
            for traits, rows in self._changes.items():
                if query.matches(traits):
                    column[list(rows)] += list(rows.values())
        return column

    def count(self, row: int, pod: PodFacts, *, sign: int) -> None:
        """Count a pod that came to a row, or went (``sign`` -1)."""
        rows = self._changes.setdefault(PodTraits.of(pod), {})
        rows[row] = rows.get(row, 0) + sign
        for query, column in self._columns.items():
            if query.matches(pod):
                column[row] += sign


def _first_selector(query: PodQuery) -> tuple[frozenset[str] | None, LabelQuery | None]:
    """Return what a pod must match in any case."""
    return query.selectors[0] if query.selectors else (None, LabelQuery())
