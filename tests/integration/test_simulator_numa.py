"""Machines with NUMA zones over HTTP: kubelets that want one zone, agents, and our scheduler."""

from pathlib import Path

import pytest
import requests

from tests.integration.plugin_world import CRDS, HAS_KUBECTL, Kubectl, scheduling
from tests.simulator_program import serving, wait_for

pytestmark = pytest.mark.integration

SHIPPED = Path(__file__).parents[2] / "config" / "scenarios" / "numa.yaml"
PODS = "/api/v1/namespaces/default/pods"
TOPOLOGIES = "/apis/topology.node.k8s.io/v1alpha2/noderesourcetopologies"
SCENARIO = f"""
name: small
nodes:
  - {{name: machine, count: 1, cpu: "8", memory: 16Gi, numa: {{policy: single-numa-node}}}}
manifests: [{CRDS}]
physics: {{nodes: {{reserved_cpu_milli: 0}}}}
"""
"""Two zones of four cores."""


@pytest.fixture
def machine(tmp_path):
    scenario = tmp_path / "small.yaml"
    scenario.write_text(SCENARIO)
    with serving("--speed=30", "--scenario", str(scenario)) as program:
        yield program


def create(machine, name, *, cores, run_s=None):
    """A guaranteed pod; with *run_s* it ends after so many seconds of the cluster's time."""
    limits = {"cpu": str(cores), "memory": "1Gi"}
    body = {
        "metadata": {"name": name, "annotations": {}},
        "spec": {
            "schedulerName": "ai-scheduler",
            "containers": [{"name": "app", "image": "a:1", "resources": {"limits": limits}}],
        },
    }
    if run_s is not None:
        usage = f'{{"run_s": {run_s}, "crash_per_hour": 0}}'
        body["metadata"]["annotations"]["simulator.ai-scheduler/usage"] = usage
        body["spec"]["restartPolicy"] = "Never"
    machine.post(PODS, body).raise_for_status()


def status(machine, name):
    return machine.get(f"{PODS}/{name}").json()["status"]


def phases(machine):
    return {p["metadata"]["name"]: p["status"]["phase"] for p in machine.items(PODS)}


def free_cores(machine):
    [topology] = machine.items(TOPOLOGIES)
    return [
        int(resource["available"])
        for zone in topology["zones"]
        for resource in zone["resources"]
        if resource["name"] == "cpu"
    ]


def fill(machine):
    """Leave one core in each zone."""
    for name in ("first", "second"):
        create(machine, name, cores=3)
        wait_for(lambda name=name: phases(machine)[name] == "Running")


def test_without_the_plugin_a_pod_is_turned_away_though_the_machine_has_enough(machine):
    with scheduling(machine.url, "default"):
        fill(machine)
        create(machine, "late", cores=2)
        wait_for(lambda: phases(machine)["late"] == "Failed")

    assert status(machine, "late")["reason"] == "TopologyAffinityError"


def test_with_it_the_pod_waits_until_an_agent_reports_a_zone(machine):
    def refusals():
        conditions = status(machine, "late").get("conditions", [])
        return [c.get("message", "") for c in conditions if c["type"] == "PodScheduled"]

    with scheduling(machine.url, "numa"):
        fill(machine)
        wait_for(lambda: free_cores(machine) == [1, 1])
        create(machine, "late", cores=2)
        wait_for(lambda: any("cannot align container" in each for each in refusals()))

        requests.delete(f"{machine.url}{PODS}/first", timeout=10).raise_for_status()
        wait_for(lambda: phases(machine).get("late") == "Running")

    assert phases(machine) == {"second": "Running", "late": "Running"}


def test_with_it_no_pod_is_ever_turned_away(machine):
    sizes = {f"p{number}": 1 + number % 3 for number in range(9)}
    with scheduling(machine.url, "numa"):
        for name, cores in sizes.items():
            create(machine, name, cores=cores, run_s=10)
        wait_for(lambda: set(phases(machine).values()) <= {"Succeeded", "Failed"})

    assert phases(machine) == dict.fromkeys(sizes, "Succeeded")


@pytest.mark.skipif(not HAS_KUBECTL, reason="there is no kubectl on PATH")
def test_kubectl_shows_what_agents_report_of_the_shipped_scenario(tmp_path):
    with serving("--scenario", str(SHIPPED)) as program:
        kubectl = Kubectl(program.url, tmp_path)
        wait_for(lambda: len(program.items(TOPOLOGIES)) == 14)
        listed = kubectl("get", "noderesourcetopologies", "--no-headers").splitlines()
        short = kubectl("get", "node-res-topo", "-o", "name").splitlines()
        described = kubectl("describe", "node-res-topo", "n1")

    assert {line.split()[0] for line in listed} == {f"n{number}" for number in range(1, 15)}
    assert len(short) == 14
    assert "topologyManagerPolicy" in described
