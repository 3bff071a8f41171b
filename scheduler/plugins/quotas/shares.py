"""Elastic quotas as arithmetic: how much of a namespace's use is its own, and how much borrowed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kube.custom import ElasticQuota, read_amounts
from kube.quantity import CPU, MEMORY, QuantityError
from scheduler.model import EPHEMERAL_STORAGE, PODS, PodFacts

_NATIVE: Final = frozenset({CPU, MEMORY, EPHEMERAL_STORAGE, PODS})

Amounts = Mapping[str, int]
"""By resource."""


@dataclass(frozen=True, slots=True)
class Share:
    """A namespace's quota."""

    namespace: str
    name: str
    min: Amounts
    """What it can count on; of a resource that is not named, nothing."""
    max: Amounts
    """What it may have at the most; of a resource that is not named, anything."""

    @property
    def resources(self) -> frozenset[str]:
        """All that it names."""
        return frozenset(self.min) | frozenset(self.max)


class Shares:
    """All quotas; of several in one namespace the oldest counts.

    A quota whose amounts cannot be read counts as absent.

    Args:
        quotas: As they came over the wire.
    """

    def __init__(self, quotas: Iterable[ElasticQuota]) -> None:
        self._shares: dict[str, Share] = {}
        self._total_min: Counter[str] = Counter()
        for quota in sorted(quotas, key=_age):
            share = _read(quota)
            if share is not None and share.namespace not in self._shares:
                self._shares[share.namespace] = share
                self._total_min.update(share.min)

    def __iter__(self) -> Iterator[Share]:
        return iter(self._shares.values())

    def __contains__(self, namespace: str) -> bool:
        return namespace in self._shares

    def find(self, namespace: str) -> Share | None:
        """Return a namespace's quota, if it has one."""
        return self._shares.get(namespace)

    def total_min(self, resource: str) -> int | None:
        """Return how much all quotas together are guaranteed; ``None``: as much as they like.

        Of cpu, memory, ephemeral storage and the number of pods, which every pod needs, that is so
        while no quota names them; of an extended resource that none names, there is none to have.
        Where no quota guarantees anything, there is nothing to have at all: it would be borrowed.
        """
        if resource in self._total_min:
            return self._total_min[resource]
        is_free = resource in _NATIVE and (resource == PODS or bool(self._total_min))
        return None if is_free else 0

    def over_min(self, namespace: str, *, resource: str, used: Amounts) -> int:
        """Return how much of what a namespace with a quota uses is borrowed."""
        if self.total_min(resource) is None:
            return 0
        return used.get(resource, 0) - self._shares[namespace].min.get(resource, 0)


def asked_by(pod: PodFacts) -> dict[str, int]:
    """Return what a pod takes of its namespace's quota."""
    return {**{r: amount for r, amount in pod.requests.items() if amount}, PODS: 1}


def _age(quota: ElasticQuota) -> tuple[float, str]:
    created = quota.metadata.creation_timestamp
    return (0.0 if created is None else created.timestamp()), quota.metadata.name


def _read(quota: ElasticQuota) -> Share | None:
    meta, spec = quota.metadata, quota.spec
    try:
        return Share(meta.namespace, meta.name, read_amounts(spec.min), read_amounts(spec.max))
    except QuantityError:
        return None
