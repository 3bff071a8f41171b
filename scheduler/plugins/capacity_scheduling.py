"""CapacityScheduling: namespaces have elastic quotas, and may borrow what others do not use."""

from typing import ClassVar

from kube.custom import CustomResource, ElasticQuota
from scheduler.framework.changes import NEVER
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FailedSearch,
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
    ReservePlugin,
)
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SUCCESS, Status, unresolvable, unschedulable
from scheduler.model import PodFacts
from scheduler.plugins.default_preemption import DefaultPreemption, DefaultPreemptionArgs
from scheduler.plugins.preemption.rules import EvictionRules
from scheduler.plugins.quotas.claims import Claim
from scheduler.plugins.quotas.evictions import OutsideQuotas, WithinQuotas
from scheduler.plugins.quotas.shares import Shares


class CapacityScheduling(PreFilterPlugin, DefaultPreemption, ReservePlugin):
    """Keeps namespaces below their max, and all together below the sum of their mins.

    What it needs to know of pods is in the snapshot, where a pod counts from the moment that a node
    is chosen for it; so there are no books that could differ from it.
    """

    name = "CapacityScheduling"
    args_type: ClassVar[type[PluginArgs]] = PluginArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.CUSTOM
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.ASSIGNED_POD_SCALE_DOWN
        | ClusterEvent.POD_UPDATE
    )
    reads: ClassVar[tuple[type[CustomResource], ...]] = (ElasticQuota,)
    keeps: ClassVar[tuple[type[CustomResource], ...]] = (ElasticQuota,)

    def __init__(self, args: PluginArgs) -> None:
        super().__init__(DefaultPreemptionArgs())
        self.args = args
        self._version = NEVER
        self._shares = Shares(())

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse a pod for which there is no quota left."""
        claim = self._claim(pod, snapshot)
        if claim is None:
            return PreFilterResult()
        too_large = sorted(r for r, most in claim.share.max.items() if claim.asked.get(r, 0) > most)
        if too_large:
            return PreFilterResult(unresolvable(_more_than_max(pod, too_large)))
        used = snapshot.by_namespace.requested(pod.namespace)
        over = sorted(r for r, amount in claim.over_max(used).items() if amount > 0)
        if over:
            return PreFilterResult(unschedulable(_more_than_max(pod, over)))
        total = claim.over_total(self._shares, snapshot=snapshot)
        over = sorted(r for r, amount in total.items() if amount > 0)
        return PreFilterResult(unschedulable(_more_than_min(pod, over)) if over else SUCCESS)

    def rules(self, pod: PodFacts, search: FailedSearch) -> EvictionRules:
        """Say who may be evicted for a pod."""
        snapshot = search.snapshot
        claim = self._claim(pod, snapshot)
        if claim is None:
            return OutsideQuotas(pod, shares=self._shares, version=self._version)
        return WithinQuotas(pod, claim=claim, shares=self._shares, snapshot=snapshot)

    def reserve(self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot) -> Status:
        """Leave the accounts to the snapshot, in which the pod counts by now."""
        return SUCCESS

    def unreserve(self, state: CycleState, *, pod: PodFacts, node: str) -> None:
        """As ``reserve``."""

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """A quota helps if what it grants changed; what is used is said by pods."""
        before, after = change.before, change.after
        if isinstance(before, ElasticQuota) and isinstance(after, ElasticQuota):
            return before.spec != after.spec
        return True

    def _claim(self, pod: PodFacts, snapshot: Snapshot) -> Claim | None:
        shares = self._read(snapshot.objects)
        share = shares.find(pod.namespace)
        if share is None:
            return None
        return Claim.of(pod, share=share, shares=shares, snapshot=snapshot)

    def _read(self, objects: ClusterObjects) -> Shares:
        version = objects.version(ElasticQuota)
        if version != self._version:
            self._shares, self._version = Shares(objects.all(ElasticQuota)), version
        return self._shares


def _more_than_max(pod: PodFacts, resources: list[str]) -> str:
    why = f"because ElasticQuota {pod.namespace} is more than Max: {', '.join(resources)}"
    return f"Pod {pod.key} is rejected in PreFilter {why}"


def _more_than_min(pod: PodFacts, resources: list[str]) -> str:
    why = f"because total ElasticQuota used is more than min: {', '.join(resources)}"
    return f"Pod {pod.key} is rejected in PreFilter {why}"
