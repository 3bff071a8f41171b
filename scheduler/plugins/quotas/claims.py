"""What a pod, and those who were promised room before it, would take of the quotas."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts
from scheduler.plugins.quotas.shares import Amounts, Share, Shares, asked_by


@dataclass(frozen=True, slots=True)
class Claim:
    """What a pod of a namespace with a quota would take, in the resources that it asks for."""

    share: Share
    asked: Mapping[str, int]
    """By the pod itself."""
    own: Mapping[str, int]
    """By the pod, and by those of its namespace that were promised room and do not rank below."""
    total: Mapping[str, int]
    """As ``own``, with those of other namespaces that were promised what is theirs."""

    @classmethod
    def of(cls, pod: PodFacts, *, share: Share, shares: Shares, snapshot: Snapshot) -> "Claim":
        """Add up who is ahead of a pod."""
        asked = asked_by(pod)
        own, total = Counter(asked), Counter(asked)
        for node in snapshot.nominations.nodes():
            for other in snapshot.nominations.on_node(node):
                if other.uid == pod.uid or other.namespace not in shares:
                    continue
                if other.namespace == pod.namespace:
                    if other.priority >= pod.priority:
                        own.update(asked_by(other))
                        total.update(asked_by(other))
                    continue
                used = snapshot.by_namespace.requested(other.namespace)
                for resource, amount in asked_by(other).items():
                    if shares.over_min(other.namespace, resource=resource, used=used) <= 0:
                        total[resource] += amount
        return cls(share, asked, own, total)

    def over_max(self, used: Amounts) -> dict[str, int]:
        """Return by how much the namespace's use would exceed its max."""
        limits = self.share.max
        return {
            resource: used.get(resource, 0) + self.own[resource] - limits[resource]
            for resource in self.asked
            if resource in limits
        }

    def over_total(self, shares: Shares, *, snapshot: Snapshot) -> dict[str, int]:
        """Return by how much all quotas' use would exceed what they are guaranteed together."""
        over: dict[str, int] = {}
        for resource in self.asked:
            limit = shares.total_min(resource)
            if limit is not None:
                used = (snapshot.by_namespace.requested(s.namespace) for s in shares)
                over[resource] = sum(u.get(resource, 0) for u in used) + self.total[resource]
                over[resource] -= limit
        return over

    def is_borrowing(self, shares: Shares, *, used: Amounts) -> bool:
        """Tell whether the pod would take more than its namespace is guaranteed."""
        return any(
            shares.over_min(self.share.namespace, resource=resource, used=used) + self.own[resource]
            > 0
            for resource in self.asked
            if shares.total_min(resource) is not None
        )
