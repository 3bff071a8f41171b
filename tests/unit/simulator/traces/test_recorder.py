"""A living cluster and its past, put together."""

import json
from datetime import UTC, datetime

import pytest

from kube.client import Client
from kube.objects import (
    Affinity,
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Taint,
    Toleration,
)
from scheduler.simulator.traces.live import read_cluster
from scheduler.simulator.traces.past import PastOutcome, PastPlacement
from scheduler.simulator.traces.recorder import put_together, usage_rows, workload_requests
from tests.builders import EPOCH_S, make_condition, make_container, make_node, make_pod
from tests.fakes import FakeApiServer

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
SMALL = {"cpu": "250m", "memory": "1Mi"}


def at(after_s):
    return datetime.fromtimestamp(EPOCH_S + after_s, tz=UTC)


def scheduled(after_s):
    return make_condition("PodScheduled", since=at(after_s))


def ended(after_s):
    state = ContainerState(terminated=ContainerStateTerminated(finished_at=at(after_s)))
    return [ContainerStatus(name="app", state=state)]


def read(*objects):
    with FakeApiServer() as api:
        for obj in objects:
            api.put(NODES if obj.metadata.namespace == "" else PODS, obj)
        with Client.for_url(api.url) as client:
            return read_cluster(client)


def pod_row(pod, *others):
    [row] = read(pod, *others).pods.values()
    return row


def placement(name="web-1", **fields):
    defaults = {
        "id": 1,
        "pod_uid": f"past-{name}",
        "pod_namespace": "default",
        "pod_name": name,
        "workload": "default/Deployment/web",
        "node": "n1",
        "cpu_milli": 100,
        "memory_bytes": 200,
        "created_at_s": EPOCH_S + 5,
        "placed_at_s": EPOCH_S + 9,
    }
    return PastPlacement(**{**defaults, **fields})


def test_a_node_is_read_without_what_its_state_put_on_it():
    taints = [
        Taint(key="node.kubernetes.io/not-ready", effect="NoExecute"),
        Taint(key="gpu", effect="NoSchedule", value="yes"),
    ]
    cluster = read(
        make_node(
            cpu="3500m",
            capacity={"cpu": "4", "memory": "9Gi"},
            pods="50",
            taints=taints,
            unschedulable=True,
        )
    )

    [row] = cluster.nodes
    assert (row.cpu_milli, row.allocatable_cpu_milli, row.max_pods) == (4000, 3500, 50)
    assert row.memory_bytes == 9 * 2**30
    assert row.taint_list == [("gpu", "yes", "NoSchedule")]
    assert cluster.n_cordoned == 1


def test_what_placing_a_pod_depends_on_is_read_and_nothing_else():
    pod = make_pod(
        requests=SMALL,
        limits={"cpu": "1", "memory": "2Mi"},
        labels={"app": "web"},
        annotations={"owner": "somebody"},
        priority_annotation=9,
        priority=3,
        node_selector={"disk": "ssd"},
        tolerations=[
            Toleration(key="node.kubernetes.io/not-ready", operator="Exists"),
            Toleration(key="gpu", operator="Exists"),
        ],
        affinity=Affinity(),
        owner=("ReplicaSet", "web"),
        conditions=[scheduled(7)],
        node="n1",
        created_at=at(5),
    )

    row = pod_row(pod)

    assert (row.kind, row.workload) == ("ReplicaSet", "web")
    assert (row.cpu_request_milli, row.cpu_limit_milli, row.memory_limit_bytes) == (
        250,
        1000,
        2 * 2**20,
    )
    assert (row.created_at_s, row.placed_at_s) == (EPOCH_S + 5, EPOCH_S + 7)
    assert (row.priority, row.label_map, row.node) == (9, {"app": "web"}, "n1")
    assert row.constraint_fields["nodeSelector"] == {"disk": "ssd"}
    assert [t["key"] for t in row.constraint_fields["tolerations"]] == ["gpu"]


def test_limits_count_only_if_all_containers_have_one():
    limited = make_container("a", requests=SMALL, limits={"cpu": "1"})
    row = pod_row(make_pod(containers=[limited, make_container("b", requests=SMALL)]))

    assert (row.cpu_request_milli, row.cpu_limit_milli) == (500, None)


@pytest.mark.parametrize(
    ("owner", "run_s", "ended_at_s"),
    [
        pytest.param(("Job", "train"), 30.0, None, id="work"),
        pytest.param(None, 30.0, None, id="by itself"),
        pytest.param(("StatefulSet", "db"), None, EPOCH_S + 37, id="a replica"),
    ],
)
def test_of_a_pod_that_ended_it_is_told_how_long_it_worked_or_when_it_left(
    owner, run_s, ended_at_s
):
    pod = make_pod(
        owner=owner,
        phase="Succeeded",
        created_at=at(0),
        conditions=[scheduled(7)],
        statuses=ended(37),
    )

    row = pod_row(pod)

    assert (row.run_s, row.ended_at_s) == (run_s, ended_at_s)


