"""What NodeResourceTopologyMatch thinks a kubelet will do, and what simulated kubelets do."""

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.custom import NodeResourceTopology
from kube.decoding import decode_object
from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from scheduler.model import ContainerFacts, PodFacts
from scheduler.plugins.numa import zones as plugin_zones
from scheduler.plugins.numa.alignment import cannot_align
from scheduler.plugins.numa.demand import Demand
from scheduler.plugins.numa.reports import read_report
from scheduler.simulator.hardware import NodeSpec, Numa
from scheduler.simulator.kubelet.agents import describe
from scheduler.simulator.kubelet.record import PodRecord
from scheduler.simulator.kubelet.topology import allot
from scheduler.simulator.kubelet.zones import Allotment, Zones

GI = 2**30
GPU = "example.com/gpu"
NODE = NodeSpec(
    name="n1",
    cpu_milli=8000,
    memory_bytes=16 * GI,
    reserved_cpu_milli=1000,
    reserved_memory_bytes=0,
    eviction_hard_bytes=0,
)
ALLOCATABLE = {CPU: np.array([7000]), MEMORY: np.array([16 * GI]), GPU: np.array([4])}


def make_container(cores, memory_gi, gpus, is_brief):
    amounts = ((CPU, 1000 * cores), (MEMORY, memory_gi * GI), (GPU, gpus))
    return ContainerFacts(tuple(each for each in amounts if each[1]), is_brief)


def make_pod(containers, is_guaranteed):
    """A pod whose init containers come first; whole cores, as fractions are nobody's own."""
    ordered = tuple(sorted(containers, key=lambda each: not each.is_brief))
    running, peak = {}, {}
    for each in ordered:
        target = dict(running) if each.is_brief else running
        for name, amount in each.requests:
            target[name] = target.get(name, 0) + amount
        peak = {name: max(peak.get(name, 0), target.get(name, 0)) for name in {*peak, *target}}
    qos = Qos.GUARANTEED if is_guaranteed else Qos.BURSTABLE
    return PodFacts(
        namespace="default", name="p", uid="p", qos=qos, requests=peak, containers=ordered
    )


def make_record(number, own):
    return PodRecord(
        uid=str(number),
        namespace="default",
        name=f"p{number}",
        node="n1",
        host_ip="",
        pod_ip="",
        restart_policy="Always",
        requests={},
        containers={},
        start_time="",
        zones=own,
    )


def is_let_through(pod, *, numa, zones, held):
    """Whether the plugin lets a pod onto the node, of which an agent has just reported."""
    records = [make_record(number, own) for number, own in enumerate(held)]
    said = {"metadata": {"name": "n1"}, **describe(numa, zones=zones, pods=records)}
    report = read_report(decode_object(msgspec.json.encode(said), NodeResourceTopology))
    reported = plugin_zones.Zones()
    reported.move(np.array([-1]))
    reported.describe(0, report)
    reported.fill(0, report, taken={}, is_valid=True)
    demand = Demand.of(pod)
    wanted = demand.as_pod if numa.scope == "pod" else demand.as_containers
    refused = cannot_align(wanted, zones=reported, allocatable=ALLOCATABLE, rows=np.array([0]))
    return not refused[0]


containers = st.builds(
    make_container, st.integers(0, 3), st.integers(0, 4), st.integers(0, 2), st.booleans()
)
pods = st.builds(
    make_pod, st.lists(containers, min_size=1, max_size=3), st.sampled_from([True, True, False])
)


@given(
    wanted=pods,
    others=st.lists(pods, max_size=6),
    n_zones=st.sampled_from([1, 2, 4]),
    scope=st.sampled_from(["container", "pod"]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_plugin_lets_through_exactly_the_pods_that_a_kubelet_takes(
    wanted, others, n_zones, scope
):
    numa = Numa(zones=n_zones, policy="single-numa-node", scope=scope, devices=(GPU,))
    zones = Zones.of(NODE, numa=numa, devices={GPU: 4})
    held = []
    for other in others:
        found = allot(other, numa=numa, zones=zones, held=held)
        held += [found] if isinstance(found, Allotment) else []

    found = allot(wanted, numa=numa, zones=zones, held=held)

    is_taken = isinstance(found, Allotment)
    assert is_let_through(wanted, numa=numa, zones=zones, held=held) == is_taken
