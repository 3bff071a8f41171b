"""``scripts/deploy.sh`` with a real kubectl; the cluster is simulated, docker is played."""

import shutil
import subprocess
import threading
from pathlib import Path

import msgspec
import pytest
import requests

from kube.client import Client
from kube.errors import KubeError
from kube.objects import Pod
from tests.simulator_program import serving

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH"),
]

ROOT = Path(__file__).parents[2]
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: box
clusters: [{name: box, cluster: {server: %s}}]
users: [{name: box, user: {}}]
contexts: [{name: box, context: {cluster: box, user: box}}]
"""
RIGHTS = (
    ("clusterroles", "ClusterRole", "Cluster"),
    ("clusterrolebindings", "ClusterRoleBinding", "Cluster"),
    ("roles", "Role", "Namespaced"),
    ("rolebindings", "RoleBinding", "Namespaced"),
)


def definition(plural, kind, scope):
    """Rights are not simulated, but anything can be kept."""
    group = "rbac.authorization.k8s.io"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [version],
        },
    }


DISK = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "disk",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": "disk.example",
}


def bind_all(url, stop):
    """Do as the cluster's own scheduler: somebody must place the scheduler's pods."""
    with Client.for_url(url) as client:
        while not stop.wait(0.1):
            pods, _ = client.list_objects("/api/v1/pods", Pod)
            for pod in pods:
                if pod.spec.node_name:
                    continue
                meta = {"name": pod.metadata.name, "namespace": pod.metadata.namespace}
                body = {
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": meta,
                    "target": {"kind": "Node", "name": "n1"},
                }
                path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding"
                try:
                    client.post(path, body=msgspec.json.encode(body))
                except KubeError:  # replaced meanwhile
                    continue


@pytest.fixture(scope="module")
def cluster():
    with serving("--nodes=2", "--speed=60") as program, Client.for_url(program.url) as client:
        for each in RIGHTS:
            path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
            client.post(path, body=msgspec.json.encode(definition(*each)))
        client.post("/apis/storage.k8s.io/v1/storageclasses", body=msgspec.json.encode(DISK))
        stop = threading.Event()
        binder = threading.Thread(target=bind_all, args=(program.url, stop))
        binder.start()
        try:
            yield program
        finally:
            stop.set()
            binder.join()


class Desk:
    """A PATH of its own, on which docker and minikube note what they are told."""

    def __init__(self, folder, url):
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._notes = folder / "notes"
        self._notes.touch()
        self._kubeconfig = folder / "kubeconfig"
        self._kubeconfig.write_text(KUBECONFIG % url)
        for name in ("bash", "dirname", "sed", "grep"):
            (self._bin / name).symlink_to(shutil.which(name))
        self.play("kubectl", f'exec {shutil.which("kubectl")} "$@"')

    def play(self, name, then="exit 0"):
        program = self._bin / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self._notes}"\n{then}\n')
        program.chmod(0o755)

    def deploy(self, *arguments, **env):
        return subprocess.run(
            [ROOT / "scripts/deploy.sh", *arguments],
            env={
                "PATH": str(self._bin),
                "HOME": str(self._bin.parent),
                "KUBECONFIG": str(self._kubeconfig),
                **env,
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def told(self, *names):
        lines = self._notes.read_text().splitlines()
        return [line for line in lines if line.split()[0] in names]


def forget_rights(cluster):
    """Delete them: kubectl would change them by a patch that custom resources do not take."""
    root = "/apis/rbac.authorization.k8s.io/v1"
    for plural, _, _ in RIGHTS:
        for each in cluster.items(f"{root}/{plural}"):
            meta = each["metadata"]
            inside = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
            path = f"{root}{inside}/{plural}/{meta['name']}"
            requests.delete(cluster.url + path, timeout=10).raise_for_status()


@pytest.fixture
def desk(tmp_path, cluster):
    forget_rights(cluster)
    return Desk(tmp_path, cluster.url)


def test_builds_loads_applies_and_waits_until_both_are_ready(desk, cluster):
    desk.play("docker")
    desk.play("minikube")

    done = desk.deploy("team", "ours/scheduler:7", "box")

    assert done.returncode == 0, done.stdout + done.stderr
    assert desk.told("docker", "minikube") == [
        "docker info",
        "minikube --profile box status",
        "docker build --build-arg SERVICE=scheduler --tag ours/scheduler:7 .",
        "minikube --profile box image load ours/scheduler:7",
    ]
    [deployment] = cluster.items("/apis/apps/v1/namespaces/team/deployments")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "ours/scheduler:7"
    assert deployment["status"]["readyReplicas"] == 2
    [profile] = [
        each["data"]["ai-scheduler.yaml"]
        for each in cluster.items("/api/v1/namespaces/team/configmaps")
        if each["metadata"]["name"] == "ai-scheduler"
    ]
    assert "resourceNamespace: team" in profile
    bindings = cluster.items("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings")
    assert {s["namespace"] for each in bindings for s in each["subjects"]} == {"team"}
    assert cluster.items("/apis/apps/v1/namespaces/kube-system/deployments") == []


def test_the_same_tag_built_anew_replaces_the_pods(desk, cluster):
    desk.play("docker")
    desk.play("minikube")
    assert desk.deploy("again", "ours/scheduler:7", "box").returncode == 0
    forget_rights(cluster)
    before = {p["metadata"]["uid"] for p in cluster.items("/api/v1/namespaces/again/pods")}

    done = desk.deploy("again", "ours/scheduler:7", "box")

    assert done.returncode == 0, done.stdout + done.stderr
    [deployment] = cluster.items("/apis/apps/v1/namespaces/again/deployments")
    assert deployment["status"]["updatedReplicas"] == 2
    after = {p["metadata"]["uid"] for p in cluster.items("/api/v1/namespaces/again/pods")}
    assert after - before


def test_brings_the_predictor_too_when_asked(desk, cluster):
    desk.play("docker")
    desk.play("minikube")

    done = desk.deploy("whole", "ours/scheduler:7", "box", PREDICTOR="yes")

    assert done.returncode == 0, done.stdout + done.stderr
    deployments = cluster.items("/apis/apps/v1/namespaces/whole/deployments")
    assert {each["metadata"]["name"]: each["status"]["readyReplicas"] for each in deployments} == {
        "ai-collector": 1,
        "ai-predictor": 1,
        "ai-scheduler": 2,
    }
    assert desk.told("minikube")[1:] == [
        f"minikube --profile box image load {image}"
        for image in (
            "ours/scheduler:7",
            "ai-scheduler/collector:latest",
            "ai-scheduler/predictor:latest",
        )
    ]


def test_an_image_that_the_cluster_pulls_needs_neither_docker_nor_minikube(desk, cluster):
    done = desk.deploy("pulled", "registry.example/scheduler:1", BUILD="no")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "--context" not in " ".join(desk.told("kubectl"))
    [deployment] = cluster.items("/apis/apps/v1/namespaces/pulled/deployments")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/scheduler:1"


@pytest.mark.parametrize(
    ("played", "complaint"),
    [
        pytest.param({}, "docker is not on PATH", id="no docker"),
        pytest.param({"docker": "exit 0"}, "minikube is not on PATH", id="no minikube"),
        pytest.param(
            {"docker": "exit 1", "minikube": "exit 0"}, "docker does not answer", id="no daemon"
        ),
        pytest.param(
            {"docker": "exit 0", "minikube": "exit 7"},
            "minikube start --profile box",
            id="minikube is stopped",
        ),
    ],
)
def test_says_what_is_missing_before_it_does_anything(desk, played, complaint):
    for name, then in played.items():
        desk.play(name, then)

    done = desk.deploy("nowhere", "ours/scheduler:7", "box")

    assert done.returncode == 1
    assert complaint in done.stderr
    assert desk.told("kubectl") == []


def test_a_cluster_that_does_not_answer_is_named(desk):
    desk.play("kubectl", "exit 1")

    done = desk.deploy(BUILD="no")

    assert done.returncode == 1
    assert "the cluster does not answer" in done.stderr
