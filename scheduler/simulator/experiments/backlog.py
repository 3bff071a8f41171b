"""Which pods a scheduler has yet to answer for, as far as its writes show. Pure.

A pending pod is answered for when it is bound, or when its scheduler says that it fits nowhere: by
the condition ``PodScheduled`` or by an event ``FailedScheduling``. Whatever may make room for it
asks the question anew.
"""

from collections.abc import Iterable
from typing import Final

from scheduler.model import POD_GROUP, POD_GROUP_LABEL
from scheduler.simulator.controllers.pods import condition_of, is_over
from scheduler.simulator.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    EVENTS,
    NODES,
    PODS,
    PVCS,
    PVS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    Object,
)
from scheduler.simulator.store import Change

_MAKE_ROOM: Final = frozenset(
    resource.table
    for resource in (
        *(PVS, PVCS, STORAGE_CLASSES),
        *(CSI_DRIVERS, CSI_NODES, CSI_STORAGE_CAPACITIES, VOLUME_ATTACHMENTS),
    )
)
"""Any change of these may be what a pod waits for."""


class Backlog:
    """Follows the pods of one scheduler.

    Args:
        scheduler_name: Whose pods.
        pods: Those that are there already; nobody has answered for any of them.
    """

    def __init__(self, scheduler_name: str, *, pods: Iterable[Object]) -> None:
        self._scheduler_name = scheduler_name
        # Both by uid, with whether the placing of other pods may help.
        self._unanswered: dict[str, bool] = {}
        self._refused: dict[str, bool] = {}
        self.n_answers = 0
        """How often a pod was bound or refused."""
        self.n_moves = 0
        """How many pods, of whomever, were bound or asked to go."""
        for pod in pods:
            if self._is_pending(pod):
                self._unanswered[pod["metadata"]["uid"]] = _seeks_company(pod)

    @property
    def is_quiet(self) -> bool:
        """Whether every pod was answered for."""
        return not self._unanswered

    @property
    def n_refused(self) -> int:
        """How many pods wait that were answered for."""
        return len(self._refused)

    def see(self, change: Change) -> None:
        """Take in what was written."""
        resource = change.resource
        if resource is PODS:
            self._count_moves(change)
            self._see_pod(change)
        elif resource is EVENTS:
            event = change.new
            if event.get("reason") == "FailedScheduling" and change.type != "DELETED":
                self._refuse((event.get("regarding") or {}).get("uid", ""))
        elif resource.table in _MAKE_ROOM or (resource is NODES and _may_admit_more(change)):
            self._ask_again()

    def give_up(self) -> None:
        """Count those who were not answered for as refused, until something may help them."""
        self._refused |= self._unanswered
        self._unanswered.clear()

    # --- details

    def _is_pending(self, pod: Object) -> bool:
        """Tell whether a pod waits for our scheduler."""
        spec = pod["spec"]
        return (
            spec.get("schedulerName") == self._scheduler_name
            and not spec.get("nodeName")
            and not spec.get("schedulingGates")
            and not is_over(pod)
            and "deletionTimestamp" not in pod["metadata"]
        )

    def _count_moves(self, change: Change) -> None:
        pod, old = change.new, change.old
        if old is None or change.type == "DELETED":
            return
        if pod["spec"].get("nodeName") and not old["spec"].get("nodeName"):
            self.n_moves += 1
            self.n_answers += pod["metadata"]["uid"] in self._unanswered
            self._ask_again(only_sociable=True)
        if "deletionTimestamp" in pod["metadata"] and "deletionTimestamp" not in old["metadata"]:
            self.n_moves += 1

    def _see_pod(self, change: Change) -> None:
        pod, old = change.new, change.old
        uid = pod["metadata"]["uid"]
        if change.type == "DELETED" or not self._is_pending(pod):
            self._unanswered.pop(uid, None)
            self._refused.pop(uid, None)
            if _makes_room(change):
                self._ask_again()
        elif uid not in self._unanswered and uid not in self._refused:
            self._unanswered[uid] = _seeks_company(pod)
        elif old is not None and _refusal(pod) not in (None, _refusal(old)):
            self._refuse(uid)

    def _refuse(self, uid: str) -> None:
        if uid in self._unanswered:
            self._refused[uid] = self._unanswered.pop(uid)
            self.n_answers += 1

    def _ask_again(self, *, only_sociable: bool = False) -> None:
        for uid, is_sociable in list(self._refused.items()):
            if is_sociable or not only_sociable:
                self._unanswered[uid] = self._refused.pop(uid)


def _makes_room(change: Change) -> bool:
    """Tell whether a pod that took room on a node no longer does."""
    old = change.old
    if old is None or not old["spec"].get("nodeName") or is_over(old):
        return False
    return change.type == "DELETED" or is_over(change.new)


def _refusal(pod: Object) -> Object | None:
    condition = condition_of(pod, "PodScheduled")
    return condition if condition is not None and condition.get("status") == "False" else None


def _seeks_company(pod: Object) -> bool:
    """Tell whether the placing of other pods may help this one."""
    meta, spec = pod["metadata"], pod["spec"]
    return bool(
        (spec.get("affinity") or {}).get("podAffinity")
        or spec.get("topologySpreadConstraints")
        or (meta.get("annotations") or {}).get(POD_GROUP)
        or (meta.get("labels") or {}).get(POD_GROUP_LABEL)
    )


def _may_admit_more(change: Change) -> bool:
    """Tell whether a node that came, or changed, may take pods that it did not take."""
    if change.type == "DELETED":
        return False
    return change.old is None or _admission(change.old) != _admission(change.new)


def _admission(node: Object) -> tuple[object, ...]:
    """What schedulers go by."""
    allocatable = (node.get("status") or {}).get("allocatable")
    return node["metadata"].get("labels"), node.get("spec"), allocatable
