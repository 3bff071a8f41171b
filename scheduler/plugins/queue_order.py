"""SchedulingGates and PrioritySort: who may queue, and who is next."""

from typing import ClassVar

from scheduler.framework.interface import (
    ClusterEvent,
    PreEnqueuePlugin,
    QueueSortPlugin,
    Waiting,
)
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.status import SUCCESS, Status, unresolvable
from scheduler.model import PodFacts


class SchedulingGates(PreEnqueuePlugin):
    """Keeps a pod out of the queue while ``spec.schedulingGates`` is not empty."""

    name = "SchedulingGates"
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.POD_UPDATE

    def pre_enqueue(self, pod: PodFacts) -> Status:
        """Refuse a gated pod."""
        if not pod.scheduling_gates:
            return SUCCESS
        return unresolvable(f"waiting for scheduling gates: [{' '.join(pod.scheduling_gates)}]")


class PrioritySort(QueueSortPlugin):
    """Higher priority first; among equals smaller gangs, and then who has queued longer."""

    name = "PrioritySort"

    def sort_key(self, waiting: Waiting, *, objects: ClusterObjects) -> tuple[float, ...]:
        """Order by priority, then by size, then by when the pod was queued."""
        return (-waiting.priority, waiting.size, waiting.queued_at_s)
