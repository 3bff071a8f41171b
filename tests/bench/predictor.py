"""The predictor under load: the real program over loopback HTTP, with a model of its own training.

The collector is a fake that serves nodes and placements. Requests come from this process, so that
it takes its part of the processors; every request waits for the answer to the one before it on the
same connection.
"""

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from collector.contract import NodeState, Placement
from predictor.forest import PackedForest
from predictor.rows import placement_row, training_set
from predictor.scoring import Weights
from tests.bench.collector import Target
from tests.bench.machine import describe
from tests.bench.processes import cpu_s, rss_bytes
from tests.predictor_world import (
    GIB,
    START_S,
    FakeCollector,
    make_node_state,
    make_placement,
    make_snapshot,
)

RATE_TARGET = 500.0
MAX_SLOWDOWN = 2.0
N_SHAPES, N_BATCH_NODES = 20, 5_000
PREDICT_P99 = {1: 5.0, 10: None, 100: 10.0}
"""Targets in milliseconds by nodes."""
N_FIRST_ROWS = 2_000


def node(name: str, dice: random.Random) -> NodeState:
    return make_node_state(
        name,
        usage_cpu_milli=dice.randrange(4000),
        usage_memory_bytes=dice.randrange(16 * GIB),
        requested_cpu_milli=dice.randrange(4000),
        requested_memory_bytes=dice.randrange(16 * GIB),
    )


def placements(start: int, *, n: int) -> list[Placement]:
    """What fails does so by memory, CPU and chance, so that trees grow to their full depth."""
    dice = random.Random(start)
    made = []
    for number in range(start, start + n):
        state = node(f"n{number % 100}", dice)
        strain = state.usage_memory_bytes / (16 * GIB) + 0.5 * state.usage_cpu_milli / 4000
        success = dice.random() < (0.4 if strain > 1.0 else 0.97)
        made.append(
            make_placement(
                number,
                node=state,
                success=success,
                placed_at_s=START_S - 5 * 86_400.0 + 4.0 * number,
                cpu_milli=dice.randrange(100, 2000),
            )
        )
    return made


class Client:
    """One connection that is kept; plain, so that it costs little of the processors measured."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        self._socket.sendall(
            b"%s %s HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (method.encode(), path.encode(), len(body), body)
        )
        received = self._socket.recv(1 << 16)
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(1 << 16)
        head, content = received.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        parts, n_read = [content], len(content)
        while n_read < length:
            parts.append(self._socket.recv(1 << 20))
            n_read += len(parts[-1])
        if not head.startswith(b"HTTP/1.1 20"):
            raise SystemExit(f"{path}: {head.splitlines()[0]!r} {b''.join(parts)[:300]!r}")
        return b"".join(parts)

    def info(self) -> dict[str, Any]:
        return json.loads(self.ask("GET", "/model/info"))

    def close(self) -> None:
        self._socket.close()


def question(n_nodes: int) -> bytes:
    requests = {"cpu": "500m", "memory": "512Mi"}
    asked = {
        "pod_name": "web-1",
        "pod_spec": {"containers": [{"name": "app", "resources": {"requests": requests}}]},
        "candidate_nodes": [f"n{i}" for i in range(n_nodes)],
    }
    return json.dumps(asked).encode()


BATCH = json.dumps(
    {"shapes": [{"cpu_milli": 100 * i, "memory_bytes": i << 27} for i in range(1, N_SHAPES + 1)]}
).encode()


@contextmanager
def predictor(collector: FakeCollector) -> Iterator[tuple[int, int]]:
    """Start the program; gives its process id and port once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        settings = {
            "PREDICTOR__SERVER__PORT": str(port),
            "PREDICTOR__COLLECTOR__URL": collector.url,
            "PREDICTOR__COLLECTOR__TIMEOUT": "60s",
            "PREDICTOR__DATA__DIRECTORY": directory,
            "PREDICTOR__ONLINE_LEARNING__POLL_INTERVAL": "1s",
            # No training begins by itself.
            "PREDICTOR__ONLINE_LEARNING__GROWTH_RATIO": "1000000",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "predictor"],
            env={**os.environ, **settings},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: process.poll() is not None or is_open(port), limit_s=60)
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(timeout=30)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], object], *, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {limit_s:.0f} s")
        time.sleep(0.05)


