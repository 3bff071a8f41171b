"""PodTopologySpread: pods of a kind evenly over zones, hosts or other parts of a topology."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

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
from scheduler.framework.matching import required_terms
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    SKIP,
    SUCCESS,
    BoolColumn,
    ScoreColumn,
    Status,
    Verdicts,
)
from scheduler.model import NodeFacts, PodFacts, SpreadConstraint
from scheduler.plugins.spread_constraints import Constraints, PodTopologySpreadArgs
from scheduler.plugins.spread_score import SoftSpread
from scheduler.plugins.spread_skew import HardSpread


class PodTopologySpread(PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin):
    """Refuses nodes where hard constraints would be broken; rates by the soft ones.

    A terminating pod is not counted, and neither is any pod by an empty selector, as kube-scheduler
    1.36 has it. When preemption is tried there, a terminating victim is subtracted all the same, so
    that the pod may be sent where it does not fit; here what was not counted is not subtracted.
    """

    name = "PodTopologySpread"
    args_type: ClassVar[type[PluginArgs]] = PodTopologySpreadArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_DELETE
        | ClusterEvent.NODE_LABEL
        | ClusterEvent.NODE_TAINT
        | ClusterEvent.ASSIGNED_POD_ADD
        | ClusterEvent.ASSIGNED_POD_LABEL
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: PodTopologySpreadArgs) -> None:
        super().__init__(args)
        self._constraints = Constraints(args)

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Count, or skip pods without a hard constraint."""
        hard = self._constraints.complete(pod, is_hard=True, objects=snapshot.objects)
        if not hard:
            return PreFilterResult(SKIP)
        state.write(HardSpread.of(hard, pod=pod, snapshot=snapshot.actual))
        return PreFilterResult()

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes by the first constraint that the pod would break there."""
        spread = state.read(HardSpread)
        return None if spread is None else spread.verdicts(snapshot)

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods without a soft constraint."""
        soft = self._constraints.complete(pod, is_hard=False, objects=snapshot.objects)
        if not soft:
            return SKIP
        state.write(
            SoftSpread(soft, feasible, needs_all_keys=self._constraints.needs_all_keys(pod))
        )
        return SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate nodes the better the fewer pods are near; feasible ones get their final scores.

        Nodes that lack a key are left out and get 0.
        """
        soft = state.read(SoftSpread)
        if soft is None:
            return np.zeros(snapshot.n_nodes, dtype=np.int64)
        return soft.scores(pod, snapshot=snapshot)

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for changes of what is counted, or where."""
        hard = self._constraints.declared(pod, is_hard=True)
        before, after = change.before, change.after
        if isinstance(after or before, NodeFacts):
            return _node_may_help(pod, hard, before=before, after=after)
        if not isinstance(after or before, PodFacts):
            return True
        if before is not None and after is not None and after.uid == pod.uid:
            return _update_may_help(hard, before=before, after=after)
        return _other_may_help(pod, hard, before=before, after=after)


def _node_may_help(
    pod: PodFacts,
    hard: Sequence[SpreadConstraint],
    *,
    before: NodeFacts | None,
    after: NodeFacts | None,
) -> bool:
    """Tell whether a node begins or ceases to count, or counts elsewhere."""
    keys = [each.topology_key for each in hard]
    if before is None or after is None:
        return _has_all(before or after, keys)
    if _has_all(before, keys) != _has_all(after, keys):
        return True
    if not _has_all(after, keys):
        return False
    if pod.node_selector or required_terms(pod.node_affinity) is not None:
        is_elsewhere = before.labels != after.labels
    else:
        is_elsewhere = any(before.labels[key] != after.labels[key] for key in keys)
    return is_elsewhere or before.taints != after.taints


def _has_all(node: NodeFacts | None, keys: Sequence[str]) -> bool:
    return node is not None and all(key in node.labels for key in keys)


def _update_may_help(
    hard: Sequence[SpreadConstraint], *, before: PodFacts, after: PodFacts
) -> bool:
    """Tell whether the pod itself is counted otherwise now, or counts more nodes."""
    if before.tolerations != after.tolerations and any(each.honors_node_taints for each in hard):
        return True
    return before.labels != after.labels or before.spread != after.spread


def _other_may_help(
    pod: PodFacts,
    hard: Sequence[SpreadConstraint],
    *,
    before: PodFacts | None,
    after: PodFacts | None,
) -> bool:
    """Tell whether a pod on a node begins or ceases to be counted."""
    if any(each.namespace != pod.namespace for each in (before, after) if each is not None):
        return False
    # Whom default constraints count is not known here: services and controllers say it.
    return not pod.spread or any(_is_counted(before, e) != _is_counted(after, e) for e in hard)


def _is_counted(pod: PodFacts | None, constraint: SpreadConstraint) -> bool:
    if pod is None or not pod.node_name or pod.is_terminating or constraint.query is None:
        return False
    return constraint.query.matches(pod.labels)
