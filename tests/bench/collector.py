"""The collector with a week of a large cluster behind it: 1,000 nodes, 30,000 pods.

The week is written by a generator, then the real program opens it, lists the cluster from an API
server in this process, and samples it over HTTP. Its CPU and memory are what Linux says of it.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from tests.bench.collector_api import cluster_api, make_pages
from tests.bench.collector_week import Size, build, node_name
from tests.bench.machine import describe
from tests.bench.processes import cpu_s, rss_bytes

_START_S = 300.0
_N_REQUESTS = 100
_MIB, _GB = 2**20, 10**9
DAY_S = 86_400


@dataclass(frozen=True)
class Target:
    """What is measured, in *unit*, and what it should stay under."""

    name: str
    unit: str
    limit: float

    def line(self, value: float, *, note: str = "") -> str:
        verdict = "met" if value < self.limit else "MISSED"
        said = f"{self.name:<44}{value:>9.2f} {self.unit:<4} target < {self.limit:g}: {verdict}"
        return f"{said}  ({note})" if note else said


ROUND = Target("CPU of one round of ingestion", "s", 3)
DISK = Target("database", "GB", 6)
HISTORY = Target("7-day node history", "ms", 50)
SNAPSHOT = Target("/api/v1/snapshot", "ms", 30)
MEMORY = Target("resident memory", "MiB", 600)


class Client:
    """Asks the collector over one connection.

    Args:
        port: Where it listens on loopback.
    """

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=120)

    def get(self, path: str, **headers: str) -> tuple[HTTPResponse, bytes]:
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        return response, response.read()

    def n_polls(self) -> int:
        """How many rounds have been ingested."""
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith("collector_poll_duration_seconds_count"):
                return round(float(line.split()[-1]))
        return 0


@contextmanager
def collector(
    database: Path, *, api_url: str, interval_s: float, folder: Path
) -> Iterator[tuple[int, int]]:
    """Run the program; yields its process id and port."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        f"clusters: [{{name: c, cluster: {{server: '{api_url}'}}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
        "users: [{name: u, user: {}}]\ncurrent-context: c\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "COLLECTOR__SERVER__PORT": str(port),
        "COLLECTOR__DATABASE__URL": f"sqlite:///{database}",
        "COLLECTOR__METRICS__COLLECTION_INTERVAL": f"{interval_s}s",
    }
    command = [sys.executable, "-m", "collector"]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_ready(port, process, folder / "log")
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + _START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            if Client(port).get("/readyz")[0].status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the collector does not become ready:\n{log.read_text()[-2000:]}")


def measure_rounds(client: Client, pid: int, *, n_rounds: int) -> tuple[float, int]:
    """CPU seconds a round, all else that the program does between included; highest memory seen."""
    _wait_for_poll(client, client.n_polls() + 1)
    first, cpu_before_s, most_bytes = client.n_polls(), cpu_s(pid), 0
    while (n := client.n_polls() - first) < n_rounds:
        most_bytes = max(most_bytes, rss_bytes(pid))
        time.sleep(0.25)
    return (cpu_s(pid) - cpu_before_s) / n, most_bytes


def _wait_for_poll(client: Client, n: int) -> None:
    while client.n_polls() < n:
        time.sleep(0.05)


def latency_ms(ask: Callable[[int], object], *, n: int = _N_REQUESTS) -> tuple[float, str]:
    """Give the 95th percentile, and a note that says more."""
    took_ms = []
    for i in range(n):
        start_s = time.perf_counter()
        ask(i)
        took_ms.append((time.perf_counter() - start_s) * 1000)
    return _sum_up(took_ms)


def _sum_up(took_ms: list[float]) -> tuple[float, str]:
    p95, median = statistics.quantiles(took_ms, n=20)[18], statistics.median(took_ms)
    return p95, f"p95 of {len(took_ms)}; p50 {median:.1f}, max {max(took_ms):.1f}"


def history_ms(client: Client, *, step: str, size: Size) -> tuple[float, str]:
    start_s = time.time() - size.days * DAY_S

    def ask(i: int) -> None:
        name = node_name(i * 7 % size.n_nodes)
        path = f"/api/v1/nodes/{name}/history?start={start_s:.0f}&step={step}"
        response, body = client.get(path)
        if response.status != 200 or body.count(b"start_s") < 2:
            raise SystemExit(f"no history: {body[:300]!r}")

    return latency_ms(ask)


def changed_snapshot_ms(client: Client, *, n_rounds: int) -> tuple[float, str]:
    """How long the first snapshot after a round takes: it is made anew then."""
    took_ms = []
    for _ in range(n_rounds):
        _wait_for_poll(client, client.n_polls() + 1)
        start_s = time.perf_counter()
        client.get("/api/v1/snapshot")
        took_ms.append((time.perf_counter() - start_s) * 1000)
    return max(took_ms), f"max of {n_rounds}; p50 {statistics.median(took_ms):.1f}"


def busy_snapshot_ms(client: Client, *, n_rounds: int) -> tuple[float, str]:
    """How long snapshots take at any moment, in the midst of rounds as well."""
    until = client.n_polls() + n_rounds
    took_ms: list[float] = []
    while client.n_polls() < until:
        start_s = time.perf_counter()
        client.get("/api/v1/snapshot")
        took_ms.append((time.perf_counter() - start_s) * 1000)
        time.sleep(0.05)
    return _sum_up(took_ms)


def same_snapshot_ms(client: Client) -> tuple[float, str]:
    def ask(_: int) -> None:
        etag = client.get("/api/v1/snapshot")[0].headers["ETag"]
        client.get("/api/v1/snapshot", **{"If-None-Match": etag})

    return latency_ms(ask)


def run(size: Size, *, folder: Path, interval_s: float, n_rounds: int) -> None:
    database = folder / "collector.db"
    build(database, size=size, until_s=time.time())
    with (
        cluster_api(make_pages(size)) as api_url,
        collector(database, api_url=api_url, interval_s=interval_s, folder=folder) as (pid, port),
    ):
        client = Client(port)
        per_round_s, most_bytes = measure_rounds(client, pid, n_rounds=n_rounds)
        print(ROUND.line(per_round_s, note=f"mean of {n_rounds}, every {interval_s:g} s"))
        for step in ("5m", "1h"):
            value, note = history_ms(client, step=step, size=size)
            print(HISTORY.line(value, note=f"step {step}; {note}"))
        value, note = changed_snapshot_ms(client, n_rounds=min(n_rounds, 5))
        print(SNAPSHOT.line(value, note=f"first after a round; {note}"))
        value, note = busy_snapshot_ms(client, n_rounds=2)
        print(SNAPSHOT.line(value, note=f"while rounds go on; {note}"))
        value, note = latency_ms(lambda _: client.get("/api/v1/snapshot"))
        print(SNAPSHOT.line(value, note=f"unchanged; {note}"))
        value, note = same_snapshot_ms(client)
        print(SNAPSHOT.line(value, note=f"and again with its ETag: 304; {note}"))
        most_bytes = max(most_bytes, rss_bytes(pid))
        print(MEMORY.line(most_bytes / _MIB, note="highest seen"))
    n_bytes = sum(path.stat().st_size for path in folder.glob("collector.db*"))
    print(DISK.line(n_bytes / _GB, note="with its journal"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh collector", description=__doc__)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--pods", type=int, default=30_000)
    parser.add_argument("--days", type=float, default=7.0, help="of rollups and placements")
    parser.add_argument("--raw-hours", type=float, default=6.0, help="of single samples")
    parser.add_argument("--interval", type=float, default=30.0, help="between rounds, in seconds")
    parser.add_argument("--rounds", type=int, default=10, help="to measure")
    parser.add_argument(
        "--folder", type=Path, help="where the database goes; by default the temporary one"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of it, for half a minute")
    asked = parser.parse_args()
    size = Size(asked.nodes, asked.pods, asked.days, asked.raw_hours)
    if asked.quick:
        size = Size(asked.nodes // 10, asked.pods // 10, asked.days / 7, asked.raw_hours / 6)
        asked.interval, asked.rounds = 2.0, 5
    print(f"# {describe()}")
    print(
        f"{size.n_nodes} nodes, {size.n_pods} pods, {size.n_workloads} workloads; rollups of"
        f" {size.days:g} days, samples of {size.raw_hours:g} h every 30 s"
    )
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        run(size, folder=Path(folder), interval_s=asked.interval, n_rounds=asked.rounds)


if __name__ == "__main__":
    main()
