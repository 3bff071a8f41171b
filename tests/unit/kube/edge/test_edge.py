"""Problem documents, health endpoints and logs, over real HTTP."""

import io
import json
import logging
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import prometheus_client
import pytest
import requests
from flask import Flask, Response, request

from kube.edge import problems
from kube.edge.logs import JsonFormatter, facts
from kube.edge.serve import Server, install_health, install_timing, request_durations
from kube.edge.settings import Interval, ServerSettings

LOOPBACK = ServerSettings(host="127.0.0.1", port=0)


class Body(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parts: list["Body"] = []


class Readiness:
    reason = "still loading"


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
def url(readiness: Readiness) -> Iterator[str]:
    app = Flask("example")
    problems.install(app, max_body_bytes=1_000_000)
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Gauge("example_pods", "Pods.", registry=registry).set(3)
    install_health(app, registry=registry, not_ready=lambda: readiness.reason)

    @app.post("/echo")
    def echo() -> Response:
        return Response(problems.decode_body(request, Body).name)

    @app.get("/bug")
    def bug() -> Response:
        raise KeyError("secret detail")

    with Server(app, settings=LOOPBACK) as server:
        yield server.url


def problem_of(response: requests.Response) -> dict[str, Any]:
    assert response.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["status"] == response.status_code
    return document


def test_a_good_body_arrives(url):
    assert requests.post(f"{url}/echo", data='{"name": "a"}', timeout=10).text == "a"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 400, None),
        ("", 400, None),
        (b'{"name": "\xff"}', 400, None),
        ('{"name": "a", "parts": [' * 20_000, 400, None),
        ('{"name": 1}', 422, "name"),
        ("{}", 422, "name"),
        ('{"name": "a", "size": 1}', 422, "size"),
        ('{"name": "a", "parts": [{"name": "b"}, {"name": null}]}', 422, "parts[1].name"),
        ('{"name": "a", "parts": [{}]}', 422, "parts[0].name"),
        ("[]", 422, None),
    ],
)
def test_a_bad_body_is_a_problem_that_names_the_field(url, body, status, field):
    response = requests.post(f"{url}/echo", data=body, timeout=10)

    problem = problem_of(response)
    assert problem["status"] == status
    assert problem.get("field") == field


def test_a_body_may_not_be_too_large(url):
    problem = problem_of(requests.post(f"{url}/echo", data=b" " * 10_000_000, timeout=10))

    assert problem["status"] == 413
    assert "1000000 bytes" in problem["detail"]


