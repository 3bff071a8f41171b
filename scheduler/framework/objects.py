"""What else a plugin may ask about: namespaces, services, volumes, budgets, groups.

Objects stay as they came over the wire: few plugins ask about them, and of a few at a time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

from kube.objects import KubeObject, Namespace, Service
from kube.selectors import LabelQuery, labels_query
from scheduler.framework.changes import Changes
from scheduler.framework.selector_index import SelectorIndex

T = TypeVar("T", bound=KubeObject)

_MAX_RESOLVED: Final = 1_000


class ClusterObjects:
    """A mirror of the cluster's objects by kind and key (``namespace/name``, or ``name``).

    Plugins read it; ``scheduler.cache`` writes it.
    """

    def __init__(self) -> None:
        self._objects: defaultdict[type[KubeObject], dict[str, KubeObject]] = defaultdict(dict)
        self._changes: defaultdict[type[KubeObject], Changes[str]] = defaultdict(Changes)
        self._resolved: dict[tuple[LabelQuery, frozenset[str]], frozenset[str]] = {}
        self._services: SelectorIndex[tuple[str, LabelQuery]] = SelectorIndex()

    def find(self, kind: type[T], key: str) -> T | None:
        """Return an object, if it is known."""
        return self._objects[kind].get(key)  # type: ignore[return-value]  # kept under its type

    def all(self, kind: type[T]) -> Iterator[T]:
        """Go through all objects of a kind, oldest known first."""
        return iter(self._objects[kind].values())  # type: ignore[arg-type]  # as above

    def version(self, kind: type[KubeObject]) -> int:
        """Return a number that grows whenever an object of the kind changes."""
        return self._changes[kind].version

    def changed_since(self, kind: type[KubeObject], *, version: int) -> frozenset[str] | None:
        """Return the keys of the objects that changed since then; ``None`` if any may have."""
        return self._changes[kind].since(version)

    def put(self, found: KubeObject) -> KubeObject | None:
        """Add an object, or replace it; returns what was known of it before."""
        held = self._objects[type(found)]
        before = held.get(key := found.metadata.key)
        held[key] = found
        self._changes[type(found)].note(key)
        self._changed(before=before, after=found)
        return before

    def remove(self, kind: type[KubeObject], key: str) -> bool:
        """Forget an object; tells whether it was known."""
        before = self._objects[kind].pop(key, None)
        if before is None:
            return False
        self._changes[kind].note(key)
        self._changed(before=before, after=None)
        return True

    def namespaces(self, query: LabelQuery | None, *, named: frozenset[str]) -> frozenset[str]:
        """Find the namespaces that are named or whose labels *query* matches.

        Every namespace has a name, whether its object is known or not, so those with labels that
        match an empty query are only the known ones and *named*.
        """
        if query is None:
            return named
        known = self._resolved.get((query, named))
        if known is None:
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved.clear()
            matching = {
                each.metadata.name
                for each in self.all(Namespace)
                if query.matches(each.metadata.labels or {})
            }
            known = self._resolved[query, named] = named | matching
        return known

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """Return a namespace's labels; none where it is not known."""
        found = self.find(Namespace, name)
        return (found.metadata.labels if found is not None else None) or {}

    def service_labels(self, namespace: str, *, labels: Mapping[str, str]) -> dict[str, str]:
        """Return those of a pod's labels that services select it by."""
        keys = {
            requirement.key
            for _, query in self._services.candidates(namespace, labels=labels)
            if query.matches(labels)
            for requirement in query.requirements
        }
        return {key: labels[key] for key in keys}

    def _changed(self, *, before: KubeObject | None, after: KubeObject | None) -> None:
        if isinstance(before, Namespace) or isinstance(after, Namespace):
            self._resolved.clear()
        if isinstance(before, Service):
            item, home = _selection(before)
            self._services.remove(item, namespaces=home, query=item[1])
        if isinstance(after, Service):
            item, home = _selection(after)
            self._services.add(item, namespaces=home, query=item[1])


def _selection(service: Service) -> tuple[tuple[str, LabelQuery], frozenset[str]]:
    """Return a service's key with its selector, and where it looks for pods.

    Without a selector it stands for no pod: it selects by no label, as one that selects all does.
    """
    item = (service.metadata.key, labels_query(service.spec.selector or {}))
    return item, frozenset((service.metadata.namespace,))
