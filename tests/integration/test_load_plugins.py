"""The examples of the plugins that go by usage, applied with kubectl to a simulated cluster."""

import json
import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import yaml
from flask import Flask
from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.edge.serve import Server
from kube.edge.settings import Interval, ServerSettings
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.configuration import read_configuration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_registry
from scheduler.settings import SchedulerSettings, UsageSettings
from scheduler.simulator.cluster import KUBELET_ANNOTATION
from tests.simulator_program import serving, wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH"),
]

EXAMPLES = Path(__file__).parents[2] / "config" / "examples" / "plugins"
POWER = {
    "nodePowerModel": {
        "n1": {"k0": 50, "k1": 10, "k2": 0.02},
        "n2": {"k0": 80, "k1": 40, "k2": 0.02},
    }
}
HOT = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "hot",
        "annotations": {
            "simulator.ai-scheduler/usage": json.dumps({"cpu": "450m", "memory": "200Mi"})
        },
    },
    "spec": {
        "nodeName": "n1",
        "containers": [
            {
                "name": "app",
                "image": "nginx",
                "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "4"}},
            }
        ],
    },
}
"""Uses many times what it requests, on n1, and may use all of the machine.

By the hour of the day and by chance it uses up to twice the given cpu: with the example on top, the
node must stay below the 40 % to which TargetLoadPacking fills it.
"""

SMALL = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "small", "annotations": {KUBELET_ANNOTATION: "true"}},
    "status": {"capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"}},
}


@pytest.fixture(scope="module")
def server():
    # Of this seed, neither node has daemons of its own that use much.
    with serving("--nodes=2", "--speed=30", "--seed=1") as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "no")}

    def run(*arguments, given=None):
        done = subprocess.run(
            ["kubectl", "--server", server.url, *arguments],
            env=environment,
            input=None if given is None else json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return run


@pytest.fixture(scope="module")
def hot(server, kubectl):
    """Make n1 use about a fifth of its cpu, and n2 next to nothing."""
    kubectl("apply", "-f", "-", given=HOT)
    wait_for(lambda: used(server).get("n1", 0) > 500)


def used(server):
    items = server.items("/apis/metrics.k8s.io/v1beta1/nodes")
    return {
        item["metadata"]["name"]: int(item["usage"]["cpu"].removesuffix("n")) / 1e6
        if item["usage"]["cpu"].endswith("n")
        else int(item["usage"]["cpu"].removesuffix("m"))
        for item in items
    }


@contextmanager
def scheduling(server, plugin, args):
    """Schedule by the default filters and one plugin's scores; begin when usage is known."""
    only = {"enabled": [{"name": plugin}], "disabled": [{"name": "*"}]}
    profile = {
        "schedulerName": scheduler_name(plugin),
        "plugins": {"preScore": {"disabled": [{"name": "*"}]}, "score": only},
        "pluginConfig": [{"name": plugin, "args": args}],
    }
    registry = built_in_registry()
    configuration = read_configuration(
        {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "profiles": [profile],
        },
        registry=registry,
    )
    engine = Engine(make_profiles(configuration, registry=registry), settings=EngineSettings())
    usage = UsageSettings(provider="metrics.k8s.io", interval=Interval(0.1))
    with (
        Client.for_url(server.url) as client,
        ClusterShell(
            client,
            engine=engine,
            settings=msgspec.structs.replace(SchedulerSettings(), usage=usage),
            metrics=Metrics(CollectorRegistry()),
            rng=random.Random(1),
        ) as shell,
    ):
        wait_for(lambda: not shell.not_ready())
        if engine.reads_usage:
            wait_for(lambda: is_settled(engine.snapshot))
        yield


def is_settled(snapshot):
    """Whether usage is known, and shows all pods: none is in its first minute."""
    return snapshot.is_measured.sum() >= 2 and not snapshot.unseen.present()


@pytest.mark.parametrize(
    ("plugin", "args", "node"),
    [
        pytest.param("TargetLoadPacking", {}, "n1", id="nearest to the target"),
        pytest.param("LoadVariationRiskBalancing", {}, "n2", id="least used"),
        pytest.param("LowRiskOverCommitment", {}, "n2", id="least promised"),
        pytest.param("Peaks", POWER, "n1", id="least power"),
    ],
)
@pytest.mark.usefixtures("hot")
def test_the_example_of_a_plugin_goes_where_its_rule_says(server, kubectl, plugin, args, node):
    with scheduling(server, plugin, args):
        assert node_of_example(kubectl, plugin) == node


@contextmanager
def load_watcher(client, **percent):
    """A load-watcher that says how much of each node's cpu is used now."""
    app = Flask("load-watcher")

    @app.get("/watcher")
    def watcher():
        now_s = client.now_s()
        metrics = {
            name: {
                "metrics": [
                    {"type": "CPU", "operator": "Latest", "value": cpu},
                    {"type": "Memory", "operator": "Latest", "value": 10},
                ]
            }
            for name, cpu in percent.items()
        }
        return {"window": {"start": now_s, "end": now_s}, "data": {"NodeMetricsMap": metrics}}

    with Server(app, settings=ServerSettings()) as running:
        yield running.url


@pytest.mark.usefixtures("hot")
def test_a_plugin_that_names_a_load_watcher_goes_by_what_that_says(server, kubectl):
    plugin = "TargetLoadPacking"
    with Client.for_url(server.url) as client, load_watcher(client, n1=3, n2=30) as url:
        client.get("/version")
        with scheduling(server, plugin, {"watcherAddress": url}):
            assert node_of_example(kubectl, plugin) == "n2"


@pytest.mark.parametrize(("mode", "nodes"), [("Least", {"small"}), ("Most", {"n1", "n2"})])
def test_the_example_of_sizes_goes_to_the_smallest_or_the_largest(server, kubectl, mode, nodes):
    plugin = "NodeResourcesAllocatable"
    kubectl("apply", "-f", "-", given=SMALL)
    try:
        wait_for(lambda: "Ready" in kubectl("get", "node", "small").split())
        with scheduling(server, plugin, {"mode": mode}):
            assert node_of_example(kubectl, plugin) in nodes
    finally:
        kubectl("delete", "node", "small")


def scheduler_name(plugin):
    return yaml.safe_load((EXAMPLES / f"{plugin}.yaml").read_text())["spec"]["schedulerName"]


def node_of_example(kubectl, plugin):
    path = str(EXAMPLES / f"{plugin}.yaml")
    kubectl("apply", "-f", path)
    try:
        return wait_for(lambda: kubectl("get", "-f", path, "-o", "jsonpath={.spec.nodeName}"))
    finally:
        kubectl("delete", "--now", "-f", path)
