"""InterPodAffinity: pods that must, or would rather, run near certain pods, or far from them.

Near means on a node with the same value of the term's topology key. Rules work both ways: a pod is
held to its own terms, and to those that pods already running carry about pods like it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import numpy as np
from msgspec import Meta

from scheduler.framework.carried_terms import CarriedTerm
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    ScorePlugin,
)
from scheduler.framework.pod_counts import PodQuery
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    SKIP,
    SUCCESS,
    BoolColumn,
    Code,
    ScoreColumn,
    Status,
    Verdicts,
)
from scheduler.framework.topology import Domains, Nearby
from scheduler.model import AffinityTerm, NodeFacts, PodFacts, PodTerm
from scheduler.plugins.affinity_hints import pods_may_help

_TOO_FAR: Final = "node(s) didn't match pod affinity rules"
_TOO_NEAR: Final = "node(s) didn't match pod anti-affinity rules"
_KEPT_OUT: Final = "node(s) didn't satisfy existing pods anti-affinity rules"


class InterPodAffinityArgs(PluginArgs, frozen=True):
    """Arguments of InterPodAffinity."""

    hard_pod_affinity_weight: Annotated[int, Meta(ge=0, le=100)] = 1
    """What a running pod's required affinity to the pod is worth."""
    ignore_preferred_terms_of_existing_pods: bool = False
    """Rate nodes only for pods that have preferred terms themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class _Rules:
    """What the pod is held to, and how far the actual snapshot meets it."""

    together: PodQuery | None
    """The pods that match all required affinity terms."""
    together_near: tuple[Nearby, ...]
    """They, by the key of each term."""
    apart: tuple[tuple[PodQuery, Nearby], ...]
    """The pods of each required anti-affinity term."""
    kept_out: Mapping[str, Nearby]
    """By topology key: terms of anti-affinity that pods on nodes carry against the pod."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pull:
    """How much each node draws the pod."""

    scores: ScoreColumn


