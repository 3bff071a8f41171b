"""PreemptionToleration: as DefaultPreemption, but priority classes may ask for time."""

from typing import ClassVar

from kube.custom import CustomResource, PriorityClass
from scheduler.framework.interface import FailedSearch
from scheduler.model import PodFacts
from scheduler.plugins.default_preemption import DefaultPreemption
from scheduler.plugins.preemption.rules import EvictionRules
from scheduler.plugins.preemption.toleration import ByToleratedPriority


class PreemptionToleration(DefaultPreemption):
    """Finds the node where the least would be lost, and spares who tolerates the preemptor.

    Disable DefaultPreemption beside it: that spares nobody.
    """

    name = "PreemptionToleration"
    reads: ClassVar[tuple[type[CustomResource], ...]] = (PriorityClass,)

    def rules(self, pod: PodFacts, search: FailedSearch) -> EvictionRules:
        """Say who may be evicted for a pod."""
        return ByToleratedPriority(pod, objects=search.snapshot.objects, now_s=search.now_s)
