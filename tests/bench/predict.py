"""Latency of ``POST /predict`` over loopback HTTP: 1,000 requests at 5 and at 100 nodes.

The predictor is the real program with a collector that answers one fixed snapshot; it has no model
unless PREDICTOR_URL names one that runs already (the demo's, with ``--keep``).
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import msgspec

from collector.contract import NodeState, Snapshot, cluster_state
from tests.bench.machine import describe

N_REQUESTS = 1_000
QUESTION = json.dumps(
    {
        "pod_name": "web-1",
        "pod_spec": {
            "containers": [
                {"name": "app", "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}
            ]
        },
    }
).encode()


def snapshot(n_nodes: int) -> bytes:
    nodes = [
        NodeState(
            name=f"n{i}",
            is_ready=True,
            is_schedulable=True,
            allocatable_cpu_milli=4000,
            allocatable_memory_bytes=8 << 30,
            usage_cpu_milli=1000 + i % 7 * 300,
            usage_memory_bytes=(1 + i % 5) << 30,
            sampled_at_s=time.time(),
        )
        for i in range(n_nodes)
    ]
    return msgspec.json.encode(
        Snapshot(version=1, at_s=time.time(), nodes=nodes, cluster=cluster_state(nodes))
    )


@contextmanager
def collector(n_nodes: int):
    body = snapshot(n_nodes)
    empty = b'{"items": [], "next_since": 0}'

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer = body if "snapshot" in self.path else empty
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextmanager
def predictor(n_nodes: int):
    with collector(n_nodes) as url, tempfile.TemporaryDirectory() as directory:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {
            "PREDICTOR__SERVER__PORT": str(port),
            "PREDICTOR__COLLECTOR__URL": url,
            "PREDICTOR__DATA__DIRECTORY": directory,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "predictor"],
            env={**os.environ, **settings},
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=10)


def wait_ready(address: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection = HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the predictor at {address} does not become ready")


def measure(url: str) -> str:
    address = urlsplit(url).netloc
    wait_ready(address)
    connection = HTTPConnection(address, timeout=10)
    took_ms = []
    answer = {}
    for _ in range(N_REQUESTS):
        start = time.perf_counter()
        connection.request("POST", "/predict", QUESTION, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        took_ms.append((time.perf_counter() - start) * 1000)
        if response.status != 200:
            raise SystemExit(f"{response.status}: {content[:300]!r}")
        answer = json.loads(content)
    quantiles = statistics.quantiles(took_ms, n=100)
    return (
        f"{N_REQUESTS} requests, {len(answer['node_predictions'])} nodes, {answer['algorithm']}: "
        f"p50 {quantiles[49]:.1f} ms, p99 {quantiles[98]:.1f} ms"
    )


def main() -> None:
    print(f"# {describe()}")
    running = os.environ.get("PREDICTOR_URL")
    if running:
        print(measure(running))
        return
    for n_nodes in (5, 100):
        with predictor(n_nodes) as url:
            print(measure(url))


if __name__ == "__main__":
    main()
