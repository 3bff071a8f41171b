"""Who may be evicted for a pod."""

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence

from scheduler.model import PodFacts


def importance(pod: PodFacts) -> tuple[int, float]:
    """Sort by this: the most important pod first. One that has not started is the newest."""
    return -pod.priority, pod.start_time_s or float("inf")


class EvictionRules(ABC):
    """Who need not stay when one pod looks for room, and what it needs besides room on a node.

    Args:
        pod: Who looks for room.
    """

    def __init__(self, pod: PodFacts) -> None:
        self.pod = pod

    @property
    def signature(self) -> Hashable | None:
        """Say what they depend on, besides the pod's priority and the pods on one node.

        ``None`` if that cannot be said: then what came of a trial is not kept.
        """
        return None

    @abstractmethod
    def may_evict(self, victim: PodFacts) -> bool:
        """Tell whether a pod may be evicted, if it is the only one."""

    def potential(self, pods: Iterable[PodFacts]) -> list[PodFacts]:
        """Choose whom of a node's pods may be evicted together."""
        return [pod for pod in pods if self.may_evict(pod)]

    def spared_until_s(self, pods: Iterable[PodFacts]) -> float:
        """Tell when one of a node's pods may be evicted that may not be yet; infinity if none."""
        return math.inf

    def went_for(self, victim: PodFacts) -> bool:
        """Tell whether one that is asked to go may have been asked for this pod's sake."""
        return self.may_evict(victim)

    def why_wait(self) -> str:
        """Say what is on its way already; empty if that is not enough, or nothing."""
        return ""

    def n_lacking(self, victims: Sequence[PodFacts]) -> int:
        """Measure what the pod lacks besides room once *victims* are gone; 0 if nothing.

        The more victims, the less is lacking.
        """
        return 0

    def elsewhere(self, victims: Sequence[PodFacts]) -> list[PodFacts] | None:
        """Choose who must go on other nodes, besides *victims*, for nothing to be lacking.

        Returns:
            ``None`` if that is not to be had.
        """
        return []


class ByPriority(EvictionRules):
    """Pods of less priority, as many as it takes."""

    @property
    def signature(self) -> Hashable | None:
        """Nothing else matters."""
        return ()

    def may_evict(self, victim: PodFacts) -> bool:
        """Compare priorities."""
        return victim.priority < self.pod.priority
