"""A pod as the environment follows it, and where pods wait for a node."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from scheduler.model import PodFacts, QueueState
from scheduler.simulator.gym.templates import Template

NOWHERE: Final = -1


@dataclass(slots=True, eq=False, kw_only=True)
class LeanPod:
    """A pod, from its creation until it is gone."""

    name: str
    template: Template
    created_at_s: float
    """In whole seconds, as objects say it."""
    number: int
    """Counts pods from 0."""
    node: int = NOWHERE
    """The row of its node."""
    is_admitted: bool = False
    """Its kubelet has taken it in."""
    has_begun: bool = False
    is_ready: bool = False
    ready_since_s: float = 0.0
    restarts: int = 0
    is_stopping: bool = False
    is_over: bool = False
    """It has finished, failed or been evicted, or is gone."""
    queued_at_s: float = 0.0
    serial: int = 0
    """Its current place in the queue; 0 for none."""

    @property
    def uid(self) -> str:
        """Namespace and name, which are never used twice."""
        return f"{self.template.facts.namespace}/{self.name}"

    @property
    def is_active(self) -> bool:
        """Whether it counts as a replica."""
        return not (self.is_over or self.is_stopping)

    def facts(self, *, node_name: str = "") -> PodFacts:
        """Say what a scheduler reads of it, before it has a node or after."""
        return replace(
            self.template.facts,
            name=self.name,
            uid=self.uid,
            created_at_s=self.created_at_s,
            node_name=node_name,
            is_terminating=self.is_stopping,
        )


class Waiting:
    """Pods that wait for a node, in the order of a scheduler's queue.

    Higher priority first, then who has queued longer. A pod that was set aside comes back behind
    those that have come meanwhile, as a pod does that a scheduler has refused.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, LeanPod]] = []
        self._aside: dict[LeanPod, None] = {}
        self._serial = 0
        self._n_pending = 0
        self._cpu_milli = 0
        self._memory_bytes = 0

    def __len__(self) -> int:
        return self._n_pending

    @property
    def state(self) -> QueueState:
        """All that wait, those set aside included."""
        return QueueState(self._n_pending, self._cpu_milli, self._memory_bytes)

    @property
    def aside(self) -> Iterable[LeanPod]:
        """Those that were set aside, in that order."""
        return self._aside

    def add(self, pod: LeanPod, *, now_s: float) -> None:
        """Let a new pod wait."""
        self._count(pod, sign=1)
        self._push(pod, now_s=now_s)

    def first(self) -> LeanPod | None:
        """Tell who is next, if anybody is."""
        while self._heap:
            _, _, serial, pod = self._heap[0]
            if pod.serial == serial:
                return pod
            heapq.heappop(self._heap)
        return None

    def set_aside(self, pod: LeanPod) -> None:
        """Pass a pod over until it is taken back."""
        pod.serial = 0
        self._aside[pod] = None

    def take_back(self, pods: Iterable[LeanPod], *, now_s: float) -> None:
        """Let pods that were set aside queue again."""
        for pod in list(pods):
            del self._aside[pod]
            self._push(pod, now_s=now_s)

    def remove(self, pod: LeanPod) -> None:
        """Let a pod go that waits: it has a node, or is no longer wanted."""
        pod.serial = 0
        self._aside.pop(pod, None)
        self._count(pod, sign=-1)

    def _push(self, pod: LeanPod, *, now_s: float) -> None:
        self._serial += 1
        pod.serial, pod.queued_at_s = self._serial, now_s
        entry = (-pod.template.facts.priority, now_s, self._serial, pod)
        heapq.heappush(self._heap, entry)

    def _count(self, pod: LeanPod, *, sign: int) -> None:
        self._n_pending += sign
        self._cpu_milli += sign * pod.template.cpu_request_milli
        self._memory_bytes += sign * pod.template.memory_request_bytes
