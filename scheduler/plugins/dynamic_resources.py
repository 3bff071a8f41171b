"""DynamicResources: better no place than one without the devices that a pod asks for."""

from typing import ClassVar

from kube.edge.settings import Duration
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, PreFilterPlugin, PreFilterResult
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, unresolvable
from scheduler.model import PodFacts


class DynamicResourcesArgs(PluginArgs, frozen=True):
    """Arguments of DynamicResources."""

    filter_timeout: Duration = Duration(10)
    """Accepted for upstream's files; nothing is searched for here."""


class DynamicResources(PreFilterPlugin):
    """Refuses pods with resource claims: this scheduler allocates no devices."""

    name = "DynamicResources"
    args_type: ClassVar[type[PluginArgs]] = DynamicResourcesArgs

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse the pod everywhere, naming what it uses."""
        if not pod.has_resource_claims:
            return PreFilterResult(SKIP)
        reason = (
            "pod asks for devices (spec.resourceClaims), which this scheduler does not allocate"
        )
        return PreFilterResult(unresolvable(reason))
