"""The profile ``batch``, by the examples of its plugins."""

import pytest

from tests.integration.plugin_world import EXAMPLES, HAS_KUBECTL, running
from tests.simulator_program import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH"),
]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory):
    with running("batch", tmp_path_factory.mktemp("home")) as cli:
        yield cli


def quota_of(kubectl, namespace):
    [quota] = kubectl.items("elasticquotas", "-n", namespace)
    return quota.get("status", {}).get("used", {}).get("cpu")


def test_elastic_quotas_are_lent_and_given_back(kubectl):
    kubectl("apply", "-f", str(EXAMPLES / "CapacityScheduling.yaml"))
    wait_for(lambda: (quota_of(kubectl, "team-a"), quota_of(kubectl, "team-b")) == ("1", "3"))
    lent = [len(kubectl.bound("-n", name)) for name in ("team-a", "team-b")]

    kubectl("scale", "-n", "team-a", "deployment/steady", "--replicas=2")
    wait_for(lambda: (quota_of(kubectl, "team-a"), quota_of(kubectl, "team-b")) == ("2", "2"))
    given_back = [len(kubectl.bound("-n", name)) for name in ("team-a", "team-b")]
    table = kubectl("get", "eq", "-n", "team-b").splitlines()

    assert (lent, given_back) == ([1, 3], [2, 2])
    assert table[0].split() == ["NAME", "USED", "MAX", "AGE"]
    assert '{"cpu":"2","memory":"128Mi"}' in table[1]


def test_a_group_starts_whole_and_says_how_far_it_is(kubectl):
    kubectl("apply", "-f", str(EXAMPLES / "Coscheduling.yaml"))

    def row():
        lines = kubectl("get", "pg", "training").splitlines()
        return lines[1].split()[:4] if len(lines) > 1 else []

    wait_for(lambda: row() == ["training", "Running", "3", "4"])
    [group] = kubectl.items("podgroups")

    assert group["status"]["occupiedBy"] == "default/training"
    assert group["status"]["scheduleStartTime"] >= group["metadata"]["creationTimestamp"]
    assert len(kubectl.bound("-l", "app=training")) == 4
