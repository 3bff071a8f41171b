"""Enhanced scoring: the answer without a model worth trusting. A weighted sum, nothing learnt."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from predictor.features import NodeColumns, utilization

HALF_AT_FAILED_PODS: Final = 5.0
"""A node with so many failed pods in seven days gets half of the points for it."""
HALF_AT_RESTARTS: Final = 10.0
"""A node with so many restarts in seven days gets half of the points for it."""

_HALF_AT_QUEUE: Final = 3.0
"""A node gets half of the points for its load where so many wait on average: when it is three
quarters full."""
_MAX_LOAD: Final = 0.98
"""Beyond this, queues would grow without bound."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What each part is worth; the score is scaled so that all of them together are 100."""

    cpu: float = 30.0
    memory: float = 30.0
    node_ready: float = 20.0
    taint: float = 10.0
    failed_pods: float = 5.0
    restart: float = 5.0

    def as_array(self) -> Floats:
        """Give the weights in the order of ``PARTS``."""
        return np.array(
            [self.cpu, self.memory, self.node_ready, self.taint, self.failed_pods, self.restart]
        )


PARTS: Final = (
    "cpu_free",
    "memory_free",
    "node_ready",
    "taint_free",
    "few_failed_pods",
    "few_restarts",
)


@dataclass(frozen=True, slots=True)
class EnhancedScores:
    """Nodes rated without a model."""

    contributions: Floats
    """Shape ``(n_nodes, 6)``: points that each of ``PARTS`` adds; they sum to the score."""
    score: Floats
    """Shape ``(n_nodes,)``, 0–100."""
    resource_score: Floats
    """Shape ``(n_nodes,)``, 0–1: cpu and memory left free once the pod runs there."""
    readiness_score: Floats
    """Shape ``(n_nodes,)``, 0–1: ready, and free of taints."""
    stability_score: Floats
    """Shape ``(n_nodes,)``, 0–1: few failed pods and restarts in seven days."""


def enhanced_scores(
    nodes: NodeColumns, *, cpu_milli: int | Floats, memory_bytes: int | Floats, weights: Weights
) -> EnhancedScores:
    """Rate every node for a pod, or, where its requests are columns, row by row a node for a pod.

    Args:
        nodes: The nodes, without the pod.
        cpu_milli: What the pod requests, in millicores.
        memory_bytes: What the pod requests, in bytes.
        weights: Not negative, at least one positive.
    """
    cpu = utilization(nodes.used_cpu_milli + cpu_milli, allocatable=nodes.allocatable_cpu_milli)
    memory = utilization(
        nodes.used_memory_bytes + memory_bytes, allocatable=nodes.allocatable_memory_bytes
    )
    parts = np.column_stack(
        [
            1.0 - np.minimum(cpu, 1.0),
            1.0 - np.minimum(memory, 1.0),
            nodes.is_ready.astype(np.float64),
            nodes.taint_free,
            HALF_AT_FAILED_PODS / (HALF_AT_FAILED_PODS + nodes.n_failed_pods),
            HALF_AT_RESTARTS / (HALF_AT_RESTARTS + nodes.n_restarts),
        ]
    )
    weight = weights.as_array()
    contributions = parts * (100.0 * weight / weight.sum())
    return EnhancedScores(
        contributions=contributions,
        score=contributions.sum(axis=1),
        resource_score=_mean(parts[:, 0:2], weight=weight[0:2]),
        readiness_score=_mean(parts[:, 2:4], weight=weight[2:4]),
        stability_score=_mean(parts[:, 4:6], weight=weight[4:6]),
    )


def _mean(parts: Floats, *, weight: Floats) -> Floats:
    if not weight.any():
        weight = np.ones_like(weight)
    mean: Floats = parts @ weight / weight.sum()
    return mean


def load_scores(nodes: NodeColumns, *, cpu_milli: int, memory_bytes: int) -> Floats:
    """Rate nodes by how little what runs there would have to wait for each other.

    With utilisation u, u / (1 - u) wait on average (M/M/1): hardly more on a node that is half full
    than on an empty one, and very many on one that is nearly full.

    Args:
        nodes: As they are, without the pod.
        cpu_milli: What the pod is expected to use, in millicores.
        memory_bytes: What it is expected to use, in bytes.

    Returns:
        Shape ``(n_nodes,)``, 0-100, by the scarcer of the two.
    """
    fullest = np.maximum(
        utilization(nodes.used_cpu_milli + cpu_milli, allocatable=nodes.allocatable_cpu_milli),
        utilization(
            nodes.used_memory_bytes + memory_bytes, allocatable=nodes.allocatable_memory_bytes
        ),
    )
    load = np.minimum(fullest, _MAX_LOAD)
    waiting: Floats = load / (1.0 - load)
    return 100.0 * _HALF_AT_QUEUE / (_HALF_AT_QUEUE + waiting)
