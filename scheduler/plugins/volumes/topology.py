"""Which nodes a volume, a class or a pool of storage reaches."""

from collections.abc import Iterable, Sequence

import numpy as np

from kube.objects import LabelSelector, NodeSelectorRequirement, NodeSelectorTerm
from kube.storage import PersistentVolume, TopologySelectorTerm
from scheduler.framework.matching import matches_any_term, matches_term
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn


def affinity_of(volume: PersistentVolume) -> list[NodeSelectorTerm] | None:
    """Return the terms of which a node must match one; ``None`` if the volume is everywhere."""
    affinity = volume.spec.node_affinity
    if affinity is None or affinity.required is None:
        return None
    terms = affinity.required.node_selector_terms or []
    # Only labels count for volumes: a term about the node's name matches none.
    return [term for term in terms if not term.match_fields]


def label_of(terms: Sequence[NodeSelectorTerm] | None) -> tuple[str, list[str]] | None:
    """Read terms that ask for one label with one of some values, as nearly all volumes' do."""
    if terms is None or len(terms) != 1:
        return None
    expressions = terms[0].match_expressions or []
    if len(expressions) != 1 or expressions[0].operator != "In":
        return None
    return expressions[0].key, expressions[0].values or []


def reach(snapshot: Snapshot, *, terms: Sequence[NodeSelectorTerm] | None) -> BoolColumn:
    """Tell which nodes match *terms*, as ``affinity_of`` returns them."""
    if terms is None:
        return np.ones(snapshot.n_nodes, dtype=np.bool_)
    return matches_any_term(snapshot, terms=terms)


def allows(snapshot: Snapshot, *, topologies: Sequence[TopologySelectorTerm] | None) -> BoolColumn:
    """Tell in which nodes' part of the topology a class provisions volumes."""
    if not topologies:
        return np.ones(snapshot.n_nodes, dtype=np.bool_)
    allowed = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    for topology in topologies:
        expressions = topology.match_label_expressions or []
        terms = [
            NodeSelectorRequirement(key=each.key, operator="In", values=each.values)
            for each in expressions
        ]
        allowed |= matches_term(snapshot, term=NodeSelectorTerm(match_expressions=terms))
    return allowed


def selects_any(snapshot: Snapshot, *, selectors: Iterable[LabelSelector]) -> BoolColumn:
    """Tell which nodes at least one of *selectors* matches.

    There may be one for each node, so those that ask for one label are looked up all at once.
    """
    selected = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    by_label: dict[str, set[str]] = {}
    for selector in selectors:
        labels, expressions = selector.match_labels or {}, selector.match_expressions or []
        if len(labels) == 1 and not expressions:
            ((key, value),) = labels.items()
            by_label.setdefault(key, set()).add(value)
        else:
            selected |= _selects(snapshot, selector)
    for key, values in by_label.items():
        ids, n_ids = snapshot.labels.ids(key)
        # The last element stands for nodes without the label, whose id is -1.
        wanted = np.zeros(n_ids + 1, dtype=np.bool_)
        known = [snapshot.labels.value_id(key, value=value) for value in values]
        wanted[[number for number in known if number >= 0]] = True
        selected |= wanted[ids]
    return selected


def _selects(snapshot: Snapshot, selector: LabelSelector) -> BoolColumn:
    labels, expressions = selector.match_labels or {}, selector.match_expressions or []
    requirements = [
        *(NodeSelectorRequirement(key=k, operator="In", values=[v]) for k, v in labels.items()),
        *(
            NodeSelectorRequirement(key=each.key, operator=each.operator, values=each.values)
            for each in expressions
        ),
    ]
    if not requirements:
        return np.ones(snapshot.n_nodes, dtype=np.bool_)
    return matches_term(snapshot, term=NodeSelectorTerm(match_expressions=requirements))
