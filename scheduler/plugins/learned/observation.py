"""What a learned policy sees: one function for the environment it learns in and for the scheduler.

All features are about 0 to 1, so that a network takes them as they are; their order is part of an
exported network. Whoever adds, drops or redefines one raises ``OBSERVATION_VERSION``.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import Rows
from scheduler.model import QueueState

Floats: TypeAlias = NDArray[np.float64]
Features: TypeAlias = NDArray[np.float32]

OBSERVATION_VERSION: Final = 1

NODE_FEATURES: Final = (
    "cpu_requested_ratio",
    "memory_requested_ratio",
    "pods_ratio",
    "cpu_usage_ratio",
    "memory_usage_ratio",
    "is_usage_known",
    "pod_cpu_ratio",
    "pod_memory_ratio",
    "cpu_size_ratio",
    "memory_size_ratio",
    "is_used",
    "is_feasible",
)
"""Of each node: what is requested and used of its allocatable (0 where usage is not known), what
the pod would take of it, how large it is beside the largest node, whether any pod is on it, and
whether the pod may go there."""
POD_FEATURES: Final = ("cpu_request_ratio", "memory_request_ratio", "waited", "priority")
"""Requests beside the mean node's allocatable; ``log10(1 + minutes waited) / 2``; and the sign of
the priority times ``log10(1 + its size) / 9``."""
QUEUE_FEATURES: Final = (
    "n_pending",
    "cpu_pending_ratio",
    "memory_pending_ratio",
    "cpu_requested_ratio",
    "memory_requested_ratio",
    "used_nodes_ratio",
)
"""``log10(1 + pods waiting) / 4``, what they request together beside what is free in the cluster
(at most 4), what is requested of the whole cluster, and the share of nodes with a pod."""
CLOCK_FEATURES: Final = ("sin_day", "cos_day")
"""The time of day, UTC."""

_DAY_S: Final = 86_400.0
_MAX_RATIO: Final = 4.0


class _Standing(NamedTuple):
    """What does not change with pods that come and go."""

    per_cpu: Floats
    """1 by each node's allocatable; so is the next."""
    per_memory: Floats
    pods: Floats
    """What each node takes, at least 1."""
    cpu_milli: float
    """All nodes' allocatable; so is the next."""
    memory_bytes: float
    features: Features
    """Shape ``(n_nodes, len(NODE_FEATURES))``: as observed, but for the pod's own features."""


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """The nodes; columns of shape ``(n_nodes,)``, amounts in millicores and bytes.

    Who keeps a state may change what is requested, and how many pods there are, in place, and says
    so by ``restate``; what is allocatable or used has to stay as it is.
    """

    cpu_allocatable_milli: Floats
    memory_allocatable_bytes: Floats
    pods_allocatable: Floats
    cpu_requested_milli: Floats
    memory_requested_bytes: Floats
    n_pods: Floats
    cpu_usage_milli: Floats
    """As last measured; NaN where that is not known, as for memory."""
    memory_usage_bytes: Floats

    @cached_property
    def standing(self) -> _Standing:
        """What ``observe`` need not reckon anew."""
        cpu, memory = self.cpu_allocatable_milli, self.memory_allocatable_bytes
        per_cpu, per_memory = 1.0 / np.maximum(cpu, 1.0), 1.0 / np.maximum(memory, 1.0)
        unknown = np.isnan(self.cpu_usage_milli) | np.isnan(self.memory_usage_bytes)
        features = np.zeros((len(cpu), len(NODE_FEATURES)), dtype=np.float32)
        features[:, 3] = np.where(unknown, 0.0, self.cpu_usage_milli * per_cpu)
        features[:, 4] = np.where(unknown, 0.0, self.memory_usage_bytes * per_memory)
        features[:, 5] = ~unknown
        features[:, 8] = cpu / max(cpu.max(), 1.0)
        features[:, 9] = memory / max(memory.max(), 1.0)
        np.minimum(features, _MAX_RATIO, out=features)
        standing = _Standing(
            per_cpu=per_cpu,
            per_memory=per_memory,
            pods=np.maximum(self.pods_allocatable, 1.0),
            cpu_milli=float(cpu.sum()),
            memory_bytes=float(memory.sum()),
            features=features,
        )
        _write_requested(self, standing, rows=slice(None))
        return standing

    def restate(self, rows: Rows | slice) -> None:
        """Take in that something else is requested on some rows, or that pods came or went."""
        _write_requested(self, self.standing, rows=rows)


