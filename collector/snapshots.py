"""All that a prediction needs to know of the present, put together. Pure."""

from typing import Final

from collector.cluster_view import ClusterView
from collector.contract import Snapshot, cluster_state
from collector.history import History, Subject

_MAX_WORKLOADS: Final = 5_000
"""A snapshot lists no more, those heard of last: every job and bare pod is a workload of its own,
and most are never heard of again."""


def snapshot_of(view: ClusterView, history: History, *, at_s: float, now_s: float) -> Snapshot:
    """Describe the cluster as it is.

    Args:
        view: The cluster.
        history: What is known of its nodes and workloads.
        at_s: When anything changed last, by the cluster's clock.
        now_s: The cluster's time, for histories to age.
    """
    nodes = view.node_states(now_s=now_s)
    return Snapshot(
        version=view.version,
        at_s=at_s,
        nodes=nodes,
        cluster=cluster_state(nodes),
        workloads=[
            view.workload(key, now_s=now_s)
            for key in history.latest(Subject.WORKLOAD, limit=_MAX_WORKLOADS)
        ],
        prior_failure_rate=history.prior_failure_rate(now_s),
    )
