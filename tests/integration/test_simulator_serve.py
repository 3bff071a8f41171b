"""The simulated cluster as a program: over real HTTP, from its start to its end."""

import signal
import subprocess
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import requests
import yaml

from tests.simulator_program import command, serving, wait_for
from tests.simulator_world import deployment_manifest, with_image

pytestmark = pytest.mark.integration


def bind(program, pod, node):
    name = pod["metadata"]["name"]
    body = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"kind": "Node", "name": node},
    }
    program.post(f"/api/v1/namespaces/default/pods/{name}/binding", body).raise_for_status()


SCENARIO = """
name: small
nodes:
  - {name: alike, count: 3, labels: {disk: ssd}}
services:
  - {name: web, replicas: 2}
jobs:
  - {name: batch, per_hour: 600}
"""


def test_a_scenario_is_lived_by_its_users(tmp_path):
    scenario = tmp_path / "small.yaml"
    scenario.write_text(SCENARIO)
    with serving("--speed=600", "--scenario", str(scenario)) as program:
        nodes = program.items("/api/v1/nodes")
        pods = "/api/v1/namespaces/default/pods"

        def owners():
            metas = [pod["metadata"] for pod in program.items(pods)]
            return {meta["ownerReferences"][0]["kind"] for meta in metas}

        wait_for(lambda: owners() == {"ReplicaSet", "Job"})
        code = program.stop()

    assert [node["metadata"]["labels"]["disk"] for node in nodes] == ["ssd"] * 3
    assert code == 0


