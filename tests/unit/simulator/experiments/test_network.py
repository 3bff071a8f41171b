"""What it costs pods to reach those that they depend on."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.custom import (
    AppGroup,
    AppGroupDependency,
    AppGroupSpec,
    AppGroupWorkload,
    AppGroupWorkloadRef,
    NetworkCost,
    NetworkOrigin,
    NetworkTopology,
    NetworkTopologyInfo,
    NetworkTopologySpec,
    NetworkWeights,
)
from kube.edge.settings import Interval
from kube.objects import ObjectMeta
from scheduler.simulator.experiments.network import (
    NetworkMeter,
    Spot,
    mean_network_cost,
    read_costs,
)
from scheduler.simulator.experiments.run import run_seed
from scheduler.simulator.experiments.scenario import load_scenario
from tests.unit.simulator.experiments.worlds import make_site

SCENARIO = Path(__file__).parents[4] / "config" / "scenarios" / "network-aware.yaml"
REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"
COSTS = {
    (REGION, "east", "west"): 60,
    (REGION, "west", "east"): 70,
    (ZONE, "east-a", "east-b"): 5,
}
SPOTS = {
    "a1": Spot("a1", "east", "east-a"),
    "a2": Spot("a2", "east", "east-a"),
    "b1": Spot("b1", "east", "east-b"),
    "w1": Spot("w1", "west", "west-a"),
    "bare": Spot("bare"),
}


def make_pod(workload, node=None, *, group="shop", phase="Running"):
    labels = {"appgroup.diktyo.x-k8s.io": group, "appgroup.diktyo.x-k8s.io.workload": workload}
    spec = {} if node is None else {"nodeName": node}
    return {"metadata": {"labels": labels}, "spec": spec, "status": {"phase": phase}}


def make_app_group(needs, *, name="shop"):
    """An application; *needs* says whom each workload depends on."""
    workloads = [
        AppGroupWorkload(
            workload=AppGroupWorkloadRef(selector=workload),
            dependencies=[
                AppGroupDependency(workload=AppGroupWorkloadRef(selector=each)) for each in needed
            ],
        )
        for workload, needed in needs.items()
    ]
    return AppGroup(metadata=ObjectMeta(name=name), spec=AppGroupSpec(workloads=workloads))


def cost_of(*pods, needs):
    groups = [make_app_group(needs)]
    return mean_network_cost(pods, spots=SPOTS, groups=groups, costs=COSTS)


@pytest.mark.parametrize(
    ("here", "there", "cost"),
    [
        pytest.param("a1", "a1", 0, id="the same node"),
        pytest.param("bare", "bare", 0, id="the same node, nobody knows where"),
        pytest.param("a1", "a2", 1, id="the same zone"),
        pytest.param("a1", "b1", 5, id="another zone of the region"),
        pytest.param("b1", "a1", 100, id="a way that nobody gave a cost of"),
        pytest.param("a1", "w1", 60, id="another region"),
        pytest.param("w1", "a1", 70, id="and back"),
        pytest.param("a1", "bare", 100, id="to nowhere"),
        pytest.param("bare", "a1", 100, id="from nowhere"),
    ],
)
def test_what_it_costs_to_get_from_node_to_node(here, there, cost):
    assert SPOTS[here].cost_to(SPOTS[there], costs=COSTS) == cost


def test_each_pod_and_each_of_its_dependencies_counts_once():
    pods = [
        make_pod("front", "a1"),
        make_pod("front", "w1"),
        make_pod("api", "a1"),
        make_pod("api", "b1"),
        make_pod("db", "a2"),
    ]

    mean = cost_of(*pods, needs={"front": ["api", "db"], "api": ["db"], "db": []})

    to_api = [(0 + 5) / 2, (70 + 70) / 2]
    to_db = [1, 70]
    from_api = [1, 100]
    assert mean == pytest.approx(sum([*to_api, *to_db, *from_api]) / 6)


def test_only_running_pods_of_the_same_application_on_known_nodes_count():
    pods = [
        make_pod("front", "a1"),
        make_pod("front"),
        make_pod("front", "w1", phase="Pending"),
        make_pod("front", "gone"),
        make_pod("api", "w1", group="forum"),
        make_pod("api", "w1", phase="Succeeded"),
        {"metadata": {}, "spec": {"nodeName": "w1"}, "status": {"phase": "Running"}},
        make_pod("api", "b1"),
    ]

    assert cost_of(*pods, needs={"front": ["api"]}) == 5


def test_there_is_nothing_to_say_where_nobody_depends_on_a_running_pod():
    pods = [make_pod("front", "a1"), make_pod("api", "b1", phase="Pending")]

    assert cost_of(*pods, needs={"front": ["api"]}) is None
    assert cost_of(*pods, needs={"front": []}) is None


@settings(max_examples=30, deadline=None)
@given(
    front=st.lists(st.sampled_from(sorted(SPOTS)), min_size=1, max_size=5),
    api=st.lists(st.sampled_from(sorted(SPOTS)), min_size=1, max_size=5),
)
def test_the_mean_lies_between_the_nearest_and_the_farthest(front, api):
    pods = [*(make_pod("front", node) for node in front), *(make_pod("api", node) for node in api)]

    mean = cost_of(*pods, needs={"front": ["api"]})

    costs = [SPOTS[here].cost_to(SPOTS[there], costs=COSTS) for here in front for there in api]
    assert min(costs) - 1e-9 <= mean <= max(costs) + 1e-9


def test_the_first_weights_of_a_topology_count():
    def weights(name, cost):
        origin = NetworkOrigin(origin="east", cost_list=[NetworkCost("west", cost)])
        info = NetworkTopologyInfo(topology_key=REGION, origin_list=[origin])
        return NetworkWeights(name=name, topology_list=[info])

    spec = NetworkTopologySpec(weights=[weights("UserDefined", 60), weights("measured", 80)])
    topology = NetworkTopology(metadata=ObjectMeta(name="nt"), spec=spec)

    assert read_costs(topology) == {(REGION, "east", "west"): 60}
    assert read_costs(NetworkTopology(metadata=ObjectMeta(name="nt"))) == {}


def test_nothing_is_measured_where_there_is_no_network_topology():
    meter = NetworkMeter(make_site())

    meter.look()

    assert meter.mean_cost is None


def test_the_shipped_profile_keeps_the_shipped_application_near():
    shipped = load_scenario(SCENARIO)
    scenario = msgspec.structs.replace(shipped, measured=Interval(600.0))

    spread, near = run_seed(scenario, seed=1, policies=shipped.policies)

    assert near.network_cost < spread.network_cost / 2
    assert near.n_never_bound == spread.n_never_bound == 0