def test_a_pod_evicted_before_it_ran_ended_when_that_was_told():
    pod = make_pod(phase="Failed", reason="Evicted", conditions=[scheduled(7)], created_at=at(0))

    assert pod_row(pod).run_s == 1.0


def test_a_nodes_own_pod_stays_on_it():
    row = pod_row(make_pod("proxy-n1", owner=("Node", "n1"), node="n1"))

    required = row.constraint_fields["affinity"]["nodeAffinity"]
    assert row.kind == "Pod"
    assert json.dumps(required).count('"values": ["n1"]') == 1


def test_what_cannot_be_recorded_is_counted():
    cluster = read(
        make_pod("gpu", requests={"cpu": "1", "nvidia.com/gpu": "1"}),
        make_pod("broken", requests={"cpu": "many"}),
        make_node("broken", cpu="many"),
    )

    assert {row.name for row in cluster.pods.values()} == {"gpu"}
    assert cluster.other_resources == {"nvidia.com/gpu": 1}
    assert cluster.n_malformed == 2


def test_a_pod_that_is_gone_is_told_by_its_placement_and_by_one_of_its_kind():
    living = make_pod(
        "web-2",
        owner=("ReplicaSet", "web"),
        requests=SMALL,
        limits={"cpu": "1", "memory": "1Gi"},
        priority=4,
        node_selector={"disk": "ssd"},
        created_at=at(2000),
    )
    cluster = read(living, make_node("n1"))
    gone = placement(workload="default/ReplicaSet/web", ended_at_s=EPOCH_S + 500)

    recorded = put_together(cluster, [gone, gone], from_s=EPOCH_S)

    first, second = recorded.pods
    assert (first.name, first.created_at_s, first.ended_at_s) == (
        "web-1",
        EPOCH_S + 5,
        EPOCH_S + 500,
    )
    assert (first.cpu_request_milli, first.cpu_limit_milli, first.priority) == (100, 1000, 4)
    assert first.constraint_fields == {"nodeSelector": {"disk": "ssd"}}
    assert second.name == "web-2"
    assert (recorded.n_gone, recorded.n_without_end) == (1, 0)


@pytest.mark.parametrize(
    ("fields", "run_s"),
    [
        pytest.param({"ended_at_s": EPOCH_S + 109}, 100.0, id="seen"),
        pytest.param(
            {"outcome": PastOutcome(decided_at_s=EPOCH_S + 69)}, 60.0, id="it lived that long"
        ),
    ],
)
def test_work_that_is_gone_took_from_its_placement_to_its_end(fields, run_s):
    past = placement("train-1", workload="default/Job/train", **fields)

    [row] = put_together(read(make_node("n1")), [past], from_s=EPOCH_S).pods

    assert (row.kind, row.run_s, row.ended_at_s) == ("Job", run_s, None)


def test_pods_whose_end_nobody_saw_are_counted_and_left_out():
    recorded = put_together(read(make_node("n1")), [placement()], from_s=EPOCH_S)

    assert (recorded.pods, recorded.n_gone, recorded.n_without_end) == ([], 0, 1)


def test_what_ended_before_the_time_is_left_out():
    early = placement("a", ended_at_s=EPOCH_S + 50)
    late = placement("b", ended_at_s=EPOCH_S + 500)

    recorded = put_together(read(make_node("n1")), [early, late], from_s=EPOCH_S + 100)

    assert [row.name for row in recorded.pods] == ["b"]


def test_a_daemons_pod_stays_on_its_node_and_goes_with_it():
    of = {"workload": "default/DaemonSet/proxy", "ended_at_s": EPOCH_S + 50}
    past = [placement("a", node="n1", **of), placement("b", node="gone", **of)]

    [row] = put_together(read(make_node("n1")), past, from_s=EPOCH_S).pods

    assert row.name == "a"
    assert '"values":["n1"]' in row.constraints


def test_usage_is_told_as_ratios_of_requests_or_of_what_stands_for_them():
    asking = placement("a", ended_at_s=EPOCH_S + 50)
    modest = placement(
        "b",
        workload="default/Job/b",
        cpu_milli=0,
        memory_bytes=0,
        ended_at_s=EPOCH_S + 50,
    )
    recorded = put_together(read(make_node("n1")), [asking, modest], from_s=EPOCH_S)

    assert workload_requests(recorded.pods) == {
        "default/Deployment/web": (100.0, 200.0),
        "default/Job/b": (100.0, 64.0 * 2**20),
    }
    assert list(usage_rows("a", [], cpu_milli=1.0, memory_bytes=1.0)) == []
