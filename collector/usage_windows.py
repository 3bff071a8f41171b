"""What nodes used over the last minutes, in a few numbers."""

import math
from collections.abc import Sequence

from collector.answers import Metrics, NodeUsage, UsageWindow
from collector.cluster_view import ClusterView
from collector.contract import NodeState, cluster_state
from collector.samples import NodeSample


def metrics_of(view: ClusterView, *, at_s: float, now_s: float, window_s: float) -> Metrics:
    """Tell what all nodes use, and have used.

    Args:
        view: The cluster.
        at_s: When it changed last.
        now_s: The cluster's time, Unix seconds.
        window_s: How far back to look.
    """
    nodes = view.node_states(now_s=now_s)
    samples = view.node_samples(since_s=now_s - window_s)
    return Metrics(
        at_s=at_s,
        cluster=cluster_state(nodes),
        nodes=[_usage(node, samples=samples.get(node.name, [])) for node in nodes],
    )


def window_of(samples: Sequence[NodeSample]) -> UsageWindow | None:
    """Sum up a node's samples, oldest first; ``None`` if there are none."""
    if not samples:
        return None
    cpu_mean, cpu_std = _moments([sample.cpu_milli for sample in samples])
    memory_mean, memory_std = _moments([sample.memory_bytes for sample in samples])
    return UsageWindow(
        n_samples=len(samples),
        start_s=samples[0].at_s,
        end_s=samples[-1].at_s,
        cpu_mean_milli=cpu_mean,
        cpu_std_milli=cpu_std,
        memory_mean_bytes=memory_mean,
        memory_std_bytes=memory_std,
    )


def _moments(values: Sequence[int]) -> tuple[float, float | None]:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def _usage(node: NodeState, *, samples: list[NodeSample]) -> NodeUsage:
    return NodeUsage(
        name=node.name,
        is_ready=node.is_ready,
        allocatable_cpu_milli=node.allocatable_cpu_milli,
        allocatable_memory_bytes=node.allocatable_memory_bytes,
        usage_cpu_milli=node.usage_cpu_milli,
        usage_memory_bytes=node.usage_memory_bytes,
        cpu_usage_ratio=_ratio(node.usage_cpu_milli, node.allocatable_cpu_milli),
        memory_usage_ratio=_ratio(node.usage_memory_bytes, node.allocatable_memory_bytes),
        sampled_at_s=node.sampled_at_s,
        window=window_of(samples),
    )


def _ratio(part: int | None, whole: int) -> float | None:
    return None if part is None or whole <= 0 else part / whole
