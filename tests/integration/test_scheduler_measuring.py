"""Nodes' usage, asked over real HTTP of those who tell it."""

import json
import math
import random
import socket
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from flask import Flask, Response, request

from collector.answers import Metrics
from collector.cluster_view import ClusterView
from collector.facts import NodeFacts
from collector.history import History
from collector.samples import NodeSample
from collector.usage_windows import metrics_of
from kube.client import Client
from kube.edge.serve import Server
from kube.edge.settings import Interval, ServerSettings
from scheduler.cluster.measuring import Gauge
from scheduler.cluster.usage.choice import make_source
from scheduler.cluster.usage.source import UsageError
from scheduler.events import NodesMeasured, UtilizationMeasured
from scheduler.model import Usage, UsageWindow, Utilization
from scheduler.settings import PrometheusUsageSettings, UsageSettings
from tests.fakes import FakeApiServer, refusal
from tests.prometheus import NoPrometheusError, prometheus_server

METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"
GI = 2**30
WAIT_S = 60.0


@pytest.fixture
def server():
    with FakeApiServer() as running:
        yield running


@pytest.fixture
def client(server):
    with Client.for_url(server.url) as client:
        yield client


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(look, what, *, until=bool):
    deadline_s = time.monotonic() + WAIT_S
    while not until(found := look()):
        assert time.monotonic() < deadline_s, f"not within {WAIT_S} s: {what}; last: {found}"
        time.sleep(0.02)
    return found


@contextmanager
def asking(client, **settings):
    with closing(make_source(UsageSettings(**settings), client=client)) as source:
        yield source


@contextmanager
def gauging(source, client, *, heard, looks):
    gauge = Gauge(
        source,
        interval_s=0.01,
        deliver=heard.append,
        on_looked=looks.append,
        now_s=client.now_s,
        rng=random.Random(1),
    )
    gauge.start()
    try:
        yield gauge
    finally:
        gauge.stop()
        wait_for(lambda: not gauge.is_alive, "the thread's end")


# -------------------------------------------------------------------------- metrics.k8s.io


def put_sample(server, name, *, cpu="250m", memory="1Gi", age_s=0.0):
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    usage = {"cpu": cpu, "memory": memory}
    server.put(METRICS, {"metadata": {"name": name}, "timestamp": at.isoformat(), "usage": usage})
    return at.timestamp()


def test_samples_that_are_old_or_cannot_be_read_are_left_out(server, client):
    at_s = put_sample(server, "n1")
    put_sample(server, "n2", cpu="lots")
    put_sample(server, "n3", age_s=3600)

    with asking(client, provider="metrics.k8s.io") as source:
        measured = source.measure()

    usage = Usage(250, GI)
    assert measured == NodesMeasured({"n1": usage}, {"n1": UsageWindow(usage, None, at_s, at_s)})


@pytest.mark.parametrize(
    ("cpu", "memory", "usage"),
    [
        ("123456789n", "2048Ki", Usage(124, 2 * 2**20)),
        ("12u", "1500000k", Usage(1, 1_500_000_000)),
        ("2", "1Gi", Usage(2000, GI)),
        ("0", "0", Usage(0, 0)),
        pytest.param("-5m", "1Gi", None, id="less than nothing"),
        pytest.param("250m", "9e30", None, id="more than there can be"),
    ],
)
def test_a_metrics_servers_amounts_are_read_in_their_units(server, client, cpu, memory, usage):
    put_sample(server, "n1", cpu=cpu, memory=memory)

    with asking(client, provider="metrics.k8s.io") as source:
        measured = source.measure()

    assert measured.usage == ({} if usage is None else {"n1": usage})


def test_an_outage_of_metrics_is_no_answer(server, client):
    server.fail_next(refusal(503, "no metrics"), path=METRICS, times=100)

    with asking(client, provider="metrics.k8s.io") as source, pytest.raises(UsageError):
        source.measure()


def test_the_gauge_measures_again_and_again_and_outlives_an_outage(server, client):
    put_sample(server, "n1")
    heard, looks = [], []
    server.fail_next(refusal(404, "no such API"), path=METRICS)

    with (
        asking(client, provider="metrics.k8s.io") as source,
        gauging(source, client, heard=heard, looks=looks) as gauge,
    ):
        wait_for(lambda: len(heard) >= 2, "two samples")
        assert gauge.is_alive

    assert heard[0].usage == {"n1": Usage(250, GI)}
    assert looks[:3] == ["unavailable", "answered", "answered"]


# ------------------------------------------------------------------------------ collector


