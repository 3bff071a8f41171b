"""The extension points, in the order in which a scheduling cycle passes them.

A plugin is a class that derives from the points it serves. It answers for *all* nodes in one call,
over the columns of the snapshot. Everything is synchronous, pure and without I/O: the same
arguments give the same answer, and no argument is changed. The engine calls from one thread.

QueueSort and PreEnqueue order and admit waiting pods. PreFilter, Filter, PreScore, Score and
NormalizeScore choose a node. What follows a choice or the lack of one (PostFilter, Reserve,
Permit, PreBind, Bind, PostBind) joins here when a plugin needs it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Flag, auto
from typing import ClassVar

from kube.edge.settings import Settings
from scheduler.framework.cycle import CycleState
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SUCCESS, BoolColumn, ScoreColumn, Status, Verdicts
from scheduler.model import PodFacts


class ClusterEvent(Flag):
    """What may happen in the cluster that makes a refused pod worth another try."""

    NODE_ADD = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABEL = auto()
    NODE_TAINT = auto()
    """Taints changed, or a node was uncordoned."""
    ASSIGNED_POD_DELETE = auto()
    POD_UPDATE = auto()
    """The waiting pod itself changed."""


class PluginArgs(Settings, frozen=True, rename="camel"):
    """A plugin's arguments (``pluginConfig[].args``), under upstream's names."""

    api_version: str = "kubescheduler.config.k8s.io/v1"
    kind: str = ""


class Plugin(ABC):
    """What all plugins have: a name, arguments, and what wakes a pod that they refused.

    ``__init__`` stores the arguments and does nothing else.
    """

    name: ClassVar[str]
    args_type: ClassVar[type[PluginArgs]] = PluginArgs
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.POD_UPDATE

    def __init__(self, args: PluginArgs) -> None:
        self.args = args


class QueueSortPlugin(Plugin):
    """Orders the active queue; a profile has exactly one."""

    @abstractmethod
    def sort_key(self, pod: PodFacts, *, queued_at_s: float) -> tuple[float, ...]:
        """Return a key; the pod with the smallest is scheduled first."""


class PreEnqueuePlugin(Plugin):
    """Says whether a pod may enter the active queue at all."""

    @abstractmethod
    def pre_enqueue(self, pod: PodFacts) -> Status:
        """Return success, or why the pod must stay away; asked anew when the pod changes."""


@dataclass(frozen=True, slots=True)
class PreFilterResult:
    """What a PreFilter plugin found out before any node is looked at."""

    status: Status = SUCCESS
    """Success; Skip leaves the plugin's Filter out; a refusal refuses the pod on every node."""
    node_names: frozenset[str] | None = None
    """Only these nodes need to be looked at; ``None`` for all."""


class PreFilterPlugin(Plugin):
    """Looks at the pod once, before Filter."""

    @abstractmethod
    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Return what is known before Filter; may write to *state* what Filter will need."""


class FilterPlugin(Plugin):
    """Says which nodes cannot run the pod."""

    @abstractmethod
    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Return a verdict on every node; ``None`` passes them all.

        A refusal explains itself: every refused node has a reason, in the words an operator
        reads in the event. ``Code.ERROR`` is not for pods that do not fit.
        """


class PreScorePlugin(Plugin):
    """Looks at the pod and its feasible nodes once, before Score."""

    @abstractmethod
    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Return success, or Skip to leave the plugin's Score out.

        Args:
            state: Where to leave what Score will need.
            pod: The pod.
            snapshot: The nodes.
            feasible: Shape ``(n_nodes,)``; the nodes that passed all filters.
        """


class ScorePlugin(Plugin):
    """Rates nodes. Without information a plugin rates all of them alike, or skips."""

    @abstractmethod
    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate every node, feasible or not; only the feasible ones' scores are used.

        Returns:
            Shape ``(n_nodes,)``; 0 to 100 after ``normalize``.
        """

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Bring the feasible nodes' scores into 0..100 (NormalizeScore).

        Args:
            scores: Shape ``(n_feasible,)``, as ``score`` returned them.

        Returns:
            The same shape; a new array if anything changes.
        """
        return scores


def default_normalize(scores: ScoreColumn, *, reverse: bool) -> ScoreColumn:
    """Stretch scores so that the highest is 100; *reverse* makes the highest worst.

    Where all are 0, all stay 0, or become 100 when reversed.
    """
    highest = int(scores.max(initial=0))
    if highest == 0:
        return scores + 100 if reverse else scores
    stretched = 100 * scores // highest
    return 100 - stretched if reverse else stretched
