"""Which NUMA zones a pod gets what from, as a kubelet's managers of resources settle it.

Whole cores and memory of guaranteed pods, and devices, are a pod's own while it lasts; all else is
shared and of no zone. Who has what is said anew each time: there are no books that could differ
from the pods that are there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from scheduler.model import ContainerFacts, PodFacts
from scheduler.simulator.hardware import Numa
from scheduler.simulator.kubelet.hints import Hints, hints_for, merge
from scheduler.simulator.kubelet.zones import CORE_MILLI, Allotment, Zones

Demand: TypeAlias = Mapping[str, int]
"""What is to be had of zones, by resource."""


class Refusal(NamedTuple):
    """Why a kubelet does not take a pod."""

    reason: str
    message: str


_NOT_ALIGNED: Final = Refusal(
    "TopologyAffinityError", "Resources cannot be allocated with Topology locality"
)


def allot(
    pod: PodFacts, *, numa: Numa, zones: Zones, held: Iterable[Allotment]
) -> Allotment | Refusal:
    """Give a pod its own of the zones, or say why it cannot be had.

    Containers get theirs one after the other, in the order in which they start. What an init
    container had is there for those that follow it.

    Args:
        pod: Which pod.
        numa: How the kubelet goes about zones.
        zones: What the node has.
        held: What other pods have.
    """
    steps = [(_demand(each, pod=pod, zones=zones), each.is_brief) for each in pod.containers]
    ledger = _Ledger(zones, free=zones.free(held))
    as_pod: int | None = None
    if numa.scope == "pod":
        as_pod = _settle(_together(steps), numa=numa, ledger=ledger)
    for demand, is_brief in steps:
        affinity = as_pod
        if numa.scope == "container":
            affinity = _settle(demand, numa=numa, ledger=ledger)
        if affinity is None:
            return _NOT_ALIGNED
        lacking = ledger.take(demand, affinity=affinity, is_brief=is_brief)
        if lacking:
            message = f"Allocate failed due to {lacking}, which is unexpected"
            return Refusal("UnexpectedAdmissionError", message)
    is_listed = any(demand and not is_brief for demand, is_brief in steps)
    return Allotment(ledger.own(), is_listed)


def _demand(container: ContainerFacts, *, pod: PodFacts, zones: Zones) -> Demand:
    """Say what a container is to have to itself."""
    is_guaranteed = pod.qos is Qos.GUARANTEED
    found = {}
    for resource, amount in container.requests:
        if resource in (CPU, MEMORY):
            is_own = is_guaranteed and (resource != CPU or amount % CORE_MILLI == 0)
        else:
            is_own = resource in zones.capacity
        if is_own:
            found[resource] = amount
    return found


def _together(steps: Sequence[tuple[Demand, bool]]) -> Demand:
    """Say what all containers need at once; init containers are over before others start."""
    running: Counter[str] = Counter()
    peak: Counter[str] = Counter()
    for demand, is_brief in steps:
        beside = running + Counter(demand)
        if is_brief:
            peak |= beside
        else:
            running = beside
    return running | peak


def _settle(demand: Demand, *, numa: Numa, ledger: "_Ledger") -> int | None:
    """Choose zones, as a set of bits; ``None`` if the policy admits none."""
    hints = [] if numa.policy == "none" else ledger.hints(demand)
    found = merge(hints, n_zones=numa.zones, policy=numa.policy)
    return found.zones if found.is_preferred or numa.policy == "best-effort" else None


class _Ledger:
    """What is left while a pod gets its own.

    Args:
        zones: What the node has.
        free: What other pods leave of it.
    """

    def __init__(self, zones: Zones, *, free: dict[str, list[int]]) -> None:
        self._zones = zones
        self._free = free
        self._own = {resource: [0] * zones.n_zones for resource in free}
        self._reusable = {resource: [0] * zones.n_zones for resource in free}
        """Of the pod's own, what init containers had and others have not been given since."""

    def own(self) -> dict[str, tuple[int, ...]]:
        """Say what the pod has got, of which it got anything."""
        return {name: tuple(amounts) for name, amounts in self._own.items() if any(amounts)}

    def hints(self, demand: Demand) -> list[Hints]:
        """Say which sets of zones have what is asked for, resource by resource."""
        return [self._hints(resource, amount) for resource, amount in demand.items()]

    def take(self, demand: Demand, *, affinity: int, is_brief: bool) -> str:
        """Give a container what it asks for, from some zones first.

        Returns:
            What there is too little of, in the managers' words; empty if there is enough.
        """
        given: dict[str, list[int]] = {}
        for resource, amount in demand.items():
            n_left = sum(self._left(resource))
            if n_left < amount:
                return _lacking(resource, amount=amount, n_left=n_left)
            given[resource] = self._give(resource, amount, affinity=affinity)
        if is_brief:
            for resource, amounts in given.items():
                for zone, amount in enumerate(amounts):
                    self._reusable[resource][zone] += amount
        return ""

    def _left(self, resource: str) -> list[int]:
        pairs = zip(self._free[resource], self._reusable[resource], strict=True)
        return [free + reusable for free, reusable in pairs]

    def _hints(self, resource: str, amount: int) -> Hints:
        is_memory = resource == MEMORY
        total = self._zones.allocatable if is_memory else self._zones.capacity
        # What cores and devices are there to be used again decides about zones.
        reusable = () if is_memory else self._reusable[resource]
        must = sum(1 << zone for zone, left in enumerate(reusable) if left)
        return hints_for(amount, free=self._left(resource), total=total[resource], must=must)

    def _give(self, resource: str, amount: int, *, affinity: int) -> list[int]:
        given = [0] * self._zones.n_zones
        if resource == MEMORY and affinity == (1 << len(given)) - 1:
            # Where nobody says which zones, its manager looks for few.
            hints = [self._hints(resource, amount)]
            affinity = merge(hints, n_zones=len(given), policy="none").zones
        while amount:
            zone, left = self._next_zone(resource, amount, affinity=affinity)
            n_given = min(amount, left)
            n_again = min(n_given, self._reusable[resource][zone])
            self._reusable[resource][zone] -= n_again
            self._free[resource][zone] -= n_given - n_again
            self._own[resource][zone] += n_given - n_again
            given[zone] += n_given
            amount -= n_given
        return given

    def _next_zone(self, resource: str, amount: int, *, affinity: int) -> tuple[int, int]:
        """Say from which zone to take next, and how much it has."""
        size = self._zones.capacity[resource]

        def rank(has: tuple[int, int]) -> tuple[bool, bool, int]:
            zone, left = has
            is_outside = not affinity >> zone & 1
            if resource != CPU:
                return is_outside, False, zone
            # Whole zones that are free, and else those that are used the most already.
            return is_outside, not left == size[zone] <= amount, left

        return min(((z, left) for z, left in enumerate(self._left(resource)) if left), key=rank)


def _lacking(resource: str, *, amount: int, n_left: int) -> str:
    if resource == CPU:
        return (
            "not enough cpus available to satisfy request: "
            f"requested={amount // CORE_MILLI}, available={n_left // CORE_MILLI}"
        )
    if resource == MEMORY:
        return (
            "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough"
            " memory is available"
        )
    return (
        f"requested number of devices unavailable for {resource}. "
        f"Requested: {amount}, Available: {n_left}"
    )
