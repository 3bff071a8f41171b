"""What a pod asks of zones, container by container and as a whole."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from scheduler.model import EPHEMERAL_STORAGE, ContainerFacts, PodFacts

_HUGE_PAGES: Final = "hugepages-"
_MILLI: Final = 1000


@dataclass(frozen=True, slots=True)
class Demand:
    """What a pod asks of zones; amounts are more than 0."""

    as_containers: tuple[ContainerFacts, ...]
    """In the order in which they start, without those that ask nothing of zones."""
    as_pod: tuple[ContainerFacts, ...]
    """All of them together, as one; empty if they ask nothing of zones."""

    @classmethod
    def of(cls, pod: PodFacts) -> "Demand":
        """Read it from a pod.

        Only a guaranteed pod's cpu, memory and huge pages are tied to zones; devices always are.
        """
        is_guaranteed = pod.qos is Qos.GUARANTEED
        whole = ContainerFacts(_counted(pod.requests.items(), is_guaranteed=is_guaranteed))
        containers = (
            each._replace(requests=_counted(each.requests, is_guaranteed=is_guaranteed))
            for each in pod.containers
        )
        return cls(
            as_containers=tuple(each for each in containers if each.requests),
            as_pod=(whole,) if whole.requests else (),
        )

    @property
    def is_any(self) -> bool:
        """Whether zones matter to the pod."""
        return bool(self.as_pod)


def matters_to(pod: PodFacts) -> bool:
    """Tell whether zones matter to a pod: whether its ``Demand`` is any."""
    return bool(_counted(pod.requests.items(), is_guaranteed=pod.qos is Qos.GUARANTEED))


def _counted(
    requests: Iterable[tuple[str, int]], *, is_guaranteed: bool
) -> tuple[tuple[str, int], ...]:
    return tuple(
        (name, amount)
        for name, amount in requests
        if amount and (is_guaranteed or not _is_tied_by_qos(name))
    )


def _is_tied_by_qos(resource: str) -> bool:
    return resource in (CPU, MEMORY) or resource.startswith(_HUGE_PAGES)


def may_be_outside_zones(resource: str) -> bool:
    """Tell whether a node may have a resource without any of its zones having it."""
    return resource == EPHEMERAL_STORAGE or _is_device(resource)


def is_reused(resource: str, amount: int) -> bool:
    """Tell whether kubelets give what an init container had of it to those that come after it."""
    return _is_device(resource) or (resource == CPU and amount % _MILLI == 0)


def _is_device(resource: str) -> bool:
    return "/" in resource and "kubernetes.io/" not in resource


def has_exclusive(pod: PodFacts, *, zone_resources: Collection[str]) -> bool:
    """Tell whether a pod has something of zones to itself while it runs.

    Devices that zones report, and of guaranteed pods whole cores, memory and huge pages.
    """
    is_guaranteed = pod.qos is Qos.GUARANTEED
    return any(
        _is_exclusive(resource, amount, is_guaranteed=is_guaranteed, zone_resources=zone_resources)
        for container in pod.containers
        if not container.is_brief
        for resource, amount in container.requests
    )


def _is_exclusive(
    resource: str, amount: int, *, is_guaranteed: bool, zone_resources: Collection[str]
) -> bool:
    if _is_device(resource):
        return resource in zone_resources
    if not is_guaranteed or not _is_tied_by_qos(resource):
        return False
    return resource != CPU or amount % _MILLI == 0
