"""The extension points, in the order in which a scheduling cycle passes them.

A plugin is a class that derives from the points it serves. It answers for *all* nodes in one call,
over the columns of the snapshot. Everything is synchronous, pure and without I/O: the same
arguments give the same answer, and no argument is changed. The engine calls from one thread.

QueueSort and PreEnqueue order and admit waiting pods. PreFilter, Filter, PreScore, Score and
NormalizeScore choose a node; PostFilter makes room where there is none. Reserve, Permit, PreBind,
Bind and PostBind carry a choice out. What upstream's plugins do to the API server is here said as
``Write``, which the engine's shell carries out.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, ClassVar, Literal

import numpy as np

from kube.custom import CustomResource
from kube.edge.settings import Settings
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult
from scheduler.framework.measures import Measure
from scheduler.framework.nominations import Nominations
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    MIN_NODE_SCORE,
    SUCCESS,
    BoolColumn,
    ScoreColumn,
    Status,
    Verdicts,
)
from scheduler.model import PodFacts


class ClusterEvent(Flag):
    """What may happen in the cluster that makes a refused pod worth another try."""

    NODE_ADD = auto()
    NODE_DELETE = auto()
    NODE_ALLOCATABLE = auto()
    NODE_LABEL = auto()
    NODE_TAINT = auto()
    """Taints changed, or a node was uncordoned."""
    ASSIGNED_POD_ADD = auto()
    ASSIGNED_POD_LABEL = auto()
    ASSIGNED_POD_SCALE_DOWN = auto()
    """A running pod asks for less than before."""
    ASSIGNED_POD_DELETE = auto()
    POD_UPDATE = auto()
    """The waiting pod itself changed."""
    CLAIM = auto()
    """A persistent volume claim was added or changed; so for the kinds below."""
    VOLUME = auto()
    STORAGE_CLASS = auto()
    CSI_NODE = auto()
    CSI_DRIVER = auto()
    CSI_STORAGE_CAPACITY = auto()
    VOLUME_ATTACHMENT_DELETE = auto()
    CUSTOM = auto()
    """An object of a kind that the plugin ``reads`` was added, changed or removed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the cluster, for hints."""

    event: ClusterEvent
    before: Any = None
    """``NodeFacts``, ``PodFacts`` or an object of ``framework.objects``; ``None`` if new."""
    after: Any = None
    """The same; ``None`` if gone."""


class PluginArgs(Settings, frozen=True, rename="camel"):
    """A plugin's arguments (``pluginConfig[].args``), under upstream's names."""

    api_version: Literal["kubescheduler.config.k8s.io/v1"] = "kubescheduler.config.k8s.io/v1"
    kind: str = ""
    """Empty, or the plugin's name and ``Args``."""


class Plugin(ABC):
    """What all plugins have: a name, arguments, and what wakes a pod that they refused.

    ``__init__`` stores the arguments and does nothing else.
    """

    name: ClassVar[str]
    args_type: ClassVar[type[PluginArgs]] = PluginArgs
    wakes_on: ClassVar[ClusterEvent] = ClusterEvent.POD_UPDATE

    reads_pods: ClassVar[bool] = True
    """Whether what Filter and Score say of a node depends on the pods on it. Of a plugin that signs
    pods and does not read them, nothing is asked anew when pods come and go."""

    reads_usage: bool = False
    """Whether it reads ``Snapshot.usage`` and its like, which are then kept up to date."""

    lacks: str = ""
    """What it goes without for now, having no opinion; said once when the scheduler starts."""

    measures: tuple[Measure, ...] = ()
    """What else it wants to know of nodes; see ``Snapshot.measured``."""

    reads: ClassVar[tuple[type[CustomResource], ...]] = ()
    """Of which custom resources it reads ``Snapshot.objects``, which then mirrors them; a cluster
    that has no such kind has no objects of it."""

    keeps: ClassVar[tuple[type[CustomResource], ...]] = ()
    """Of which of these the status is kept up to date where the plugin is on."""

    def __init__(self, args: PluginArgs) -> None:
        self.args = args

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Say what Filter and Score depend on, besides the node itself and the pods on it.

        Of two pods with one signature the plugin says the same, and what it says of a node does not
        depend on the other nodes, nor on anything but the snapshot's columns. Then the engine asks
        again only about the nodes that changed. ``None``: it depends on more, ask every time.
        """
        return None

    def wakes_for(self, change: Change) -> bool:
        """Tell whether a change is among those that ``wakes_on`` names."""
        if change.event is ClusterEvent.CUSTOM:
            about = change.before if change.after is None else change.after
            return ClusterEvent.CUSTOM in self.wakes_on and isinstance(about, self.reads)
        return bool(change.event & self.wakes_on)

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Say whether *change*, one of ``wakes_on``, may help a pod that this plugin refused.

        A queueing hint: when in doubt, yes.
        """
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A pod in the queue; a gang's members differ in ``pod`` and ``queued_at_s`` alone."""

    pod: PodFacts
    priority: int
    """The pod's; of a gang's member, the gang's."""
    size: int = 1
    """How many pods are placed together; 1 outside gangs."""
    queued_at_s: float
    """When it was queued the last time, Unix seconds."""
    since_s: float
    """When it was queued first; of a gang's member, when the gang was made, or refused last."""


SortKey = tuple[float | str, ...]
"""Where a pod stands in the queue; of one plugin all have the same types in the same places."""