class InterPodAffinity(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    """Refuses nodes by required terms, and rates them by preferred ones."""

    name = "InterPodAffinity"
    args_type: ClassVar[type[PluginArgs]] = InterPodAffinityArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.ASSIGNED_POD_ADD
        | ClusterEvent.ASSIGNED_POD_LABEL
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_DELETE
        | ClusterEvent.NODE_LABEL
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: InterPodAffinityArgs) -> None:
        super().__init__(args)
        self._hard_weight = args.hard_pod_affinity_weight
        self._ignores_others = args.ignore_preferred_terms_of_existing_pods

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Look for pods and nodes that bear on the pod's rules, or on whose rules the pod bears."""
        before, after = change.before, change.after
        if change.event == ClusterEvent.NODE_ADD and isinstance(after, NodeFacts):
            keys = {term.topology_key for term in pod.pod_affinity}
            return not keys or not keys.isdisjoint(after.labels)
        if isinstance(before, PodFacts | None) and isinstance(after, PodFacts | None):
            return change.event == ClusterEvent.POD_UPDATE or pods_may_help(
                pod, before=before, after=after
            )
        return True

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Count the pods that matter; skip where none do."""
        rules = _rules(pod, snapshot)
        state.write(rules)
        is_free = rules.together is None and not rules.apart
        if is_free and not any(near.any() for near in _kept_out(rules, pod, snapshot)):
            return PreFilterResult(SKIP)
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes too far from some pods, too near to others, or that others keep free."""
        rules = state.read(_Rules) or _rules(pod, snapshot)
        refused = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        codes = np.zeros(snapshot.n_nodes, dtype=np.uint8)
        reasons: list[tuple[str, BoolColumn]] = []
        for reason, code, nodes in (
            (_TOO_FAR, Code.UNSCHEDULABLE_AND_UNRESOLVABLE, _too_far(rules, pod, snapshot)),
            (_TOO_NEAR, Code.UNSCHEDULABLE, _any_near(_apart(rules, snapshot), snapshot)),
            (_KEPT_OUT, Code.UNSCHEDULABLE, _any_near(_kept_out(rules, pod, snapshot), snapshot)),
        ):
            new = nodes & ~refused
            if new.any():
                reasons.append((reason, new))
                codes[new] = code
                refused |= new
        return Verdicts(codes, reasons) if reasons else None

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Add up what draws the pod to each node; skip where nothing does."""
        if self._ignores_others and not pod.preferred_terms:
            return SKIP
        scores = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for key, weights in self._pulls(pod, snapshot).items():
            domains = Domains.of(snapshot, key=key)
            scores += domains.at_nodes(domains.sums(weights))
        state.write(_Pull(scores))
        return SUCCESS if scores.any() else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Give what PreScore found."""
        pull = state.read(_Pull)
        return np.zeros(snapshot.n_nodes, dtype=np.int64) if pull is None else pull.scores

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Stretch the scores from 0 to 100; all 0 where they are equal."""
        spread = int(np.ptp(scores)) if scores.size else 0
        if spread == 0:
            return np.zeros_like(scores)
        # Floats, cut off, as upstream has it: 29 of 100 is 28.
        stretched: ScoreColumn = (MAX_NODE_SCORE * ((scores - scores.min()) / spread)).astype(
            np.int64
        )
        return stretched

    def _pulls(self, pod: PodFacts, snapshot: Snapshot) -> Mapping[str, IntColumn]:
        """Weigh the pods on each node, by topology key."""
        found: dict[str, IntColumn] = {}
        nothing = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for weight, term in pod.preferred_terms:
            weights = weight * snapshot.count(_query((term,), snapshot))
            found[term.topology_key] = found.get(term.topology_key, nothing) + weights
        worth: dict[str, dict[CarriedTerm, int]] = {}
        for carried in _speaking_of(pod, snapshot):
            weight = self._hard_weight if carried.kind == "affinity" else carried.weight
            if weight:
                worth.setdefault(carried.term.topology_key, {})[carried] = weight
        for key, terms in worth.items():
            found[key] = found.get(key, nothing) + snapshot.carried_terms.total(terms)
        return found


def _rules(pod: PodFacts, snapshot: Snapshot) -> _Rules:
    actual = snapshot.actual
    domains: dict[str, Domains] = {}

    def nearby(amounts: IntColumn, *, key: str) -> Nearby:
        if key not in domains:
            domains[key] = Domains.of(actual, key=key)
        return Nearby.of(amounts, domains=domains[key])

    together: PodQuery | None = None
    together_near: tuple[Nearby, ...] = ()
    if pod.pod_affinity:
        together = _query(pod.pod_affinity, actual)
        keys = dict.fromkeys(term.topology_key for term in pod.pod_affinity)
        together_near = tuple(nearby(actual.count(together), key=key) for key in keys)
    apart = [(term.topology_key, _query((term,), actual)) for term in pod.pod_anti_affinity]
    return _Rules(
        together,
        together_near,
        tuple((query, nearby(actual.count(query), key=key)) for key, query in apart),
        {key: nearby(terms, key=key) for key, terms in _against(pod, actual).items()},
    )


def _query(terms: Iterable[AffinityTerm], snapshot: Snapshot) -> PodQuery:
    """Ask for the pods that match all of *terms*."""
    return PodQuery(tuple((_namespaces(t.pods, snapshot), t.pods.query) for t in terms))


def _namespaces(pods: PodTerm, snapshot: Snapshot) -> frozenset[str] | None:
    if pods.namespace_query is not None and not pods.namespace_query.requirements:
        # Every namespace, even one that is not known.
        return None
    return snapshot.objects.namespaces(pods.namespace_query, named=pods.namespaces)


def _speaking_of(pod: PodFacts, snapshot: Snapshot) -> list[CarriedTerm]:
    labels = snapshot.objects.namespace_labels(pod.namespace)
    return snapshot.carried_terms.speaking_of(pod, namespace_labels=labels)


def _against(pod: PodFacts, snapshot: Snapshot) -> dict[str, IntColumn]:
    """Count the terms of anti-affinity against the pod on each node, by topology key."""
    found: dict[str, dict[CarriedTerm, int]] = {}
    for carried in _speaking_of(pod, snapshot):
        if carried.kind == "anti-affinity":
            found.setdefault(carried.term.topology_key, {})[carried] = 1
    return {key: snapshot.carried_terms.total(terms) for key, terms in found.items()}


def _too_far(rules: _Rules, pod: PodFacts, snapshot: Snapshot) -> BoolColumn:
    if rules.together is None:
        return np.zeros(snapshot.n_nodes, dtype=np.bool_)
    amounts = snapshot.count(rules.together)
    has_keys = np.ones(snapshot.n_nodes, dtype=np.bool_)
    is_near = has_keys.copy()
    for near in rules.together_near:
        has_keys &= near.domains.has_key
        is_near &= _given(near, amounts, snapshot) > 0
    if not is_near.all() and rules.together.matches(pod):
        # The first of a series that wants to be together has nobody to join.
        is_near |= has_keys & ~_is_anyone(rules.together_near, amounts)
    return ~is_near


def _is_anyone(near: tuple[Nearby, ...], amounts: IntColumn) -> BoolColumn:
    """Tell for each node, its changes alone made, whether any node with a key has such pods."""
    actual = near[0].actual
    has_any_key = np.zeros(actual.size, dtype=np.bool_)
    for each in near:
        has_any_key |= each.domains.has_key
    n_pods = int(actual[has_any_key].sum()) + (amounts - actual) * has_any_key
    return np.asarray(n_pods > 0)


def _apart(rules: _Rules, snapshot: Snapshot) -> Iterable[IntColumn]:
    for query, near in rules.apart:
        yield _given(near, snapshot.count(query), snapshot)


def _kept_out(rules: _Rules, pod: PodFacts, snapshot: Snapshot) -> Iterable[IntColumn]:
    if snapshot.actual is snapshot:
        return [near.sums for near in rules.kept_out.values()]
    terms = _against(pod, snapshot)
    nobody = np.zeros(snapshot.n_nodes, dtype=np.int64)
    return [
        (rules.kept_out.get(key) or Nearby.of(nobody, domains=Domains.of(snapshot, key=key))).given(
            terms.get(key, nobody)
        )
        for key in {**rules.kept_out, **terms}
    ]


def _given(near: Nearby, amounts: IntColumn, snapshot: Snapshot) -> IntColumn:
    return near.sums if snapshot.actual is snapshot else near.given(amounts)


def _any_near(near: Iterable[IntColumn], snapshot: Snapshot) -> BoolColumn:
    found = np.zeros(snapshot.n_nodes, dtype=np.bool_)
    for each in near:
        found |= each > 0
    return found
