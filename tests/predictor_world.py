"""What the predictor's tests build on: states of a cluster, and a collector that serves them."""

import bisect
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec
from flask import Flask, Response, request

from collector.contract import (
    ClusterState,
    NodeState,
    Outcome,
    Placement,
    Placements,
    PlacementState,
    Snapshot,
    WorkloadHistory,
    cluster_state,
)
from kube.edge.serve import JSON, Server
from kube.edge.settings import ServerSettings

GIB = 2**30
START_S = 1_700_000_000.0
FIRST_S = START_S - 86_400.0
"""When the placements began, a day before the snapshot."""


def make_node_state(name: str = "n1", **fields: object) -> NodeState:
    """A ready node of 4 cores and 16 GiB, a quarter used."""
    defaults: dict[str, object] = {
        "name": name,
        "is_ready": True,
        "is_schedulable": True,
        "allocatable_cpu_milli": 4000,
        "allocatable_memory_bytes": 16 * GIB,
        "requested_cpu_milli": 2000,
        "requested_memory_bytes": 8 * GIB,
        "usage_cpu_milli": 1000,
        "usage_memory_bytes": 4 * GIB,
        "sampled_at_s": START_S,
    }
    return NodeState(**(defaults | fields))  # type: ignore[arg-type]


def make_snapshot(
    *nodes: NodeState,
    version: int = 1,
    at_s: float = START_S,
    workloads: Sequence[WorkloadHistory] = (),
    prior_failure_rate: float = 0.05,
) -> Snapshot:
    given = list(nodes) or [make_node_state(f"n{i}") for i in (1, 2, 3)]
    return Snapshot(
        version=version,
        at_s=at_s,
        nodes=given,
        cluster=cluster_state(given),
        workloads=list(workloads),
        prior_failure_rate=prior_failure_rate,
    )


def make_workload(**fields: object) -> WorkloadHistory:
    """The past of ``default/ReplicaSet/web``."""
    return WorkloadHistory(namespace="default", kind="ReplicaSet", name="web", **fields)  # type: ignore[arg-type]


def make_placement(
    number: int = 1,
    *,
    node: NodeState | None = None,
    success: bool | None = True,
    placed_at_s: float | None = None,
    workload: WorkloadHistory | None = None,
    cluster: ClusterState | None = None,
    cpu_milli: int = 500,
) -> Placement:
    """The *number*-th placement since ``FIRST_S``, ten seconds after the one before it."""
    at_s = FIRST_S + 10.0 * number if placed_at_s is None else placed_at_s
    state = node or make_node_state()
    outcome = None
    if success is not None:
        outcome = Outcome(
            success=success, reason="healthy" if success else "oom_killed", decided_at_s=at_s + 60
        )
    return Placement(
        id=number,
        pod_uid=f"uid-{number}",
        pod_namespace="default",
        pod_name=f"web-{number}",
        workload="default/ReplicaSet/web",
        node=state.name,
        cpu_milli=cpu_milli,
        memory_bytes=GIB // 2,
        placed_at_s=at_s,
        state=PlacementState(
            node=state,
            cluster=cluster or cluster_state([state]),
            workload=workload or make_workload(failure_rate=0.05),
        ),
        outcome=outcome,
    )


def learnable_placements(
    n: int, *, seed: int = 7, start: int = 1, is_turned: bool = False
) -> list[Placement]:
    """Placements that mostly fail on nodes that are nearly full, and mostly do well elsewhere.

    When turned, it is the other way round.
    """
    dice = random.Random(seed)
    made = []
    for number in range(start, start + n):
        used_ratio = dice.random()
        node = make_node_state(f"n{1 + number % 3}", usage_memory_bytes=int(used_ratio * 16 * GIB))
        p_success = 0.05 if (used_ratio > 0.7) is not is_turned else 0.97
        made.append(make_placement(number, node=node, success=dice.random() < p_success))
    return made


@dataclass
class FakeCollector:
    """Serves a snapshot and placements over HTTP; change the fields at will while it runs."""

    snapshot: Snapshot = field(default_factory=make_snapshot)
    placements: list[Placement] = field(default_factory=list)
    """In the order of their ids."""
    page_size: int = 50
    is_down: bool = False
    n_full_snapshots: int = 0
    n_unchanged: int = 0
    n_refused: int = 0
    asked_since: list[int] = field(default_factory=list)
    n_pages_until_down: int | None = None

    def __enter__(self) -> Self:
        app = Flask("fake collector")
        app.get("/api/v1/snapshot")(self._snapshot)
        app.get("/api/v1/placements")(self._placements)
        self._server = Server(app, settings=ServerSettings(), threads=2)
        self._server.__enter__()
        self.url = self._server.url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    def _snapshot(self) -> Response:
        if self.is_down:
            self.n_refused += 1
            return Response(status=503)
        etag = f'"{self.snapshot.version}"'
        if request.headers.get("If-None-Match") == etag:
            self.n_unchanged += 1
            return Response(status=304)
        self.n_full_snapshots += 1
        return Response(msgspec.json.encode(self.snapshot), mimetype=JSON, headers={"ETag": etag})

    def _placements(self) -> Response:
        if self.is_down:
            return Response(status=503)
        since = int(request.args["since"])
        self.asked_since.append(since)
        if self.n_pages_until_down is not None:
            self.n_pages_until_down -= 1
            if self.n_pages_until_down < 0:
                return Response(status=503)
        start = bisect.bisect_right(self.placements, since, key=lambda p: p.id)
        items = self.placements[start : start + self.page_size]
        page = Placements(items=items, next_since=items[-1].id if items else since)
        return Response(msgspec.json.encode(page), mimetype=JSON)
