"""What is said of an AppGroup: the order of its workloads, and how many of them run.

As scheduler-plugins' controller does; where that leaves ties in the order to chance, ours breaks
them the same way every time.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec

from kube.custom import AppGroup, AppGroupStatus, AppGroupTopologyInfo
from kube.informer import Added, Deleted, Modified, Synced
from kube.informer import Event as Change
from kube.objects import Pod
from scheduler.plugins.network.app_groups import APP_GROUP_LABEL, WORKLOAD_LABEL
from scheduler.plugins.network.workload_order import workload_order


class Parts:
    """How many pods of each application there are, and of each of its workloads that run."""

    def __init__(self) -> None:
        self._of_pod: dict[str, tuple[str, str, bool]] = {}
        """By uid: application, workload, and whether it runs."""
        self._known: Counter[str] = Counter()
        self._running: Counter[tuple[str, str]] = Counter()

    def see(self, change: Change[Pod]) -> None:
        """Take in what the watch says of a pod."""
        match change:
            case Added(pod) | Modified(_, pod):
                self._forget(pod.metadata.uid)
                self._add(pod)
            case Deleted(pod):
                self._forget(pod.metadata.uid)
            case Synced():
                pass

    def n_known(self, application: str) -> int:
        """Return how many pods there are of an application."""
        return self._known[application]

    def n_running(self, application: str, *, workload: str) -> int:
        """Return how many pods of a workload run."""
        return self._running[application, workload]

    def _add(self, pod: Pod) -> None:
        labels = pod.metadata.labels or {}
        application, workload = labels.get(APP_GROUP_LABEL), labels.get(WORKLOAD_LABEL, "")
        if application:
            part = (application, workload, pod.status.phase == "Running")
            self._of_pod[pod.metadata.uid] = part
            self._count(part, 1)

    def _forget(self, uid: str) -> None:
        part = self._of_pod.pop(uid, None)
        if part is not None:
            self._count(part, -1)

    def _count(self, part: tuple[str, str, bool], sign: int) -> None:
        application, workload, is_running = part
        self._known[application] += sign
        if not self._known[application]:
            del self._known[application]
        if is_running:
            self._running[application, workload] += sign
            if not self._running[application, workload]:
                del self._running[application, workload]


def next_app_group_status(group: AppGroup, *, parts: Parts, now_s: float) -> AppGroupStatus:
    """Say how an application fares now.

    Args:
        group: With the status that it has.
        parts: Its pods, and others'.
        now_s: By the cluster's clock.
    """
    status, application = group.status, group.metadata.name
    now = datetime.fromtimestamp(int(now_s), UTC)
    refs = workload_order(group.spec)
    order = [AppGroupTopologyInfo(workload=ref, index=i) for i, ref in enumerate(refs, start=1)]
    if order != status.topology_order:
        status = msgspec.structs.replace(
            status, topology_order=order, topology_calculation_time=now
        )
    if status.schedule_start_time is None and parts.n_known(application):
        status = msgspec.structs.replace(status, schedule_start_time=now)
    n_running = sum(parts.n_running(application, workload=ref.selector) > 0 for ref in refs)
    return msgspec.structs.replace(status, running_workloads=n_running)


def wire_status(status: AppGroupStatus) -> dict[str, Any]:
    """Write a status down for a merge patch; in lists nothing may be null."""
    order = [
        {"index": each.index, "workload": _without_null(msgspec.to_builtins(each.workload))}
        for each in status.topology_order or ()
    ]
    return {**_without_null(msgspec.to_builtins(status)), "topologyOrder": order}


def _without_null(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
