import json
import logging
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request

from collector.outcomes import is_throttled
from collector.prometheus_source import PrometheusSource
from collector.samples import Usage
from collector.settings import PrometheusQueries, PrometheusSettings
from collector.sources import SourceError
from kube.edge import prometheus
from kube.edge.prometheus import PrometheusApi, PrometheusError
from kube.edge.serve import Server
from kube.edge.settings import Interval, ServerSettings, SettingsError
from tests.fakes import FakeApiServer
from tests.tls_front import make_certificates
from tests.unit.collector.makers import make_facts, make_pod_sample

NOW_S = 1_790_000_000.0
QUERIES = PrometheusQueries(
    node_cpu="ncpu by ($node)[$window]",
    node_memory="nmem",
    node_time="ntime",
    container_cpu="ccpu",
    container_memory="cmem",
    container_time="ctime",
    throttling="throttling",
)


class FakePrometheus:
    """Answers queries by their first word; a test says with what."""

    def __init__(self) -> None:
        self.vectors: dict[str, list[dict[str, Any]]] = {}
        self.warnings: list[str] = []
        self.answer: tuple[int, str] | None = None
        self.requests: list[tuple[str, dict[str, str], str]] = []
        self.url = ""

    def set(self, query: str, value: float | str, **labels: str) -> None:
        series = {"metric": labels, "value": [NOW_S, str(value)]}
        self.vectors.setdefault(query, []).append(series)

    def container(
        self, pod: str, name: str, *, cpu: float | None, memory: int, at_s: float
    ) -> None:
        labels = {"namespace": "default", "pod": pod, "container": name}
        if cpu is not None:
            self.set("ccpu", cpu, **labels)
        self.set("cmem", memory, **labels)
        self.set("ctime", at_s, **labels)

    def node(self, name: str, *, cpu: float, memory: int, at_s: float = NOW_S - 5) -> None:
        self.set("ncpu", cpu, node=name)
        self.set("nmem", memory, node=name)
        self.set("ntime", at_s, node=name)

    def app(self) -> Flask:
        app = Flask("prometheus")

        @app.get("/api/v1/<path>")
        def query(path: str) -> Response:
            self.requests.append(
                (path, dict(request.args), request.headers.get("Authorization", ""))
            )
            if self.answer is not None:
                return Response(self.answer[1], status=self.answer[0])
            result = self.vectors.get(request.args["query"].split()[0], [])
            data = {"resultType": "vector", "result": result}
            body: dict[str, Any] = {"status": "success", "data": data}
            if self.warnings:
                body["warnings"] = self.warnings
            return Response(json.dumps(body))

        return app


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    fake = FakePrometheus()
    with Server(fake.app(), settings=ServerSettings()) as server:
        fake.url = server.url
        yield fake


def make_source(fake: FakePrometheus, **changes: Any) -> PrometheusSource:
    settings = PrometheusSettings(**{"url": fake.url, "queries": QUERIES, **changes})
    return PrometheusSource(PrometheusApi(settings), settings=settings, now_s=lambda: NOW_S)


def fetch(fake: FakePrometheus, **changes: Any) -> Usage:
    return make_source(fake, **changes).fetch()


def test_nodes_are_told_in_millicores_and_bytes_as_of_when_they_were_measured(fake):
    fake.node("n1", cpu=1.2345, memory=2**30, at_s=NOW_S - 12.5)

    [node] = fetch(fake).nodes

    assert (node.node, node.at_s, node.cpu_milli, node.memory_bytes) == (
        "n1",
        NOW_S - 12.5,
        1234,
        2**30,
    )