def percentiles(took_ms: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(took_ms, n=100)
    return cuts[49], cuts[98]


def latencies(client: Client, body: bytes, *, until: Callable[[int], bool]) -> list[float]:
    """Ask ``/predict`` again and again; in milliseconds."""
    took_ms: list[float] = []
    while not until(len(took_ms)):
        start = time.perf_counter()
        client.ask("POST", "/predict", body)
        took_ms.append((time.perf_counter() - start) * 1e3)
    return took_ms


def predict(client: Client, *, n_requests: int) -> None:
    for n_nodes, limit in PREDICT_P99.items():
        body = question(n_nodes)
        latencies(client, body, until=lambda n: n >= 20)
        p50, p99 = percentiles(latencies(client, body, until=lambda n: n >= n_requests))
        name = f"/predict, {n_nodes} nodes, p99 of {n_requests}"
        note = f"p50 {p50:.2f} ms"
        if limit is None:
            print(f"{name:<44}{p99:>9.2f} ms    ({note})")
        else:
            print(Target(name, "ms", limit).line(p99, note=note))


def sustained(port: int, *, seconds: float, n_clients: int = 4) -> None:
    body = question(10)
    end = time.monotonic() + seconds
    took_ms: list[list[float]] = []

    def load() -> None:
        client = Client(port)
        took_ms.append(latencies(client, body, until=lambda _: time.monotonic() >= end))
        client.close()

    threads = [threading.Thread(target=load) for _ in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [ms for mine in took_ms for ms in mine]
    rate = len(everything) / seconds
    verdict = "met" if rate >= RATE_TARGET else "MISSED"
    p50, p99 = percentiles(everything)
    name = f"/predict, 10 nodes, {n_clients} clients, {seconds:.0f} s"
    print(
        f"{name:<44}{rate:>9.0f} /s   target >= {RATE_TARGET:.0f}: {verdict}"
        f"  (p50 {p50:.1f} ms, p99 {p99:.1f} ms)"
    )


def batch(client: Client) -> None:
    took_s, answer = [], b""
    for _ in range(5):
        start = time.perf_counter()
        answer = client.ask("POST", "/predict/batch", BATCH)
        took_s.append(time.perf_counter() - start)
    read = json.loads(answer)
    if read["algorithm"] != "ml_prediction" or len(read["nodes"]) != N_BATCH_NODES:
        raise SystemExit(f"{len(read['nodes'])} nodes rated by {read['algorithm']}")
    name = f"/predict/batch, {N_SHAPES} shapes x {N_BATCH_NODES} nodes"
    slowest = Target(f"{name}, slowest of 5", "s", 1)
    print(slowest.line(max(took_s), note=f"median {statistics.median(took_s):.2f} s"))
    print(Target("its answer", "MB", 60).line(len(answer) / 1e6))


def packing(*, seconds: float) -> None:
    """Print the time of scikit-learn's call over that of the packed forest, by rows."""
    rows = training_set(
        {p.pod_uid: placement_row(p, weights=Weights()) for p in placements(1, n=N_FIRST_ROWS)},
        feedback=(),
        since_s=0.0,
        max_rows=N_FIRST_ROWS,
    )
    classifier = RandomForestClassifier(n_estimators=100, max_depth=10, random_state=42)
    classifier.fit(rows.X, rows.y.astype(int))
    forest = PackedForest.pack(classifier)
    for n_rows in (1, 10, 100, 1_000):
        part = np.ascontiguousarray(rows.X[:n_rows])
        packed_ms, sklearn_ms, off = [], [], 0.0
        end = time.monotonic() + seconds
        # In turns, so that whatever else the machine does meets both alike.
        while time.monotonic() < end:
            start = time.perf_counter()
            ours = forest.predict_p_success(part)
            middle = time.perf_counter()
            theirs = classifier.predict_proba(part)[:, 1]
            packed_ms.append((middle - start) * 1e3)
            sklearn_ms.append((time.perf_counter() - middle) * 1e3)
            off = max(off, float(np.abs(ours - theirs).max()))
        packed, sklearn = statistics.median(packed_ms), statistics.median(sklearn_ms)
        print(
            f"packed forest, {n_rows:>5} rows: {packed:7.3f} ms, predict_proba {sklearn:7.2f} ms: "
            f"{sklearn / packed:5.1f} times; apart by {off:.0e} at most"
        )


def children_cpu_s(pid: int) -> float:
    """CPU seconds of the children that a process has waited for, the trainings."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def train(client: Client) -> dict[str, Any]:
    client.ask("POST", "/model/retrain")
    wait_until(lambda: not client.info()["is_training"], limit_s=600)
    return trained(client)


def trained(client: Client) -> dict[str, Any]:
    """Describe the model, if the last training gave one."""
    info = client.info()
    last = info["last_training"]
    if last["result"] in ("skipped", "failed"):
        raise SystemExit(f"no model was trained: {last['detail']}")
    return info


def retraining(client: Client, *, pid: int, collector: FakeCollector, n_rows: int) -> None:
    """Train on *n_rows*, a tenth of them new, with requests going on; all are read before."""
    n_known = n_rows - n_rows // 10
    collector.placements += placements(N_FIRST_ROWS + 1, n=n_known - N_FIRST_ROWS)
    train(client)
    body = question(10)
    fresh = placements(n_known + 1, n=n_rows - n_known)
    collector.placements += fresh
    # Who asks for more has taken in what was there.
    took_ms = latencies(client, body, until=lambda _: collector.asked_since[-1] == n_rows)
    print(
        f"/predict while {len(fresh):,} placements are read: slowest of {len(took_ms)} "
        f"{max(took_ms):.1f} ms (the collector is in the asking process)"
    )
    idle_p50, idle_p99 = percentiles(latencies(client, body, until=lambda n: n >= 10_000))
    before_s, before_own_s = children_cpu_s(pid), cpu_s(pid)
    client.ask("POST", "/model/retrain")
    other = Client(client.port)
    is_over = threading.Event()

    def watch() -> None:
        wait_until(lambda: not other.info()["is_training"], limit_s=600)
        is_over.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    p50, p99 = percentiles(latencies(client, body, until=lambda _: is_over.is_set()))
    watcher.join()
    other.close()
    last = trained(client)["last_training"]
    print(
        Target(f"retraining on {n_rows:,} rows, CPU", "s", 10).line(
            children_cpu_s(pid) - before_s,
            note=f"{last['result']}; and {cpu_s(pid) - before_own_s:.1f} s in the predictor, "
            "requests included",
        )
    )
    print(
        Target("/predict p99 meanwhile over idle", "x", MAX_SLOWDOWN).line(
            p99 / idle_p99,
            note=f"p50 {idle_p50:.2f} to {p50:.2f} ms, p99 {idle_p99:.2f} to {p99:.2f} ms",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000, help="per number of nodes")
    parser.add_argument("--seconds", type=float, default=10.0, help="of sustained load")
    parser.add_argument("--rows", type=int, default=100_000, help="to train on; 0: leave that out")
    asked = parser.parse_args()
    print(f"# {describe()}")
    print(f"# load average before: {os.getloadavg()[0]:.1f}; what else runs shows in every p99")
    dice = random.Random(1)
    state = make_snapshot(*(node(f"n{i}", dice) for i in range(N_BATCH_NODES)))
    first = placements(1, n=N_FIRST_ROWS)
    with (
        FakeCollector(snapshot=state, placements=first, page_size=2_000) as collector,
        predictor(collector) as (pid, port),
    ):
        client = Client(port)
        info = train(client)
        print(f"# model {info['version']}: {info['rows']} rows, {info['last_training']['detail']}")
        predict(client, n_requests=asked.requests)
        sustained(port, seconds=asked.seconds)
        batch(client)
        packing(seconds=2.0)
        if asked.rows:
            retraining(client, pid=pid, collector=collector, n_rows=asked.rows)
        print(f"resident memory of the predictor: {rss_bytes(pid) / 2**20:.0f} MiB")
        client.close()


if __name__ == "__main__":
    main()
