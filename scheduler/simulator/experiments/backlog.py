"""Which pods a scheduler has yet to answer for, as far as its writes show. Pure.

A pending pod is answered for when it is bound, or when its scheduler says that it fits nowhere: by
the condition ``PodScheduled`` or by an event ``FailedScheduling``. What makes room for it asks
anew. The answer is then a binding, its own or of others who take that room: schedulers repeat a
refusal in silence, or late.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from scheduler.model import PodFacts
from scheduler.simulator.controllers.pods import condition_of, is_over
from scheduler.simulator.experiments.rules import Rules, read_pod
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

_VOLUMES: Final = frozenset(
    resource.table
    for resource in (
        *(PVS, PVCS, STORAGE_CLASSES),
        *(CSI_DRIVERS, CSI_NODES, CSI_STORAGE_CAPACITIES, VOLUME_ATTACHMENTS),
    )
)
Channel = Literal["event", "condition"]


@dataclass(slots=True)
class _Waiting:
    """A pod without a node."""

    pod: PodFacts
    is_answered: bool = False
    asked_for: set[str] | None = field(default=None)
    """The nodes whose changes asked anew; ``None`` for any node, as at first."""
    n_refusals: int = 0
    n_told: Counter[Channel] = field(default_factory=Counter)
    """How often each channel told of a refusal."""

    def hear(self, channel: Channel) -> bool:
        """Take in a word of refusal; tell whether it is about an attempt not heard of before.

        One attempt is told of by an event and by the condition, and the later of the two may come
        when room has been made meanwhile.
        """
        self.n_told[channel] += 1
        is_new = self.n_told[channel] > self.n_refusals
        self.n_refusals = max(self.n_refusals, self.n_told[channel])
        return is_new

    @property
    def seeks_company(self) -> bool:
        """Whether what becomes of pods on other nodes may help it."""
        pod = self.pod
        return any((pod.pod_affinity, pod.pod_anti_affinity, pod.spread, pod.pod_group))

    @property
    def is_beyond_rules(self) -> bool:
        """Whether the nodes alone do not tell where it may go.

        It may make others leave, wait for the rest of its group, or have volumes.
        """
        pod = self.pod
        return bool(pod.priority > 0 or pod.pod_group or pod.volumes or pod.claims)


class Backlog:
    """Follows the pods of one scheduler.

    Args:
        scheduler_name: Whose pods.
        rules: Tells which nodes may take them; knows none yet.
        nodes: Those that are there already.
        pods: Likewise; nobody has answered for any of them.
    """

    def __init__(
        self,
        scheduler_name: str,
        *,
        rules: Rules,
        nodes: Iterable[Object],
        pods: Iterable[Object],
    ) -> None:
        self._scheduler_name = scheduler_name
        self._rules = rules
        self._waiting: dict[str, _Waiting] = {}
        self._n_unanswered = 0
        self.n_answers = 0
        """How often a pod was bound or refused."""
        self.n_moves = 0
        """How many pods, of whomever, were bound or asked to go."""
        for node in nodes:
            self._rules.set_node(node)
        for pod in pods:
            self._take(pod)

    @property
    def is_quiet(self) -> bool:
        """Whether every pod was answered for."""
        return not self._n_unanswered

    @property
    def n_refused(self) -> int:
        """How many pods wait that were answered for."""
        return len(self._waiting) - self._n_unanswered

    def see(self, change: Change) -> None:
        """Take in what was written."""
        resource = change.resource
        if resource is PODS:
            self._count_moves(change)
            self._see_pod(change)
        elif resource is NODES:
            self._see_node(change)
        elif resource is EVENTS:
            event = change.new
            if event.get("reason") == "FailedScheduling" and change.type != "DELETED":
                self._refuse((event.get("regarding") or {}).get("uid", ""), channel="event")
        elif resource.table in _VOLUMES:
            for waiting in self._waiting.values():
                if waiting.pod.volumes or waiting.pod.claims:
                    self._ask(waiting, None)

    def give_up(self) -> None:
        """Count those who were not answered for as refused, until something may help them."""
        for waiting in self._waiting.values():
            self._settle(waiting)

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

    def _take(self, pod: Object) -> None:
        """Take in a pod that was not known."""
        if pod["spec"].get("nodeName"):
            if not is_over(pod):
                self._rules.place(read_pod(pod))
        elif self._is_pending(pod):
            self._waiting[pod["metadata"]["uid"]] = _Waiting(read_pod(pod))
            self._n_unanswered += 1

    def _count_moves(self, change: Change) -> None:
        pod, old = change.new, change.old
        if old is None or change.type == "DELETED":
            return
        self.n_moves += bool(pod["spec"].get("nodeName")) and not old["spec"].get("nodeName")
        is_going = "deletionTimestamp" in pod["metadata"]
        self.n_moves += is_going and "deletionTimestamp" not in old["metadata"]

    def _see_pod(self, change: Change) -> None:
        pod, old = change.new, change.old
        uid = pod["metadata"]["uid"]
        known = self._waiting.get(uid)
        if change.type == "DELETED" or is_over(pod):
            self._leave(uid)
        elif known is None or not self._is_pending(pod):
            is_new = old is None or not old["spec"].get("nodeName")
            self._drop(uid, is_bound=bool(pod["spec"].get("nodeName")))
            if is_new:
                self._take(pod)
                self._look_at_room(pod["spec"].get("nodeName", ""))
        elif old is not None and _refusal(pod) not in (None, _refusal(old)):
            self._refuse(uid, channel="condition")

    def _see_node(self, change: Change) -> None:
        node = change.new
        name = node["metadata"]["name"]
        if change.type == "DELETED":
            self._rules.drop_node(name)
        elif change.old is None or _admission(change.old) != _admission(node):
            self._rules.set_node(node)
            self._ask_about(name)

    def _leave(self, uid: str) -> None:
        """Take in that a pod takes no room any more."""
        self._drop(uid, is_bound=False)
        node = self._rules.clear(uid)
        if node:
            self._ask_about(node)

    def _drop(self, uid: str, *, is_bound: bool) -> None:
        waiting = self._waiting.pop(uid, None)
        if waiting is not None and not waiting.is_answered:
            self._n_unanswered -= 1
            self.n_answers += is_bound

    def _refuse(self, uid: str, *, channel: Channel) -> None:
        waiting = self._waiting.get(uid)
        if waiting is None or not waiting.hear(channel):
            return
        # By the rules it has room: this is about an attempt before, or there is more to come.
        if not waiting.is_answered and not waiting.asked_for:
            self._settle(waiting)
            self.n_answers += 1

    def _settle(self, waiting: _Waiting) -> None:
        self._n_unanswered -= not waiting.is_answered
        waiting.is_answered, waiting.asked_for = True, set()

    def _ask(self, waiting: _Waiting, nodes: Iterable[str] | None) -> None:
        self._n_unanswered += waiting.is_answered
        waiting.is_answered = False
        if nodes is None or waiting.asked_for is None:
            waiting.asked_for = None
        else:
            waiting.asked_for.update(nodes)

    def _ask_about(self, node: str) -> None:
        """Ask anew for those who may go to a node that changed."""
        for waiting in self._waiting.values():
            if waiting.is_beyond_rules:
                self._ask(waiting, None)
            elif waiting.asked_for is not None:
                takers = self._rules.takers(waiting.pod)
                nodes = takers if waiting.seeks_company else takers & {node}
                if nodes:
                    self._ask(waiting, nodes)

    def _look_at_room(self, node: str) -> None:
        """Take in that a pod was placed: some need not be asked for any more, others anew."""
        if not node:
            return
        for waiting in self._waiting.values():
            if waiting.pod.pod_group:
                self._ask(waiting, None)
            elif waiting.asked_for:
                if not waiting.asked_for & self._rules.takers(waiting.pod):
                    self._settle(waiting)
            elif waiting.seeks_company and waiting.is_answered:
                self._ask_about_company(waiting)

    def _ask_about_company(self, waiting: _Waiting) -> None:
        takers = self._rules.takers(waiting.pod)
        if takers:
            self._ask(waiting, takers)


def _refusal(pod: Object) -> Object | None:
    condition = condition_of(pod, "PodScheduled")
    return condition if condition is not None and condition.get("status") == "False" else None


def _admission(node: Object) -> tuple[object, ...]:
    """What decides whether a node takes a pod."""
    allocatable = (node.get("status") or {}).get("allocatable")
    return node["metadata"].get("labels"), node.get("spec"), allocatable