class QueueSortPlugin(Plugin):
    """Orders the active queue; a profile has exactly one."""

    @abstractmethod
    def sort_key(self, waiting: Waiting, *, objects: ClusterObjects) -> SortKey:
        """Return a key; the pod with the smallest is scheduled first."""

    def moves_pods(self, change: Change) -> bool:
        """Tell whether keys changed with an object; then the queue is sorted anew."""
        return False


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

        It is asked several times with one *state*: of the snapshot that PreFilter saw, and of
        what-ifs made from it, which have the same nodes and other pods. So read pods from
        *snapshot*; a verdict on a row of a what-if takes only that row's changes into account.
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


Refilter = Callable[[Snapshot, Sequence[int]], FilterResult]
"""Runs the cycle's filters on a what-if of its snapshot; says what holds for some rows of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSearch:
    """A cycle in which no node was feasible."""

    snapshot: Snapshot
    found: FilterResult
    """Why not; what is ``UNSCHEDULABLE`` evictions may change."""
    refilter: Refilter
    """Nominated pods are counted as in the cycle itself."""
    afresh: Callable[[Snapshot], FilterResult]
    """Runs PreFilter and Filter on another state of the cluster (``Snapshot.copy``)."""
    nominations: Nominations
    now_s: float
    """When, in Unix seconds of the cluster's clock."""
    signature: Hashable | None = None
    """Of two searches with one signature, the filters say the same of a node that has not changed;
    ``None`` if that cannot be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostFilterResult:
    """What a PostFilter plugin did about it."""

    status: Status
    """Success: the pod is nominated; a refusal says why nothing could be done."""
    node: str | None = None
    """Where the pod is nominated; empty ends an earlier nomination, ``None`` leaves it."""
    victims: tuple[PodFacts, ...] = ()
    """Pods to evict there, the most important first; also from other nodes, where that is what
    the pod waits for."""
    retry_at_s: float = math.inf
    """Of a refusal: when to ask again though nothing has changed, by the cluster's clock."""
    plugin: str = ""
    """Who made room; the framework fills it in."""


class PostFilterPlugin(Plugin):
    """Tries to make room for a pod that no node would take."""

    @abstractmethod
    def post_filter(
        self, state: CycleState, *, pod: PodFacts, search: FailedSearch
    ) -> PostFilterResult:
        """Return success with a nomination, or why there is none; then the next plugin is asked."""


class ReservePlugin(Plugin):
    """Keeps what a pod will need on its node, from the choice to the binding."""

    @abstractmethod
    def reserve(self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot) -> Status:
        """Set it aside, in the plugin's own books; a refusal gives the choice up."""

    @abstractmethod
    def unreserve(self, state: CycleState, *, pod: PodFacts, node: str) -> None:
        """Give it back; called also where ``reserve`` was not, and then does nothing."""


@dataclass(frozen=True, slots=True)
class PermitResult:
    """May the pod be bound?"""

    status: Status = SUCCESS
    """Success; Wait, until the plugin lets it go on or the time is over; or a refusal."""
    timeout_s: float = 0.0
    """How long to wait, at most fifteen minutes; then the pod is refused."""


class PermitPlugin(Plugin):
    """The last word before a pod is bound."""

    @abstractmethod
    def permit(self, state: CycleState, *, pod: PodFacts, node: str) -> PermitResult:
        """Return success, or whether to wait; asked anew at every tick while the pod waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A change to an object at the API server: a merge patch."""

    path: str
    body: Mapping[str, Any] = field(default_factory=dict)
    """A conflict (the body may name a ``resourceVersion``) refuses the binding."""


@dataclass(frozen=True, slots=True)
class PreBindResult:
    """What must be done before the binding."""

    writes: Sequence[Write] = ()
    """To be written now."""
    status: Status = SUCCESS
    """Success: bind when the writes are done. Wait: ask again when an object changes.
    A refusal gives the choice up."""
    timeout_s: float = 600.0
    """How long to wait at the most, from the first time it is asked."""


class PreBindPlugin(Plugin):
    """Prepares the cluster for a pod on its node."""

    @abstractmethod
    def pre_bind(
        self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot
    ) -> PreBindResult:
        """Say what must be written, and what must come true, before the pod is bound."""


class BindPlugin(Plugin):
    """Binds pods; the first plugin that does not skip does it."""

    @abstractmethod
    def bind(self, pod: PodFacts, *, node: str) -> Status:
        """Return success to have the scheduler write the Binding, Skip to leave it to the next."""


class PostBindPlugin(Plugin):
    """Hears of pods that are bound."""

    @abstractmethod
    def post_bind(self, pod: PodFacts, *, node: str) -> None:
        """Take note."""


def default_normalize(scores: ScoreColumn, *, reverse: bool) -> ScoreColumn:
    """Stretch scores so that the highest is 100; *reverse* makes the highest worst.

    Where all are 0, all stay 0, or become 100 when reversed.
    """
    highest = int(scores.max(initial=0))
    if highest == 0:
        return scores + 100 if reverse else scores
    stretched = 100 * scores // highest
    return 100 - stretched if reverse else stretched


def min_max_normalize(scores: ScoreColumn) -> ScoreColumn:
    """Stretch scores from the lowest (0) to the highest (100); 0 where all are alike."""
    if not scores.size or scores.min() == scores.max():
        return np.full_like(scores, MIN_NODE_SCORE)
    stretched: ScoreColumn = (scores - scores.min()) * MAX_NODE_SCORE // np.ptp(scores)
    return stretched