def test_a_pod_is_the_sum_of_its_containers(fake):
    fake.node("n1", cpu=1, memory=1)
    fake.container("web-1", "app", cpu=0.5, memory=100, at_s=NOW_S - 9)
    fake.container("web-1", "proxy", cpu=0.25, memory=20, at_s=NOW_S - 4)
    fake.set("throttling", 0.4, namespace="default", pod="web-1")

    [pod] = fetch(fake).pods

    assert (pod.namespace, pod.name, pod.at_s) == ("default", "web-1", NOW_S - 4)
    assert (pod.cpu_milli, pod.memory_bytes) == (750, 120)
    assert pod.containers_cpu_milli == (("app", 500), ("proxy", 250))
    assert pod.throttled_ratio == 0.4


def test_a_pod_of_which_a_container_has_no_rate_yet_waits(fake):
    fake.node("n1", cpu=1, memory=1)
    fake.container("web-1", "app", cpu=0.5, memory=100, at_s=NOW_S)
    fake.container("web-1", "proxy", cpu=None, memory=20, at_s=NOW_S)

    assert fetch(fake).pods == ()


def test_a_container_that_has_ended_is_not_counted_though_prometheus_still_shows_it(fake):
    fake.node("n1", cpu=1, memory=1)
    fake.container("web-1", "app", cpu=0.5, memory=100, at_s=NOW_S)
    fake.container("web-1", "init", cpu=None, memory=999, at_s=NOW_S - 200)

    [pod] = fetch(fake, rate_window=Interval(120)).pods

    assert pod.memory_bytes == 100


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "1e300", "x"])
def test_values_that_are_no_amounts_are_counted_and_left_out(fake, value):
    fake.node("n1", cpu=1, memory=1)
    fake.node("n2", cpu=1, memory=1)
    fake.vectors["ncpu"][1]["value"][1] = value

    usage = fetch(fake)

    assert [node.node for node in usage.nodes] == ["n1"]
    assert usage.n_malformed == 1


def test_series_without_the_label_are_no_nodes_and_that_is_said(fake):
    for query in ("ncpu", "nmem", "ntime"):
        fake.set(query, 1, instance="n1")

    with pytest.raises(SourceError, match="with the label 'node'"):
        fetch(fake)

    fake.vectors.clear()
    with pytest.raises(SourceError, match="no figures of any node"):
        fetch(fake)


def test_queries_are_completed_and_asked_at_the_clusters_time(fake):
    for query in ("ncpu", "nmem", "ntime"):
        fake.set(query, 1, kubernetes_node="n1")

    fetch(fake, node_label="kubernetes_node", rate_window=Interval(90))

    assert fake.requests[0][0] == "query"
    assert fake.requests[0][1]["query"] == "ncpu by (kubernetes_node)[90000ms]"
    assert float(fake.requests[0][1]["time"]) == NOW_S


def test_throttling_need_not_be_asked(fake):
    fake.node("n1", cpu=1, memory=1)
    fake.container("web-1", "app", cpu=0.5, memory=100, at_s=NOW_S)

    [pod] = fetch(
        fake,
        queries=PrometheusQueries(
            **{name: getattr(QUERIES, name) for name in QUERIES.__struct_fields__[:-1]},
            throttling="",
        ),
    ).pods

    assert pod.throttled_ratio is None
    assert len(fake.requests) == 6


@pytest.mark.parametrize(
    ("ratio", "cpu_milli", "expected"),
    [
        pytest.param(0.3, 100, True, id="measured"),
        pytest.param(0.2, 500, False, id="measured, though it used all of its limit"),
        pytest.param(None, 500, True, id="inferred from the limit"),
        pytest.param(None, 400, False, id="below its limit"),
    ],
)
def test_measured_throttling_counts_before_what_usage_suggests(ratio, cpu_milli, expected):
    sample = make_pod_sample(cpu_milli=cpu_milli)
    sample = type(sample)(
        **{name: getattr(sample, name) for name in sample.__slots__[:-1]}, throttled_ratio=ratio
    )
    pod = make_facts(cpu_limits_milli=(("app", 500),))

    assert is_throttled(sample, pod=pod) is expected


