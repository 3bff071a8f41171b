"""A node's rating in plain words: the facts that an operator would look at first. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from collector.contract import NodeState
from predictor.features import NodeColumns, utilization

_STRAINED_RATIO: Final = 0.8
"""A resource used that far is worth a word, even beside one that is used further."""


def summaries(nodes: Sequence[NodeState], *, cpu_milli: int, memory_bytes: int) -> list[str]:
    """Say of each node how it would fare with a pod, and what the last seven days were like.

    Args:
        nodes: The nodes, without the pod.
        cpu_milli: What the pod requests, in millicores.
        memory_bytes: What the pod requests, in bytes.
    """
    columns = NodeColumns.of(nodes)
    cpu = utilization(columns.used_cpu_milli + cpu_milli, allocatable=columns.allocatable_cpu_milli)
    memory = utilization(
        columns.used_memory_bytes + memory_bytes, allocatable=columns.allocatable_memory_bytes
    )
    return [
        f"{node.name}: " + ", ".join((*_state(node), *_load(node, cpu=c, memory=m), *_past(node)))
        for node, c, m in zip(nodes, cpu.tolist(), memory.tolist(), strict=True)
    ]


def _state(node: NodeState) -> Iterator[str]:
    if not node.is_ready:
        yield "not ready"
    if not node.is_schedulable:
        yield "cordoned"
    yield from node.pressures


def _load(node: NodeState, *, cpu: float, memory: float) -> Iterator[str]:
    ratios = (
        ("memory", memory, node.usage_memory_bytes is not None),
        ("CPU", cpu, node.usage_cpu_milli is not None),
    )
    fullest = max(cpu, memory)
    for name, ratio, is_sampled in ratios:
        if ratio == fullest or ratio >= _STRAINED_RATIO:
            how = "used" if is_sampled else "requested"
            yield f"{name} {100 * ratio:.0f} % {how} after placement"


def _past(node: NodeState) -> Iterator[str]:
    counts = (
        (node.n_oom_kills, "OOM kill"),
        (node.n_evictions, "eviction"),
        (node.n_failed_pods, "failed pod"),
        (node.n_restarts, "restart"),
    )
    seen = [f"{n} {what}{'s' if n > 1 else ''}" for n, what in counts if n]
    if seen:
        yield f"{', '.join(seen)} in 7 d"
    elif node.n_observations:
        yield f"no failures in 7 d ({node.n_observations} placements seen)"
    else:
        yield "no placement seen yet"