def test_unknown_paths_and_methods_are_problems_too(url):
    wrong_method = requests.put(f"{url}/echo", timeout=10)

    assert problem_of(requests.get(f"{url}/nowhere", timeout=10))["status"] == 404
    assert problem_of(wrong_method)["status"] == 405
    assert set(wrong_method.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_a_bug_is_logged_and_not_told(url, caplog):
    problem = problem_of(requests.get(f"{url}/bug", timeout=10))

    assert problem == {"title": "Internal error", "status": 500}
    assert "secret detail" in caplog.text


def test_readiness_says_why_not(url, readiness):
    before = requests.get(f"{url}/readyz", timeout=10)
    readiness.reason = ""
    after = requests.get(f"{url}/readyz", timeout=10)

    assert (before.status_code, before.text) == (503, "still loading")
    assert (after.status_code, after.text) == (200, "ok")
    assert requests.get(f"{url}/healthz", timeout=10).text == "ok"


def test_answers_and_refusals_are_timed_at_known_paths_alone():
    app = Flask("example")
    registry = prometheus_client.CollectorRegistry()
    duration = request_durations("example", registry=registry)
    install_timing(app, duration=duration, paths=["/pods/{name}", "/quiet"])
    problems.install(app, max_body_bytes=10)

    @app.post("/pods/<name>")
    def take(name: str) -> Response:
        return Response(problems.decode_body(request, Body).name)

    with Server(app, settings=LOOPBACK) as server:
        codes = [
            requests.post(f"{server.url}{path}", data=data, timeout=10).status_code
            for path, data in (("/pods/a", "x" * 99), ("/pods/b", "{"), ("/other", "{}"))
        ]

    def count(path: str) -> float | None:
        name = "example_request_duration_seconds_count"
        return registry.get_sample_value(name, {"endpoint": path})

    assert codes == [413, 400, 404]
    assert (count("/pods/{name}"), count("/quiet"), count("/other")) == (2, 0, None)


def test_metrics_are_prometheuss(url):
    response = requests.get(f"{url}/metrics", timeout=10)

    assert "example_pods 3.0" in response.text
    assert response.headers["Content-Type"] == prometheus_client.CONTENT_TYPE_LATEST


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET http://[bad/ HTTP/1.1\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n", 413),
        (b"GET /" + b"x" * 262_140, 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_proper_http_gets_a_problem_too(url, caplog, sent, status):
    with connect(url) as client:
        client.sendall(sent)
        head, _, content = client.makefile("rb").read().partition(b"\r\n\r\n")

    assert b"Content-Type: application/problem+json" in head
    assert json.loads(content)["status"] == status
    assert caplog.text == ""


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


HASTY = ServerSettings(read_timeout=Interval(0.2), write_timeout=Interval(0.2))


def test_who_takes_too_long_to_send_is_parted_with(readiness):
    with Server(Flask("example"), settings=HASTY) as server, connect(server.url) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")

        assert client.recv(1) == b""


def test_who_does_not_read_keeps_no_thread_for_ever():
    app = Flask("example")
    app.add_url_rule("/large", view_func=lambda: Response(iter([b"x" * 10_000_000] * 10)))
    with Server(app, settings=HASTY, threads=1) as server, connect(server.url) as client:
        client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        client.recv(1)

        assert requests.get(f"{server.url}/other", timeout=20).status_code == 404


def test_many_idle_connections_do_not_keep_others_out(url):
    crowd = [connect(url) for _ in range(600)]

    assert requests.get(f"{url}/healthz", timeout=20).text == "ok"
    for client in crowd:
        client.close()


def test_a_stopped_server_lets_go_of_its_port_even_with_a_client_connected():
    with Server(Flask("a"), settings=LOOPBACK) as server:
        client = socket.create_connection(("127.0.0.1", server.port))
    with client, Server(Flask("b"), settings=ServerSettings(port=server.port)) as again:
        assert again.port == server.port


def test_a_taken_port_is_an_error():
    with (
        Server(Flask("a"), settings=LOOPBACK) as server,
        pytest.raises(OSError, match="in use"),
    ):
        Server(Flask("b"), settings=ServerSettings(port=server.port))


def test_a_name_with_several_addresses_can_take_a_free_port():
    with Server(Flask("a"), settings=ServerSettings(host="localhost")) as server:
        response = requests.get(f"{server.url}/", timeout=10)

    assert response.status_code == 404
    assert server.url.startswith("http://localhost:")


@pytest.fixture
def log_lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("tests.edge")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield logger, stream
    logger.removeHandler(handler)


def test_a_log_line_is_an_object_with_facts(log_lines):
    logger, stream = log_lines
    logger.info("pod bound", extra=facts(pod="default/web-1", path=ValueError("odd")))

    line = json.loads(stream.getvalue())
    assert line["message"] == "pod bound"
    assert line["level"] == "info"
    assert line["logger"] == "tests.edge"
    assert line["pod"] == "default/web-1"
    assert line["path"] == "odd"
    assert line["time"].endswith("+00:00")


def test_a_traceback_stays_on_its_line(log_lines):
    logger, stream = log_lines
    try:
        {}["gone"]
    except KeyError:
        logger.exception("it failed")

    [line] = stream.getvalue().splitlines()
    assert "KeyError" in json.loads(line)["traceback"]


def test_a_program_logs_json_to_standard_error():
    program = (
        "import logging; from kube.edge.logs import configure_logs, facts; configure_logs('INFO');"
        "logging.getLogger('a').info('started', extra=facts(port=80));"
        "logging.getLogger('urllib3').warning('noise')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    [line] = done.stderr.splitlines()
    assert json.loads(line)["message"] == "started"
    assert json.loads(line)["port"] == 80
    assert done.stdout == ""
