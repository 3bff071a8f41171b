"""Speed of the simulated API server, seen from a client over loopback HTTP.

Prints pod creations a second over 16 connections, the time to list 5,000 nodes, and the time in
which 10,000 watch events reach 3 watchers: once from the log (all events wait already) and once
live (while 16 connections make them).
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from http.client import HTTPConnection

from tests.bench.machine import describe
from tests.bench.processes import cpu_s

N_CONNECTIONS = 16
N_PODS = 5_000
N_NODES = 5_000
N_EVENTS = 10_000
N_WATCHERS = 3
ADDED = b'{"type":"ADDED"'


@contextmanager
def api_server():
    """A server without nodes of its own; yields port and process id."""
    command = [sys.executable, "-m", "scheduler.simulator", "serve", "--nodes=0", "--port=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        yield int(line.split("http://127.0.0.1:")[1].split()[0].strip("/.,)")), process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


def pod(name: str) -> dict:
    resources = {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
    container = {"name": "app", "image": "nginx:1.27", "resources": resources}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"schedulerName": "ai-scheduler", "containers": [container]},
    }


def node(name: str) -> dict:
    amounts = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]},
    }


def post(path: str, body: dict) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def send(port: int, requests: Sequence[bytes]) -> None:
    """Send requests over one connection, one after the other; each must be answered by 201."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 201"):
            raise SystemExit(f"unexpected answer: {head[:200]!r}")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        await reader.readexactly(length)
    writer.close()


async def send_all(port: int, requests: Sequence[bytes]) -> float:
    """Send requests over all connections at once; returns the seconds it took."""
    start = time.perf_counter()
    await asyncio.gather(*(send(port, requests[i::N_CONNECTIONS]) for i in range(N_CONNECTIONS)))
    return time.perf_counter() - start


async def watch(port: int, path: str, n_events: int) -> float:
    """Read a watch until *n_events* came; returns when the last did."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    seen, tail = 0, b""
    while seen < n_events:
        chunk = await reader.read(1 << 20)
        if not chunk:
            raise SystemExit(f"a watch ended after {seen} of {n_events} events")
        text = tail + chunk
        seen += text.count(ADDED)
        tail = text[-len(ADDED) + 1 :]  # too short to hold one, but one may begin in it
    writer.close()
    return time.perf_counter()


def get(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    return connection.getresponse().read()


def version(port: int) -> str:
    answer = json.loads(get(port, "/api/v1/namespaces/default/pods?limit=1"))
    return answer["metadata"]["resourceVersion"]


async def fan_out(port: int, *, is_live: bool, prefix: str) -> float:
    """Seconds from the first of N_EVENTS (made, or asked for) until all watchers have them all."""
    path = f"/api/v1/namespaces/default/pods?watch=1&resourceVersion={version(port)}"
    pods = "/api/v1/namespaces/default/pods"
    requests = [post(pods, pod(f"{prefix}-{i}")) for i in range(N_EVENTS)]
    if not is_live:
        await send_all(port, requests)
    start = time.perf_counter()
    watchers = [asyncio.create_task(watch(port, path, N_EVENTS)) for _ in range(N_WATCHERS)]
    if is_live:
        await asyncio.sleep(0.2)
        start = time.perf_counter()
        await send_all(port, requests)
    return max(await asyncio.gather(*watchers)) - start


async def main() -> None:
    print(f"# {describe()}")
    with api_server() as (port, pid):
        cpu = cpu_s(pid)
        pods = "/api/v1/namespaces/default/pods"
        took = await send_all(port, [post(pods, pod(f"p-{i}")) for i in range(N_PODS)])
        used = (cpu_s(pid) - cpu) / N_PODS * 1e6
        print(
            f"pod creations, {N_CONNECTIONS} connections: {N_PODS / took:,.0f}/s "
            f"({used:.0f} us of server CPU each)"
        )
        took = await send_all(port, [post("/api/v1/nodes", node(f"n{i}")) for i in range(N_NODES)])
        print(f"node creations: {N_NODES / took:,.0f}/s")
        for which in ("first", "again"):
            start = time.perf_counter()
            size = len(get(port, "/api/v1/nodes"))
            took = time.perf_counter() - start
            print(f"list of {N_NODES} nodes ({size / 1e6:.1f} MB), {which}: {took:.3f} s")
        log_s = await fan_out(port, is_live=False, prefix="log")
        print(f"{N_EVENTS} watch events from the log to {N_WATCHERS} watchers: {log_s:.2f} s")
        live_s = await fan_out(port, is_live=True, prefix="live")
        print(f"{N_EVENTS} pods created and watched live by {N_WATCHERS}: {live_s:.2f} s")


if __name__ == "__main__":
    asyncio.run(main())
