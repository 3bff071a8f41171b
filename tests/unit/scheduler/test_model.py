"""Reading nodes and pods."""

import pytest

from kube.objects import Node, NodeStatus
from kube.quantity import CPU, MEMORY, QuantityError
from scheduler.model import MAX_AMOUNT, CpuTerms, HostPort, NodeFacts, PodFacts
from tests.builders import at, make_container, make_meta, make_node, make_pod

MI = 2**20


@pytest.mark.parametrize(
    ("annotation", "spec", "expected"),
    [
        pytest.param("100", 5, 100, id="annotation first"),
        pytest.param("-3", None, -3, id="may be negative"),
        pytest.param(None, 5, 5, id="else the spec"),
        pytest.param(None, None, 0, id="else zero"),
        pytest.param("high", 5, 5, id="a typo counts as absent"),
        pytest.param("", 5, 5, id="so does nothing"),
    ],
)
def test_priority_comes_from_the_annotation_then_the_spec(annotation, spec, expected):
    pod = make_pod(priority_annotation=annotation, priority=spec)

    assert PodFacts.from_pod(pod).priority == expected


def test_scoring_takes_something_for_granted_where_nothing_is_asked_for():
    containers = [make_container("a"), make_container("b", requests={"cpu": "0", "memory": "1Mi"})]

    pod = PodFacts.from_pod(make_pod(containers=containers))

    assert pod.requests == {CPU: 0, MEMORY: MI}
    assert pod.scored_requests == {CPU: 100, MEMORY: 201 * MI}


def test_host_ports_of_containers_and_sidecars_count():
    pod = make_pod(
        host_ports=[80, 0],
        init_containers=[
            make_container("side", host_ports=[81], restart_policy="Always"),
            make_container("setup", host_ports=[82]),
        ],
    )

    assert {port.port for port in PodFacts.from_pod(pod).host_ports} == {80, 81}
    assert HostPort("0.0.0.0", "TCP", 80) in PodFacts.from_pod(pod).host_ports


def test_absurd_amounts_are_cut_to_what_can_be_added_up():
    pod = PodFacts.from_pod(make_pod(requests={"memory": "8Ei", "cpu": "-1"}))

    assert pod.requests == {MEMORY: MAX_AMOUNT, CPU: 0}


def test_amounts_that_are_no_quantity_are_an_error():
    with pytest.raises(QuantityError):
        PodFacts.from_pod(make_pod(requests={"cpu": "lots"}))
    with pytest.raises(QuantityError):
        NodeFacts.from_node(make_node(cpu="lots"))


def test_reads_what_else_matters_of_a_pod():
    pod = make_pod(
        requests={"cpu": "1", "memory": "1Mi"},
        owner=("StatefulSet", "db"),
        deleted_at=at(9),
        phase="Failed",
    )

    facts = PodFacts.from_pod(pod)

    assert facts.key == "default/web-1"
    assert facts.shape == (1000, MI, "default", "default/StatefulSet/db")
    assert facts.is_terminating
    assert facts.is_finished


def test_reads_a_node():
    facts = NodeFacts.from_node(make_node(labels={"a": "b"}, unschedulable=True))

    assert facts.allocatable == {CPU: 4000, MEMORY: 8 * 2**30, "pods": 110}
    assert facts.labels["a"] == "b"
    assert facts.is_unschedulable
    assert facts.taints == ()


def test_limits_are_no_less_than_requests_and_follow_init_containers_and_overhead():
    pod = make_pod(
        containers=[
            make_container("a", requests={"cpu": "1", "memory": "1Gi"}, limits={"cpu": "2"}),
            make_container("b", requests={"cpu": "500m"}),
        ],
        init_containers=[make_container("i", limits={"cpu": "3"})],
        overhead={"cpu": "100m"},
    )

    limits = PodFacts.from_pod(pod).limits

    assert limits == {"cpu": 3100, "memory": 2**30}


def test_cpu_terms_tell_limits_from_requests_from_nothing():
    pod = make_pod(
        containers=[
            make_container("a", requests={"cpu": "1"}, limits={"cpu": "2"}),
            make_container("b", requests={"cpu": "500m"}),
            make_container("c", requests={"memory": "1Gi"}),
        ],
        init_containers=[make_container("i", limits={"cpu": "3"})],
        overhead={"cpu": "100m"},
    )

    assert PodFacts.from_pod(pod).cpu_terms == CpuTerms(2100, 500, 1)


def test_a_node_has_all_of_the_machine_and_gives_some_of_it():
    status = NodeStatus(
        capacity={"cpu": "4", "memory": "8Gi", "pods": "110"}, allocatable={"cpu": "3500m"}
    )

    facts = NodeFacts.from_node(Node(metadata=make_meta("n1"), status=status))

    assert facts.capacity == {"cpu": 4000, "memory": 8 * 2**30}
    assert facts.allocatable == {"cpu": 3500}