class FakeCollector:
    """The collector's own answer, from a view that a test fills; or another."""

    def __init__(self):
        history = History(
            half_life_s=1.0,
            stability_half_life_s=1.0,
            keep_s=1.0,
            prior_failure_rate=0.1,
            prior_weight=1.0,
        )
        self.view = ClusterView(history, version=1)
        self.answer = None
        self.windows = []
        self.now_s = time.time()

    def node(self, name, *cpu_milli, age_s=0.0):
        """Sample a node every 30 s, the last time *age_s* ago."""
        facts = NodeFacts(
            name=name,
            is_ready=True,
            is_schedulable=True,
            taints=(),
            pressures=(),
            allocatable_cpu_milli=4000,
            allocatable_memory_bytes=8 * GI,
            allocatable_pods=110,
        )
        self.view.put_node(facts)
        last = len(cpu_milli) - 1
        for i, milli in enumerate(cpu_milli):
            at_s = self.now_s - age_s - 30.0 * (last - i)
            self.view.take_node_sample(NodeSample(name, at_s, milli, GI))

    def app(self):
        app = Flask("collector")

        @app.get("/api/v1/metrics")
        def metrics():
            self.windows.append(request.args["window"])
            if self.answer is not None:
                return Response(self.answer[1], status=self.answer[0])
            told = metrics_of(
                self.view,
                at_s=self.now_s,
                now_s=self.now_s,
                window_s=float(request.args["window"]),
            )
            assert isinstance(told, Metrics)
            return Response(msgspec.json.encode(told), mimetype="application/json")

        return app


@pytest.fixture
def collector():
    fake = FakeCollector()
    with Server(fake.app(), settings=ServerSettings()) as running:
        fake.url = running.url
        yield fake


def test_the_collector_tells_mean_and_deviation(client, collector):
    collector.node("n1", 100, 200, 600)
    collector.node("n2", 500)
    collector.node("n3", 500, age_s=600)
    collector.node("n4")

    with asking(client, url=collector.url, window=Interval(600)) as source:
        measured = source.measure()

    now_s = collector.now_s
    assert measured.usage == {"n1": Usage(600, GI), "n2": Usage(500, GI)}
    assert measured.windows["n1"] == UsageWindow(
        Usage(300, GI), Usage(round(math.sqrt(140_000 / 3)), 0), now_s - 60, now_s
    )
    assert measured.windows["n2"] == UsageWindow(Usage(500, GI), None, now_s, now_s)
    assert collector.windows == ["600"]


def test_of_a_collector_that_tells_no_window_the_last_sample_is_one(client, collector):
    now_s = client.now_s()
    sample = {"usage_cpu_milli": 100, "usage_memory_bytes": 1, "sampled_at_s": now_s}
    node = {"name": "n1", **sample, "window": None}
    collector.answer = (200, json.dumps({"nodes": [node]}))

    with asking(client, url=collector.url) as source:
        measured = source.measure()

    assert measured.windows == {"n1": UsageWindow(Usage(100, 1), None, now_s, now_s)}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((503, '{"title": "Not ready"}'), "HTTP 503: .*Not ready"),
        ((302, ""), "HTTP 302"),
        ((200, "<html>"), "malformed"),
        ((200, '{"items": []}'), "malformed"),
        ((200, '{"nodes": [{"usage_cpu_milli": 3}]}'), "malformed"),
    ],
)
def test_an_outage_of_the_collector_is_no_answer(client, collector, answer, message):
    collector.answer = answer

    with asking(client, url=collector.url) as source, pytest.raises(UsageError, match=message):
        source.measure()


def test_nobody_there_is_no_answer(client):
    with (
        asking(client, url=f"http://127.0.0.1:{free_port()}") as source,
        pytest.raises(UsageError, match="does not answer"),
    ):
        source.measure()


def test_an_outage_ends_what_is_known_only_after_minutes_and_recovery_brings_it_back(
    server, collector
):
    """The cluster's clock is what counts: here a test turns it."""
    collector.node("n1", 100)
    heard, clock = [], {"ahead_s": 0.0}

    class Clocked:
        def now_s(self):
            return collector.now_s + clock["ahead_s"]

    with (
        asking(Clocked(), url=collector.url) as source,
        gauging(source, Clocked(), heard=heard, looks=[]),
    ):
        wait_for(lambda: heard, "a sample")
        collector.answer = (503, "")
        n_asked = len(collector.windows)
        wait_for(lambda: len(collector.windows) > n_asked + 2, "attempts that fail")
        n_heard = len(heard)
        wait_for(lambda: len(collector.windows) > n_asked + 5, "more of them")
        is_silent = len(heard) == n_heard
        clock["ahead_s"] = 301.0
        wait_for(lambda: heard[-1] == NodesMeasured({}), "nothing to be known")
        clock["ahead_s"], collector.answer = 0.0, None
        wait_for(lambda: heard[-1].usage, "recovery")

    assert is_silent
    assert heard[-1].usage == {"n1": Usage(100, GI)}


