"""Checks of a stack that already runs, by its URLs (``scripts/test_system.sh``)."""

import os
import time
import uuid

import pytest
import requests

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

COLLECTOR = os.environ.get("COLLECTOR_URL", "http://127.0.0.1:8080")
PREDICTOR = os.environ.get("PREDICTOR_URL", "http://127.0.0.1:5000")
SCHEDULER = os.environ.get("SCHEDULER_URL", "http://127.0.0.1:8081")
CLUSTER = os.environ.get("CLUSTER_URL", "http://127.0.0.1:8001")
TOKEN = os.environ.get("CLUSTER_TOKEN", "")
PODS = f"{CLUSTER}/api/v1/namespaces/default/pods"

POD_SPEC = {
    "containers": [
        {"name": "app", "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}},
    ],
}


def wait_for(what, condition, *, limit_s=60.0):
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {limit_s:.0f} s for {what}"
        time.sleep(0.5)
    return found


@pytest.fixture
def http():
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def cluster(http):
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    try:
        answer = http.get(PODS, headers=headers, timeout=5)
    except requests.ConnectionError:
        pytest.skip(f"no API server at {CLUSTER}: set CLUSTER_URL (and CLUSTER_TOKEN)")
    if answer.status_code == 401:
        pytest.skip("the API server wants a token: set CLUSTER_TOKEN")
    http.headers.update(headers)
    return http


@pytest.fixture
def prediction(http):
    body = {"pod_name": "system-test", "pod_spec": POD_SPEC}
    return http.post(f"{PREDICTOR}/predict?explain=true", json=body, timeout=10).json()


@pytest.mark.parametrize("url", [COLLECTOR, PREDICTOR, SCHEDULER])
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_every_program_says_how_it_fares(http, url, path):
    assert http.get(url + path, timeout=5).status_code == 200


def test_the_collector_knows_nodes_with_usage(http):
    def sampled():
        nodes = http.get(f"{COLLECTOR}/api/v1/snapshot", timeout=5).json()["nodes"]
        return nodes and all(n["usage_cpu_milli"] is not None for n in nodes if n["is_ready"])

    assert wait_for("usage of every ready node", sampled)


def test_a_prediction_names_a_node_and_its_reasons(prediction):
    best = prediction["node_predictions"][0]

    assert prediction["predicted_node"] == best["node_name"]
    assert prediction["ai_features"]["pod_requirements"] == {
        "cpu_request": 0.5,
        "memory_request": 512.0,
    }
    assert 0 <= prediction["confidence"] <= 1
    assert sum(best["contributions"].values()) == pytest.approx(best["score"], abs=1)


def test_feedback_for_a_prediction_is_accepted(http, prediction):
    body = {
        "prediction_id": prediction["prediction_id"],
        "actual_node": prediction["predicted_node"],
        "success": True,
        "pod_status": "Running",
    }

    answer = http.post(f"{PREDICTOR}/feedback", json=body, timeout=10)

    assert answer.status_code == 200
    assert answer.json()["accepted"] is True


def test_bad_input_is_refused_with_the_field(http):
    body = {"prediction_id": "nobody", "actual_node": "n", "success": True}

    answer = http.post(f"{PREDICTOR}/feedback", json=body, timeout=10)

    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["field"] == "prediction_id"


def test_a_pod_that_opts_in_is_bound_and_explained(cluster):
    name = f"system-test-{uuid.uuid4().hex[:8]}"
    spec = {
        "schedulerName": "ai-scheduler",
        "containers": [{"name": "app", "image": "nginx:1.27", **POD_SPEC["containers"][0]}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    cluster.post(PODS, json=pod, timeout=5).raise_for_status()
    try:
        node = wait_for(
            "the pod to be bound",
            lambda: cluster.get(f"{PODS}/{name}", timeout=5).json()["spec"].get("nodeName"),
        )

        decision = cluster.get(f"{SCHEDULER}/api/v1/decisions/default/{name}", timeout=5).json()
    finally:
        cluster.delete(f"{PODS}/{name}", timeout=5)

    assert decision["node"] == node
