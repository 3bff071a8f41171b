"""Recorded nodes put together by make, as a scenario file describes nodes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from scheduler.simulator.parameters import USUAL
from scheduler.simulator.traces.rows import NodeRow, TaintParts

_HOST_NAME: Final = "kubernetes.io/hostname"


def node_groups(nodes: Sequence[NodeRow]) -> list[dict[str, Any]]:
    """Describe nodes: those that are alike in all that schedulers see are one group.

    A label that is different on every node is a name, and left out. Groups have the capacity with
    which pods find as much allocatable as was recorded.

    Args:
        nodes: At least one.
    """
    names = _labels_that_are_names(nodes)
    alike: dict[tuple[Any, ...], list[NodeRow]] = defaultdict(list)
    for node in nodes:
        labels = tuple((k, v) for k, v in sorted(node.label_map.items()) if k not in names)
        alike[(*_capacity(node), node.max_pods, labels, tuple(node.taint_list))].append(node)
    by_size = sorted(alike.items(), key=lambda item: -len(item[1]))
    return [
        _group(number, len(members), *make) for number, (make, members) in enumerate(by_size, 1)
    ]


def _labels_that_are_names(nodes: Sequence[NodeRow]) -> set[str]:
    values: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        for key, value in node.label_map.items():
            values[key].append(value)
    return {
        key
        for key, seen in values.items()
        if key == _HOST_NAME or len(seen) == len(set(seen)) == len(nodes) > 1
    }


def _capacity(node: NodeRow) -> tuple[int, int]:
    """Reckon how large a node of the simulated kind is on which pods may request as much."""
    usual = USUAL.nodes
    cpu_milli, memory_bytes = node.cpu_milli, node.memory_bytes
    if node.allocatable_cpu_milli is not None:
        cpu_milli = node.allocatable_cpu_milli + usual.reserved_cpu_milli
    if node.allocatable_memory_bytes is not None:
        kept_bytes = usual.reserved_memory_bytes + usual.eviction_hard_bytes
        memory_bytes = node.allocatable_memory_bytes + int(kept_bytes)
    return cpu_milli, memory_bytes


def _group(
    number: int, count: int, cpu_milli: int, memory_bytes: int, *seen: Any
) -> dict[str, Any]:
    max_pods, labels, taints = seen
    group: dict[str, Any] = {
        "name": f"make-{number}",
        "count": count,
        "cpu": f"{cpu_milli}m",
        "memory": str(memory_bytes),
    }
    if max_pods is not None:
        group["max_pods"] = min(1000, max_pods)
    if labels:
        group["labels"] = dict(labels)
    if taints:
        group["taints"] = [_taint(taint) for taint in taints]
    return group


def _taint(taint: TaintParts) -> dict[str, str]:
    key, value, effect = taint
    return {"key": key, "effect": effect, **({"value": value} if value else {})}
