"""What is said of an AppGroup: the order of its workloads, and how many of them run.

As scheduler-plugins' controller does; where that leaves ties in the order to chance, ours breaks
them the same way every time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from kube.custom import AppGroup, AppGroupStatus, AppGroupTopologyInfo
from kube.objects import Pod
from scheduler.plugins.network.app_groups import APP_GROUP_LABEL, WORKLOAD_LABEL
from scheduler.plugins.network.workload_order import workload_order


@dataclass(frozen=True, slots=True)
class Part:
    """As much of a pod as its application's status depends on."""

    workload: str
    is_running: bool


def read_part(pod: Pod) -> tuple[str, Part] | None:
    """Name a pod's application, and say what matters of it there."""
    labels = pod.metadata.labels or {}
    application = labels.get(APP_GROUP_LABEL)
    if not application:
        return None
    return application, Part(labels.get(WORKLOAD_LABEL, ""), pod.status.phase == "Running")


def next_app_group_status(
    group: AppGroup, *, parts: Mapping[str, Part], now_s: float
) -> AppGroupStatus:
    """Say how an application fares now.

    Args:
        group: With the status that it has.
        parts: Its pods.
        now_s: By the cluster's clock.
    """
    status = group.status
    now = datetime.fromtimestamp(int(now_s), UTC)
    refs = workload_order(group.spec)
    order = [AppGroupTopologyInfo(workload=ref, index=i) for i, ref in enumerate(refs, start=1)]
    if order != status.topology_order:
        status = msgspec.structs.replace(
            status, topology_order=order, topology_calculation_time=now
        )
    if status.schedule_start_time is None and parts:
        status = msgspec.structs.replace(status, schedule_start_time=now)
    running = {part.workload for part in parts.values() if part.is_running}
    n_running = sum(ref.selector in running for ref in refs)
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