# ------------------------------------------------------------------------------ load-watcher


def watched(now_s, nodes, *, age_s=0.0):
    """Write what a load-watcher says; metrics as (type, operator, percent)."""
    return {
        "timestamp": int(now_s),
        "window": {"duration": "15m", "start": now_s - age_s - 900, "end": now_s - age_s},
        "source": "Prometheus",
        "data": {
            "NodeMetricsMap": {
                name: {
                    "metrics": [
                        {"name": "m", "type": t, "operator": o, "rollup": "15m", "value": v}
                        for t, o, v in metrics
                    ],
                    "tags": {},
                    "metadata": {"dataCenter": ""},
                }
                for name, metrics in nodes.items()
            }
        },
    }


@contextmanager
def load_watcher(answer, *, status=200):
    app = Flask("load-watcher")

    @app.get("/watcher")
    def watcher():
        return Response(answer if isinstance(answer, str) else json.dumps(answer), status=status)

    with Server(app, settings=ServerSettings()) as running:
        yield running.url


def test_a_load_watcher_tells_percentages_of_machines(client):
    now_s = client.now_s()
    nodes = {
        "n1": [
            ("CPU", "AVG", 25.0),
            ("CPU", "STD", 5.0),
            ("CPU", "Latest", 99.0),
            ("Memory", "AVG", 50.0),
            ("Memory", "STD", 0.5),
            ("Energy", "AVG", 7.0),
        ],
        "latest": [("CPU", "Latest", 10), ("Memory", "Latest", 20)],
        "no-memory": [("CPU", "AVG", 10)],
        "odd": [("CPU", "AVG", -3), ("Memory", "AVG", 1e9)],
    }

    with (
        load_watcher(watched(now_s, nodes)) as url,
        asking(client, provider="load-watcher", watcher_url=url) as source,
    ):
        told = source.measure()

    assert told == UtilizationMeasured(
        {"n1": Utilization(0.25, 0.5), "latest": Utilization(0.1, 0.2)},
        {"n1": Utilization(0.05, 0.005)},
        start_s=now_s - 900,
        end_s=now_s,
    )


NODES = {"n1": [("CPU", "AVG", 1.0), ("Memory", "AVG", 1.0)]}


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        pytest.param("nothing there", 404, "HTTP 404: nothing there", id="refusal"),
        pytest.param("<html>", 200, "malformed", id="another program"),
        pytest.param({"data": {"NodeMetricsMap": {}}}, 200, "malformed", id="no window"),
        pytest.param(watched(0.0, NODES), 200, "figures are .* s old", id="stale"),
        pytest.param(watched(9e9, {}), 200, "of no node", id="empty"),
        pytest.param(watched(9e9, {"n1": []}), 200, "of no node", id="nothing of a node"),
    ],
)
def test_an_outage_of_the_load_watcher_is_no_answer(client, answer, status, message):
    with (
        load_watcher(answer, status=status) as url,
        asking(client, provider="load-watcher", watcher_url=url) as source,
        pytest.raises(UsageError, match=message),
    ):
        source.measure()


# ------------------------------------------------------------------------------ Prometheus


def history_of(now_s, *, nodes):
    """Write OpenMetrics: each node's cpu over the last half hour, by minutes, and 1 GiB.

    Args:
        now_s: When it ends.
        nodes: By name, cores used before and since a quarter of an hour ago.
    """
    start_s = now_s - 1800
    cpu, memory = [], []
    for name, (before, since) in nodes.items():
        total = 0.0
        for at_s in range(start_s, now_s + 1, 15):
            cpu.append(f'node_cpu_usage_seconds_total{{node="{name}"}} {total} {at_s}')
            memory.append(f'node_memory_working_set_bytes{{node="{name}"}} {GI} {at_s}')
            total += 15 * (before if at_s < now_s - 900 else since)
    head = "# TYPE {} {}"
    return "\n".join(
        [
            head.format("node_cpu_usage_seconds", "counter"),
            *cpu,
            head.format("node_memory_working_set_bytes", "gauge"),
            *memory,
            "# EOF\n",
        ]
    )


