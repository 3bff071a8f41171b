"""Which objects a list or watch is about: namespace, labels and fields."""

from dataclasses import dataclass
from typing import Self

from scheduler.simulator.apiserver.field_selectors import FieldTerm, parse_field_selector
from scheduler.simulator.apiserver.label_selectors import (
    Requirement,
    matches_all,
    parse_label_selector,
)
from scheduler.simulator.apiserver.requests import Request
from scheduler.simulator.history import Entry
from scheduler.simulator.resources import Object, Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Everything that decides whether an object is meant."""

    resource: Resource
    namespace: str = ""
    labels: tuple[Requirement, ...] = ()
    fields: tuple[FieldTerm, ...] = ()

    @classmethod
    def of(cls, request: Request, resource: Resource, namespace: str) -> Self:
        """What the request's parameters select.

        Raises:
            ApiError: 400: a selector cannot be read.
        """
        return cls(
            resource=resource,
            namespace=namespace,
            labels=parse_label_selector(request.query.get("labelSelector", "")),
            fields=parse_field_selector(request.query.get("fieldSelector", ""), resource),
        )

    @property
    def selects_by_content(self) -> bool:
        """Tell whether an object's own content decides, too."""
        return bool(self.labels or self.fields)

    def admits(self, entry: Entry) -> bool:
        """Tell whether the object is meant."""
        if self.namespace and not entry.key.startswith(f"{self.namespace}/"):
            return False
        return self.admits_object(entry.obj)

    def admits_object(self, obj: Object) -> bool:
        """Tell whether labels and fields of the (stored) object are as wanted."""
        return matches_all(self.labels, obj["metadata"].get("labels")) and all(
            term.matches(obj) for term in self.fields
        )
