"""What falls due in the world."""

from dataclasses import dataclass
from enum import Enum

from scheduler.simulator.runs import ContainerRun, NodeRun, PodRun


class Kind(Enum):
    """What falls due."""

    TICK = "tick"
    SANDBOX = "sandbox"
    PULLED = "pulled"
    RETRY_PULL = "retry pull"
    START = "start"
    READY = "ready"
    FINISH = "finish"
    STOP = "stop"
    NODE_FAIL = "node fail"
    NODE_RECOVER = "node recover"


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A planned event; it is void if its subject's epoch has moved on."""

    kind: Kind
    node: NodeRun | None = None
    pod: PodRun | None = None
    container: ContainerRun | None = None
    epoch: int = 0