@contextmanager
def prometheus_with(history, *, port=None):
    try:
        with prometheus_server(port or free_port(), history=history) as url:
            yield url
    except NoPrometheusError as error:
        pytest.skip(str(error))


class ClockAt:
    """A cluster whose time stands still."""

    def __init__(self, now_s):
        self._now_s = float(now_s)

    def now_s(self):
        return self._now_s


def test_prometheus_tells_mean_and_deviation_and_its_outage_ends():
    now_s = int(time.time()) // 60 * 60 - 3600
    history = history_of(now_s, nodes={"n1": (0.5, 0.5), "n2": (1.0, 2.0)})
    port = free_port()

    def source_of(url, window_s):
        settings = PrometheusUsageSettings(url=url)
        return asking(
            ClockAt(now_s), provider="prometheus", prometheus=settings, window=Interval(window_s)
        )

    with prometheus_with(history, port=port) as url:
        with source_of(url, 600) as source:
            steady = source.measure()
        with source_of(url, 900) as source:
            long = source.measure()
    with source_of(url, 900) as source:
        with pytest.raises(UsageError, match="does not answer"):
            source.measure()
        with prometheus_with(history, port=port):
            again = source.measure()

    assert steady.usage == {"n1": Usage(500, GI), "n2": Usage(2000, GI)}
    assert steady.windows["n2"] == UsageWindow(Usage(2000, GI), Usage(0, 0), now_s - 600, now_s)
    # The first rates of the quarter of an hour still hold some of what was before.
    n1, n2 = (long.windows[name] for name in ("n1", "n2"))
    assert (n1.mean.cpu_milli, n1.std) == (500, Usage(0, 0))
    assert 1850 <= n2.mean.cpu_milli < 2000
    assert 100 < n2.std.cpu_milli < 400
    assert again == long


def test_a_prometheus_without_figures_is_no_answer():
    now_s = int(time.time()) // 60 * 60 - 3600
    history = history_of(now_s - 1200, nodes={"n1": (0.5, 0.5)})

    with (
        prometheus_with(history) as url,
        asking(
            ClockAt(now_s), provider="prometheus", prometheus=PrometheusUsageSettings(url=url)
        ) as source,
        pytest.raises(UsageError, match="no figures of any node"),
    ):
        source.measure()


@contextmanager
def prometheus_saying(*, cpu, memory, keeps=True):
    """A Prometheus with these figures, by node, whatever is made of them over time.

    Args:
        cpu: As it writes them.
        memory: Likewise.
        keeps: Whether it has any of before.
    """
    app = Flask("prometheus")

    @app.get("/api/v1/query")
    def query():
        figures = cpu if "cpu" in request.args["query"] else memory
        if not keeps and "_over_time" in request.args["query"]:
            figures = {}
        result = [{"metric": {"node": n}, "value": [0, text]} for n, text in figures.items()]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}

    with Server(app, settings=ServerSettings()) as running:
        yield PrometheusUsageSettings(url=running.url)


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-1", "", "much", "1e300"])
def test_a_figure_that_is_none_leaves_its_node_out_and_no_other(client, text):
    figures = {"odd": text, "n1": "0.5"}

    with (
        prometheus_saying(cpu=figures, memory={"odd": "1", "n1": "2", "half": "3"}) as settings,
        asking(client, provider="prometheus", prometheus=settings) as source,
    ):
        measured = source.measure()

    assert measured.usage == {"n1": Usage(500, 2)}
    assert list(measured.windows) == ["n1"]


def test_where_prometheus_knows_nothing_of_before_the_last_figure_is_a_window(client):
    with (
        prometheus_saying(cpu={"n1": "1"}, memory={"n1": "2"}, keeps=False) as settings,
        asking(client, provider="prometheus", prometheus=settings) as source,
    ):
        window = source.measure().windows["n1"]

    assert (window.mean, window.std) == (Usage(1000, 2), None)
    assert window.start_s == window.end_s


def test_a_token_is_sent_to_prometheus(client):
    sent, asked = [], threading.Event()
    app = Flask("prometheus")

    @app.get("/api/v1/query")
    def query():
        sent.append(request.headers.get("Authorization"))
        asked.set()
        return {"status": "success", "data": {"resultType": "vector", "result": []}}

    with Server(app, settings=ServerSettings()) as running:
        settings = PrometheusUsageSettings(url=running.url, token="secret")
        with (
            asking(client, provider="prometheus", prometheus=settings) as source,
            pytest.raises(UsageError),
        ):
            source.measure()

    assert set(sent) == {"Bearer secret"}
