"""NodePorts: two pods cannot take the same port of a node."""

from collections.abc import Hashable
from typing import ClassVar, Final

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PreFilterPlugin,
    PreFilterResult,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, Code, Verdicts
from scheduler.model import HostPort, PodFacts

_ANY: Final = "0.0.0.0"  # noqa: S104 - a value to compare, not an address to listen on


def conflict(one: HostPort, other: HostPort) -> bool:
    """Tell whether two ports cannot be on one node; the wildcard address meets every other."""
    same_port = one.port == other.port and one.protocol == other.protocol
    return same_port and (one.ip == other.ip or _ANY in (one.ip, other.ip))


class NodePorts(PreFilterPlugin, FilterPlugin):
    """Refuses nodes where a port that the pod wants is taken."""

    name = "NodePorts"
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD | ClusterEvent.ASSIGNED_POD_DELETE | ClusterEvent.POD_UPDATE
    )

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign the ports."""
        return pod.host_ports

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Skip pods that want no port."""
        return PreFilterResult() if pod.host_ports else PreFilterResult(SKIP)

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes with a conflicting port."""
        taken = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        for used in snapshot.host_ports.present():
            if any(conflict(wanted, used) for wanted in pod.host_ports):
                taken |= snapshot.host_ports[used] != 0
        return Verdicts.refuse(
            taken,
            reason="node(s) didn't have free ports for the requested pod ports",
            code=Code.UNSCHEDULABLE,
        )

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for a pod to go that took one of the ports."""
        gone = change.before
        if change.after is not None or not isinstance(gone, PodFacts):
            return True
        return any(conflict(wanted, used) for wanted in pod.host_ports for used in gone.host_ports)
