"""The profiles of ``network-aware``, by the examples of their plugins."""

import random
import re
import socket
import time
from contextlib import closing, contextmanager

import pytest
from flask import Flask, request
from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.edge.serve import Server
from kube.edge.settings import ServerSettings
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.cluster.usage.measures import MeasureSource
from scheduler.cluster.usage.source import UsageError
from scheduler.engine import Engine, EngineSettings
from scheduler.events import MeasureTaken
from scheduler.framework.configuration import read_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.network.network_traffic import NetworkTraffic, NetworkTrafficArgs
from scheduler.settings import PrometheusUsageSettings, SchedulerSettings
from tests.fakes import FakeApiServer
from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, PROFILES, cluster, scheduling
from tests.prometheus import NoPrometheusError, prometheus_server
from tests.simulator_program import wait_for

pytestmark = pytest.mark.integration
needs_kubectl = pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH")

PLACES = {"n1": ("west", "west-a"), "n2": ("east", "east-a"), "n3": ("east", "east-b")}
REGIONS = {node: region for node, (region, _) in PLACES.items()}


@pytest.fixture
def kubectl(tmp_path):
    with cluster(tmp_path, "--nodes=3") as cli:
        for node, (region, zone) in PLACES.items():
            key = "topology.kubernetes.io"
            labels = f"{key}/region={region}", f"{key}/zone={zone}"
            cli("label", "--overwrite", "node", node, *labels)
        yield cli


def example(plugin):
    return str(EXAMPLES / f"{plugin}.yaml")


@needs_kubectl
def test_an_application_is_together_and_says_how_far_it_is(kubectl):
    kubectl("apply", "-f", example("NetworkOverhead"))
    wait_for(lambda: len(kubectl.items("pods")) == 5)

    with scheduling(kubectl.url, "network-aware") as shell:
        wait_for(lambda: len(kubectl.bound()) == 5)
        wait_for(lambda: status_of(kubectl).get("runningWorkloads") == 3)
        order = [each.key for each in reversed(shell.decisions.latest(5))]

    status = status_of(kubectl)
    assert len({REGIONS[pod["spec"]["nodeName"]] for pod in kubectl.bound()}) == 1
    assert parts(order) == ["database", "api", "api", "frontend", "frontend"]
    assert [(each["index"], each["workload"]["name"]) for each in status["topologyOrder"]] == [
        (1, "database"),
        (2, "api"),
        (3, "frontend"),
    ]
    assert status["topologyCalculationTime"]


def parts(keys):
    return [re.match(r"default/([a-z]+)", key)[1] for key in keys]


def status_of(kubectl):
    [group] = kubectl.items("appgroups")
    return group.get("status", {})


@needs_kubectl
def test_who_is_needed_goes_first_though_it_came_last(kubectl):
    kubectl("apply", "-f", example("TopologicalSort"))

    with scheduling(kubectl.url, "network-aware") as shell:
        wait_for(lambda: len(kubectl.bound()) == 3)
        order = [each.key for each in reversed(shell.decisions.latest(3))]

    assert parts(order) == ["store", "clean", "collect"]


@contextmanager
def telling(received):
    """A Prometheus that gives one answer, and remembers what it was asked."""
    asked = []
    app = Flask("prometheus")

    @app.get("/api/v1/query")
    def query():
        asked.append(request.args["query"])
        vector = [
            {"metric": {"kubernetes_node": node}, "value": [time.time(), str(value)]}
            for node, value in received.items()
        ]
        return {"status": "success", "data": {"resultType": "vector", "result": vector}}

    with Server(app, settings=ServerSettings()) as running:
        running.asked = asked
        yield running


def n_known(shell):
    [measure] = shell._engine.measures
    return shell._engine.snapshot.measured(measure)[1].sum()


@needs_kubectl
def test_pods_that_receive_much_go_where_little_is_received(kubectl, tmp_path):
    shipped = (PROFILES / "network-aware.yaml").read_text()
    with telling({"n1": 9_000_000, "n2": 100, "n3": 8_000_000}) as prometheus:
        mine = shipped.replace("http://127.0.0.1:9090", prometheus.url)
        (tmp_path / "mine.yaml").write_text(mine)
        with scheduling(kubectl.url, str(tmp_path / "mine")) as shell:
            wait_for(lambda: n_known(shell) == 3)
            kubectl("apply", "-f", example("NetworkTraffic"))
            wait_for(lambda: len(kubectl.bound()) == 2)

    assert {pod["spec"]["nodeName"] for pod in kubectl.bound()} == {"n2"}
    assert set(prometheus.asked) == {
        'sum by (kubernetes_node) (increase(node_network_receive_bytes_total{device="eth0"}[5m]))'
    }


