"""A recorded cluster: its nodes, its pods and what they used, from their files."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from scheduler.simulator.traces.rows import NodeRow, PodRow
from scheduler.simulator.traces.tables import TraceError, read_nodes, read_pods
from scheduler.simulator.usage_traces import UsageLibrary, UsageTraceError, load_usage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedCluster:
    """What was recorded of a cluster; each part may be missing."""

    nodes: tuple[NodeRow, ...] = ()
    pods: tuple[PodRow, ...] = ()
    """In order of their creation."""
    usage: UsageLibrary | None = None
    """By ``namespace/pod`` or ``namespace/kind/workload``, as ratios of the requests."""

    def has_pods(self, *, from_s: float, until_s: float) -> bool:
        """Tell whether a pod is there between two times of the recording."""
        return any(
            pod.created_at_s < until_s and (pod.ended_at_s is None or pod.ended_at_s > from_s)
            for pod in self.pods
        )

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self  # nothing in it ever changes, and it is large


@lru_cache(maxsize=4)
def load_recording(*, nodes: str, pods: str, usage: str) -> RecordedCluster:
    """Read a recording, once a process.

    Args:
        nodes: A file, or nothing; so are the others.
        pods: As *nodes*.
        usage: A file or folder of the kind *any* of ``scheduler.simulator.usage_traces``.

    Raises:
        TraceError: A file cannot be read, or a row is malformed.
    """
    try:
        return RecordedCluster(
            nodes=read_nodes(Path(nodes)) if nodes else (),
            pods=read_pods(Path(pods)) if pods else (),
            usage=load_usage(Path(usage), whole_days=False) if usage else None,
        )
    except UsageTraceError as error:
        raise TraceError(str(error)) from error
