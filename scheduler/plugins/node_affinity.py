"""NodeAffinity: the nodes that a pod must, or would rather, run on."""

from collections.abc import Hashable
from typing import ClassVar

import msgspec
import numpy as np

from kube.objects import NodeAffinity as Affinity
from kube.objects import PreferredSchedulingTerm
from scheduler.framework.cycle import CycleState
from scheduler.framework.hints import begins_to_pass
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    ScorePlugin,
    default_normalize,
)
from scheduler.framework.matching import (
    matches_any_term,
    matches_term,
    named_nodes,
    required_terms,
    selected,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    SKIP,
    SUCCESS,
    BoolColumn,
    Code,
    ScoreColumn,
    Status,
    Verdicts,
    unresolvable,
)
from scheduler.model import NodeFacts, PodFacts


class NodeAffinityArgs(PluginArgs, frozen=True):
    """Arguments of NodeAffinity."""

    added_affinity: Affinity | None = None
    """Applied to every pod of the profile, besides its own."""


class NodeAffinity(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    """Refuses nodes that miss the pod's selector or required affinity; rates by preferences."""

    name = "NodeAffinity"
    args_type: ClassVar[type[PluginArgs]] = NodeAffinityArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD | ClusterEvent.NODE_LABEL | ClusterEvent.POD_UPDATE
    )

    reads_pods: ClassVar[bool] = False

    def __init__(self, args: NodeAffinityArgs) -> None:
        super().__init__(args)
        self._added = args.added_affinity

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign selector and affinity."""
        affinity = pod.node_affinity
        return (
            tuple(pod.node_selector.items()),
            None if affinity is None else msgspec.msgpack.encode(affinity),
        )

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Skip pods that take any node; narrow the search for pods that name theirs."""
        required = required_terms(pod.node_affinity)
        if required is None and not pod.node_selector and required_terms(self._added) is None:
            return PreFilterResult(SKIP)
        names = named_nodes(required or [])
        if names is not None and not names:
            return PreFilterResult(unresolvable("pod affinity terms conflict"))
        return PreFilterResult(node_names=names)

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes outside the profile's affinity, then those outside the pod's."""
        everywhere = np.ones(snapshot.n_nodes, dtype=np.bool_)
        added, matched = required_terms(self._added), selected(snapshot, pod=pod)
        enforced = everywhere if added is None else matches_any_term(snapshot, terms=added)
        if matched is None:
            matched = everywhere
        refused = ~(enforced & matched)
        return Verdicts(
            refused.astype(np.uint8) * np.uint8(Code.UNSCHEDULABLE_AND_UNRESOLVABLE),
            (
                ("node(s) didn't match scheduler-enforced node affinity", ~enforced),
                ("node(s) didn't match Pod's node affinity/selector", enforced & ~matched),
            ),
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for a node that passes and did not before."""
        return begins_to_pass(change, passes=lambda node: self._passes(pod, node))

    def _passes(self, pod: PodFacts, node: NodeFacts) -> bool:
        alone = Snapshot()
        alone.set_node(node)
        found = self.filter(CycleState(), pod=pod, snapshot=alone)
        return found is None or int(found.codes[0]) == Code.SUCCESS

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods without a preference."""
        return SUCCESS if self._preferred(pod) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Add up the weights of the preferred terms that each node matches."""
        scores = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for term in self._preferred(pod):
            if term.weight != 0:
                scores += term.weight * matches_term(snapshot, term=term.preference)
        return scores

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Make the best node 100."""
        return default_normalize(scores, reverse=False)

    def _preferred(self, pod: PodFacts) -> list[PreferredSchedulingTerm]:
        return [
            term
            for affinity in (self._added, pod.node_affinity)
            if affinity is not None
            for term in affinity.preferred_during_scheduling_ignored_during_execution or []
        ]