@needs_kubectl
def test_without_prometheus_the_other_plugins_decide(kubectl):
    with scheduling(kubectl.url, "network-aware"):
        kubectl("apply", "-f", example("NetworkTraffic"))

        wait_for(lambda: len(kubectl.bound()) == 2)


def test_a_token_for_one_prometheus_is_not_sent_to_another():
    sent = {}

    def prometheus(name):
        app = Flask(name)

        @app.get("/api/v1/query")
        def query():
            sent.setdefault(name, request.headers.get("Authorization"))
            return {"status": "success", "data": {"resultType": "vector", "result": []}}

        return Server(app, settings=ServerSettings())

    with FakeApiServer() as api, prometheus("usage") as usage, prometheus("traffic") as traffic:
        registry = built_in_registry()
        provider = {"type": "Prometheus", "address": usage.url, "token": "secret"}
        arguments = {
            "TargetLoadPacking": {"metricProvider": provider},
            "NetworkTraffic": {"prometheusAddress": traffic.url},
        }
        profile = {
            "plugins": {"score": {"enabled": [{"name": name} for name in arguments]}},
            "pluginConfig": [{"name": name, "args": args} for name, args in arguments.items()],
        }
        document = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [profile],
        }
        configuration = read_configuration(document, registry=registry)
        with (
            Client.for_url(api.url) as client,
            ClusterShell(
                client,
                engine=Engine(
                    make_profiles(configuration, registry=registry), settings=EngineSettings()
                ),
                settings=SchedulerSettings(),
                metrics=Metrics(CollectorRegistry()),
                rng=random.Random(1),
            ),
        ):
            wait_for(lambda: len(sent) == 2)

    assert sent == {"usage": "Bearer secret", "traffic": None}


# ---------------------------------------------------------------------------- Prometheus itself


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def received(now_s, *, rebooted=(), **rates):
    """Write OpenMetrics: what nodes have received by two interfaces over the last half hour.

    Args:
        now_s: When it ends.
        rebooted: Nodes that count from 0 again since two minutes ago.
        rates: By node, bytes per second by eth0; a million bytes were received long before.
    """
    metric = "node_network_receive_bytes"
    lines = [f"# TYPE {metric} counter"]
    for node, rate in rates.items():
        for device, factor in (("eth0", 1), ("lo", 1000)):
            for age_s in range(1800, -1, -15):
                labels = f'kubernetes_node="{node}",device="{device}"'
                is_anew = node in rebooted and age_s < 120
                before, since_s = (0, 120) if is_anew else (1_000_000, 1800)
                total = before + factor * rate * (since_s - age_s)
                lines.append(f"{metric}_total{{{labels}}} {total} {now_s - age_s}")
    return "\n".join([*lines, "# EOF\n"])


def test_prometheus_tells_what_one_interface_received_in_the_time_and_its_outage_is_an_error():
    now_s = int(time.time()) // 60 * 60 - 3600
    history = received(now_s, n1=1000, n2=0, n3=1000, rebooted={"n3"})
    port = free_port()
    args = NetworkTrafficArgs(
        prometheus_address=f"http://127.0.0.1:{port}", network_interface="eth0"
    )
    [measure] = NetworkTraffic(args).measures
    settings = PrometheusUsageSettings()

    with closing(MeasureSource(measure, settings=settings, now_s=lambda: now_s)) as source:
        with pytest.raises(UsageError, match="does not answer"):
            source.measure()
        try:
            with prometheus_server(port, history=history):
                taken = source.measure()
        except NoPrometheusError as error:
            pytest.skip(str(error))

    assert source.nothing == MeasureTaken(measure, {})
    assert taken.values["n2"] == 0
    assert taken.values["n1"] == pytest.approx(300_000, rel=0.01)
    # What was received up to the reboot after the last look at it is lost; nothing is made up.
    assert taken.values["n3"] == pytest.approx(300_000, rel=0.06)
