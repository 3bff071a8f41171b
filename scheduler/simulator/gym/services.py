"""Services: as many pods as wished for, replaced when they end, rolled from version to version.

What Deployments and ReplicaSets do, by the same arithmetic, with the limits that a Deployment has
unless it says otherwise: a quarter of the pods more, a quarter fewer.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from scheduler.simulator.controllers.rollout import Replicas, limits, new_size, old_sizes
from scheduler.simulator.gym.pods import NOWHERE, LeanPod
from scheduler.simulator.gym.templates import Template

_ROLLING: Final = {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
_MAX_ROUNDS: Final = 20
"""At one instant, as for the controllers of a simulated cluster."""


@dataclass(slots=True, eq=False)
class _Set:
    """Pods of one version."""

    service: "_Service"
    template: Template
    wanted: int
    pods: dict[LeanPod, None] = field(default_factory=dict)
    """Those that count as replicas, oldest first."""

    @property
    def replicas(self) -> Replicas:
        return Replicas(self.wanted, sum(pod.is_ready for pod in self.pods))


@dataclass(slots=True, eq=False)
class _Service:
    replicas: int
    limits: tuple[int, int]
    """How many pods there may be beyond, and how many may be missing."""
    sets: list[_Set] = field(default_factory=list)
    """Oldest first; the last is the one that is wished for."""


class Services:
    """All services.

    Args:
        create: Makes a pod that waits for a node.
        delete: Asks a pod to go.
    """

    def __init__(
        self, *, create: Callable[[Template], LeanPod], delete: Callable[[LeanPod], None]
    ) -> None:
        self._create = create
        self._delete = delete
        self._services: dict[str, _Service] = {}
        self._set_of: dict[LeanPod, _Set] = {}
        self._to_roll: dict[_Service, None] = {}
        self._to_scale: dict[_Set, None] = {}

    def deploy(self, template: Template, *, replicas: int) -> None:
        """Run a new service."""
        spec = {"replicas": replicas, "strategy": _ROLLING}
        service = _Service(replicas, limits({"spec": spec}))
        self._services[template.workload] = service
        service.sets.append(_Set(service, template, 0))
        self._to_roll[service] = None

    def roll_out(self, template: Template) -> None:
        """Run another version of a service."""
        service = self._services[template.workload]
        service.sets.append(_Set(service, template, 0))
        self._to_roll[service] = None

    def note(self, pod: LeanPod) -> None:
        """Take in that a pod changed; pods of jobs are no business of theirs."""
        found = self._set_of.get(pod)
        if found is None:
            return
        if not pod.is_active:
            del self._set_of[pod]
            del found.pods[pod]
        self._to_scale[found] = None

    def sync(self) -> None:
        """Create and delete pods until all is as it should be for now."""
        for _ in range(_MAX_ROUNDS):
            if not (self._to_roll or self._to_scale):
                return
            to_roll, self._to_roll = self._to_roll, {}
            for service in to_roll:
                self._roll(service)
            to_scale, self._to_scale = self._to_scale, {}
            for each in to_scale:
                self._scale(each)

    # --- details

    def _roll(self, service: _Service) -> None:
        service.sets = [s for s in service.sets[:-1] if s.wanted] + service.sets[-1:]
        *old, new = service.sets
        max_surge, max_missing = service.limits
        counts = [each.replicas for each in old]
        size = new_size(wanted=service.replicas, max_surge=max_surge, new=new.replicas, old=counts)
        if size != new.wanted:
            self._resize(new, size)
            return
        sizes = old_sizes(
            wanted=service.replicas, max_missing=max_missing, new=new.replicas, old=counts
        )
        for each, size in zip(old, sizes, strict=True):
            self._resize(each, size)

    def _resize(self, each: _Set, size: int) -> None:
        if each.wanted != size:
            each.wanted = size
            self._to_scale[each] = None

    def _scale(self, each: _Set) -> None:
        missing = each.wanted - len(each.pods)
        for _ in range(missing):
            pod = self._create(each.template)
            each.pods[pod] = None
            self._set_of[pod] = each
        if missing < 0:
            for pod in _least_useful_first(each.pods)[:-missing]:
                del each.pods[pod]
                del self._set_of[pod]
                self._delete(pod)
        self._to_roll[each.service] = None


def _least_useful_first(pods: dict[LeanPod, None]) -> list[LeanPod]:
    """Rank pods for removal, as a ReplicaSet does."""
    on_node = Counter(pod.node for pod in pods)

    def rank(pod: LeanPod) -> tuple[float, ...]:
        return (
            pod.node != NOWHERE,
            pod.has_begun,
            pod.is_ready,
            -on_node[pod.node],
            -pod.ready_since_s if pod.is_ready else 0.0,
            -pod.restarts,
            -pod.created_at_s,
        )

    return sorted(pods, key=rank)
