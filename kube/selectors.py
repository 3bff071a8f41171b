"""Label selectors as values: hashable, and quick to ask of many objects."""

from collections.abc import Mapping
from typing import NamedTuple

from kube.objects import LabelSelector


class Requirement(NamedTuple):
    """One condition on a label."""

    key: str
    operator: str
    """``In``, ``NotIn``, ``Exists`` or ``DoesNotExist``."""
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether *labels* meet it."""
        match self.operator:
            case "In":
                return self.key in labels and labels[self.key] in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels
            case _:
                # The API server admits no other; one that got in matches nothing, as upstream.
                return False


class LabelQuery(NamedTuple):
    """Conditions that must all hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether *labels* meet all of them."""
        return all(each.matches(labels) for each in self.requirements)

    def also(self, requirement: Requirement) -> "LabelQuery":
        """Add a condition; one that is there already is not added twice."""
        if requirement in self.requirements:
            return self
        return LabelQuery((*self.requirements, requirement))


def label_query(selector: LabelSelector | None) -> LabelQuery | None:
    """Compile a selector; ``None``, which matches nothing, stays ``None``."""
    if selector is None:
        return None
    labels, expressions = selector.match_labels or {}, selector.match_expressions or []
    return LabelQuery(
        tuple(
            [Requirement(key, "In", frozenset((value,))) for key, value in sorted(labels.items())]
            + [Requirement(e.key, e.operator, frozenset(e.values or ())) for e in expressions]
        )
    )


def labels_query(labels: Mapping[str, str]) -> LabelQuery:
    """Make the query that all of *labels* meet."""
    return LabelQuery(
        tuple(Requirement(k, "In", frozenset((v,))) for k, v in sorted(labels.items()))
    )
