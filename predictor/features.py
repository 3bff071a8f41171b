"""The 13 features: one function for training and serving, and the only file that knows columns.

A row describes one pod on one node at the instant of the decision. Whoever builds a row, from a
snapshot when serving or from a placement's recorded state when training, builds it here, so that
the two cannot drift apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from collector.contract import ClusterState, NodeState

FEATURES: Final = (
    "pod_cpu_request",
    "pod_memory_request",
    "node_cpu_utilization",
    "node_memory_utilization",
    "cluster_nodes_total",
    "cluster_nodes_ready",
    "cluster_cpu_utilization",
    "cluster_memory_utilization",
    "node_stability",
    "node_failure_rate",
    "workload_failure_rate",
    "cluster_resource_pressure",
    "node_health",
)
N_FEATURES: Final = len(FEATURES)

MIB: Final = 2**20
MAX_UTILIZATION: Final = 10.0
"""A node can be overcommitted, but a ratio beyond this carries no more information."""

_NO_SCHEDULE_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NodeColumns:
    """Nodes as columns, shape ``(n_nodes,)`` each, in one order.

    ``used_*`` is usage plus the expected usage of what was placed since the sample; of a node that
    was never sampled it is what the pods on it request. cpu in millicores, memory in bytes.
    """

    names: tuple[str, ...]
    is_ready: NDArray[np.bool_]
    is_schedulable: NDArray[np.bool_]
    allocatable_cpu_milli: Floats
    allocatable_memory_bytes: Floats
    used_cpu_milli: Floats
    used_memory_bytes: Floats
    stability: Floats
    failure_rate: Floats
    health: Floats
    """0 when not ready; 1 when ready and not under pressure; less with each pressure."""
    taint_free: Floats
    """1 without taints, ½ if new pods are only discouraged, 0 if they are kept off."""
    n_failed_pods: Floats
    n_restarts: Floats

    @classmethod
    def of(cls, nodes: Sequence[NodeState]) -> "NodeColumns":
        """Turn nodes into columns, keeping their order."""
        return cls(
            names=tuple(n.name for n in nodes),
            is_ready=np.array([n.is_ready for n in nodes], dtype=np.bool_),
            is_schedulable=np.array([n.is_schedulable for n in nodes], dtype=np.bool_),
            allocatable_cpu_milli=_column([n.allocatable_cpu_milli for n in nodes]),
            allocatable_memory_bytes=_column([n.allocatable_memory_bytes for n in nodes]),
            used_cpu_milli=_column(
                [
                    n.requested_cpu_milli
                    if n.usage_cpu_milli is None
                    else n.usage_cpu_milli + n.placed_cpu_milli
                    for n in nodes
                ]
            ),
            used_memory_bytes=_column(
                [
                    n.requested_memory_bytes
                    if n.usage_memory_bytes is None
                    else n.usage_memory_bytes + n.placed_memory_bytes
                    for n in nodes
                ]
            ),
            stability=_column([n.stability for n in nodes]),
            failure_rate=_column([n.failure_rate for n in nodes]),
            health=_column([n.is_ready / (1 + len(n.pressures)) for n in nodes]),
            taint_free=_column([_taint_free(n) for n in nodes]),
            n_failed_pods=_column([n.n_failed_pods for n in nodes]),
            n_restarts=_column([n.n_restarts for n in nodes]),
        )

    def take(self, index: NDArray[np.intp]) -> "NodeColumns":
        """Select nodes by position, in the order of *index*."""
        return NodeColumns(
            names=tuple(self.names[i] for i in index),
            is_ready=self.is_ready[index],
            is_schedulable=self.is_schedulable[index],
            allocatable_cpu_milli=self.allocatable_cpu_milli[index],
            allocatable_memory_bytes=self.allocatable_memory_bytes[index],
            used_cpu_milli=self.used_cpu_milli[index],
            used_memory_bytes=self.used_memory_bytes[index],
            stability=self.stability[index],
            failure_rate=self.failure_rate[index],
            health=self.health[index],
            taint_free=self.taint_free[index],
            n_failed_pods=self.n_failed_pods[index],
            n_restarts=self.n_restarts[index],
        )


def utilization(used: Floats, *, allocatable: Floats) -> Floats:
    """Divide element-wise; a node without anything allocatable is full.

    Args:
        used: Shape ``(n_nodes,)``.
        allocatable: Shape ``(n_nodes,)``, in the same unit.

    Returns:
        Shape ``(n_nodes,)``, from 0 to ``MAX_UTILIZATION``; never NaN.
    """
    has_some = allocatable > 0
    ratio = np.divide(used, allocatable, out=np.ones_like(used), where=has_some)
    return np.clip(ratio, 0.0, MAX_UTILIZATION)


@dataclass(frozen=True, slots=True)
class ClusterColumns:
    """A cluster as the features count it: one for all rows, or one per row, shape ``(n_rows,)``."""

    n_nodes: Floats
    n_ready: Floats
    cpu_ratio: Floats
    memory_ratio: Floats

    @classmethod
    def of(cls, clusters: Sequence[ClusterState]) -> "ClusterColumns":
        """Turn clusters into columns, keeping their order."""
        return cls(
            n_nodes=_column([c.n_nodes for c in clusters]),
            n_ready=_column([c.n_ready for c in clusters]),
            cpu_ratio=_known_ratio(
                _column([c.cpu_usage_ratio for c in clusters]),
                requested_ratio=_column([c.cpu_requested_ratio for c in clusters]),
            ),
            memory_ratio=_known_ratio(
                _column([c.memory_usage_ratio for c in clusters]),
                requested_ratio=_column([c.memory_requested_ratio for c in clusters]),
            ),
        )

    @property
    def pressure(self) -> Floats:
        """The mean of both utilisations."""
        return (self.cpu_ratio + self.memory_ratio) / 2


def feature_matrix(
    nodes: NodeColumns,
    *,
    cpu_milli: int | Floats,
    memory_bytes: int | Floats,
    cluster: ClusterColumns,
    workload_failure_rate: float | Floats,
) -> NDArray[np.float32]:
    """Describe one pod on each of the nodes, or, row by row, a pod on a node.

    What is a column has shape ``(n_nodes,)``; what is not is the same for all rows.

    Args:
        nodes: The nodes as they are when the decision is made, without the pod.
        cpu_milli: What the pod requests, in millicores.
        memory_bytes: What the pod requests, in bytes.
        cluster: The cluster at the same instant.
        workload_failure_rate: Of the pod's workload, from 0 to 1; of one never seen, the prior.

    Returns:
        Shape ``(n_nodes, 13)``, columns in the order of ``FEATURES``: requests in cores and MiB,
        utilisations and rates as ratios, nodes as counts. Never NaN or infinite.
    """
    matrix = np.empty((len(nodes.names), N_FEATURES), dtype=np.float32)
    matrix[:, 0] = cpu_milli / 1000
    matrix[:, 1] = memory_bytes / MIB
    matrix[:, 2] = utilization(nodes.used_cpu_milli, allocatable=nodes.allocatable_cpu_milli)
    matrix[:, 3] = utilization(nodes.used_memory_bytes, allocatable=nodes.allocatable_memory_bytes)
    matrix[:, 4] = cluster.n_nodes
    matrix[:, 5] = cluster.n_ready
    matrix[:, 6] = cluster.cpu_ratio
    matrix[:, 7] = cluster.memory_ratio
    matrix[:, 8] = nodes.stability
    matrix[:, 9] = nodes.failure_rate
    matrix[:, 10] = workload_failure_rate
    matrix[:, 11] = cluster.pressure
    matrix[:, 12] = nodes.health
    return matrix


def _known_ratio(usage_ratio: Floats, *, requested_ratio: Floats) -> Floats:
    # The collector writes 0 where no node has been sampled yet; what is requested is the next
    # best estimate, as it is for a single node.
    known = np.where(usage_ratio != 0.0, usage_ratio, requested_ratio)
    return np.minimum(MAX_UTILIZATION, known)


def _taint_free(node: NodeState) -> float:
    if any(taint.effect in _NO_SCHEDULE_EFFECTS for taint in node.taints):
        return 0.0
    return 0.5 if node.taints else 1.0


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)
