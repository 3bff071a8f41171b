"""Finds the selectors that may match a pod without asking all of them.

A selector is filed under the namespaces and under one label that it demands; a pod is looked up
under its own namespace and labels. So thousands of workloads, each with rules about its own pods,
cost a pod no more than a few.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from kube.selectors import LabelQuery

K = TypeVar("K", bound=Hashable)

_MAX_PLACES: Final = 8
"""What is filed in more places than these goes where everything is looked up."""

_Place = tuple[str | None, tuple[str, str] | None]
"""A namespace and a label; ``None`` for any."""


class SelectorIndex(Generic[K]):
    """Items by what their selectors demand."""

    def __init__(self) -> None:
        self._filed: dict[_Place, dict[K, None]] = {}

    def add(self, item: K, *, namespaces: frozenset[str] | None, query: LabelQuery | None) -> None:
        """File an item under its selector.

        Args:
            item: What to find again.
            namespaces: ``None`` for all.
            query: ``None`` matches no pod.
        """
        for place in _places(namespaces, query):
            self._filed.setdefault(place, {})[item] = None

    def remove(
        self, item: K, *, namespaces: frozenset[str] | None, query: LabelQuery | None
    ) -> None:
        """Forget an item that was filed under this selector."""
        for place in _places(namespaces, query):
            filed = self._filed[place]
            del filed[item]
            if not filed:
                del self._filed[place]

    def candidates(self, namespace: str, *, labels: Mapping[str, str]) -> Iterator[K]:
        """Go through the items that may match such a pod, each once; no other does match."""
        for where in (namespace, None):
            for label in (None, *labels.items()):
                yield from self._filed.get((where, label), ())


def demanded_labels(query: LabelQuery) -> list[tuple[str, str] | None]:
    """List labels of which every pod that *query* matches has exactly one; ``[None]`` if unknown.

    Of a query that no pod can match, none.
    """
    demanded = min(
        (each for each in query.requirements if each.operator == "In"),
        key=lambda each: len(each.values),
        default=None,
    )
    if demanded is None or len(demanded.values) > _MAX_PLACES:
        return [None]
    return [(demanded.key, value) for value in demanded.values]


def _places(namespaces: frozenset[str] | None, query: LabelQuery | None) -> Iterator[_Place]:
    if query is None:
        return
    if namespaces is None or len(namespaces) > _MAX_PLACES:
        namespaces = None
    for namespace in (None,) if namespaces is None else namespaces:
        for label in demanded_labels(query):
            yield namespace, label
