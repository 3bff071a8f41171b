"""All that the collector answers; its OpenAPI document is made of this."""

from typing import Final

from collector import answers, contract
from collector.queries import HistoryQuery, MetricsQuery, PlacementsQuery, PodsQuery
from kube.edge.openapi import Operation

OPERATIONS: Final = (
    Operation(
        path="/api/v1/metrics",
        summary="Usage of all nodes now, and its mean and deviation over the last minutes",
        answer=answers.Metrics,
        query=MetricsQuery,
        problems=(503,),
    ),
    Operation(path="/api/v1/nodes", summary="All nodes", answer=answers.Nodes, problems=(503,)),
    Operation(
        path="/api/v1/nodes/{name}/history",
        summary="A node's usage in the past",
        answer=answers.NodeHistory,
        query=HistoryQuery,
        problems=(404, 503),
    ),
    Operation(
        path="/api/v1/pods",
        summary="All pods, or some",
        answer=answers.Pods,
        query=PodsQuery,
        problems=(503,),
    ),
    Operation(
        path="/api/v1/workloads/{namespace}/{kind}/{name}",
        summary="What the last seven days say of a workload",
        answer=contract.WorkloadHistory,
        problems=(404, 503),
    ),
    Operation(
        path="/api/v1/workloads/{namespace}/{kind}/{name}/history",
        summary="What replicas of a workload used in the past",
        answer=answers.WorkloadUsage,
        query=HistoryQuery,
        problems=(404, 503),
    ),
    Operation(
        path="/api/v1/snapshot",
        summary="All that a prediction needs",
        answer=contract.Snapshot,
        problems=(503,),
        has_etag=True,
    ),
    Operation(
        path="/api/v1/placements",
        summary="Placements, the state they met, and their outcome once it is known",
        answer=contract.Placements,
        query=PlacementsQuery,
        problems=(503,),
    ),
    Operation(path="/health", summary="How the collector fares", answer=answers.Health),
)
