"""Pods, containers and nodes of the world: what was asked for, and how far each has come."""

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from scheduler.simulator.hardware import NodeSpec
from scheduler.simulator.usage import UsageProfile

RestartPolicy = Literal["Always", "OnFailure", "Never"]
Qos = Literal["Guaranteed", "Burstable", "BestEffort"]
Role = Literal["init", "sidecar", "app"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """A container as it is placed."""

    name: str
    image: str
    profile: UsageProfile
    role: Role = "app"
    cpu_request_milli: int = 0
    cpu_limit_milli: int | None = None
    memory_request_bytes: int = 0
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """A pod as it is placed.

    ``name`` (namespace and name) decides its luck, ``uid`` its identity.
    """

    uid: str
    name: str
    node: str
    containers: tuple[ContainerSpec, ...]
    """Init containers and sidecars first, in order."""
    restart_policy: RestartPolicy = "Always"
    qos: Qos = "Burstable"
    priority: int = 0

    @property
    def is_critical(self) -> bool:
        """Whether the kubelet never evicts it (the system priority classes)."""
        return self.priority >= 2_000_000_000


class Phase(Enum):
    """How far a container is."""

    WAITING = "waiting"
    PULLING = "pulling"
    CREATING = "creating"
    RUNNING = "running"
    BACK_OFF = "back-off"
    DONE = "done"


@dataclass(slots=True, eq=False)
class ContainerRun:
    """One container's course."""

    spec: ContainerSpec
    pod: "PodRun"
    row: int
    """In the columns."""
    phase: Phase = Phase.WAITING
    epoch: int = 0
    """Counts what made planned events void."""
    restart_count: int = 0
    exit_code: int = 0
    back_off_s: float = 0.0
    """The wait before the restart after the next one; 0 restarts at once."""
    restarted_at_s: float = 0.0
    pull_back_off_s: float = 0.0


@dataclass(slots=True, eq=False)
class PodRun:
    """One pod's course."""

    spec: PodSpec
    node: "NodeRun"
    containers: list[ContainerRun] = field(default_factory=list)
    has_sandbox: bool = False
    stop_by_s: float | None = None
    """When its time is up, once it has been told to stop."""
    is_gone: bool = False
    stop_epoch: int = 0

    @property
    def is_stopping(self) -> bool:
        """Whether it has been told to stop."""
        return self.stop_by_s is not None


@dataclass(frozen=True, slots=True, eq=False)
class Pull:
    """A container's wish for an image."""

    container: ContainerRun
    epoch: int
    asked_at_s: float

    @property
    def is_void(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.container.pod.is_gone or self.container.epoch != self.epoch


@dataclass(slots=True, eq=False)
class NodeRun:
    """One node's course."""

    spec: NodeSpec
    row: int
    is_up: bool = True
    epoch: int = 0
    pods: dict[str, PodRun] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    """Sizes in bytes, the longest unused first."""
    pulls: deque[Pull] = field(default_factory=deque)
    pulling: Pull | None = None
    pull_began_s: float = 0.0
    has_memory_pressure: bool = False
    short_seen_at_s: float = 0.0
    n_failures: int = 0
    failure_epoch: int = 0
    """Counts what made the planned failure void."""
    hazard_left: float = 0.0
    """How much of the hazard that the next failure takes is still to be run through."""
    hazard_at_s: float = 0.0
    """Until when it is reckoned."""
