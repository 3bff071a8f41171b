"""How long, and from whom, pods of a priority class are safe."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final

from kube.custom import PriorityClass
from scheduler.framework.columns import parse_int64
from scheduler.framework.objects import ClusterObjects
from scheduler.model import PodFacts
from scheduler.plugins.preemption.rules import EvictionRules

_PREFIX: Final = "preemption-toleration.scheduling.x-k8s.io/"
MINIMUM: Final = f"{_PREFIX}minimum-preemptable-priority"
SECONDS: Final = f"{_PREFIX}toleration-seconds"

_MAX_PRIORITY: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Toleration:
    """What a priority class says of its pods."""

    minimum: int | None
    """Who ranks lower than this cannot evict them for a while; ``None``: who outranks them can."""
    seconds: int
    """For so long, from when they got a node; for ever if negative."""

    @classmethod
    def of(cls, found: PriorityClass) -> "Toleration | None":
        """Read the annotations; ``None`` if there are none, or one of them is no integer."""
        annotations = found.metadata.annotations or {}
        if not (MINIMUM in annotations or SECONDS in annotations):
            return None
        minimum = parse_int64(annotations[MINIMUM]) if MINIMUM in annotations else None
        seconds = parse_int64(annotations.get(SECONDS, "0"))
        is_wrong = MINIMUM in annotations and (minimum is None or abs(minimum) > _MAX_PRIORITY)
        return None if is_wrong or seconds is None else cls(minimum, seconds)

    def protects(self, victim: PodFacts, *, priority: int, now_s: float) -> bool:
        """Tell whether a pod of the class is safe from one of some priority."""
        minimum = victim.priority + 1 if self.minimum is None else self.minimum
        if priority >= minimum:
            return False
        if self.seconds < 0 or not victim.scheduled_at_s:
            return True
        return victim.scheduled_at_s + self.seconds > now_s

    def ends_s(self, victim: PodFacts, *, now_s: float) -> float:
        """Tell when it will protect a pod no longer that it protects now; infinity for never.

        In whole seconds, as time is told; of one that is not known to have its node, too early.
        """
        if self.seconds < 0:
            return math.inf
        return math.ceil((victim.scheduled_at_s or now_s) + self.seconds)


class ByToleratedPriority(EvictionRules):
    """Pods of less priority, aside of those that their classes still protect.

    Args:
        pod: Who looks for room.
        objects: Where the classes are.
        now_s: When, in Unix seconds of the cluster's clock.
    """

    def __init__(self, pod: PodFacts, *, objects: ClusterObjects, now_s: float) -> None:
        super().__init__(pod)
        self._objects = objects
        # The API server's times are whole seconds, so nothing is lost; and what is found out about
        # nodes holds for a second.
        self._now_s = math.floor(now_s)
        self._tolerations: dict[str, Toleration | None] = {}

    @property
    def signature(self) -> Hashable | None:
        """Without tolerations nothing else matters; with them, they and the time do."""
        if any(Toleration.of(each) for each in self._objects.all(PriorityClass)):
            return self._objects.version(PriorityClass), self._now_s
        return ()

    def may_evict(self, victim: PodFacts) -> bool:
        """Compare priorities, and spare who is protected."""
        if victim.priority >= self.pod.priority:
            return False
        toleration = self._toleration(victim.priority_class)
        return toleration is None or not toleration.protects(
            victim, priority=self.pod.priority, now_s=self._now_s
        )

    def spared_until_s(self, pods: Iterable[PodFacts]) -> float:
        """Find the first whose time will be over."""
        spared = (pod for pod in pods if self.went_for(pod) and not self.may_evict(pod))
        tolerations = ((pod, self._toleration(pod.priority_class)) for pod in spared)
        ends = (each.ends_s(pod, now_s=self._now_s) for pod, each in tolerations if each)
        return min(ends, default=math.inf)

    def went_for(self, victim: PodFacts) -> bool:
        """Compare priorities: what protects a pod changes, and it is on its way."""
        return victim.priority < self.pod.priority

    def _toleration(self, name: str) -> Toleration | None:
        if name not in self._tolerations:
            found = self._objects.find(PriorityClass, name) if name else None
            self._tolerations[name] = None if found is None else Toleration.of(found)
        return self._tolerations[name]
