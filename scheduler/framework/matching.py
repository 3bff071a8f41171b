"""Tolerations against taints, node selectors against labels: shared by several plugins."""

from collections.abc import Iterable, Sequence

import numpy as np

from kube.objects import NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Toleration
from scheduler.framework.columns import parse_int64
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn
from scheduler.model import PodFacts, Taint

NO_SCHEDULE = "NoSchedule"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
NO_EXECUTE = "NoExecute"

_NAME_FIELD = "metadata.name"


def tolerates(tolerations: Iterable[Toleration], *, taint: Taint) -> bool:
    """Tell whether one of *tolerations* covers *taint*."""
    return any(_covers(toleration, taint) for toleration in tolerations)


def _covers(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator or "Equal":
        case "Exists":
            return True
        case "Equal":
            return (toleration.value or "") == taint.value
        case _:
            return False


def repels(taint: Taint, *, tolerations: Iterable[Toleration]) -> bool:
    """Tell whether *taint* keeps pods away, and *tolerations* do not cover it."""
    keeps_away = taint.effect in (NO_SCHEDULE, NO_EXECUTE)
    return keeps_away and not tolerates(tolerations, taint=taint)


def repelling(snapshot: Snapshot, *, tolerations: Iterable[Toleration]) -> BoolColumn | None:
    """Tell which nodes have a taint that keeps pods away and that *tolerations* do not cover.

    Returns:
        Shape ``(n_nodes,)``; ``None`` for no node.
    """
    untolerated = [
        taint for taint in snapshot.taints.present() if repels(taint, tolerations=tolerations)
    ]
    if not untolerated:
        return None
    tainted = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    for taint in untolerated:
        tainted |= snapshot.taints[taint] != 0
    return tainted


def required_terms(affinity: NodeAffinity | None) -> list[NodeSelectorTerm] | None:
    """Return the required terms; ``None`` if nothing is required, ``[]`` if nothing can match."""
    if affinity is None or affinity.required_during_scheduling_ignored_during_execution is None:
        return None
    return affinity.required_during_scheduling_ignored_during_execution.node_selector_terms or []


def selected(snapshot: Snapshot, *, pod: PodFacts) -> BoolColumn | None:
    """Tell which nodes meet the pod's node selector and required affinity.

    Returns:
        Shape ``(n_nodes,)``; ``None`` for all nodes: the pod has neither.
    """
    required = required_terms(pod.node_affinity)
    if required is None and not pod.node_selector:
        return None
    matched = np.ones(snapshot.n_nodes, dtype=np.bool_)
    for key, value in pod.node_selector.items():
        matched &= snapshot.labels.is_in(key, values=[value])
    if required is not None:
        matched &= matches_any_term(snapshot, terms=required)
    return matched


def matches_any_term(snapshot: Snapshot, *, terms: Sequence[NodeSelectorTerm]) -> BoolColumn:
    """Tell which nodes match at least one term; no term at all matches nothing."""
    matched = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    for term in terms:
        matched |= matches_term(snapshot, term=term)
    return matched


def matches_term(snapshot: Snapshot, *, term: NodeSelectorTerm) -> BoolColumn:
    """Tell which nodes meet every requirement of *term*; an empty term matches nothing."""
    expressions, fields = term.match_expressions or [], term.match_fields or []
    if not expressions and not fields:
        return np.zeros(snapshot.n_nodes, dtype=np.bool_)
    matched = np.ones(snapshot.n_nodes, dtype=np.bool_)
    for requirement in expressions:
        matched &= _matches_labels(snapshot, requirement)
    for requirement in fields:
        matched &= _matches_name(snapshot, requirement)
    return matched


def _matches_labels(snapshot: Snapshot, requirement: NodeSelectorRequirement) -> BoolColumn:
    labels, key, values = snapshot.labels, requirement.key, requirement.values or []
    match requirement.operator:
        case "In" if values:
            return labels.is_in(key, values=values)
        case "NotIn" if values:
            return ~labels.is_in(key, values=values)
        case "Exists" if not values:
            return labels.has(key)
        case "DoesNotExist" if not values:
            return ~labels.has(key)
        case "Gt" | "Lt" if len(values) == 1 and (limit := parse_int64(values[0])) is not None:
            below, above = labels.compare(key, limit=limit)
            return above if requirement.operator == "Gt" else below
        case _:
            # The API server admits no other; one that got in matches nothing, as upstream.
            return np.zeros(snapshot.n_nodes, dtype=np.bool_)


def _matches_name(snapshot: Snapshot, requirement: NodeSelectorRequirement) -> BoolColumn:
    named = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    values = requirement.values or []
    if requirement.key != _NAME_FIELD or len(values) != 1:
        return named
    row = snapshot.rows.get(values[0])
    if row is not None:
        named[row] = True
    match requirement.operator:
        case "In":
            return named
        case "NotIn":
            return ~named
        case _:
            return np.zeros(snapshot.n_nodes, dtype=np.bool_)


def named_nodes(terms: Sequence[NodeSelectorTerm]) -> frozenset[str] | None:
    """Find the only nodes that *terms* can match by name.

    Returns:
        ``None`` if a term does not name nodes; the empty set if the names contradict each other.
    """
    names: set[str] = set()
    for term in terms:
        sets = [
            frozenset(r.values or ())
            for r in term.match_fields or []
            if r.key == _NAME_FIELD and r.operator == "In"
        ]
        if not sets:
            return None
        names |= sets[0].intersection(*sets[1:])
    return frozenset(names) if terms else None
