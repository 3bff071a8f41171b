"""How far a rolling update may go: pure arithmetic over replica counts."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from scheduler.simulator.chance import key_of
from scheduler.simulator.resources import Object

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Replicas:
    """A ReplicaSet's numbers."""

    wanted: int
    """``spec.replicas``."""
    available: int


def resolve(value: int | str | None, *, total: int, round_up: bool) -> int:
    """Turn ``maxSurge`` or the like into a number of pods: ``2`` or ``"25%"``.

    Text that is no percentage counts as 0; the API server refuses it before.
    """
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    percent = value.removesuffix("%")
    if not percent.isdigit():
        return 0
    product = int(percent) * total
    return -(-product // 100) if round_up else product // 100


def limits(deployment: Object) -> tuple[int, int]:
    """How many pods there may be beyond, and how many may be missing from, the wanted number."""
    spec = deployment["spec"]
    rolling = spec["strategy"].get("rollingUpdate") or {}
    surge = resolve(rolling.get("maxSurge"), total=spec["replicas"], round_up=True)
    missing = resolve(rolling.get("maxUnavailable"), total=spec["replicas"], round_up=False)
    if surge == 0 and missing == 0:
        missing = 1  # both rounded to nothing: one must give way
    return surge, min(missing, spec["replicas"])


def new_size(*, wanted: int, max_surge: int, new: Replicas, old: Sequence[Replicas]) -> int:
    """How many replicas the new set may have now."""
    if new.wanted >= wanted:
        return wanted
    total = new.wanted + sum(each.wanted for each in old)
    room = max(0, wanted + max_surge - total)
    return min(wanted, new.wanted + room)


def old_sizes(
    *, wanted: int, max_missing: int, new: Replicas, old: Sequence[Replicas]
) -> list[int]:
    """How many replicas each old set may keep now, the oldest set giving way first.

    Pods that are not available give way before those that are, and as many pods stay available as
    the limits demand.
    """
    least = wanted - max_missing
    total = new.wanted + sum(each.wanted for each in old)
    new_unavailable = max(0, new.wanted - new.available)
    surplus = max(0, total - least - new_unavailable)
    sizes = [each.wanted for each in old]
    for index, each in enumerate(old):
        unhealthy = min(surplus, max(0, sizes[index] - each.available))
        sizes[index] -= unhealthy
        surplus -= unhealthy
    available = new.available + sum(
        min(each.available, size) for each, size in zip(old, sizes, strict=True)
    )
    spare = max(0, available - least)
    for index, size in enumerate(sizes):
        taken = min(spare, size)
        sizes[index] -= taken
        spare -= taken
    return sizes


def template_hash(template: Object, *, n_collisions: int) -> str:
    """Name a pod template by ten letters that no word is made of."""
    number = key_of(msgspec.json.encode(template), n_collisions)
    letters = []
    for _ in range(10):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)


def is_same_template(first: Object, second: Object) -> bool:
    """Tell whether two pod templates are alike, the hash label aside."""
    return _without_hash(first) == _without_hash(second)


def _without_hash(template: Object) -> Object:
    meta = template.get("metadata") or {}
    labels = {k: v for k, v in (meta.get("labels") or {}).items() if k != HASH_LABEL}
    rest = {k: v for k, v in meta.items() if k != "labels" and v}
    return {**template, "metadata": {**rest, "labels": labels}}
