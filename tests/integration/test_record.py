"""A living cluster recorded over HTTP, and run again."""

import csv
import json
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests
import yaml

from collector.api import make_app
from collector.archive import Archive
from collector.collecting import Collector
from collector.database import open_database
from collector.settings import CollectorSettings, MetricsSettings, ScoringSettings
from collector.sources import MetricsApi
from collector.store import Store
from kube.client import Client
from kube.edge.serve import Server
from kube.edge.settings import Duration, ServerSettings
from kube.quantity import parse_milli, parse_whole
from scheduler.simulator.__main__ import main
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.scenario import load_scenario
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.resources import NODES
from scheduler.simulator.resources import PODS as PODS_RESOURCE
from scheduler.simulator.traces.tables import read_nodes, read_pods
from tests.fakes import FakeApiServer
from tests.simulator_program import serving, wait_for

pytestmark = pytest.mark.integration

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SECRET = "swordfish"
HEALTHY = """
name: healthy
nodes: [{name: alike, count: 3, memory: 8Gi}]
"""
"""Nodes on which nothing crashes, whatever the hour."""


def container(**fields):
    requests_ = {"cpu": "300m", "memory": "256Mi"}
    return {
        "name": "app",
        "image": "registry.example/app:1",
        "env": [{"name": "PASSWORD", "value": SECRET}],
        "resources": {"requests": requests_, "limits": {"cpu": "1", "memory": "1Gi"}},
        **fields,
    }


def work(name, *, run_s):
    return {
        "metadata": {
            "name": name,
            "annotations": {
                "simulator.ai-scheduler/usage": json.dumps(
                    {"run_s": run_s, "startup_s": 1, "crash_per_hour": 0}
                ),
                "owner": SECRET,
            },
        },
        "spec": {"restartPolicy": "Never", "priority": None, "containers": [container()]},
    }


def deployment(name="web", *, replicas=2):
    labels = {"app": name}
    spec = {"containers": [container()], "nodeSelector": {"kubernetes.io/os": "linux"}}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"priority": "7", "owner": SECRET}},
                "spec": spec,
            },
        },
    }


def bind_all(program):
    """Give every waiting pod a node; tell how many pods there are."""
    pods = program.items(PODS)
    for i, pod in enumerate(pods):
        if "nodeName" not in pod["spec"]:
            target = {"kind": "Node", "name": f"n{i % 3 + 1}"}
            name = pod["metadata"]["name"]
            body = {"metadata": {"name": name}, "target": target}
            program.post(f"{PODS}/{name}/binding", body).raise_for_status()
    return len(pods)


@contextmanager
def collecting(url, folder):
    """A collector with its HTTP interface, whose upkeep a test does itself."""
    with ExitStack() as stack:
        database = open_database(f"sqlite:///{folder}/collector.db", now_text="now")
        stack.callback(database.close)
        client = stack.enter_context(Client.for_url(url))
        collector = Collector(
            client,
            source=MetricsApi(client),
            store=Store(database, first_seq=1),
            archive=Archive(database, raw_s=6 * 3600.0, keep_s=168 * 3600.0),
            settings=CollectorSettings(
                metrics=MetricsSettings(collection_interval=Duration(0.2)),
                # In fast time, a busy machine sees placements minutes late.
                scoring=ScoringSettings(placement_max_lag=Duration(86_400.0)),
            ),
        )
        stack.enter_context(collector)
        server = stack.enter_context(Server(make_app(collector), settings=ServerSettings()))
        wait_for(lambda: requests.get(f"{server.url}/readyz", timeout=10).ok)
        yield collector, server.url


def has_ended(collector_url, name):
    items = requests.get(f"{collector_url}/api/v1/placements", timeout=10).json()["items"]
    return any(p["pod_name"] == name and p["ended_at_s"] for p in items)


def has_usage(collector, url):
    collector._maintain()
    month_ago_s = time.time() - 30 * 86_400
    return all(
        requests.get(
            f"{url}/api/v1/workloads/default/{workload}/history?start={month_ago_s}", timeout=10
        ).json()["points"]
        for workload in ("Deployment/web", "Pod/long")
    )


