"""The profile ``numa``, by the example of its plugin."""

import json

import pytest

from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, running
from tests.simulator_program import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH"),
]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory):
    # The pods would fit the machines; it is the zones that are too small.
    with running("numa", tmp_path_factory.mktemp("home"), "--node-cpu=8") as cli:
        yield cli


def placements(kubectl):
    return {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in kubectl.bound()}


def why_not(kubectl, name):
    [pod] = [pod for pod in kubectl.items("pods") if pod["metadata"]["name"] == name]
    conditions = pod["status"].get("conditions", [])
    return "".join(c.get("message", "") for c in conditions if c["type"] == "PodScheduled")


def test_pods_go_where_they_find_one_zone_and_wait_where_they_do_not(kubectl):
    kubectl("apply", "-f", str(EXAMPLES / "NodeResourceTopologyMatch.yaml"))
    wait_for(lambda: placements(kubectl) == {"wide": "n2", "pair": "n1"})
    wait_for(lambda: "2 cannot align container" in why_not(kubectl, "late"))
    listed = kubectl("get", "node-res-topo").split()

    kubectl("delete", "pod", "pair", "--wait=false")
    grown = [{"op": "replace", "path": "/zones/0/resources/0/available", "value": "3"}]
    kubectl("patch", "node-res-topo", "n1", "--type=json", "-p", json.dumps(grown))
    wait_for(lambda: placements(kubectl) == {"wide": "n2", "late": "n1"})

    assert {"n1", "n2"} <= set(listed)
