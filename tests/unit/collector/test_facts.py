import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.facts import node_facts, pod_facts
from kube.workload import workload_of
from tests.builders import (
    at,
    make_condition,
    make_container,
    make_container_status,
    make_node,
    make_pod,
)


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        pytest.param(
            ("ReplicaSet", "web-5d8f"),
            {"pod-template-hash": "5d8f"},
            "default/Deployment/web",
            id="a deployment's replica",
        ),
        pytest.param(
            ("ReplicaSet", "web-5d8f"), {}, "default/ReplicaSet/web-5d8f", id="a bare replica set"
        ),
        pytest.param(
            ("ReplicaSet", "web-1"),
            {"pod-template-hash": ""},
            "default/ReplicaSet/web-1",
            id="an empty hash",
        ),
        pytest.param(("StatefulSet", "db"), {}, "default/StatefulSet/db", id="a stateful set"),
        pytest.param(
            ("Job", "backup-29380620"), {}, "default/CronJob/backup", id="a run of a cron job"
        ),
        pytest.param(("Job", "load-2026"), {}, "default/Job/load-2026", id="a job"),
        pytest.param(("Job", "part-00000012"), {}, "default/Job/part-00000012", id="a part"),
        pytest.param(("Node", "n1"), {}, "default/Pod/web-1", id="a static pod"),
        pytest.param(None, {}, "default/Pod/web-1", id="a bare pod"),
    ],
)
def test_replicas_share_a_workload_over_all_revisions(owner, labels, workload):
    assert workload_of(make_pod(owner=owner, labels=labels)) == workload


def test_reads_requests_limits_and_instants_of_a_pod():
    pod = make_pod(
        node="n1",
        containers=[
            make_container("app", requests={"cpu": "500m", "memory": "1Mi"}, limits={"cpu": "1"}),
            make_container("log", requests={"cpu": "100m"}),
        ],
        statuses=[make_container_status("app", restarts=2, running_since=at(7))],
        conditions=[make_condition("PodScheduled", since=at(1))],
        ready_at=at(9),
    )

    facts = pod_facts(pod)

    assert (facts.cpu_milli, facts.memory_bytes) == (600, 2**20)
    assert facts.cpu_limits_milli == (("app", 1000),)
    assert facts.scheduled_at_s == at(1).timestamp()
    assert facts.started_at_s == at(7).timestamp()
    assert facts.ready_at_s == at(9).timestamp()
    assert facts.n_restarts == 2


@pytest.mark.parametrize("amount", ["-1", "1e400", "lots", ""])
def test_absurd_amounts_are_bounded_and_stop_nobody(amount):
    facts = pod_facts(make_pod(requests={"cpu": amount}, limits={"cpu": amount}))
    node = node_facts(make_node(cpu=amount))

    assert 0 <= facts.cpu_milli < 2**63
    assert 0 <= node.allocatable_cpu_milli < 2**63


@given(st.text(max_size=12))
def test_any_text_for_an_amount_is_survived(amount):
    assert pod_facts(make_pod(requests={"memory": amount})).memory_bytes >= 0


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("PreemptionByScheduler", "preempted"),
        ("DeletionByTaintManager", "node_lost"),
        ("EvictionByEvictionAPI", None),
    ],
)
def test_a_disruption_is_a_failure_unless_it_is_a_drain(reason, failure):
    condition = make_condition("DisruptionTarget", reason=reason)

    assert pod_facts(make_pod(conditions=[condition])).disruption == failure


def test_an_oom_kill_is_dated_whether_the_container_was_restarted_yet_or_not():
    killed = make_pod(statuses=[make_container_status(terminated=(137, "OOMKilled"))])
    restarted = make_pod(
        statuses=[make_container_status(restarts=1, last_terminated=(137, "OOMKilled"))]
    )

    assert pod_facts(killed).last_oom_at_s == at(0).timestamp()
    assert pod_facts(restarted).last_oom_at_s == at(0).timestamp()


def test_sidecars_restarts_and_oom_kills_are_the_pods():
    sidecar = make_container_status("proxy", restarts=2, last_terminated=(137, "OOMKilled"))
    pod = make_pod(init_statuses=[sidecar], statuses=[make_container_status(restarts=1)])

    facts = pod_facts(pod)

    assert facts.n_restarts == 3
    assert facts.last_oom_at_s == at(0).timestamp()
    assert facts.failure == "oom_killed"


def test_reads_a_nodes_state():
    node = make_node(
        ready=False,
        unschedulable=True,
        conditions=[
            make_condition("MemoryPressure"),
            make_condition("DiskPressure", status="False"),
        ],
    )

    facts = node_facts(node)

    assert not facts.is_ready
    assert not facts.is_schedulable
    assert facts.pressures == ("MemoryPressure",)
    assert (facts.allocatable_cpu_milli, facts.allocatable_pods) == (4000, 110)
