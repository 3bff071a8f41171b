"""NodeName: a pod that names its node."""

from collections.abc import Hashable
from typing import ClassVar

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.hints import begins_to_pass
from scheduler.framework.interface import Change, ClusterEvent, FilterPlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code, Verdicts
from scheduler.model import PodFacts


class NodeName(FilterPlugin):
    """Refuses every node but the one in ``spec.nodeName``, if it is set."""

    name = "NodeName"
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.NODE_ADD | ClusterEvent.POD_UPDATE

    reads_pods: ClassVar[bool] = False

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign the name."""
        return pod.node_name

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes with another name."""
        if not pod.node_name:
            return None
        others = np.ones(snapshot.n_nodes, dtype=np.bool_)
        row = snapshot.rows.get(pod.node_name)
        if row is not None:
            others[row] = False
        return Verdicts.refuse(
            others,
            reason="node(s) didn't match the requested node name",
            code=Code.UNSCHEDULABLE_AND_UNRESOLVABLE,
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for the node that it names."""
        return begins_to_pass(change, passes=lambda node: node.name == pod.node_name)
