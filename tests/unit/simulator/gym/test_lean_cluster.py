"""The lean cluster: users' pods, replaced and driven away as controllers would."""

import numpy as np
import pytest

from kube.edge.settings import Duration, Interval
from scheduler.events import NodeSeen, NodesMeasured, PodGone, PodSeen
from scheduler.simulator.experiments.scenario import Drift, Taint
from scheduler.simulator.gym.cluster import LeanCluster
from scheduler.simulator.gym.pods import NOWHERE
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from scheduler.simulator.pod_defaults import UNREACHABLE
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_group,
    make_job,
    make_scenario,
    make_service,
)

STEADY = Nature(crash_per_hour=0.0, memory_ratio=0.5, burst_ratio=0.0)


def make_cluster(*groups, seed=1, **fields):
    return LeanCluster(make_scenario(*groups, **fields), seed=seed)


def place_all(cluster, *, only=None):
    """Put what is offered on the first node that would do, or on one alone."""
    placed = []
    while (offer := cluster.offer()) is not None:
        pod, feasible = offer
        row = int(np.argmax(feasible)) if only is None else only
        if not feasible[row]:
            cluster.set_aside(pod)
            continue
        cluster.bind(pod, row=row)
        placed.append(pod)
    return placed


def live(cluster, *, for_s, only=None):
    """Let time pass, placing what comes."""
    until_s, placed = cluster.now_s + for_s, []
    while cluster.now_s < until_s:
        placed += place_all(cluster, only=only)
        cluster.advance(min(until_s, cluster.next_s()))
    return placed


def started(*groups, **fields):
    """A cluster at its first instant, at which services are deployed."""
    cluster = make_cluster(*groups, **fields)
    cluster.advance(cluster.next_s())
    return cluster


def test_services_come_at_once_and_run():
    cluster = started(services=(make_service(nature=STEADY),))
    pods = live(cluster, for_s=600.0)

    assert len(pods) == 4
    assert all(pod.is_ready for pod in pods)
    assert cluster.nodes.cpu_requested_milli.tolist() == [1000.0, 0.0, 0.0]
    assert cluster.n_pending == 0


def test_jobs_come_run_and_give_back_what_they_took():
    cluster = started(jobs=(make_job(run_s=60.0, nature=STEADY),))
    pods = live(cluster, for_s=HOUR_S)

    assert 40 < len(pods) < 80
    assert sum(pod.is_over for pod in pods) > len(pods) - 6
    assert cluster.nodes.n_pods.sum() == sum(not pod.is_over for pod in pods)


def test_selector_and_taints_bound_where_pods_may_go():
    groups = (
        make_group("ssd", count=1, labels={"disk": "ssd"}),
        make_group("hdd", count=1),
        make_group(
            "tainted",
            count=1,
            labels={"disk": "ssd"},
            taints=(Taint(key="team", value="a", effect="NoSchedule"),),
        ),
    )
    tolerating = {"tolerations": [{"key": "team", "operator": "Exists"}]}
    cluster = started(
        *groups,
        services=(
            make_service("plain", kinds=1, replicas=1.0),
            make_service(
                "picky", kinds=1, replicas=1.0, pod_spec={"nodeSelector": {"disk": "ssd"}}
            ),
            make_service("brave", kinds=1, replicas=1.0, pod_spec=tolerating),
        ),
    )
    groups_of = {}
    while (offer := cluster.offer()) is not None:
        pod, feasible = offer
        names = np.array(cluster.nodes.groups)[feasible]
        groups_of[pod.template.member.group.name] = set(names.tolist())
        cluster.bind(pod, row=int(np.argmax(feasible)))

    assert groups_of == {
        "plain": {"ssd", "hdd"},
        "picky": {"ssd"},
        "brave": {"ssd", "hdd", "tainted"},
    }


def test_a_dead_node_is_believed_in_for_a_while_then_avoided_and_after_minutes_left():
    cluster = started(services=(make_service(kinds=1, replicas=2.0, nature=STEADY),))
    first = live(cluster, for_s=60.0, only=0)
    name = cluster.nodes.names[0]
    cluster.world.fail_node(name, outage_s=HOUR_S)

    live(cluster, for_s=30.0)
    assert cluster.nodes.facts(0).taints == ()
    live(cluster, for_s=60.0)
    assert {taint.key for taint in cluster.nodes.facts(0).taints} == {UNREACHABLE}
    assert not any(pod.is_stopping for pod in first)
    replaced = live(cluster, for_s=330.0)

    assert all(pod.is_stopping and not pod.is_over for pod in first)
    assert len(replaced) == 2
    assert not {pod.node for pod in replaced} & {0, NOWHERE}
    assert cluster.nodes.n_pods[0] == 2  # until its kubelet is back to say that they are gone
    live(cluster, for_s=HOUR_S)
    assert cluster.nodes.facts(0).taints == ()
    assert cluster.nodes.n_pods[0] == 0


def test_a_pod_that_is_bound_to_a_dead_node_starts_when_that_is_back():
    cluster = started(services=(make_service(kinds=1, replicas=1.0, nature=STEADY),))
    cluster.world.fail_node(cluster.nodes.names[1], outage_s=40.0)
    cluster.advance(cluster.next_s())
    [pod] = place_all(cluster, only=1)
    live(cluster, for_s=20.0)
    assert not pod.has_begun
    live(cluster, for_s=120.0)

    assert pod.is_ready


def test_an_evicted_pod_is_replaced():
    leaking = Nature(memory_ratio=1.0, memory_growth_ratio_per_h=30.0, crash_per_hour=0.0)
    cluster = started(
        make_group(count=1, memory="4Gi"),
        services=(make_service(kinds=1, replicas=1.0, nature=leaking),),
    )
    pods = live(cluster, for_s=2 * HOUR_S)

    assert len(pods) > 2
    assert all(pod.is_over for pod in pods[:-1])
    assert cluster.n_pending == int(pods[-1].is_over)


