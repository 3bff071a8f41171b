"""A week of a large cluster as the collector keeps it, written straight into its SQLite file.

What the collector would have stored in a week takes it a week: samples of the last six hours,
rollups of five minutes, tallies by the hour, placements with the state that they met. Rows come in
the order of their time, as they would, so that pages are as full as they would be.
"""

import random
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from collector.contract import ClusterState, NodeState, PlacementState, WorkloadHistory
from collector.database import open_database
from collector.history import HOUR_S, Subject
from collector.outcomes import Fate
from collector.windows import ROLLUP_S, Rollup, encode_buckets

TICK_S = 30
PODS_A_WORKLOAD = 20
N_SHAPES = 256
"""Different windows and states there are; rows take one at random."""
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """How much there is of what."""

    n_nodes: int
    n_pods: int
    days: float
    raw_hours: float
    pod_life_hours: float = 24.0

    @property
    def n_workloads(self) -> int:
        return max(1, self.n_pods // PODS_A_WORKLOAD)

    def node_of(self, pod: int) -> int:
        return pod % self.n_nodes

    def workload_of(self, pod: int) -> int:
        return pod % self.n_workloads


def node_name(i: int) -> str:
    return f"node-{i:04d}"


def workload_name(i: int) -> str:
    return f"app-{i:04d}"


def pod_name(i: int) -> str:
    return f"app-pod-{i:05d}"


def pod_uid(i: int) -> str:
    return f"00000000-0000-4000-8000-{i:012d}"


def workload_key(i: int) -> str:
    return f"default/StatefulSet/{workload_name(i)}"


def build(path: Path, *, size: Size, until_s: float) -> None:
    """Write the week that ends at *until_s*."""
    open_database(f"sqlite:///{path}", now_text="now").close()
    rng = random.Random(4)
    with sqlite3.connect(path) as database:
        # Only for building: the collector sets its own.
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA cache_size = -400000")
        for what, table, batches in (
            ("names", "series", _series(size, until_s)),
            ("rollups", "rollups", _rollups(size, rng, until_s)),
            ("samples", "samples", _samples(size, until_s)),
            ("tallies", "tallies", _tallies(size, rng, until_s)),
            ("placements", "placements", _placements(size, rng, until_s)),
            ("marks", "marks", _marks(size)),
        ):
            _write(database, table, batches, what=what)
    database.close()


def _write(database: sqlite3.Connection, table: str, batches: Iterable[list], *, what: str) -> None:
    start_s, n_rows = time.monotonic(), 0
    for rows in batches:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        database.commit()
        n_rows += len(rows)
    print(f"  built {n_rows:>11,} {what} in {time.monotonic() - start_s:.0f} s", flush=True)


def _series(size: Size, until_s: float) -> Iterator[list]:
    """Numbers are given to nodes first, then to workloads, then to pods."""
    at_s = int(until_s)
    nodes = [(i, int(Subject.NODE), node_name(i), None, at_s) for i in range(size.n_nodes)]
    first = size.n_nodes
    workloads = [
        (first + i, int(Subject.WORKLOAD), workload_key(i), None, at_s)
        for i in range(size.n_workloads)
    ]
    first_pod = first + size.n_workloads
    pods = [
        (first_pod + i, int(Subject.POD), pod_uid(i), first + size.workload_of(i), at_s)
        for i in range(size.n_pods)
    ]
    yield nodes + workloads + pods


def _rollups(size: Size, rng: random.Random, until_s: float) -> Iterator[list]:
    n_samples = ROLLUP_S // TICK_S
    nodes = [_window(rng, n_samples, cpu_milli=8_000, memory_bytes=24 * GIB) for _ in _shapes()]
    workloads = [
        _window(rng, n_samples * PODS_A_WORKLOAD, cpu_milli=400, memory_bytes=GIB)
        for _ in _shapes()
    ]
    until_window_s = int(until_s) // ROLLUP_S * ROLLUP_S - ROLLUP_S
    from_s = until_window_s - int(size.days * 86_400)
    for start_s in range(from_s, until_window_s, ROLLUP_S):
        yield [
            (i, start_s, *rng.choice(nodes if i < size.n_nodes else workloads))
            for i in range(size.n_nodes + size.n_workloads)
        ]


def _shapes() -> range:
    return range(N_SHAPES)


def _window(rng: random.Random, n: int, *, cpu_milli: int, memory_bytes: int) -> tuple:
    cpu = Rollup.of(int(cpu_milli * rng.lognormvariate(0, 0.25)) for _ in range(n))
    memory = Rollup.of(int(memory_bytes * rng.lognormvariate(0, 0.05)) for _ in range(n))
    return (n, *_columns(cpu), *_columns(memory))


def _columns(rollup: Rollup) -> tuple:
    return (rollup.mean, rollup.max, rollup.m2, encode_buckets(rollup.buckets))


def _samples(size: Size, until_s: float) -> Iterator[list]:
    rng = np.random.default_rng(4)
    first_pod = size.n_nodes + size.n_workloads
    ids = [*range(size.n_nodes), *range(first_pod, first_pod + size.n_pods)]
    # A node's kubelet is asked at its own instant, and tells of all of its pods.
    lag_ms = [
        *(i % 15 * 1000 for i in range(size.n_nodes)),
        *(size.node_of(i) % 15 * 1000 for i in range(size.n_pods)),
    ]
    order = sorted(range(len(ids)), key=lambda i: (-lag_ms[i], ids[i]))
    for tick in range(int(size.raw_hours * 3600 / TICK_S), 0, -1):
        at_ms = int(until_s - tick * TICK_S) * 1000
        cpu = rng.integers(50, 8_000, len(ids)).tolist()
        memory = rng.integers(GIB // 8, 4 * GIB, len(ids)).tolist()
        yield [(at_ms - lag_ms[i], ids[i], cpu[i], memory[i], 0) for i in order]


def _tallies(size: Size, rng: random.Random, until_s: float) -> Iterator[list]:
    hour = int(until_s // HOUR_S)
    for h in range(hour - int(size.days * 24) + 1, hour + 1):
        nodes = [(i, h, 2, 0, 0, rng.randrange(2), 0, 0, 0, 0.0, 0.0) for i in range(size.n_nodes)]
        n = PODS_A_WORKLOAD * HOUR_S // TICK_S
        yield nodes + [
            (size.n_nodes + i, h, 1, 0, 0, 0, 0, 0, n, n * 400.0, float(n * GIB))
            for i in range(size.n_workloads)
        ]


def _placements(size: Size, rng: random.Random, until_s: float) -> Iterator[list]:
    states = [msgspec.json.encode(_state(i)) for i in _shapes()]
    per_hour = max(1, int(size.n_pods / size.pod_life_hours))
    n_hours = int(size.days * 24)
    for h in range(n_hours):
        rows = []
        for i in range(per_hour):
            seq = h * per_hour + i + 1
            pod = seq % size.n_pods
            at_s = until_s - (n_hours - h) * HOUR_S + i / per_hour * HOUR_S
            fate, reason = (Fate.SUCCEEDED, "healthy")
            if rng.random() < 0.05:
                fate, reason = (Fate.FAILED, "crashed")
            uid = f"11111111-0000-4000-8000-{seq:012d}"
            name, workload = pod_name(pod), workload_key(size.workload_of(pod))
            node, state = node_name(size.node_of(pod)), rng.choice(states)
            wanted = (400, GIB)
            decided_at_s = at_s + 700
            who = (uid, seq, "default", name, workload, node)
            rows.append((*who, *wanted, at_s, state, int(fate), reason, decided_at_s))
        yield rows


def _state(i: int) -> PlacementState:
    node = NodeState(
        name=node_name(i),
        is_ready=True,
        is_schedulable=True,
        allocatable_cpu_milli=32_000,
        allocatable_memory_bytes=128 * GIB,
        requested_cpu_milli=12_000 + i,
        requested_memory_bytes=30 * GIB + i,
        n_pods=30,
        usage_cpu_milli=8_000 + i,
        usage_memory_bytes=24 * GIB + i,
        sampled_at_s=1_790_000_000.0 + i,
    )
    workload = WorkloadHistory(
        namespace="default",
        kind="StatefulSet",
        name=workload_name(i),
        n_observations=100 + i,
        usual_cpu_milli=400,
        usual_memory_bytes=GIB,
    )
    return PlacementState(node=node, cluster=ClusterState(n_nodes=1000), workload=workload)


def _marks(size: Size) -> Iterator[list]:
    yield [(pod_uid(i), 0, 0.0, 0, int(Fate.SUCCEEDED)) for i in range(size.n_pods)]
