"""TopologicalSort: an application's pods in the order in which its workloads need each other."""

from typing import ClassVar, Final

from kube.custom import AppGroup, CustomResource
from scheduler.framework.interface import Change, PluginArgs, QueueSortPlugin, Waiting
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import stable_hash
from scheduler.plugins.network.app_groups import (
    DEFAULT_NAMESPACES,
    WORKLOAD_LABEL,
    AppGroupArgs,
    app_group_of,
    is_status_alone,
)
from scheduler.plugins.network.workload_order import workload_order

_MAX_KEPT: Final = 1_000


class TopologicalSort(QueueSortPlugin):
    """Higher priority first; among equals an application's pods together, by their workloads.

    An application queues since its AppGroup was made, a pod without one since it was queued; pods
    of workloads that the AppGroup does not know come last among its own.
    """

    name = "TopologicalSort"
    args_type: ClassVar[type[PluginArgs]] = AppGroupArgs
    reads: ClassVar[tuple[type[CustomResource], ...]] = (AppGroup,)
    keeps: ClassVar[tuple[type[CustomResource], ...]] = (AppGroup,)

    def __init__(self, args: AppGroupArgs) -> None:
        super().__init__(args)
        self._namespaces = args.namespaces or DEFAULT_NAMESPACES
        self._kept: dict[str, tuple[AppGroup, dict[str, int]]] = {}

    def sort_key(self, waiting: Waiting, *, objects: ClusterObjects) -> tuple[float, ...]:
        """Order by priority, then as PrioritySort does; within an application by its workloads."""
        pod = waiting.pod
        group = app_group_of(pod, namespaces=self._namespaces, objects=objects)
        if group is None:
            return (-waiting.priority, waiting.size, waiting.queued_at_s)
        created_at = group.metadata.creation_timestamp
        since_s = 0.0 if created_at is None else created_at.timestamp()
        order = self._order_of(group)
        index = order.get(pod.labels.get(WORKLOAD_LABEL, ""), len(order))
        tie = stable_hash(group.metadata.key)
        # Of one size all, lest gangs of different sizes leave their application's order.
        return (-waiting.priority, 1, since_s, tie, index, waiting.queued_at_s)

    def moves_pods(self, change: Change) -> bool:
        """Tell whether there is another application, or another order in one."""
        return any(isinstance(each, AppGroup) for each in (change.before, change.after)) and (
            not is_status_alone(change)
        )

    def _order_of(self, group: AppGroup) -> dict[str, int]:
        key = group.metadata.key
        known, order = self._kept.get(key, (None, {}))
        if known is not group:
            refs = workload_order(group.spec)
            order = {ref.selector: index for index, ref in enumerate(refs)}
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = group, order
        return order
