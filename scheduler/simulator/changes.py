"""What happens in the world, as a kubelet would come to know it.

Pods are named by their uid, containers and nodes by their name; times are virtual Unix seconds.
"""

from dataclasses import dataclass
from typing import Literal

ExitCause = Literal["completed", "crashed", "limit", "node_memory", "node_failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReady:
    """The pod has its network and may start containers."""

    at_s: float
    pod: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePullStarted:
    """The image is not on the node and has begun to arrive."""

    at_s: float
    pod: str
    container: str
    image: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePulled:
    """The image is on the node; ``size_bytes`` is 0 if it had been there before."""

    at_s: float
    pod: str
    container: str
    image: str
    size_bytes: int
    took_s: float
    """Without waiting for other pulls."""
    waited_s: float
    """For other pulls of the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePullFailed:
    """The registry does not have the image; the kubelet will try again."""

    at_s: float
    pod: str
    container: str
    image: str
    retry_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStarted:
    """The container's process runs."""

    at_s: float
    pod: str
    container: str
    restart_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerReady:
    """The container has started up and answers."""

    at_s: float
    pod: str
    container: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerExited:
    """The container's process ended."""

    at_s: float
    pod: str
    container: str
    exit_code: int
    cause: ExitCause


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerBackOff:
    """The container will be started again, but not yet."""

    at_s: float
    pod: str
    container: str
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFinished:
    """All containers ended for good. The world forgets the pod."""

    at_s: float
    pod: str
    has_succeeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEvicted:
    """The kubelet threw the pod out for lack of memory. The world forgets the pod."""

    at_s: float
    pod: str
    node: str
    available_bytes: int
    container: str
    """The container that used most beyond its request."""
    used_bytes: int
    requested_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStopped:
    """All containers ended because the pod is to go. The world forgets the pod."""

    at_s: float
    pod: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePressureChanged:
    """The kubelet sees memory run short, or no longer."""

    at_s: float
    node: str
    has_memory_pressure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFailed:
    """The node died, and all that ran on it."""

    at_s: float
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecovered:
    """The node is back and starts its pods again."""

    at_s: float
    node: str


PodChange = (
    SandboxReady
    | ImagePullStarted
    | ImagePulled
    | ImagePullFailed
    | ContainerStarted
    | ContainerReady
    | ContainerExited
    | ContainerBackOff
    | PodFinished
    | PodEvicted
    | PodStopped
)
NodeChange = NodePressureChanged | NodeFailed | NodeRecovered
Change = PodChange | NodeChange
