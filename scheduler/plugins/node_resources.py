"""NodeResourcesFit: what is asked for, and what is left."""

from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    ScorePlugin,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import BoolColumn, Code, ScoreColumn, Verdicts
from scheduler.model import PODS, NodeFacts, PodFacts
from scheduler.plugins.scoring_strategies import ScoringStrategy, StrategyScore


class NodeResourcesFitArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourcesFit."""

    ignored_resources: tuple[str, ...] = ()
    """Extended resources not to look at."""
    ignored_resource_groups: tuple[str, ...] = ()
    """What stands before the ``/`` of extended resources not to look at."""
    scoring_strategy: ScoringStrategy = ScoringStrategy()


class NodeResourcesFit(FilterPlugin, ScorePlugin):
    """Refuses nodes with too little left; rates by its strategy, LeastAllocated by default."""

    name = "NodeResourcesFit"
    args_type: ClassVar[type[PluginArgs]] = NodeResourcesFitArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_ALLOCATABLE
        | ClusterEvent.ASSIGNED_POD_SCALE_DOWN
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: NodeResourcesFitArgs) -> None:
        super().__init__(args)
        self._ignored = frozenset(args.ignored_resources)
        self._ignored_groups = frozenset(args.ignored_resource_groups)
        self._strategy = StrategyScore(args.scoring_strategy)

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign what is asked for."""
        return tuple(pod.requests.items()), tuple(pod.scored_requests.items())

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes; every reason is named, not just the first."""
        reasons: list[tuple[str, BoolColumn]] = []
        unresolvable = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        full = snapshot.requested[PODS] >= snapshot.allocatable[PODS]
        if np.count_nonzero(full):
            reasons.append(("Too many pods", full))
        for resource, amount in pod.requests.items():
            if amount == 0 or self._is_ignored(resource):
                continue
            allocatable = snapshot.allocatable[resource]
            short = amount > allocatable - snapshot.requested[resource]
            if np.count_nonzero(short):
                reasons.append((f"Insufficient {resource}", short))
                unresolvable |= amount > allocatable
        if not reasons:
            return None
        refused = np.logical_or.reduce([nodes for _, nodes in reasons])
        codes = np.where(unresolvable, Code.UNSCHEDULABLE_AND_UNRESOLVABLE, Code.UNSCHEDULABLE)
        return Verdicts(np.where(refused, codes, Code.SUCCESS).astype(np.uint8), reasons)

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate by the strategy."""
        return self._strategy.rate(pod, snapshot=snapshot)

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for a node that is large enough, or a pod that leaves what this one asks for.

        A pod that goes always leaves something: its place among the node's pods.
        """
        before, after = change.before, change.after
        if isinstance(after, NodeFacts):
            has_grown = not isinstance(before, NodeFacts) or _grew(before, after, pod=pod)
            return has_grown and self._fits(pod, after)
        if isinstance(before, PodFacts) and isinstance(after, PodFacts):
            asked = before.requests if after.uid == pod.uid else pod.requests
            return before.node_name != after.node_name or any(
                before.requests.get(resource, 0) > after.requests.get(resource, 0)
                for resource, amount in asked.items()
                if amount
            )
        return True

    def _fits(self, pod: PodFacts, node: NodeFacts) -> bool:
        """Whether the node is large enough for the pod, if nothing else were on it."""
        return node.allocatable.get(PODS, 0) > 0 and all(
            amount <= node.allocatable.get(resource, 0) or self._is_ignored(resource)
            for resource, amount in pod.requests.items()
        )

    def _is_ignored(self, resource: str) -> bool:
        if not _is_extended(resource):
            return False
        return resource in self._ignored or resource.partition("/")[0] in self._ignored_groups


def _grew(before: NodeFacts, after: NodeFacts, *, pod: PodFacts) -> bool:
    """Whether the node has more than before of what the pod asks for."""
    asked = [PODS, *(resource for resource, amount in pod.requests.items() if amount)]
    return any(after.allocatable.get(r, 0) > before.allocatable.get(r, 0) for r in asked)


def _is_extended(resource: str) -> bool:
    """Whether it is no resource of Kubernetes' own: it has a domain, and not Kubernetes'."""
    return (
        "/" in resource
        and "kubernetes.io/" not in resource
        and not resource.startswith("requests.")
    )