@pytest.mark.parametrize(
    ("answer", "message", "is_refusal"),
    [
        pytest.param(
            (400, '{"status":"error","errorType":"bad_data","error":"parse error"}'),
            "bad_data: parse error",
            True,
            id="a wrong query",
        ),
        pytest.param(
            (503, '{"status":"error","errorType":"timeout","error":"query timed out"}'),
            "timeout: query timed out",
            False,
            id="overload",
        ),
        pytest.param((502, "<html>Bad Gateway</html>"), "HTTP 502", False, id="a proxy's page"),
        pytest.param((302, ""), "HTTP 302", False, id="a page to log in"),
        pytest.param((200, "{}"), "does not answer as Prometheus", False, id="another program"),
        pytest.param(
            (200, '{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}'),
            "gives a scalar, not a vector",
            True,
            id="a query of another kind",
        ),
        pytest.param(
            (200, '{"status":"success","data":{"resultType":"vector","result":[{"metric":1}]}}'),
            "malformed",
            False,
            id="another shape",
        ),
    ],
)
def test_what_is_no_answer_is_an_error_and_never_an_empty_cluster(
    fake, answer, message, is_refusal
):
    fake.answer = answer

    with pytest.raises(PrometheusError, match=message) as caught:
        PrometheusApi(PrometheusSettings(url=fake.url)).instant("up", at_s=NOW_S)
    with pytest.raises(SourceError, match=message) as told:
        fetch(fake)

    assert caught.value.is_refusal is is_refusal
    # The watches of the API server go on: outcomes can still be judged.
    assert not told.value.is_outage


def test_a_server_that_is_not_there_is_an_error(unused_port):
    api = PrometheusApi(PrometheusSettings(url=f"http://127.0.0.1:{unused_port}"))

    with pytest.raises(PrometheusError, match="does not answer"):
        api.instant("up", at_s=NOW_S)


def test_too_large_an_answer_is_refused(fake, monkeypatch):
    monkeypatch.setattr(prometheus, "_MAX_BYTES", 1000)
    fake.answer = (200, " " * 2000)

    with pytest.raises(PrometheusError, match="exceeds 1000 bytes"):
        PrometheusApi(PrometheusSettings(url=fake.url)).instant("up", at_s=NOW_S)


def test_warnings_are_logged_once_and_the_answer_is_taken(fake, caplog):
    fake.node("n1", cpu=1, memory=1)
    fake.warnings = ["a store is missing"]

    with caplog.at_level(logging.WARNING):
        usage = fetch(fake)

    assert len(usage.nodes) == 1
    told = [record.message for record in caplog.records if record.name == prometheus.__name__]
    assert told == ["Prometheus warns"]


def test_a_token_is_read_anew_for_each_request(fake, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("first\n")
    api = PrometheusApi(PrometheusSettings(url=fake.url, token_file=str(token)))

    api.instant("up", at_s=NOW_S)
    token.write_text("second\n")
    api.instant("up", at_s=NOW_S)
    token.unlink()
    with pytest.raises(PrometheusError):
        api.instant("up", at_s=NOW_S)

    assert [sent for _, _, sent in fake.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("field", ["token_file", "ca_file"])
def test_a_file_that_cannot_be_read_is_told_at_the_start(tmp_path, field):
    with pytest.raises(SettingsError, match=r"prometheus: .*missing"):
        PrometheusApi(PrometheusSettings(**{field: str(tmp_path / "missing")}))


def test_only_the_authorities_named_are_trusted(tmp_path: Path):
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

    def complaint(url: str, ca_file: str) -> str:
        api = PrometheusApi(PrometheusSettings(url=url, ca_file=ca_file))
        with closing(api), pytest.raises(PrometheusError) as caught:
            api.instant("up", at_s=NOW_S)
        return str(caught.value)

    with FakeApiServer(ssl_context=context) as server:
        trusted = complaint(server.url, str(tmp_path / "ca.crt"))
        strange = complaint(server.url, str(tmp_path / "stranger.crt"))

    # It was let in, and found an API server there.
    assert "does not answer as Prometheus" in trusted
    assert "certificate verify failed" in strange