def test_a_rollout_replaces_pods_little_by_little():
    service = make_service(kinds=1, replicas=4.0, rollout_every=Interval(1800.0), nature=STEADY)
    cluster = started(services=(service,))
    counts = set()
    until_s = cluster.now_s + 2 * HOUR_S
    pods = place_all(cluster)
    while cluster.now_s < until_s:
        cluster.advance(cluster.next_s())
        pods += place_all(cluster)
        if cluster.now_s > until_s - HOUR_S:
            counts.add(sum(pod.is_active for pod in pods))
    versions = {pod.template.number for pod in pods}

    assert len(versions) > 1
    assert counts <= {3, 4, 5}
    assert all(pod.is_over for pod in pods if pod.template.number == min(versions))


def test_what_is_not_wanted_any_more_before_it_has_a_node_is_gone_at_once():
    service = make_service(
        kinds=1, replicas=4.0, rollout_every=Interval(600.0), cpu_request_milli=3000.0
    )
    cluster = started(make_group(count=1), services=(service,))
    live(cluster, for_s=4 * HOUR_S)

    assert cluster.n_pending <= 4


def test_a_drift_changes_nodes_and_what_runs():
    hungry = Nature(cpu_ratio=1.0, memory_ratio=0.5, crash_per_hour=0.0, burst_ratio=0.0)
    frugal = Nature(cpu_ratio=0.05, memory_ratio=0.5, crash_per_hour=0.0, burst_ratio=0.0)
    drift = Drift(
        at=Duration(600.0),
        nodes={"good": NodeNature(system_cpu_milli=2000.0)},
        workloads={"web": hungry},
    )
    cluster = started(services=(make_service(nature=frugal),), drifts=(drift,))
    live(cluster, for_s=590.0)
    before = cluster.world.sample_nodes().cpu_milli
    live(cluster, for_s=60.0)
    after = cluster.world.sample_nodes().cpu_milli

    assert (after > before + 1500.0).all()
    assert after[0] > before[0] + 2500.0  # all pods are there


def test_drifts_count_from_the_end_of_the_warm_up():
    drift = Drift(at=Duration(60.0), nodes={"good": NodeNature(system_cpu_milli=2000.0)})
    cluster = LeanCluster(make_scenario(drifts=(drift,)), seed=1, warm_up_s=600.0)
    live(cluster, for_s=650.0)
    before = cluster.world.sample_nodes().cpu_milli
    live(cluster, for_s=30.0)

    assert (cluster.world.sample_nodes().cpu_milli > before + 1500.0).all()


def test_watchers_are_told_what_a_scheduler_would_see():
    cluster = started(services=(make_service(kinds=1, replicas=1.0, nature=STEADY),))
    seen = []
    cluster.watchers.append(seen.append)
    [pod] = live(cluster, for_s=60.0, only=0)
    cluster.world.fail_node(cluster.nodes.names[0], outage_s=HOUR_S)
    live(cluster, for_s=2 * HOUR_S, only=1)
    of_pod = [
        (type(event), event.pod.node_name, event.pod.is_terminating)
        if isinstance(event, PodSeen)
        else (type(event),)
        for event in seen
        if getattr(event, "pod", event).__class__.__name__ in ("PodFacts", "PodGone")
        and getattr(getattr(event, "pod", event), "uid", "") == pod.uid
    ]

    assert of_pod == [(PodSeen, "n1", False), (PodSeen, "n1", True), (PodGone,)]
    taints = [len(e.node.taints) for e in seen if isinstance(e, NodeSeen) and e.node.name == "n1"]
    assert 2 in taints
    assert taints[-1] == 0


def test_usage_is_told_with_the_time_it_is_of_so_that_newer_pods_are_counted():
    cluster = started(services=(make_service(kinds=1, replicas=1.0, nature=STEADY),))
    seen = []
    cluster.watchers.append(seen.append)
    live(cluster, for_s=300.0)
    *_, measured = (event for event in seen if isinstance(event, NodesMeasured))

    assert measured.usage
    assert measured.windows.keys() == measured.usage.keys()
    for name, window in measured.windows.items():
        assert (window.mean, window.start_s) == (measured.usage[name], window.end_s)
        assert cluster.now_s - 60.0 <= window.end_s <= cluster.now_s


def test_workloads_are_dealt_to_queues_each_to_one():
    scenario = make_scenario(services=(make_service(kinds=12, replicas=2.0),))
    cluster = LeanCluster(scenario, seed=1, n_queues=3)
    cluster.advance(cluster.next_s())
    dealt = {}
    for queue in range(3):
        while (offer := cluster.offer(queue)) is not None:
            dealt.setdefault(offer[0].template.workload, set()).add(queue)
            cluster.set_aside(offer[0])

    assert len(dealt) == 12
    assert {len(queues) for queues in dealt.values()} == {1}
    assert set.union(*dealt.values()) == {0, 1, 2}


@pytest.mark.parametrize("n_nodes", [1, 3])
def test_refused_pods_wait_until_there_is_room(n_nodes):
    job = make_job(per_hour=200.0, run_s=300.0, cpu_request_milli=1500.0, nature=STEADY)
    cluster = started(make_group(count=n_nodes), jobs=(job,))
    pods = live(cluster, for_s=2 * HOUR_S)

    assert cluster.n_pending > 10
    assert (cluster.nodes.n_pods <= 2).all()
    by_kind = {}
    for pod in pods:
        by_kind.setdefault(pod.template.workload, []).append(pod.number)
    assert all(numbers == sorted(numbers) for numbers in by_kind.values())
