"""What falls due in the world."""

from enum import Enum
from typing import NamedTuple

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


class Due(NamedTuple):
    """A planned event; it is void if its subject's epoch has moved on."""

    kind: Kind
    node: NodeRun | None = None
    pod: PodRun | None = None
    container: ContainerRun | None = None
    epoch: int = 0
