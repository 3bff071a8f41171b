"""An unmodified kubectl works against the simulated API server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on PATH"),
]

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  nodeName: n1
  containers:
  - {name: app, image: "nginx:1.27", resources: {requests: {cpu: 100m, memory: 64Mi}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
"""

WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


class Cli:
    """kubectl, told where the server is and given a home of its own."""

    def __init__(self, url, home):
        self._base = ["kubectl", "--server", url]
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "no")}

    def __call__(self, *arguments, given=None, fails=False):
        done = subprocess.run(
            [*self._base, *arguments],
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode != 0) is fails, done.stderr + done.stdout
        return done.stderr if fails else done.stdout

    def streaming_lists(self, *arguments):
        """Run it as newer clients are by default; return what it tells of its requests."""
        done = subprocess.run(
            [*self._base, *arguments, "-v=8"],
            env={**self._env, "KUBE_FEATURE_WatchListClient": "true"},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stderr

    def json(self, *arguments):
        return json.loads(self(*arguments, "-o", "json"))


@pytest.fixture(scope="module")
def server():
    command = [sys.executable, "-m", "scheduler.simulator", "serve"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--nodes", "2", "--speed", "30"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture
def kubectl(server, tmp_path):
    return Cli(server, tmp_path)


@pytest.fixture
def web(kubectl):
    kubectl("apply", "-f", "-", given=PODS)
    yield "web"
    kubectl("delete", "--ignore-not-found", "--now", "-f", "-", given=PODS)


def heads(table):
    return table.splitlines()[0].split()


def test_prints_the_columns_of_a_real_server(kubectl, web):
    wide = " ".join(heads(kubectl("get", "pods", "-o", "wide")))
    assert wide == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES"
    assert heads(kubectl("get", "nodes")) == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert heads(kubectl("get", "deployments,pods", "-A")) == (
        ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    )


def test_applies_creates_then_leaves_then_changes(kubectl, web):
    assert "pod/web unchanged" in kubectl("apply", "-f", "-", given=PODS)
    changed = PODS.replace("red", "blue")
    dry = kubectl("apply", "--dry-run=server", "-f", "-", given=changed)
    assert "configmap/settings configured (server dry run)" in dry
    assert kubectl.json("get", "configmap", "settings")["data"] == {"colour": "red"}
    assert "configmap/settings configured" in kubectl("apply", "-f", "-", given=changed)
    assert kubectl.json("get", "configmap", "settings")["data"] == {"colour": "blue"}


def test_refuses_unknown_fields(kubectl):
    wrong = PODS.replace("nodeName", "nodeNam")

    assert 'unknown field "spec.nodeNam"' in kubectl("apply", "-f", "-", given=wrong, fails=True)


def test_waits_for_a_pod_and_describes_it(kubectl, web):
    kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=40s")

    described = kubectl("describe", "pod", "web")

    assert "Node:" in described
    assert "n1/" in described
    assert "Started" in described


def test_runs_deployments(kubectl):
    kubectl("create", "deployment", "shop", "--image=nginx:1.27", "--replicas=2")
    kubectl("scale", "deployment", "shop", "--replicas=3")

    kubectl("wait", "--for=jsonpath={.status.replicas}=3", "deployment/shop", "--timeout=40s")
    assert "3 desired" in kubectl("describe", "deployment", "shop")
    assert len(kubectl.json("get", "pods", "-l", "app=shop")["items"]) == 3

    kubectl("delete", "deployment", "shop")
    kubectl("wait", "--for=delete", "pod", "-l", "app=shop", "--timeout=40s")


def test_changes_labels_annotations_and_taints(kubectl):
    kubectl("label", "node", "n2", "disk=ssd")
    kubectl("annotate", "node", "n2", "note=hello")
    kubectl("taint", "node", "n2", "key=value:NoSchedule")

    node = kubectl.json("get", "node", "n2")

    assert node["metadata"]["labels"]["disk"] == "ssd"
    assert node["metadata"]["annotations"]["note"] == "hello"
    assert {"key": "key", "value": "value", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert "ssd" in kubectl("get", "nodes", "-L", "disk")
    kubectl("taint", "node", "n2", "key-")
    kubectl("label", "node", "n2", "disk-")


def test_drains_a_node(kubectl, web):
    kubectl("drain", "n1", "--ignore-daemonsets", "--force", "--timeout=40s")

    assert "SchedulingDisabled" in kubectl("get", "node", "n1")
    assert "not found" in kubectl("get", "pod", "web", fails=True)
    kubectl("uncordon", "n1")
    assert "SchedulingDisabled" not in kubectl("get", "node", "n1")


def test_patches_and_replaces(kubectl, web):
    kubectl("patch", "configmap", "settings", "-p", '{"data":{"size":"9"}}')
    shown = kubectl.json("get", "configmap", "settings")
    assert shown["data"] == {"colour": "red", "size": "9"}

    kubectl("replace", "-f", "-", given=json.dumps({**shown, "data": {"size": "10"}}))

    assert kubectl("get", "configmap", "settings", "-o", "jsonpath={.data}") == '{"size":"10"}'


def test_measures(kubectl):
    deadline = time.monotonic() + 30
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    while not json.loads(kubectl("get", "--raw", path))["items"]:
        assert time.monotonic() < deadline
        time.sleep(0.2)

    assert heads(kubectl("top", "nodes"))[:2] == ["NAME", "CPU(cores)"]


def test_tells_what_it_serves(kubectl):
    resources = kubectl("api-resources")

    assert "poddisruptionbudgets" in resources
    assert "policy/v1" in kubectl("api-versions")
    assert "containers" in kubectl("explain", "pod.spec")
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"


def test_serves_custom_resources(kubectl):
    kubectl("apply", "-f", "-", given=WIDGETS)
    kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=20s")
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}}
    kubectl("apply", "-f", "-", given=json.dumps({**widget, "spec": {"size": 1}}))

    kubectl("patch", "wd", "one", "--type=merge", "-p", '{"spec":{"size":2}}')

    assert kubectl.json("get", "widgets")["items"][0]["spec"] == {"size": 2}
    kubectl("delete", "crd", "widgets.example.com")
    assert "could not find" in kubectl("get", "widgets", fails=True)


def test_streams_the_list_that_a_watch_begins_with(kubectl, web):
    told = kubectl.streaming_lists("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")

    assert "sendInitialEvents=true" in told
    assert "falling back to" not in told.lower()


def test_empties_a_namespace_that_is_deleted(kubectl):
    kubectl("create", "namespace", "short")
    kubectl("create", "configmap", "held", "-n", "short", "--from-literal=a=b")

    kubectl("delete", "namespace", "short", "--timeout=30s")

    assert "not found" in kubectl("get", "namespace", "short", fails=True)


QUOTA = """
apiVersion: scheduling.x-k8s.io/v1alpha1
kind: ElasticQuota
metadata: {name: share}
spec: {min: {cpu: 2}, max: {cpu: 4, memory: 8Gi}}
"""


def test_serves_the_kinds_of_schedulers_plugins_by_their_short_names(kubectl):
    kubectl("apply", "-f", str(Path(__file__).parents[2] / "config" / "crds"))
    kubectl("apply", "-f", "-", given=QUOTA)

    quotas = kubectl("get", "eq")
    empty = [kubectl("get", short) for short in ("pg", "node-res-topo", "ag", "nt", "sp")]

    assert heads(quotas) == ["NAME", "USED", "MAX", "AGE"]
    assert quotas.splitlines()[1].split()[:2] == ["share", '{"cpu":4,"memory":"8Gi"}']
    assert empty == [""] * 5
    kubectl("delete", "-f", "-", given=QUOTA)


def test_a_stop_does_not_wait_for_watchers(tmp_path):
    command = [sys.executable, "-m", "scheduler.simulator", "serve", "--port", "0", "--nodes", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().split()[-1]
    watch = subprocess.Popen(
        ["kubectl", "--server", url, "get", "namespaces", "-w"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "no")},
        stdout=subprocess.PIPE,
        text=True,
    )
    watch.stdout.readline()

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=15) == 0
    watch.kill()
    watch.wait(timeout=5)
    watch.stdout.close()
    process.stdout.close()
