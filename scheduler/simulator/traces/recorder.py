"""A living cluster and its past, put together: what ran on it since a time, until now."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from scheduler.simulator.natures import Nature
from scheduler.simulator.traces.live import LiveCluster, ended, pinned
from scheduler.simulator.traces.past import PastPlacement, UsagePoint
from scheduler.simulator.traces.rows import MAX_AMOUNT, NodeRow, PodRow, Row

_UNREQUESTED: Final = Nature()
"""What stands for the requests of pods that have none; replays take the same."""


class UsageRow(Row, frozen=True, kw_only=True):
    """Usage within five minutes, as ratios of requests, or of a node's capacity."""

    name: str
    time_s: float
    cpu_ratio: float
    memory_ratio: float


@dataclass(slots=True)
class Recorded:
    """What goes into the files."""

    nodes: list[NodeRow]
    pods: list[PodRow]
    usage: list[UsageRow] = field(default_factory=list)
    """By workload."""
    node_usage: list[UsageRow] = field(default_factory=list)
    n_gone: int = 0
    """Pods that only the past knows."""
    n_without_end: int = 0
    """Those of which nobody knows when they ended; they are left out."""


def put_together(
    cluster: LiveCluster, placements: Iterable[PastPlacement], *, from_s: float
) -> Recorded:
    """Say which pods ran since a time.

    What a placement does not tell of a pod that is gone (limits, priority, labels, where it may
    run) is taken from a pod of the same workload, if one is left.

    Args:
        cluster: The nodes, and the pods that are there.
        placements: What was placed in the past, including those pods.
        from_s: Pods that had ended before this are left out.
    """
    recorded = Recorded(nodes=cluster.nodes, pods=list(cluster.pods.values()))
    templates = {_workload_of(pod): pod for pod in recorded.pods if pod.workload}
    gone = {p.pod_uid: p for p in placements if p.pod_uid not in cluster.pods}
    for placement in gone.values():
        pod = _gone_pod(placement, template=templates.get(placement.workload))
        if pod is None:
            recorded.n_without_end += 1
        else:
            recorded.pods.append(pod)
    recorded.n_gone = len(gone) - recorded.n_without_end
    names = {node.name for node in recorded.nodes}
    recorded.pods = sorted(
        (pod for pod in recorded.pods if _end_s(pod) > from_s and _has_place(pod, names)),
        key=lambda pod: (pod.created_at_s, pod.namespace, pod.name),
    )
    return recorded


def _workload_of(pod: PodRow) -> str:
    return f"{pod.namespace}/{pod.kind}/{pod.owner}"


def _gone_pod(placement: PastPlacement, *, template: PodRow | None) -> PodRow | None:
    at_s = placement.ended_at_s
    if at_s is None and placement.outcome is not None:
        at_s = placement.outcome.decided_at_s  # it lived at least until then
    if at_s is None:
        return None
    namespace, kind, name = placement.workload.split("/", 2)
    created_s, placed_s = placement.created_at_s, placement.placed_at_s
    row = PodRow(
        name=placement.pod_name,
        namespace=namespace,
        workload="" if kind == "Pod" else name,
        workload_kind="" if kind == "Pod" else kind,
        created_at_s=placed_s if created_s is None else min(created_s, placed_s),
        placed_at_s=placed_s,
        cpu_request_milli=min(placement.cpu_milli, MAX_AMOUNT),
        memory_request_bytes=min(placement.memory_bytes, MAX_AMOUNT),
        node=placement.node,
    )
    if template is not None:
        row = msgspec.structs.replace(
            row,
            cpu_limit_milli=_at_least(template.cpu_limit_milli, row.cpu_request_milli),
            memory_limit_bytes=_at_least(template.memory_limit_bytes, row.memory_request_bytes),
            priority=template.priority,
            labels=template.labels,
            constraints=template.constraints,
        )
    if kind == "DaemonSet":
        row = pinned(row, node=placement.node)
    return ended(row, began_s=placed_s, at_s=at_s)


def _at_least(limit: int | None, request: int) -> int | None:
    return None if limit is None else max(limit, request)


def _end_s(pod: PodRow) -> float:
    if pod.ended_at_s is not None:
        return pod.ended_at_s
    began_s = pod.created_at_s if pod.placed_at_s is None else pod.placed_at_s
    return float("inf") if pod.run_s is None else began_s + pod.run_s


def _has_place(pod: PodRow, names: set[str]) -> bool:
    """Tell whether a pod that was made for its node finds it in the recording."""
    return pod.workload_kind != "DaemonSet" or not pod.node or pod.node in names


def workload_requests(pods: Iterable[PodRow]) -> dict[str, tuple[float, float]]:
    """Say what pods of each workload (``namespace/kind/name``) request on average.

    Returns:
        Millicores and bytes; where nothing is requested, what stands for it.
    """
    by_workload: dict[str, list[PodRow]] = defaultdict(list)
    for pod in pods:
        by_workload[_workload_of(pod)].append(pod)
    return {key: _mean_requests(members) for key, members in sorted(by_workload.items())}


def _mean_requests(pods: list[PodRow]) -> tuple[float, float]:
    cpu_milli = sum(pod.cpu_request_milli for pod in pods) / len(pods)
    memory_bytes = sum(pod.memory_request_bytes for pod in pods) / len(pods)
    unrequested = _UNREQUESTED.traits("", seed=0)
    return (
        cpu_milli or unrequested.unrequested_cpu_milli,
        memory_bytes or unrequested.unrequested_memory_bytes,
    )


def usage_rows(
    name: str, points: Iterable[UsagePoint], *, cpu_milli: float, memory_bytes: float
) -> Iterator[UsageRow]:
    """Write usage as ratios of what is given."""
    for point in points:
        yield UsageRow(
            name=name,
            time_s=point.start_s,
            cpu_ratio=round(point.cpu_milli.mean / cpu_milli, 5),
            memory_ratio=round(point.memory_bytes.mean / memory_bytes, 5),
        )
