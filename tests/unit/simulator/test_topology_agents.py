"""Kubelets of nodes with NUMA zones, and the agents that tell what these have left."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import yaml

from kube.custom import NodeResourceTopology
from kube.decoding import decode_object
from kube.objects import Pod
from scheduler.model import PodFacts
from scheduler.plugins.numa.fingerprint import fingerprint
from scheduler.plugins.numa.reports import read_report
from scheduler.simulator import resources as r
from scheduler.simulator.apiserver.custom import resources_of
from scheduler.simulator.hardware import Numa
from scheduler.simulator.kubelet.agents import DEFINITION
from tests.simulator_world import GI, Simulation, container_manifest, pod_manifest

CRD = Path(__file__).parents[3] / "config" / "crds" / f"{DEFINITION}.yaml"
GPU = "example.com/gpu"


def make_simulation(*, is_defined=True, nodes=1, **numa):
    """Two zones of four cores each, of which two are kept for the system."""
    simulation = Simulation(
        nodes=nodes,
        numa=Numa(**{"policy": "single-numa-node", **numa}),
        cpu_milli=8000,
        memory_bytes=16 * GI,
        reserved_cpu_milli=2000,
        reserved_memory_bytes=0,
        eviction_hard_bytes=GI,
    )
    if is_defined:
        define(simulation)
    return simulation


def define(simulation):
    simulation.create(r.CUSTOM_RESOURCE_DEFINITIONS, yaml.safe_load(CRD.read_text()))


def topologies(simulation):
    definition = simulation.store.find(r.CUSTOM_RESOURCE_DEFINITIONS, None, DEFINITION)
    if definition is None:
        return []
    [resource] = resources_of(definition)
    return simulation.store.list(resource)


def report(simulation):
    [topology] = topologies(simulation)
    return read_report(decode_object(msgspec.json.encode(topology), NodeResourceTopology))


def guaranteed(name, cores, *, node="n1", **fields):
    resources = {"limits": {"cpu": str(cores), "memory": "1Gi"}}
    usage = '{"cpu": "1m", "memory": "1Mi"}'
    each = container_manifest(resources=resources)
    return pod_manifest(name, usage=usage, node=node, containers=[each], **fields)


def start(simulation, *manifests, seconds=20):
    for manifest in manifests:
        simulation.create(r.PODS, manifest)
        simulation.run(1)
    simulation.run(seconds)


def outcome(simulation, name):
    return simulation.pod(name)["status"].get("reason") or simulation.pod(name)["status"]["phase"]


def free_cores(simulation):
    return [milli // 1000 for milli in report(simulation).available["cpu"]]


# --- who is admitted


def test_a_pod_that_finds_no_zone_is_turned_away_though_the_node_has_enough():
    simulation = make_simulation()

    start(simulation, guaranteed("a", 1), guaranteed("b", 3), guaranteed("c", 2))

    status = simulation.pod("c")["status"]
    assert [outcome(simulation, name) for name in "ab"] == ["Running", "Running"]
    assert (status["phase"], status["reason"]) == ("Failed", "TopologyAffinityError")
    words = "Resources cannot be allocated with Topology locality"
    assert status["message"] == f"Pod was rejected: {words}"
    [event] = [
        e for e in simulation.store.list(r.EVENTS) if e.get("reason") == "TopologyAffinityError"
    ]
    assert (event["type"], event["note"]) == ("Warning", words)


@pytest.mark.parametrize("policy", ["none", "best-effort"])
def test_kubelets_of_other_policies_take_it(policy):
    simulation = make_simulation(policy=policy)

    start(simulation, guaranteed("a", 1), guaranteed("b", 3), guaranteed("c", 2))

    assert outcome(simulation, "c") == "Running"


def test_zones_are_free_again_when_a_pod_has_ended():
    simulation = make_simulation()
    start(simulation, guaranteed("a", 4))
    brief = guaranteed("b", 2)
    brief["metadata"]["annotations"]["simulator.ai-scheduler/usage"] = '{"run_s": 30}'
    start(simulation, {**brief, "spec": {**brief["spec"], "restartPolicy": "Never"}}, seconds=90)
    assert outcome(simulation, "b") == "Succeeded"

    simulation.store.delete(r.PODS, "default", "a")
    simulation.run(60)
    start(simulation, guaranteed("c", 4), guaranteed("d", 2))

    assert [outcome(simulation, name) for name in "cd"] == ["Running", "Running"]


def test_a_kubelet_that_was_away_knows_what_its_pods_have():
    simulation = make_simulation()
    start(simulation, guaranteed("a", 1), guaranteed("b", 3))
    simulation.cluster.world.fail_node("n1", outage_s=20.0)
    simulation.run(60)

    start(simulation, guaranteed("c", 2), guaranteed("d", 1))

    assert outcome(simulation, "a") == "Running"
    assert outcome(simulation, "c") == "TopologyAffinityError"
    assert outcome(simulation, "d") == "Running"


# --- what agents say


def test_an_agent_tells_what_zones_have_and_what_they_have_left():
    simulation = make_simulation()
    start(simulation, guaranteed("a", 3))
    [topology] = topologies(simulation)

    attributes = {each["name"]: each["value"] for each in topology["attributes"]}
    zones = topology["zones"]
    memory = {"capacity": str(8 * GI), "allocatable": str(8 * GI), "available": str(7 * GI)}
    assert attributes.pop("nodeTopologyPodsFingerprint").startswith("pfp0v001")
    assert attributes == {
        "topologyManagerPolicy": "single-numa-node",
        "topologyManagerScope": "container",
        "nodeTopologyPodsFingerprintMethod": "with-exclusive-resources",
    }
    assert [(zone["name"], zone["type"]) for zone in zones] == [
        ("node-0", "Node"),
        ("node-1", "Node"),
    ]
    assert zones[0]["resources"][0] == {
        "name": "cpu",
        "capacity": "4",
        "allocatable": "2",
        "available": "2",
    }
    assert zones[1]["resources"] == [
        {"name": "cpu", "capacity": "4", "allocatable": "4", "available": "1"},
        {"name": "memory", **memory},
    ]
    assert zones[0]["costs"] == [{"name": "node-0", "value": 10}, {"name": "node-1", "value": 20}]


def test_the_scheduler_reads_what_an_agent_says():
    simulation = make_simulation(scope="pod")
    start(simulation, guaranteed("a", 3), pod_manifest("shared", node="n1"))
    found = report(simulation)
    listed = PodFacts.from_pod(decode_object(msgspec.json.encode(simulation.pod("a")), Pod))

    assert found.is_valid
    assert (found.is_single, found.is_pod_scope, found.n_zones) == (True, True, 2)
    assert found.available == {"cpu": (2000, 1000), "memory": (7 * GI, 7 * GI)}
    assert found.costs == ((10, 20), (20, 10))
    assert found.counts_exclusive
    assert found.fingerprint == fingerprint([listed])


def test_devices_are_told_if_they_lie_in_zones():
    simulation = make_simulation(devices=(GPU,))
    node = simulation.store.get(r.NODES, None, "n1")
    more = {GPU: "4", "example.com/licence": "7"}
    both = {key: {**node["status"][key], **more} for key in ("capacity", "allocatable")}
    simulation.store.update(r.NODES, {**node, "status": {**node["status"], **both}})
    one = {GPU: "1"}
    asks = container_manifest(resources={"limits": one, "requests": one})

    start(simulation, pod_manifest("a", node="n1", containers=[asks]))

    assert report(simulation).available[GPU] == (1, 2)
    assert "example.com/licence" not in report(simulation).available


def test_agents_wait_until_their_kind_is_served():
    simulation = make_simulation(is_defined=False)
    start(simulation, guaranteed("a", 3))
    assert topologies(simulation) == []

    define(simulation)
    simulation.run(1)

    assert free_cores(simulation) == [2, 1]


def test_nothing_is_written_when_nothing_changed_but_the_time():
    simulation = make_simulation()
    start(simulation, guaranteed("a", 3))
    [before] = topologies(simulation)

    start(simulation, pod_manifest("shared", node="n1"), seconds=300)

    assert topologies(simulation) == [before]


def test_an_agent_looks_every_ten_seconds_and_not_in_between():
    simulation = make_simulation()
    simulation.run(1)
    changed_at = []
    for number in range(4):
        simulation.create(r.PODS, guaranteed(f"p{number}", 1))
        before = free_cores(simulation)
        simulation.run_until(lambda before=before: free_cores(simulation) != before)
        changed_at.append(simulation.now_s)

    gaps = {b - a for a, b in pairwise(changed_at)}
    assert gaps == {10.0}


def test_an_agent_says_its_own_again_where_somebody_else_wrote():
    simulation = make_simulation()
    simulation.run(1)
    [topology] = topologies(simulation)
    [resource] = resources_of(simulation.store.get(r.CUSTOM_RESOURCE_DEFINITIONS, None, DEFINITION))

    simulation.store.update(resource, {**topology, "zones": []})
    simulation.run(20)

    assert free_cores(simulation) == [2, 4]


def test_agents_are_silent_while_their_node_is_down():
    simulation = make_simulation()
    start(simulation, guaranteed("a", 3))
    simulation.cluster.world.fail_node("n1", outage_s=100.0)
    simulation.store.delete(r.PODS, "default", "a", grace_period_s=0)

    simulation.run(50)
    silent = free_cores(simulation)
    simulation.run(100)

    assert (silent, free_cores(simulation)) == ([2, 1], [2, 4])


def test_what_an_agent_said_goes_with_its_node():
    simulation = make_simulation(nodes=2)
    simulation.run(20)
    simulation.store.delete(r.NODES, None, "n1")
    simulation.run(20)

    assert [each["metadata"]["name"] for each in topologies(simulation)] == ["n2"]


def test_nodes_without_zones_have_no_agents():
    simulation = Simulation(nodes=2)
    define(simulation)
    start(simulation, guaranteed("a", 1))

    assert topologies(simulation) == []