def test_a_scenario_with_a_misspelt_key_is_refused_by_its_name(tmp_path):
    scenario = tmp_path / "small.yaml"
    scenario.write_text(SCENARIO.replace("per_hour", "per_huor"))
    refused = subprocess.run(
        command("serve", "--port=0", "--scenario", str(scenario)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert refused.returncode == 2
    assert "per_huor" in refused.stderr


def test_a_deployment_lives_from_apply_to_delete(tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    with serving("--speed=60", "--seed=3", f"--write-kubeconfig={kubeconfig}") as program:
        deployments = "/apis/apps/v1/namespaces/default/deployments"
        pods = "/api/v1/namespaces/default/pods"

        nodes = program.items("/api/v1/nodes")
        program.post(deployments, deployment_manifest(replicas=2)).raise_for_status()
        pending = wait_for(lambda: len(program.items(pods)) == 2 and program.items(pods))
        for pod, node in zip(pending, nodes, strict=False):
            bind(program, pod, node["metadata"]["name"])

        def is_available():
            status = program.get(f"{deployments}/web").json()["status"]
            return status.get("availableReplicas") == 2

        wait_for(is_available)
        metrics = wait_for(lambda: program.items("/apis/metrics.k8s.io/v1beta1/pods"))
        node_metrics = program.items("/apis/metrics.k8s.io/v1beta1/nodes")
        exposed = program.get("/metrics/cadvisor").text
        running = program.items(pods)
        requests.delete(f"{program.url}{deployments}/web", timeout=10).raise_for_status()
        wait_for(lambda: not program.items(pods))
        code = program.stop()
        rest = program.process.stderr.read()

    assert [n["metadata"]["name"] for n in nodes] == [f"n{i}" for i in range(1, 6)]
    assert {p["status"]["phase"] for p in running} == {"Running"}
    assert metrics[0]["containers"][0]["usage"].keys() == {"cpu", "memory"}
    assert 'container_cpu_usage_seconds_total{namespace="default",pod="web-' in exposed
    assert 'node_memory_working_set_bytes{node="n' in exposed
    assert len(node_metrics) >= 4  # the flaky one may be down
    assert yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"] == {
        "server": program.url
    }
    assert code == 0
    assert "Traceback" not in rest


def test_updating_an_image_rolls_the_pods():
    with serving("--speed=60", "--nodes=1") as program:
        deployments = "/apis/apps/v1/namespaces/default/deployments"
        pods = "/api/v1/namespaces/default/pods"
        program.post(deployments, deployment_manifest(replicas=1)).raise_for_status()

        def bind_all():
            for pod in program.items(pods):
                if "nodeName" not in pod["spec"]:
                    bind(program, pod, "n1")

        def has_rolled_out():
            bind_all()
            found = program.get(f"{deployments}/web").json()
            status = found["status"]
            return (
                status.get("observedGeneration") == found["metadata"]["generation"]
                and status.get("updatedReplicas") == status.get("replicas") == 1
                and status.get("availableReplicas") == 1
            )

        wait_for(has_rolled_out)
        current = program.get(f"{deployments}/web").json()
        requests.put(
            f"{program.url}{deployments}/web", json=with_image(current, "nginx:1.28"), timeout=10
        ).raise_for_status()
        wait_for(has_rolled_out)
        images = [p["spec"]["containers"][0]["image"] for p in program.items(pods)]

    assert "nginx:1.28" in images


def test_virtual_time_starts_in_the_past_and_runs_fast():
    with serving("--speed=600", "--nodes=1") as program:
        dates = []
        for _ in range(2):
            answer = program.get("/readyz")
            dates.append(parsedate_to_datetime(answer.headers["Date"]).timestamp())
            time.sleep(0.2)
        wall_s = time.time()

    assert 6 * 86_400 < wall_s - dates[0] <= 7 * 86_400
    assert dates[1] - dates[0] >= 60


def test_a_watch_does_not_hold_up_the_end():
    with serving("--nodes=1") as program:
        watch = program.get("/api/v1/pods?watch=true", stream=True)
        began_s = time.monotonic()
        code = program.stop(signal.SIGINT)
        took_s = time.monotonic() - began_s
        watch.close()

    assert code == 0
    assert took_s < 10  # under 2 on an idle machine


def test_who_has_no_token_is_kept_out(tmp_path):
    token = tmp_path / "token"
    kubeconfig = tmp_path / "kubeconfig"
    options = ("--host=0.0.0.0", f"--write-token={token}", f"--write-kubeconfig={kubeconfig}")
    with serving("--nodes=1", *options, "--advertise-url=http://cluster:8001") as program:
        without = program.get("/api/v1/nodes").status_code
        wrong = program.get("/api/v1/nodes", headers={"Authorization": "Bearer x"}).status_code
        right = {"Authorization": f"Bearer {token.read_text().strip()}"}
        allowed = program.get("/api/v1/nodes", headers=right).status_code
        open_to_all = program.get("/readyz").status_code

    config = yaml.safe_load(kubeconfig.read_text())
    assert (without, wrong, allowed, open_to_all) == (401, 401, 200, 200)
    assert config["clusters"][0]["cluster"]["server"] == "http://cluster:8001"
    assert config["users"][0]["user"]["token"] == token.read_text().strip()


DEFINITIONS = Path(__file__).parents[2] / "config" / "crds"
CLUSTER = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000
---
apiVersion: scheduling.x-k8s.io/v1alpha1
kind: PodGroup
metadata: {name: gang}
spec: {minMember: 2}
"""


def test_objects_of_files_are_there_from_the_start(tmp_path):
    manifest = tmp_path / "cluster.yaml"
    manifest.write_text(CLUSTER)
    with serving("--nodes=0", "--manifests", str(DEFINITIONS), str(manifest)) as program:
        priority = program.get("/apis/scheduling.k8s.io/v1/priorityclasses/urgent").json()
        groups = program.items("/apis/scheduling.x-k8s.io/v1alpha1/podgroups")

    assert priority["value"] == 1000
    assert [each["spec"] for each in groups] == [{"minMember": 2}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("{a", "is no YAML", id="no YAML"),
        pytest.param("[1]", "a document is no object", id="no object"),
        pytest.param(CLUSTER, 'no kind "PodGroup" is served in version', id="unknown kind"),
        pytest.param(
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {container: []}}",
            'unknown field "spec.container"',
            id="unknown field",
        ),
        pytest.param(None, "cannot read", id="missing"),
    ],
)
def test_a_file_that_makes_no_sense_stops_the_start(tmp_path, text, why):
    manifest = tmp_path / "wrong.yaml"
    if text is not None:
        manifest.write_text(text)

    done = subprocess.run(
        command("serve", "--port=0", "--nodes=0", f"--manifests={manifest}"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 2
    assert str(manifest) in done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_budget_refuses_evictions_until_it_allows_them():
    pods = "/api/v1/namespaces/default/pods"
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    with serving("--speed=60", "--nodes=1") as program:
        deployments = "/apis/apps/v1/namespaces/default/deployments"
        program.post(deployments, deployment_manifest(replicas=2)).raise_for_status()
        selector = {"matchLabels": {"app": "web"}}
        budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": selector}}
        program.post(budgets, budget).raise_for_status()
        for pod in wait_for(lambda: len(program.items(pods)) == 2 and program.items(pods)):
            bind(program, pod, "n1")

        def has(**wanted):
            status = program.get(f"{budgets}/web").json()["status"]
            return wanted.items() <= status.items()

        def evict():
            name = program.items(pods)[0]["metadata"]["name"]
            return program.post(f"{pods}/{name}/eviction", {"metadata": {"name": name}})

        wait_for(lambda: has(currentHealthy=2, desiredHealthy=2, disruptionsAllowed=0))
        refused = evict()
        patch = {"spec": {"minAvailable": 1}}
        kind = {"Content-Type": "application/merge-patch+json"}
        url = f"{program.url}{budgets}/web"
        requests.patch(url, json=patch, headers=kind, timeout=10).raise_for_status()
        wait_for(lambda: has(disruptionsAllowed=1, expectedPods=2, observedGeneration=2))
        allowed = evict()

    assert (refused.status_code, refused.json()["reason"]) == (429, "TooManyRequests")
    assert refused.json()["details"]["causes"][0]["reason"] == "DisruptionBudget"
    assert allowed.status_code == 201


def test_faults_can_be_injected():
    with serving("--nodes=0", "--fault-failed=1") as program:
        answer = program.get("/api/v1/nodes")

    assert answer.status_code == 500
    assert answer.json()["reason"] == "InternalError"
