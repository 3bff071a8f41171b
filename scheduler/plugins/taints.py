"""NodeUnschedulable and TaintToleration: nodes that repel pods."""

from collections.abc import Hashable
from typing import ClassVar, Final

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.hints import begins_to_pass
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    ScorePlugin,
    default_normalize,
)
from scheduler.framework.matching import (
    NO_SCHEDULE,
    PREFER_NO_SCHEDULE,
    repelling,
    repels,
    tolerates,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    Code,
    ScoreColumn,
    Verdicts,
)
from scheduler.model import PodFacts, Taint

_CORDON: Final = Taint("node.kubernetes.io/unschedulable", "", NO_SCHEDULE)
_NODE_TAINT_EVENTS: Final = (
    ClusterEvent.NODE_ADD | ClusterEvent.NODE_TAINT | ClusterEvent.POD_UPDATE
)


class NodeUnschedulable(FilterPlugin):
    """Refuses cordoned nodes, unless the pod tolerates the taint that stands for it."""

    name = "NodeUnschedulable"
    wakes_on: ClassVar[ClusterEvent] = _NODE_TAINT_EVENTS
    reads_pods: ClassVar[bool] = False

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign the tolerations."""
        return pod.tolerations

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse cordoned nodes."""
        cordoned = snapshot.unschedulable
        if not cordoned.any() or tolerates(pod.tolerations, taint=_CORDON):
            return None
        return Verdicts.refuse(
            cordoned,
            reason="node(s) were unschedulable",
            code=Code.UNSCHEDULABLE_AND_UNRESOLVABLE,
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for a node that passes and did not before."""
        tolerated = tolerates(pod.tolerations, taint=_CORDON)
        return begins_to_pass(change, passes=lambda node: tolerated or not node.is_unschedulable)


class TaintToleration(FilterPlugin, ScorePlugin):
    """Refuses NoSchedule and NoExecute taints that the pod does not tolerate; rates the rest.

    Score: the fewer ``PreferNoSchedule`` taints that the pod does not tolerate, the better.
    """

    name = "TaintToleration"
    wakes_on: ClassVar[ClusterEvent] = _NODE_TAINT_EVENTS
    reads_pods: ClassVar[bool] = False

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign the tolerations."""
        return pod.tolerations

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes with an untolerated taint."""
        tainted = repelling(snapshot, tolerations=pod.tolerations)
        if tainted is None:
            return None
        return Verdicts.refuse(
            tainted,
            reason="node(s) had untolerated taint(s)",
            code=Code.UNSCHEDULABLE_AND_UNRESOLVABLE,
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for a node that passes and did not before."""
        return begins_to_pass(
            change,
            passes=lambda node: (
                not any(repels(taint, tolerations=pod.tolerations) for taint in node.taints)
            ),
        )

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Count each node's untolerated ``PreferNoSchedule`` taints."""
        tolerations = [t for t in pod.tolerations if t.effect in (None, "", PREFER_NO_SCHEDULE)]
        counts = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for taint in snapshot.taints.present():
            if taint.effect == PREFER_NO_SCHEDULE and not tolerates(tolerations, taint=taint):
                counts += snapshot.taints[taint]
        return counts

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Make the node with the fewest taints best."""
        return default_normalize(scores, reverse=True)
