"""``python -m scheduler explain`` against a scheduler's HTTP interface, and against none."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry

from kube.edge.serve import Server
from kube.edge.settings import ServerSettings
from scheduler.__main__ import main
from scheduler.api import make_app
from scheduler.cluster.decisions import DecisionLog
from scheduler.events import PodSeen
from scheduler.explain import run
from tests.unit.scheduler.worlds import decisions, feed, make_engine, make_pending, no_extender


@pytest.fixture
def url():
    kept = DecisionLog(10)
    for decision in decisions(feed(make_engine("n1", "n2"), [PodSeen(make_pending())])):
        kept.add(decision)
    app = make_app(
        kept,
        registry=CollectorRegistry(),
        not_ready=lambda: "",
        extender=no_extender(),
    )
    with Server(app, settings=ServerSettings()) as server:
        yield server.url


@pytest.fixture
def ask():
    def asked(*arguments):
        out, err = io.StringIO(), io.StringIO()
        code = run(arguments, out=out, err=err)
        return code, out.getvalue(), err.getvalue()

    return asked


def test_prints_why(ask, url):
    code, out, _ = ask("default/web-1", "--url", f"{url}/")

    assert code == 0
    assert out.startswith("default/web-1 -> n")
    assert "2 of 2 nodes would do; next best: n" in out


def test_prints_the_answer_itself(ask, url):
    code, out, _ = ask("default/web-1", "--url", url, "--json")

    assert (code, json.loads(out)["name"]) == (0, "web-1")


def test_the_program_knows_the_command(url, capsys):
    code = main(["explain", "default/web-1", "--url", url], env={})

    assert code == 0
    assert capsys.readouterr().out.startswith("default/web-1 -> n")


@pytest.mark.parametrize("pod", ["default/nobody", "default/a b?c"])
def test_an_unknown_pod_is_a_1(ask, url, pod):
    code, out, err = ask(pod, "--url", url)

    assert (code, out) == (1, "")
    assert err.startswith(f"scheduler: nothing was decided lately about the pod {pod}: ")
    assert err.endswith("waits for more of its gang\n")


def test_no_scheduler_is_a_3(ask):
    code, _, err = ask("default/web-1", "--url", "http://127.0.0.1:9")

    assert code == 3
    assert "http://127.0.0.1:9 does not answer" in err


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (200, b"{}"), (404, b"not here"), (302, b""), (503, b"{}")],
)
def test_whoever_is_no_scheduler_is_a_3(ask, status, body):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        code, _, err = ask("default/web-1", "--url", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()

    assert code == 3
    assert err.startswith("scheduler: ")
