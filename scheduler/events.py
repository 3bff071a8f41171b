"""What the engine is told, and what it asks its shell to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kube.objects import KubeObject
from scheduler.decision import Decision
from scheduler.framework.interface import Write
from scheduler.framework.measures import Measure
from scheduler.model import NodeFacts, PodFacts, Shape, Usage, UsageWindow, Utilization
from scheduler.predictions import Outage, PredictionAnswer


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node is there, or changed."""

    node: NodeFacts


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node was deleted."""

    name: str


@dataclass(frozen=True, slots=True)
class NodesMeasured:
    """Usage was measured."""

    usage: Mapping[str, Usage]
    """By node, what was used when last looked; of those left out nothing is known now."""
    windows: Mapping[str, UsageWindow] = field(default_factory=dict)
    """By node, as far as more is known than the last look."""


@dataclass(frozen=True, slots=True)
class UtilizationMeasured:
    """Usage was measured by somebody who knows it in parts of each machine."""

    means: Mapping[str, Utilization]
    """By node; of those left out nothing is known now."""
    deviations: Mapping[str, Utilization]
    """By node, as far as they are known."""
    start_s: float
    """Of the time over which that is, Unix seconds of the cluster's clock."""
    end_s: float


@dataclass(frozen=True, slots=True)
class MeasureTaken:
    """What a plugin asks of nodes was answered."""

    measure: Measure
    values: Mapping[str, int]
    """By node; of those left out nothing is known now."""


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod is there, or changed."""

    pod: PodFacts


@dataclass(frozen=True, slots=True)
class PodGone:
    """A pod was deleted."""

    key: str
    uid: str


@dataclass(frozen=True, slots=True)
class ObjectSeen:
    """An object that is neither node nor pod is there, or changed."""

    found: KubeObject


@dataclass(frozen=True, slots=True)
class ObjectGone:
    """Such an object was deleted."""

    kind: type[KubeObject]
    key: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """The predictor answered."""

    answer: PredictionAnswer


@dataclass(frozen=True, slots=True)
class PredictionFailed:
    """The predictor did not answer; the engine goes on without."""

    shapes: tuple[Shape, ...]
    outage: Outage


@dataclass(frozen=True, slots=True)
class PredictionWanted:
    """Someone else would like to know what the predictor says of a shape."""

    shape: Shape


@dataclass(frozen=True, slots=True)
class BindSucceeded:
    """The API server has the binding."""

    uid: str


@dataclass(frozen=True, slots=True)
class BindFailed:
    """The API server does not have the binding; the pod is tried again after back-off."""

    uid: str
    message: str
    is_lost_race: bool = False
    """The pod is gone or elsewhere, as the watch will say: nothing to report on it."""


@dataclass(frozen=True, slots=True)
class Written:
    """The API server has what ``WriteFirst`` asked for."""

    uid: str


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The API server does not have it; the pod is tried again after back-off."""

    uid: str
    message: str


@dataclass(frozen=True, slots=True)
class EvictFailed:
    """The API server did not delete the pod."""

    uid: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, and the shell has no more news at hand: decide."""


Event = (
    NodeSeen
    | NodeGone
    | NodesMeasured
    | UtilizationMeasured
    | MeasureTaken
    | PodSeen
    | PodGone
    | ObjectSeen
    | ObjectGone
    | Predicted
    | PredictionFailed
    | PredictionWanted
    | BindSucceeded
    | BindFailed
    | Written
    | WriteFailed
    | EvictFailed
    | Tick
)


@dataclass(frozen=True, slots=True)
class AskPrediction:
    """Ask the predictor; ``Predicted`` or ``PredictionFailed`` must follow for every shape."""

    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind the pod; ``BindSucceeded`` or ``BindFailed`` must follow."""

    pod: PodFacts
    node: str
    prediction_id: str


@dataclass(frozen=True, slots=True)
class WriteFirst:
    """Write what the binding needs; ``Written`` or ``WriteFailed`` must follow."""

    pod: PodFacts
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Evict:
    """Delete a pod, saying so on it; ``EvictFailed`` must follow if it cannot be."""

    victim: PodFacts
    cause: Literal["Preempted", "GangIncomplete"]
    """The reason of the event."""
    reason: str
    """Of the condition ``DisruptionTarget``."""
    message: str
    """The condition's."""
    note: str
    """The event's."""

    @classmethod
    def preempted(cls, victim: PodFacts, *, by: PodFacts, node: str) -> "Evict":
        """Make room for a pod on *node*."""
        return cls(
            victim,
            "Preempted",
            "PreemptionByScheduler",
            f"{by.scheduler_name}: preempting to accommodate a higher priority pod",
            f"Preempted by pod {by.uid} on node {node}",
        )

    @classmethod
    def incomplete(cls, victim: PodFacts, *, gang: str) -> "Evict":
        """Take a gang off its nodes that could not be placed whole in time."""
        text = f"gang {gang} could not be placed whole in time"
        return cls(victim, "GangIncomplete", "TerminationByScheduler", text, text)


@dataclass(frozen=True, slots=True)
class ReportScheduled:
    """Tell the world that a pod is bound, by an event on it."""

    pod: PodFacts
    node: str
    attempts: int
    pending_s: float
    """From when the pod was first seen pending until it was bound."""


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Tell the world why a pod is not scheduled, by condition and event on it."""

    pod: PodFacts
    reason: Literal["Unschedulable", "SchedulerError"]
    message: str
    nominated_node: str | None = None
    """What to write to ``status.nominatedNodeName``; ``None`` leaves it as it is."""


@dataclass(frozen=True, slots=True)
class Record:
    """Keep a decision for those who ask why."""

    decision: Decision


Action = AskPrediction | WriteFirst | Bind | Evict | ReportScheduled | ReportFailure | Record