def _write_requested(nodes: NodeState, standing: _Standing, *, rows: Rows | slice) -> None:
    n_pods = nodes.n_pods[rows]
    for number, ratio in (
        (0, nodes.cpu_requested_milli[rows] * standing.per_cpu[rows]),
        (1, nodes.memory_requested_bytes[rows] * standing.per_memory[rows]),
        (2, n_pods / standing.pods[rows]),
        (10, n_pods > 0.0),
    ):
        standing.features[rows, number] = np.minimum(ratio, _MAX_RATIO)


class PodState(NamedTuple):
    """The pod to be placed."""

    cpu_request_milli: int
    memory_request_bytes: int
    waited_s: float
    """Since its creation."""
    priority: int


class Observation(NamedTuple):
    """The features, as ``float32``."""

    nodes: Features
    """Shape ``(n_nodes, len(NODE_FEATURES))``."""
    pod: Features
    """Shape ``(len(POD_FEATURES),)``; ``queue`` and ``clock`` likewise."""
    queue: Features
    clock: Features


def observe(
    nodes: NodeState,
    *,
    pod: PodState,
    queue: QueueState,
    feasible: NDArray[np.bool_],
    now_s: float,
) -> Observation:
    """Turn the state of a cluster into features.

    Args:
        nodes: At least one.
        pod: To be placed now.
        queue: What waits, *pod* included.
        feasible: Shape ``(n_nodes,)``: where the pod may go.
        now_s: Unix seconds.
    """
    standing, n_nodes = nodes.standing, len(nodes.n_pods)
    features = standing.features.copy()
    features[:, 6] = np.minimum(standing.per_cpu * pod.cpu_request_milli, _MAX_RATIO)
    features[:, 7] = np.minimum(standing.per_memory * pod.memory_request_bytes, _MAX_RATIO)
    features[:, 11] = feasible
    n_used = int(np.count_nonzero(nodes.n_pods))
    return Observation(
        nodes=features,
        pod=_pod_features(
            pod,
            cpu_milli=standing.cpu_milli / n_nodes,
            memory_bytes=standing.memory_bytes / n_nodes,
        ),
        queue=_queue_features(nodes, queue=queue, used_ratio=n_used / n_nodes),
        clock=_clock_features(now_s),
    )


def _pod_features(pod: PodState, *, cpu_milli: float, memory_bytes: float) -> Features:
    size = math.log10(1.0 + abs(pod.priority)) / 9.0
    features = (
        _ratio(pod.cpu_request_milli, cpu_milli),
        _ratio(pod.memory_request_bytes, memory_bytes),
        math.log10(1.0 + max(0.0, pod.waited_s) / 60.0) / 2.0,
        math.copysign(size, pod.priority),
    )
    return np.array(features, dtype=np.float32)


def _queue_features(nodes: NodeState, *, queue: QueueState, used_ratio: float) -> Features:
    cpu_milli, memory_bytes = nodes.standing.cpu_milli, nodes.standing.memory_bytes
    cpu_requested = float(nodes.cpu_requested_milli.sum())
    memory_requested = float(nodes.memory_requested_bytes.sum())
    features = (
        math.log10(1.0 + queue.n_pending) / 4.0,
        _ratio(queue.cpu_request_milli, cpu_milli - cpu_requested),
        _ratio(queue.memory_request_bytes, memory_bytes - memory_requested),
        _ratio(cpu_requested, cpu_milli),
        _ratio(memory_requested, memory_bytes),
        used_ratio,
    )
    return np.array(features, dtype=np.float32)


def _clock_features(now_s: float) -> Features:
    turn = 2.0 * math.pi * (now_s % _DAY_S) / _DAY_S
    return np.array((math.sin(turn), math.cos(turn)), dtype=np.float32)


def _ratio(part: float, whole: float) -> float:
    return min(_MAX_RATIO, float(part) / max(float(whole), 1.0))
