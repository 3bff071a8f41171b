"""QOSSort: among pods of one priority, those with guaranteed resources first."""

from scheduler.framework.interface import QueueSortPlugin, Waiting
from scheduler.framework.objects import ClusterObjects


class QOSSort(QueueSortPlugin):
    """Higher priority first; then guaranteed, burstable, best effort; then who queued longer.

    Members of a gang share their priority, and are placed together with the first of them.
    """

    name = "QOSSort"

    def sort_key(self, waiting: Waiting, *, objects: ClusterObjects) -> tuple[float, ...]:
        """Order by priority, then by class of service, then by when the pod was queued."""
        return (-waiting.priority, -waiting.pod.qos, waiting.queued_at_s)
