"""Pods with volumes, from the claim to the binding, on the simulated cluster."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests
from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.edge.settings import Interval
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.settings import PredictorSettings, SchedulerSettings
from tests.simulator_program import Program, serving, wait_for

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
PODS = "/api/v1/namespaces/default/pods"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def cluster() -> Iterator[Program]:
    with serving("--nodes=3", "--speed=20") as running, scheduling(running):
        yield running


@contextmanager
def scheduling(cluster: Program) -> Iterator[None]:
    profiles = make_profiles(built_in_configuration(), registry=built_in_registry())
    settings = SchedulerSettings(predictor=PredictorSettings(url=NOBODY, timeout=Interval(0.2)))
    with (
        Client.for_url(cluster.url) as client,
        ClusterShell(
            client,
            engine=Engine(profiles, settings=EngineSettings()),
            settings=settings,
            metrics=Metrics(CollectorRegistry()),
            rng=random.Random(1),
        ),
    ):
        yield


def create(cluster, path, name, **body):
    answer = cluster.post(path, {"metadata": {"name": name}, **body})
    assert answer.status_code == 201, answer.text


def create_class(cluster, *, provisioner):
    mode = "WaitForFirstConsumer"
    create(cluster, CLASSES, "late", provisioner=provisioner, volumeBindingMode=mode)


def create_claim(cluster, name):
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "late",
    }
    create(cluster, CLAIMS, name, spec=spec)


def create_local_volume(cluster, name, *, node):
    term = {
        "matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]
    }
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "5Gi"},
        "local": {"path": f"/mnt/{name}"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "late",
    }
    create(cluster, VOLUMES, name, spec=spec)


def create_pod(cluster, name, *, claim):
    spec = {
        "schedulerName": "ai-scheduler",
        "containers": [{"name": "app", "image": "registry.example/app:1"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
    }
    create(cluster, PODS, name, spec=spec)


def node_of(cluster, name):
    return cluster.get(f"{PODS}/{name}").json()["spec"].get("nodeName")


def test_a_claim_that_waits_for_its_pod_gets_its_volume_where_the_pod_goes(cluster):
    create_class(cluster, provisioner="csi.example.com")
    create_claim(cluster, "data")
    create_pod(cluster, "web-1", claim="data")

    node = wait_for(lambda: node_of(cluster, "web-1"))

    claim = cluster.get(f"{CLAIMS}/data").json()
    assert claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == node
    assert claim["status"]["phase"] == "Bound"


FAULTS = {"p_conflict": 0.2, "p_answer_lost": 0.2, "p_watch_dropped": 0.1}


@pytest.mark.parametrize("faults", [{}, FAULTS], ids=["calm", "faults"])
def test_each_pod_gets_a_local_volume_of_its_own_and_its_node(cluster, faults):
    spared = {"spared_user_agent": "python-requests"}
    answer = requests.put(f"{cluster.url}/simulator/v1/faults", json=faults | spared, timeout=10)
    assert answer.ok, answer.text
    create_class(cluster, provisioner="kubernetes.io/no-provisioner")
    nodes = [node["metadata"]["name"] for node in cluster.items("/api/v1/nodes")]
    for node in nodes:
        create_local_volume(cluster, f"disk-of-{node}", node=node)
    for index in range(len(nodes)):
        create_claim(cluster, f"data-{index}")
    for index in range(len(nodes)):
        create_pod(cluster, f"web-{index}", claim=f"data-{index}")

    found = {i: wait_for(lambda i=i: node_of(cluster, f"web-{i}")) for i in range(3)}

    assert sorted(found.values()) == sorted(nodes)
    volumes = {each["metadata"]["name"]: each["spec"] for each in cluster.items(VOLUMES)}
    for index, node in found.items():
        assert volumes[f"disk-of-{node}"]["claimRef"]["name"] == f"data-{index}"


def test_a_pod_whose_claim_comes_late_is_bound_when_it_is_there(cluster):
    create_class(cluster, provisioner="csi.example.com")
    create_pod(cluster, "web-1", claim="data")
    wait_for(lambda: "not found" in cluster.get(f"{PODS}/web-1").text)

    create_claim(cluster, "data")

    assert wait_for(lambda: node_of(cluster, "web-1"))
