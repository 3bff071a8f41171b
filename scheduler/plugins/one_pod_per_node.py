"""OnePodPerNode: no node gets a second pod of the same profile."""

from typing import ClassVar

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent, FilterPlugin
from scheduler.framework.profile import ONE_POD_PER_NODE
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code, Verdicts
from scheduler.model import PodFacts


class OnePodPerNode(FilterPlugin):
    """Refuses nodes that run a pod of the pod's own scheduler name; other pods do not count."""

    name = ONE_POD_PER_NODE
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.NODE_ADD | ClusterEvent.ASSIGNED_POD_DELETE

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Ask only when a new node comes, or a pod of the profile goes."""
        gone = change.before
        return not isinstance(gone, PodFacts) or gone.scheduler_name == pod.scheduler_name

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes that are taken; an eviction would free them."""
        taken = snapshot.by_scheduler[pod.scheduler_name] > 0
        return Verdicts.refuse(
            taken, reason="node(s) already run a pod of this profile", code=Code.UNSCHEDULABLE
        )