def record(kubeconfig, *options):
    return main(["record", "--kubeconfig", str(kubeconfig), *map(str, options)])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What was there, and what was recorded of it: under its own names, and under none."""
    folder = tmp_path_factory.mktemp("recorded")
    kubeconfig, scenario = folder / "kubeconfig", folder / "healthy.yaml"
    scenario.write_text(HEALTHY)
    serve = ("--speed=150", f"--scenario={scenario}", f"--write-kubeconfig={kubeconfig}")
    with serving(*serve) as program, collecting(program.url, folder) as (collector, url):
        program.post(DEPLOYMENTS, deployment()).raise_for_status()
        program.post(PODS, work("short", run_s=60)).raise_for_status()
        program.post(PODS, work("long", run_s=86_400)).raise_for_status()
        wait_for(lambda: len(program.items(PODS)) == 4)
        bind_all(program)
        phase = "status.phase=Succeeded"
        wait_for(lambda: program.items(f"{PODS}?fieldSelector={phase}"))
        requests.delete(f"{program.url}{PODS}/short", timeout=10).raise_for_status()
        wait_for(lambda: has_ended(url, "short"))
        wait_for(lambda: has_usage(collector, url))
        options = ("--collector", url)
        assert record(kubeconfig, *options, "--out", folder / "open") == 0
        assert record(kubeconfig, *options, "--out", folder / "masked", "--anonymise") == 0
        nodes, pods = program.items("/api/v1/nodes"), program.items(PODS)
    return {"folder": folder, "nodes": nodes, "pods": pods}


def test_the_nodes_are_those_of_the_api_server(recorded):
    rows = read_nodes(recorded["folder"] / "open" / "nodes.csv")

    assert [
        (row.name, row.cpu_milli, row.allocatable_cpu_milli, row.allocatable_memory_bytes)
        for row in rows
    ] == [
        (
            node["metadata"]["name"],
            parse_milli(node["status"]["capacity"]["cpu"]),
            parse_milli(node["status"]["allocatable"]["cpu"]),
            parse_whole(node["status"]["allocatable"]["memory"]),
        )
        for node in recorded["nodes"]
    ]
    assert [row.label_map for row in rows] == [n["metadata"]["labels"] for n in recorded["nodes"]]


def test_the_pods_are_those_that_are_there_and_those_that_are_gone(recorded):
    rows = {row.name: row for row in read_pods(recorded["folder"] / "open" / "pods.csv")}
    there = {pod["metadata"]["name"]: pod for pod in recorded["pods"]}

    assert set(rows) == {*there, "short"}
    assert {(row.cpu_request_milli, row.memory_request_bytes) for row in rows.values()} == {
        (300, 256 * 2**20)
    }
    for name, pod in there.items():
        assert rows[name].node == pod["spec"]["nodeName"]
        assert (rows[name].run_s, rows[name].ended_at_s) == (None, None)
        assert (rows[name].cpu_limit_milli, rows[name].memory_limit_bytes) == (1000, 2**30)
    web = next(row for name, row in rows.items() if name.startswith("web-"))
    assert (web.kind, web.workload, web.priority) == ("Deployment", "web", 7)
    assert web.constraint_fields == {"nodeSelector": {"kubernetes.io/os": "linux"}}
    assert 50 < rows["short"].run_s < 300  # pulled and started, worked for a minute
    assert rows["short"].created_at_s <= rows["short"].placed_at_s


def test_no_secret_gets_into_the_files(recorded):
    for file in recorded["folder"].glob("*/*"):
        assert SECRET not in file.read_text()


def test_what_was_used_is_there_by_workload(recorded):
    with (recorded["folder"] / "open" / "usage.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (recorded["folder"] / "open" / "node_usage.csv").open() as file:
        of_nodes = list(csv.DictReader(file))

    assert {"default/Deployment/web", "default/Pod/long"} <= {row["name"] for row in rows}
    assert all(0 < float(row["memory_ratio"]) < 10 for row in rows)
    assert {row["name"] for row in of_nodes} == {"n1", "n2", "n3"}


def test_nothing_tells_who_was_recorded_if_nobody_shall_know(recorded):
    folder = recorded["folder"] / "masked"
    text = "".join(file.read_text() for file in folder.glob("*.csv"))
    names = [p["metadata"]["name"] for p in recorded["pods"]]
    as_is, masked = (
        read_pods(recorded["folder"] / name / "pods.csv") for name in ("open", "masked")
    )

    assert not [name for name in (*names, "default", "web", "n1,", "n2,") if name in text]
    assert [(row.created_at_s, row.kind, row.cpu_request_milli) for row in masked] == [
        (row.created_at_s, row.kind, row.cpu_request_milli) for row in as_is
    ]


@pytest.mark.parametrize("name", ["open", "masked"])
def test_what_was_recorded_runs_again(recorded, name, capsys):
    path = recorded["folder"] / name / "scenario.yaml"
    scenario = yaml.safe_load(path.read_text())

    code = main(["evaluate", "--scenario", str(path), "--policies", "kube-default", "--seeds=1"])

    assert scenario["recording"] == {
        "nodes": "nodes.csv",
        "pods": "pods.csv",
        "usage": "usage.csv",
    }
    assert code == 0
    assert "seed 0 kube-default" in capsys.readouterr().out


def test_run_again_the_cluster_comes_to_be_as_it_was(recorded):
    site = Site(load_scenario(recorded["folder"] / "open" / "scenario.yaml"), seed=1)
    observer = Observer(site.scenario.observation, start_s=site.now_s)
    Run(site, observer=observer, policy=policy_of("kube-default")).advance(site.end_s)
    pods = site.store.list(PODS_RESOURCE, "default")

    def requested(pods):
        return sorted(json.dumps(p["spec"]["containers"][0]["resources"]) for p in pods)

    there = [pod for pod in pods if pod["metadata"]["name"] != "short"]
    assert {n["metadata"]["name"] for n in site.store.list(NODES)} == {"n1", "n2", "n3"}
    assert [pod["spec"]["nodeName"] in {"n1", "n2", "n3"} for pod in pods] == [True] * len(pods)
    assert len(there) == len(recorded["pods"]) == 3
    assert {pod["status"]["phase"] for pod in there} == {"Running"}
    assert [parse_whole(json.loads(r)["requests"]["memory"]) for r in requested(there)] == [
        parse_whole(json.loads(r)["requests"]["memory"]) for r in requested(recorded["pods"])
    ]


def test_an_outage_of_the_collector_is_no_empty_past(tmp_path: Path, unused_port, capsys):
    with serving("--nodes=1", f"--write-kubeconfig={tmp_path / 'kubeconfig'}") as program:
        program.post(PODS, work("a", run_s=60)).raise_for_status()
        url = f"http://127.0.0.1:{unused_port}"
        code = record(tmp_path / "kubeconfig", "--collector", url, "--out", tmp_path / "out")

    assert code == 1
    assert f"nothing recorded: {url}/api/v1/nodes: " in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["kubeconfig"]


def test_an_outage_of_the_api_server_is_no_empty_cluster(tmp_path: Path, capsys):
    kubeconfig = tmp_path / "kubeconfig"
    with serving("--nodes=1", f"--write-kubeconfig={kubeconfig}"):
        pass

    assert record(kubeconfig, "--out", tmp_path / "out") == 1
    assert "nothing recorded: GET http://" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_collector_of_another_cluster_is_refused(tmp_path: Path, capsys):
    kubeconfig = tmp_path / "kubeconfig"
    serve = serving("--nodes=1", f"--write-kubeconfig={kubeconfig}")
    with FakeApiServer() as other, serve as program:
        program.post(PODS, work("a", run_s=60)).raise_for_status()
        code = record(kubeconfig, "--collector", other.url, "--out", tmp_path / "out")

    assert code == 1
    assert "knows none of the cluster's nodes" in capsys.readouterr().err


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys):
    (tmp_path / "mine").write_text("precious")

    assert record(tmp_path / "none", "--out", tmp_path) == 2
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_kubeconfig_that_is_none_is_refused(tmp_path: Path, capsys):
    assert record(tmp_path / "none", "--out", tmp_path / "out") == 2
    assert "no such file" in capsys.readouterr().err
