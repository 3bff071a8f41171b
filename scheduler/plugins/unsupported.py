"""UnsupportedRules: better no place than one that breaks what the pod asks for."""

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PreFilterPlugin, PreFilterResult
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import unresolvable
from scheduler.model import PodFacts


class UnsupportedRules(PreFilterPlugin):
    """Refuses pods with a rule that kube-scheduler keeps and no plugin here does yet."""

    name = "UnsupportedRules"

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse the pod everywhere, naming what it uses."""
        if not pod.unsupported_fields:
            return PreFilterResult()
        fields = " and ".join(pod.unsupported_fields)
        reason = f"pod uses {fields}, which this scheduler does not support yet"
        return PreFilterResult(unresolvable(reason))
