"""What is said of an ElasticQuota: how much of it is used, by the books that decisions go by."""

from collections.abc import Mapping

from kube.custom import ElasticQuota, ElasticQuotaStatus, read_amounts
from kube.quantity import CPU, QuantityError
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PODS

Usage = Mapping[str, Mapping[str, int]]
"""Requested amounts by namespace and resource."""


def quota_usage(snapshot: Snapshot) -> Usage:
    """Say what the namespaces with quotas use; pods for which a node is chosen count."""
    namespaces = {quota.metadata.namespace for quota in snapshot.objects.all(ElasticQuota)}
    return {name: dict(snapshot.by_namespace.requested(name)) for name in namespaces}


def next_quota_status(quota: ElasticQuota, *, usage: Usage) -> ElasticQuotaStatus:
    """Say what a quota's namespace uses of all that the quota names, and of what else it asks."""
    requested = usage.get(quota.metadata.namespace, {})
    named = {*(quota.spec.min or {}), *(quota.spec.max or {})}
    resources = named | ({r for r, amount in requested.items() if amount} - {PODS})
    used = {resource: requested.get(resource, 0) for resource in sorted(resources)}
    try:
        if used == read_amounts(quota.status.used):
            return quota.status
    except QuantityError:
        pass  # what is there is not ours, and is replaced
    return ElasticQuotaStatus(used={r: _quantity(r, amount) for r, amount in used.items()})


def _quantity(resource: str, amount: int) -> str:
    if resource == CPU:
        return str(amount // 1000) if amount % 1000 == 0 else f"{amount}m"
    for suffix, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if amount and amount % size == 0:
            return f"{amount // size}{suffix}"
    return str(amount)
