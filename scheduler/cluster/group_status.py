"""What is said of a PodGroup: how far its pods have come.

The phases are those of scheduler-plugins' controller, with what it gets wrong mended: pods of other
namespaces do not count, and the time since which a group could start is written down.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from kube.custom import PodGroup, PodGroupStatus
from kube.objects import Pod
from scheduler.model import pod_group_of

PENDING: Final = "Pending"
SCHEDULING: Final = "Scheduling"
RUNNING: Final = "Running"
FAILED: Final = "Failed"
FINISHED: Final = "Finished"

_GIVE_UP_S: Final = 48 * 3600.0
"""A group that could have started so long ago is left as it is: its pods may be gone for good."""


@dataclass(frozen=True, slots=True)
class Member:
    """As much of a pod as its group's status depends on."""

    phase: str
    owners: tuple[str, ...]
    """As ``namespace/name``."""


def read_member(pod: Pod) -> tuple[str, Member] | None:
    """Name a pod's group (``namespace/name``), and say what matters of it there."""
    name, meta = pod_group_of(pod.metadata), pod.metadata
    if not name:
        return None
    owners = tuple(f"{meta.namespace}/{owner.name}" for owner in meta.owner_references or ())
    return f"{meta.namespace}/{name}", Member(pod.status.phase or "", owners)


def next_status(group: PodGroup, *, members: Mapping[str, Member], now_s: float) -> PodGroupStatus:
    """Say how a group fares now.

    Args:
        group: With the status that it has.
        members: Its pods.
        now_s: By the cluster's clock.
    """
    status = group.status
    if status.phase in (FINISHED, FAILED) or _is_given_up(group, now_s=now_s):
        return status
    n_needed = group.spec.min_member
    if status.phase in ("", PENDING):
        if len(members) < n_needed:
            return msgspec.structs.replace(status, phase=PENDING)
        status = msgspec.structs.replace(
            status,
            occupied_by=_occupier(members) or status.occupied_by,
            schedule_start_time=status.schedule_start_time
            or datetime.fromtimestamp(int(now_s), UTC),
        )
    phases = Counter(member.phase for member in members.values())
    counted = msgspec.structs.replace(
        status,
        running=phases["Running"],
        succeeded=phases["Succeeded"],
        failed=phases["Failed"],
    )
    phase = PENDING if len(members) < n_needed else _phase(counted, n_needed=n_needed)
    return msgspec.structs.replace(counted, phase=phase)


def _phase(status: PodGroupStatus, *, n_needed: int) -> str:
    if status.succeeded >= n_needed:
        return FINISHED
    n_at_work = status.succeeded + status.running
    if status.failed and status.failed + n_at_work >= n_needed:
        return FAILED
    return RUNNING if n_at_work >= n_needed else SCHEDULING


def _is_given_up(group: PodGroup, *, now_s: float) -> bool:
    status, began = group.status, group.status.schedule_start_time
    is_waiting = status.phase in (PENDING, SCHEDULING) and not status.running
    return is_waiting and began is not None and now_s - began.timestamp() > _GIVE_UP_S


def _occupier(members: Mapping[str, Member]) -> str:
    """Name the workloads of one of the pods: they are all of the same."""
    return ",".join(sorted(next(iter(members.values())).owners))
