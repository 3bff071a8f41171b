"""What a collector remembers, asked over HTTP; whatever goes wrong is no empty past."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from scheduler.simulator.traces.past import Past, PastError

PLACEMENT = {
    "pod_namespace": "default",
    "pod_name": "web-1",
    "workload": "default/Deployment/web",
    "node": "n1",
    "cpu_milli": 100,
    "memory_bytes": 200,
    "placed_at_s": 9.0,
    "state": {"what": "is ignored"},
}
UNKNOWN = {"title": "Unknown workload", "status": 404}


def point(start_s):
    return {"start_s": start_s, "cpu_milli": {"mean": 1.0}, "memory_bytes": {"mean": 2.0}}


@contextmanager
def collector(answer) -> Iterator[tuple[Past, list[tuple[str, dict[str, str]]]]]:
    """Answer every GET by *answer(path, query)*: a status and what is sent; tell what was asked."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            asked.append((url.path, query))
            status, body = answer(url.path, query)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with Past(f"http://127.0.0.1:{server.server_address[1]}/") as past:
            yield past, asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_all_pages_are_read():
    pages = {"0": ([1, 2], 2), "2": ([3], 3), "3": ([], 3)}

    def answer(_, query):
        ids, next_since = pages[query["since"]]
        items = [{**PLACEMENT, "id": i, "pod_uid": f"u{i}"} for i in ids]
        return 200, {"items": items, "next_since": next_since}

    with collector(answer) as (past, asked):
        found = list(past.placements())

    assert [placement.pod_uid for placement in found] == ["u1", "u2", "u3"]
    assert found[0].workload == "default/Deployment/web"
    assert [query["since"] for _, query in asked] == ["0", "2", "3"]


def test_an_outage_in_the_middle_is_told():
    def answer(_, query):
        if query["since"] != "0":
            return 503, {"title": "Out of service", "status": 503}
        return 200, {"items": [{**PLACEMENT, "id": 1, "pod_uid": "u1"}], "next_since": 1}

    with collector(answer) as (past, _), pytest.raises(PastError, match=r"503 .*Out of service"):
        list(past.placements())


def test_long_times_are_asked_for_in_parts():
    def answer(_, query):
        return 200, {"points": [point(float(query["start"]))]}

    with collector(answer) as (past, asked):
        points = list(past.workload_usage("default/Deployment/web", start_s=0, end_s=7_000_000))

    assert [p.start_s for p in points] == [0.0, 3e6, 6e6]
    assert {path for path, _ in asked} == {"/api/v1/workloads/default/Deployment/web/history"}
    assert [query["end"] for _, query in asked] == ["3000000", "6000000", "7000000"]


def test_what_the_collector_has_never_heard_of_used_nothing_that_is_known():
    with collector(lambda *_: (404, UNKNOWN)) as (past, _):
        assert list(past.workload_usage("a/Job/b", start_s=0, end_s=600)) == []
        assert list(past.node_usage("n1", start_s=0, end_s=600)) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(404, {"title": "Not Found", "status": 404}, id="no such path"),
        pytest.param(404, b"<html>", id="some other server"),
        pytest.param(200, b"<html>", id="no json"),
        pytest.param(200, {"points": [{"start_s": "soon"}]}, id="malformed"),
        pytest.param(500, b"", id="an error"),
    ],
)
def test_what_is_no_answer_of_a_collector_is_no_empty_past(status, body):
    with collector(lambda *_: (status, body)) as (past, _), pytest.raises(PastError):
        list(past.workload_usage("a/Job/b", start_s=0, end_s=600))


def test_without_nodes_it_is_no_collector():
    with collector(lambda *_: (404, UNKNOWN)) as (past, _), pytest.raises(PastError, match="404"):
        past.node_names()
