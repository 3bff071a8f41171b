"""The profiles of ``mixed``, by the examples of their plugins."""

import email.utils
import json
from datetime import datetime

import pytest
import requests

from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, running
from tests.simulator_program import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH"),
]

LONGEST_BACKOFF_S = 10.0
LEAVING = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "leaving",
        "annotations": {"simulator.ai-scheduler/usage": json.dumps({"stop_s": 100_000})},
    },
    "spec": {
        "nodeName": "n2",
        "terminationGracePeriodSeconds": 100_000,
        "containers": [{"name": "app", "image": "pause"}],
    },
}

NOWHERE = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "nowhere"},
    "spec": {
        "schedulerName": "ai-scheduler",
        "nodeSelector": {"no": "node"},
        "containers": [{"name": "app", "image": "pause"}],
    },
}


def blocker(node):
    """A pod that holds the port that the pods of QOSSort's example ask for."""
    port = {"containerPort": 80, "hostPort": 8088}
    containers = [{"name": "app", "image": "pause", "ports": [port]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"blocker-{node}"},
        "spec": {"nodeName": node, "containers": containers},
    }


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory):
    with running("mixed", tmp_path_factory.mktemp("home")) as cli:
        yield cli


def example(plugin):
    return str(EXAMPLES / f"{plugin}.yaml")


@pytest.fixture
def applied(kubectl, request):
    """What a plugin's test has made is gone before the next one's."""
    yield
    kubectl(
        "delete", "-f", example(request.param), "--ignore-not-found", "--grace-period=0", "--force"
    )
    kubectl("delete", "pods", "--all", "--grace-period=0", "--force")


def nodes(kubectl):
    """Say on which nodes pods are that are there to stay, by pod."""
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in kubectl.bound()}


def names_on(kubectl, node):
    return {name for name, found in nodes(kubectl).items() if found == node}


def apply(kubectl, manifest, folder):
    (folder / "manifest.json").write_text(json.dumps(manifest))
    kubectl("apply", "-f", str(folder / "manifest.json"))


def phase_of(kubectl, name):
    [phase] = [
        pod["status"]["phase"] for pod in kubectl.items("pods") if pod["metadata"]["name"] == name
    ]
    return phase


def refused_at_s(kubectl, name):
    """Say when a pod was told that there is no node for it; ``None`` if it was not."""
    for pod in kubectl.items("pods"):
        for condition in pod["status"].get("conditions", []):
            is_refusal = (condition["type"], condition["status"]) == ("PodScheduled", "False")
            if pod["metadata"]["name"] == name and is_refusal:
                return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()
    return None


def now_s(kubectl):
    """Read the cluster's clock."""
    date = requests.get(f"{kubectl.url}/version", timeout=10).headers["Date"]
    return email.utils.parsedate_to_datetime(date).timestamp()


@pytest.mark.parametrize("applied", ["NodeMetadata"], indirect=True)
def test_the_cheapest_node_is_taken(kubectl, applied):
    kubectl("label", "node", "n1", "example.com/price-per-hour=0.40")
    kubectl("label", "node", "n2", "example.com/price-per-hour=0.25")

    kubectl("apply", "-f", example("NodeMetadata"))

    assert wait_for(lambda: nodes(kubectl)) == {"cheap": "n2"}


@pytest.mark.parametrize("applied", ["OnePodPerNode"], indirect=True)
def test_no_node_gets_a_second_pod(kubectl, applied):
    kubectl("apply", "-f", example("OnePodPerNode"))
    wait_for(lambda: len(nodes(kubectl)) == 2)
    [waiting] = wait_for(lambda: [pod for pod in kubectl.items("pods") if refusal_of(pod)])

    assert set(nodes(kubectl).values()) == {"n1", "n2"}
    assert "2 node(s) already run a pod of this profile" in refusal_of(waiting)


def refusal_of(pod):
    conditions = pod["status"].get("conditions", [])
    return "".join(c["message"] for c in conditions if c.get("reason") == "Unschedulable")


@pytest.mark.parametrize("applied", ["SySched"], indirect=True)
def test_pods_that_make_the_same_calls_are_together(kubectl, applied):
    kubectl("apply", "-f", example("SySched"))
    wait_for(lambda: len(nodes(kubectl)) == 3)

    found = nodes(kubectl)

    assert found["web-1"] == found["web-2"] != found["crypto-1"]


@pytest.mark.parametrize("applied", ["PodState"], indirect=True)
def test_a_node_that_is_being_left_is_taken(kubectl, applied, tmp_path):
    apply(kubectl, LEAVING, tmp_path)
    wait_for(lambda: phase_of(kubectl, "leaving") == "Running")
    kubectl("delete", "pod", "leaving", "--wait=false")

    kubectl("apply", "-f", example("PodState"))

    assert wait_for(lambda: nodes(kubectl)) == {"successor": "n2"}


@pytest.mark.parametrize("applied", ["QOSSort"], indirect=True)
def test_who_was_promised_resources_comes_first(kubectl, applied, tmp_path):
    for node in ("n1", "n2"):
        apply(kubectl, blocker(node), tmp_path)
    kubectl("apply", "-f", example("QOSSort"))
    names = ("guaranteed", "burstable", "best-effort")
    wait_for(lambda: all(refused_at_s(kubectl, name) for name in names))
    latest_s = max(refused_at_s(kubectl, name) for name in names)
    wait_for(lambda: now_s(kubectl) > latest_s + LONGEST_BACKOFF_S)
    # The scheduler reads the cluster's clock off answers: without one, back-off goes on.
    apply(kubectl, NOWHERE, tmp_path)
    wait_for(lambda: refused_at_s(kubectl, "nowhere"))

    found = []
    for node in ("n1", "n2"):
        kubectl("delete", "pod", f"blocker-{node}", "--grace-period=0", "--force")
        wait_for(lambda node=node: names_on(kubectl, node) & {*names})
        found.append(names_on(kubectl, node) & {*names})

    assert found == [{"guaranteed"}, {"burstable"}]


@pytest.mark.parametrize("applied", ["CrossNodePreemption"], indirect=True)
def test_rivals_on_two_nodes_make_way_for_one_pod(kubectl, applied):
    kubectl("apply", "-f", example("CrossNodePreemption"))

    wait_for(lambda: list(nodes(kubectl)) == ["alone"])


@pytest.mark.parametrize("applied", ["PreemptionToleration"], indirect=True)
def test_a_tolerated_pod_stays_and_one_of_more_weight_gets_its_place(kubectl, applied):
    kubectl("apply", "-f", example("PreemptionToleration"), "-l", "step=1")
    steady = wait_for(lambda: set(found) if len(found := nodes(kubectl)) == 2 else None)

    kubectl("apply", "-f", example("PreemptionToleration"), "-l", "step=2")
    wait_for(lambda: "critical" in nodes(kubectl) and refused_at_s(kubectl, "urgent"))

    found = set(nodes(kubectl))
    assert len(found) == 2
    assert len(found & steady) == 1
