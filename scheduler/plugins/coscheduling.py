"""Coscheduling: pods that are worth running only together start together.

Gangs are the engine's own (``scheduler.gangs``, ``scheduler.gang_attempts``): it holds members back
until there are enough of them, places them in one attempt or none, and takes off their nodes what
did not become whole in time. By this plugin a profile says how long that is, how long a gang rests
that did not fit, and in which order gangs are taken; and groups that say what they need are not
tried while the cluster has less.
"""

from typing import Annotated, ClassVar

import msgspec
import numpy as np

from kube.custom import CustomResource, PodGroup, read_amounts
from kube.quantity import QuantityError
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    ClusterEvent,
    FailedSearch,
    PermitPlugin,
    PermitResult,
    PluginArgs,
    PostFilterPlugin,
    PostFilterResult,
    PreFilterPlugin,
    PreFilterResult,
    QueueSortPlugin,
    ReservePlugin,
    SortKey,
    Waiting,
)
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SUCCESS, Status, unresolvable, unschedulable
from scheduler.model import PODS, PodFacts


class CoschedulingArgs(PluginArgs, frozen=True):
    """Arguments of Coscheduling."""

    permit_waiting_time_seconds: Annotated[int, msgspec.Meta(ge=0)] = 60
    """How long a gang may be on nodes in part, where its PodGroup does not say. 0: as if not said,
    60."""
    pod_group_backoff_seconds: Annotated[int, msgspec.Meta(ge=0)] = 0
    """How long a gang is not tried again that did not fit."""
    pod_group_reject_percentage: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    """Read, and of no effect: members do not wait on nodes for those that did not fit."""


class Coscheduling(QueueSortPlugin, PreFilterPlugin, PostFilterPlugin, PermitPlugin, ReservePlugin):
    """Stands for the engine's gangs at the points where upstream's plugin makes them."""

    name = "Coscheduling"
    args_type: ClassVar[type[PluginArgs]] = CoschedulingArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_ALLOCATABLE
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.ASSIGNED_POD_SCALE_DOWN
        | ClusterEvent.CUSTOM
        | ClusterEvent.POD_UPDATE
    )
    reads: ClassVar[tuple[type[CustomResource], ...]] = (PodGroup,)
    keeps: ClassVar[tuple[type[CustomResource], ...]] = (PodGroup,)

    def __init__(self, args: CoschedulingArgs) -> None:
        super().__init__(args)
        self.arguments = args

    def sort_key(self, waiting: Waiting, *, objects: ClusterObjects) -> SortKey:
        """Order by priority, then by who waits longer; a gang waits anew once it was refused."""
        pod = waiting.pod
        return (-waiting.priority, waiting.since_s, pod.group_key or pod.key)

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse a pod whose group says that it needs more than the whole cluster has left."""
        group = snapshot.objects.find(PodGroup, pod.group_key) if pod.pod_group else None
        if group is None or not group.spec.min_resources:
            return PreFilterResult()
        try:
            needed = read_amounts(group.spec.min_resources)
        except QuantityError:
            return PreFilterResult()  # nothing that could be checked
        needed[PODS] = group.spec.min_member
        short = [
            resource
            for resource, amount in sorted(needed.items())
            if _left_for(pod.group_key, resource=resource, snapshot=snapshot) < amount
        ]
        if not short:
            return PreFilterResult()
        why = f"PodGroup {pod.group_key} needs more than is left in the cluster: {', '.join(short)}"
        return PreFilterResult(unresolvable(why))

    def post_filter(
        self, state: CycleState, *, pod: PodFacts, search: FailedSearch
    ) -> PostFilterResult:
        """Leave it to the engine to refuse the rest of the gang."""
        return PostFilterResult(status=unschedulable())

    def permit(self, state: CycleState, *, pod: PodFacts, node: str) -> PermitResult:
        """Let a pod go on: it has a node only if enough of its gang have."""
        return PermitResult()

    def reserve(self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot) -> Status:
        """Leave it to the engine to count members."""
        return SUCCESS

    def unreserve(self, state: CycleState, *, pod: PodFacts, node: str) -> None:
        """As ``reserve``."""


def _left_for(group_key: str, *, resource: str, snapshot: Snapshot) -> int:
    """Sum up what no pod outside a group has requested."""
    free = snapshot.allocatable[resource] - snapshot.requested[resource]
    own = (
        1 if resource == PODS else member.requests.get(resource, 0)
        for member in snapshot.gang(group_key)
    )
    return int(np.maximum(free, 0).sum()) + sum(own)
