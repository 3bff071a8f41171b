"""A pod's quality of service, as kubelets reckon it."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol

from kube.objects import Container, Pod, ResourceRequirements
from kube.quantity import CPU, MEMORY, parse_amounts


class Qos(IntEnum):
    """The classes; the larger, the longer a pod is spared where a node runs short."""

    BEST_EFFORT = 0
    BURSTABLE = 1
    GUARANTEED = 2


_NAMED: Final = {
    "BestEffort": Qos.BEST_EFFORT,
    "Burstable": Qos.BURSTABLE,
    "Guaranteed": Qos.GUARANTEED,
}
_COUNTED: Final = (CPU, MEMORY)


class _Asking(Protocol):
    @property
    def requests(self) -> dict[str, int]: ...
    @property
    def limits(self) -> dict[str, int]: ...


class _PodLevel:
    """What a pod asks for as a whole."""

    def __init__(self, resources: ResourceRequirements) -> None:
        self.limits = parse_amounts(resources.limits or {})
        self.requests = {**self.limits, **parse_amounts(resources.requests or {})}


def qos_of(pod: Pod) -> Qos:
    """Tell a pod's class: what its status says, else what follows from its spec.

    Guaranteed: every container has limits of cpu and memory, and requests as much. Best effort:
    none requests or limits either.

    Raises:
        QuantityError: A requested amount is no quantity.
    """
    told = _NAMED.get(pod.status.qos_class or "")
    if told is not None:
        return told
    spec = pod.spec
    if spec.resources is not None and (spec.resources.requests or spec.resources.limits):
        return _qos([_PodLevel(spec.resources)])
    containers: Sequence[Container] = [*(spec.containers or ()), *(spec.init_containers or ())]
    return _qos(containers)


def _qos(asking: Sequence[_Asking]) -> Qos:
    is_guaranteed = bool(asking)
    is_anything = False
    for each in asking:
        requests = each.requests
        is_anything = is_anything or any(requests.get(name, 0) > 0 for name in _COUNTED)
        limits = each.limits
        is_guaranteed = is_guaranteed and all(
            limits.get(name, 0) > 0 and requests.get(name) == limits[name] for name in _COUNTED
        )
    if is_guaranteed:
        return Qos.GUARANTEED
    return Qos.BURSTABLE if is_anything else Qos.BEST_EFFORT
