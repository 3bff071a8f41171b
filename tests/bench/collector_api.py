"""An API server with as many nodes and pods as asked for, none of which ever changes but in usage.

Pages are encoded beforehand, so that it takes little of the CPU that the collector shares with it;
of metrics only the instants are put in anew, by node, as kubelets are asked one after another.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.bench.collector_week import GIB, Size, node_name, pod_name, pod_uid, workload_name

N_LAGS = 15
"""Metrics are up to as many seconds old."""
_BOOKMARK_S = 20.0
_LAG = re.compile(rb"<(\d+)>")
_RUNNING_SINCE = "2026-01-01T00:00:00Z"

Pages = dict[str, list[bytes]]


def make_pages(size: Size) -> Pages:
    """Encode all collections, by path; items only."""
    metrics = "/apis/metrics.k8s.io/v1beta1"
    return {
        "/api/v1/nodes": [_encode(_node(i)) for i in range(size.n_nodes)],
        "/api/v1/pods": [_encode(_pod(i, size)) for i in range(size.n_pods)],
        f"{metrics}/nodes": [_encode(_node_metrics(i)) for i in range(size.n_nodes)],
        f"{metrics}/pods": [_encode(_pod_metrics(i, size)) for i in range(size.n_pods)],
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, pages: Pages) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages = pages
        self.stopping = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        items = self.server.pages.get(url.path)
        if items is None:
            self._answer(404, b'{"kind": "Status", "code": 404}')
        elif "watch" in query:
            self._watch("Node" if url.path.endswith("nodes") else "Pod")
        else:
            self._list(items, query, is_dated="metrics" in url.path)

    def _list(self, items: list[bytes], query: dict[str, str], *, is_dated: bool) -> None:
        start = int(query.get("continue", 0))
        end = min(len(items), start + int(query.get("limit", len(items))))
        meta = {"resourceVersion": "1"} | ({"continue": str(end)} if end < len(items) else {})
        body = b",".join(items[start:end])
        if is_dated:
            body = _date(body)
        self._answer(200, b'{"metadata":%b,"items":[%b]}' % (_encode(meta), body))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        told = {"kind": kind, "metadata": {"resourceVersion": "1"}}
        line = _encode({"type": "BOOKMARK", "object": told}) + b"\n"
        while not self.server.stopping.wait(_BOOKMARK_S):
            try:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            except OSError:
                return

    def log_message(self, *_):
        pass


@contextmanager
def cluster_api(pages: Pages) -> Iterator[str]:
    """Serve collections until the block ends; yields the server's URL."""
    with _Server(pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.stopping.set()
            server.shutdown()


def _date(body: bytes) -> bytes:
    now_s = time.time()
    instants = [
        datetime.fromtimestamp(int(now_s) - lag, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
        for lag in range(N_LAGS)
    ]
    return _LAG.sub(lambda found: instants[int(found[1])], body)


def _encode(document: dict) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _node(i: int) -> dict:
    amounts = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": _RUNNING_SINCE}
    return {
        "metadata": _meta(node_name(i), uid=node_name(i)),
        "spec": {},
        "status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]},
    }


def _pod(i: int, size: Size) -> dict:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "name": workload_name(size.workload_of(i)),
        "uid": "u",
        "controller": True,
    }
    resources = {"requests": {"cpu": "400m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": _RUNNING_SINCE}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    running = {
        "name": "app",
        "image": "app:1",
        "imageID": "app",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": _RUNNING_SINCE}},
    }
    container = {"name": "app", "image": "app:1", "resources": resources}
    return {
        "metadata": _meta(pod_name(i), uid=pod_uid(i), namespace="default")
        | {"ownerReferences": [owner], "labels": {"app": owner["name"]}},
        "spec": {"nodeName": node_name(size.node_of(i)), "containers": [container]},
        "status": {
            "phase": "Running",
            "startTime": _RUNNING_SINCE,
            "conditions": conditions,
            "containerStatuses": [running],
        },
    }


def _node_metrics(i: int) -> dict:
    return {
        "metadata": {"name": node_name(i)},
        "timestamp": f"<{i % N_LAGS}>",
        "window": "15s",
        "usage": {"cpu": f"{8_000_000_000 + i}n", "memory": f"{24 * GIB // 1024 + i}Ki"},
    }


def _pod_metrics(i: int, size: Size) -> dict:
    usage = {"cpu": f"{300_000_000 + i}n", "memory": f"{GIB // 1024 + i}Ki"}
    return {
        "metadata": {"name": pod_name(i), "namespace": "default"},
        "timestamp": f"<{size.node_of(i) % N_LAGS}>",
        "window": "15s",
        "containers": [{"name": "app", "usage": usage}],
    }


def _meta(name: str, *, uid: str, namespace: str = "") -> dict:
    meta = {
        "name": name,
        "uid": uid,
        "resourceVersion": "1",
        "creationTimestamp": _RUNNING_SINCE,
    }
    return meta | ({"namespace": namespace} if namespace else {})
