"""Which sets of NUMA zones would do for a pod, and which of them its kubelet settles on.

As the kubelet's topology manager does it: for each resource there are hints, sets of zones that
have enough of it, of which those with the fewest zones are preferred; and one set is made of one
hint of each. Sets of zones are bits of an integer, zone 0 being the lowest.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler.simulator.hardware import TopologyPolicy

Hints = Mapping[int, bool]
"""Sets of zones that have enough, and whether each is preferred; empty if none has enough."""


class Affinity(NamedTuple):
    """What the hints for all resources come to."""

    zones: int
    is_preferred: bool


def hints_for(amount: int, *, free: Sequence[int], total: Sequence[int], must: int = 0) -> Hints:
    """Give the hints for one resource.

    Args:
        amount: How much is asked for.
        free: What each zone has left of it.
        total: What each zone has of it when nobody has any. It says how few zones would do, so that
            no hint is preferred while these are in use.
        must: Zones that are in every hint.
    """
    found = []
    fewest = len(free)
    for zones in range(1, 1 << len(free)):
        if _within(zones, total) >= amount:
            fewest = min(fewest, zones.bit_count())
        if not must & ~zones and _within(zones, free) >= amount:
            found.append(zones)
    return {zones: zones.bit_count() == fewest for zones in found}


def merge(hints: Sequence[Hints], *, n_zones: int, policy: TopologyPolicy) -> Affinity:
    """Make one set of zones of the hints for several resources.

    The narrowest set is best that is preferred for all of them alike. If there is none, it is an
    intersection of any hints, as wide as the neediest resource would have it.
    """
    everywhere = (1 << n_zones) - 1
    if not hints:
        return Affinity(everywhere, is_preferred=True)
    common = set.intersection(*({z for z, liked in each.items() if liked} for each in hints))
    if policy == "single-numa-node":
        common = {zones for zones in common if zones.bit_count() == 1}
    if common:
        return Affinity(min(common, key=_width), is_preferred=True)
    return Affinity(_compromise(hints, everywhere=everywhere), is_preferred=False)


def _compromise(hints: Sequence[Hints], *, everywhere: int) -> int:
    possible = [each for each in hints if each]
    met = {everywhere}
    for each in possible:
        met = {zones & hint for zones in met for hint in each}
    met.discard(0)
    best = max((min(zones.bit_count() for zones in each) for each in possible), default=0)

    def rank(zones: int) -> tuple[bool, int, int]:
        count = zones.bit_count()
        return count > best, abs(count - best), zones

    return min(met, key=rank, default=everywhere)


def _width(zones: int) -> tuple[int, int]:
    return zones.bit_count(), zones


def _within(zones: int, amounts: Sequence[int]) -> int:
    return sum(amount for zone, amount in enumerate(amounts) if zones >> zone & 1)
