"""A cluster under experiment: what it shows, what it hides, and how its fate takes its course."""

import textwrap

import msgspec
import numpy as np
import pytest

from kube.edge.settings import Duration, SettingsError
from scheduler.simulator.draws import Distribution
from scheduler.simulator.experiments.scenario import Drift, Taint, load_scenario
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.hardware import NodeNature
from scheduler.simulator.natures import Nature
from scheduler.simulator.resources import DEPLOYMENTS, NODES, PODS
from scheduler.simulator.usage import USAGE_ANNOTATION
from tests.unit.simulator.experiments.worlds import (
    HOUR_S,
    make_group,
    make_job,
    make_run,
    make_scenario,
    make_service,
    make_site,
    written,
)

SLOW = NodeNature(speed=0.5)
WILD_NODES = NodeNature(
    speed=Distribution(uniform=(0.3, 0.9)),
    pull_bytes_per_s=1e6,
    container_crash_per_hour=20.0,
    fail_per_hour=1.0,
    system_cpu_ratio=0.5,
    system_memory_ratio=0.3,
)
WILD = Nature(cpu_ratio=3.0, memory_ratio=2.5, crash_per_hour=30.0, startup_s=50.0, stop_s=20.0)


def names_of(site, *, speed):
    return {name for name, spec in site.cluster.node_specs.items() if spec.traits.speed == speed}


def objects(site, resource):
    return site.store.list(resource)


def pods(site):
    return objects(site, PODS)


def pass_time(site, seconds, *, step_s=10.0):
    """Let time pass with nobody to bind pods."""
    end_s = site.now_s + seconds
    while site.now_s < end_s:
        site.step(min(end_s, site.now_s + step_s, max(site.now_s, site.next_at_s)))


# --- nodes


def test_names_of_nodes_do_not_tell_their_group():
    slow = [
        names_of(
            make_site(
                make_group("good", count=8), make_group("slow", count=2, nature=SLOW), seed=seed
            ),
            speed=0.5,
        )
        for seed in range(60)
    ]

    assert {len(names) for names in slow} == {2}
    assert set.union(*slow) == {f"n{number}" for number in range(1, 11)}
    often = [sum(f"n{number}" in names for names in slow) for number in range(1, 11)]
    assert max(often) < 30  # of 60; by chance 12


def test_nodes_appear_in_the_order_of_their_names_not_of_their_groups():
    site = make_site(make_group("good", count=6), make_group("slow", count=4, nature=SLOW))
    versions = {
        node["metadata"]["name"]: int(node["metadata"]["resourceVersion"])
        for node in objects(site, NODES)
    }

    assert sorted(versions, key=versions.__getitem__) == [f"n{i}" for i in range(1, 11)]


def test_a_nodes_size_labels_and_taints_are_shown():
    site = make_site(
        make_group("plain", count=2),
        make_group(
            "gpu",
            count=1,
            cpu="16",
            memory="64Gi",
            max_pods=20,
            labels={"disk": "ssd"},
            extended_resources={"example.com/gpu": 4},
            taints=(Taint(key="gpu", effect="NoSchedule", value="yes"),),
        ),
    )
    pass_time(site, 700.0)  # kubelets report in between, and leave alone what is not theirs
    [node] = [n for n in objects(site, NODES) if n["status"]["capacity"]["cpu"] == "16"]

    assert node["status"]["capacity"]["pods"] == "20"
    assert node["metadata"]["labels"]["disk"] == "ssd"
    assert node["status"]["allocatable"]["example.com/gpu"] == "4"
    assert {"key": "gpu", "effect": "NoSchedule", "value": "yes"} in node["spec"]["taints"]
    others = [n for n in objects(site, NODES) if n is not node]
    assert all("disk" not in n["metadata"].get("labels", {}) for n in others)


# --- what is hidden


def plain_and_wild(**fields):
    """Two scenarios that differ in nothing but what is hidden."""
    service = make_service(replicas=3.0, cpu_limit_ratio=2.0)
    job = make_job(per_hour=120.0)
    plain = make_scenario(
        make_group("good", count=4),
        make_group("bad", count=2),
        services=(service,),
        jobs=(job,),
        **fields,
    )
    replace = msgspec.structs.replace
    wild = replace(
        plain,
        nodes=(plain.nodes[0], replace(plain.nodes[1], nature=WILD_NODES)),
        services=(replace(service, nature=WILD),),
        jobs=(replace(job, nature=WILD, run_s=5.0),),
    )
    return plain, wild


def test_nobody_can_tell_natures_apart_before_anything_runs():
    plain, wild = (Site(scenario, seed=3) for scenario in plain_and_wild())
    for site in (plain, wild):
        site.step(site.start_s)

    assert len(objects(plain, NODES)) == 6
    assert len(objects(plain, DEPLOYMENTS)) == 2
    assert written(wild) == written(plain)


def test_nobody_can_tell_natures_apart_while_pods_wait():
    quiet = {"container_crash_per_hour": 20.0, "speed": 0.5, "system_cpu_ratio": 0.5}
    plain, wild = plain_and_wild()
    wild = msgspec.structs.replace(
        wild,
        nodes=(
            wild.nodes[0],
            msgspec.structs.replace(wild.nodes[1], nature=NodeNature(**quiet)),  # none that dies
        ),
    )
    plain, wild = (Site(scenario, seed=3) for scenario in (plain, wild))
    for site in (plain, wild):
        pass_time(site, 1800.0)

    assert len(pods(plain)) > 30
    assert written(wild) == written(plain)


def test_metrics_tell_natures_apart_by_usage_alone():
    plain, wild = (Site(scenario, seed=3) for scenario in plain_and_wild())
    answers = []
    for site in (plain, wild):
        pass_time(site, 120.0)
        body = site.client.get("/apis/metrics.k8s.io/v1beta1/nodes")
        answers.append(msgspec.json.decode(body)["items"])
    usages = [[item.pop("usage") for item in items] for items in answers]

    assert len(answers[0]) == 6
    assert answers[1] == answers[0]
    assert usages[1] != usages[0]
    assert {frozenset(usage) for usage in usages[1]} == {frozenset({"cpu", "memory"})}


def test_no_object_speaks_of_what_is_hidden():
    _, wild = plain_and_wild(measured_s=1800.0)
    site = Site(wild, seed=3)
    make_run(site).advance(site.start_s + 1800.0)
    everything = b"".join(written(site).values()).decode()

    assert any(pod["status"].get("phase") == "Running" for pod in pods(site))
    assert USAGE_ANNOTATION not in everything
    hidden = (*Nature.__struct_fields__, *NodeNature.__struct_fields__, "run_s", '"bad"', '"good"')
    assert [word for word in hidden if word in everything] == []


# --- drift


def drifting(*, nodes=None, workloads=None):
    drift = Drift(at=Duration(1803.0), nodes=nodes or {}, workloads=workloads or {})
    service = make_service(kinds=1, replicas=6.0, nature=Nature(cpu_ratio=0.2, memory_ratio=0.2))
    fields = {"services": (service,), "warm_up_s": 600.0}
    groups = (make_group("good", count=2), make_group("other", count=1))
    scenarios = (make_scenario(*groups, **fields, drifts=d) for d in ((drift,), ()))
    return tuple(Site(scenario, seed=2) for scenario in scenarios)


def test_a_drift_changes_traits_at_its_time_and_nobody_is_told():
    changing, staying = drifting(nodes={"other": SLOW}, workloads={"web": Nature(cpu_ratio=0.9)})
    at_s = changing.measured_from_s + 1803.0
    for site in (changing, staying):
        make_run(site).advance(at_s - 1.0)
    assert names_of(changing, speed=0.5) == set()
    assert written(changing) == written(staying)
    assert changing.next_at_s == at_s

    for site in (changing, staying):
        site.step(at_s)

    assert len(names_of(changing, speed=0.5)) == 1
    assert names_of(staying, speed=0.5) == set()
    assert written(changing) == written(staying)


def test_what_runs_changes_its_usage_with_a_drift_and_does_not_restart():
    changing, staying = drifting(workloads={"web": Nature(cpu_ratio=0.9, memory_ratio=0.2)})
    usage = []
    for site in (changing, staying):
        make_run(site).advance(site.measured_from_s + 2400.0)
        usage.append(float(np.median(site.cluster.world.sample().container_cpu_milli)))
    restarts = [
        status["restartCount"]
        for pod in pods(changing)
        for status in pod["status"]["containerStatuses"]
    ]

    assert usage[1] == pytest.approx(50.0, rel=0.4)
    assert usage[0] == pytest.approx(225.0, rel=0.4)
    assert restarts == [0] * 6


# --- users and their leavings


def test_ended_pods_are_kept_for_a_while_and_then_swept():
    job = make_job(kinds=1, per_hour=60.0, run_s=20.0, nature=Nature(crash_per_hour=0.0))
    site = make_site(jobs=(job,), keep_ended_pods=Duration(300.0))
    ended_at_s, gone_at_s = {}, {}

    def note(change):
        uid = change.new["metadata"]["uid"]
        if change.type == "DELETED":
            gone_at_s[uid] = site.now_s
        elif change.new["status"].get("phase") in {"Succeeded", "Failed"}:
            ended_at_s.setdefault(uid, site.now_s)

    site.store.on_change(note, of=(PODS,))
    make_run(site).advance(site.start_s + HOUR_S)

    assert len(gone_at_s) > 20
    assert {gone_at_s[uid] - ended_at_s[uid] for uid in gone_at_s} == {300.0}
    left = ended_at_s.keys() - gone_at_s.keys()
    assert all(ended_at_s[uid] > site.now_s - 300.0 for uid in left)


def created(site, run):
    """The pods and deployments that users make, and when, as far as users say what they are."""
    made = []

    def note(change):
        if change.type == "ADDED":
            meta = change.new["metadata"]
            owner = (meta.get("ownerReferences") or [{}])[0].get("kind")
            if owner in {None, "Job"}:
                made.append((site.now_s, meta["name"], msgspec.json.encode(change.new["spec"])))

    site.store.on_change(note, of=(PODS, DEPLOYMENTS))
    run.advance(site.start_s + HOUR_S)
    return made


def test_users_do_the_same_whatever_the_policy_does():
    scenario = make_scenario(
        make_group(count=3, nature=NodeNature(speed=Distribution(uniform=(0.5, 1.0)))),
        services=(make_service(),),
        jobs=(make_job(burst=2.0, cpu_request_milli=Distribution(uniform=(100.0, 900.0))),),
    )
    sites = [Site(scenario, seed=4) for _ in range(2)]
    made = [
        created(site, make_run(site, policy=policy))
        for site, policy in zip(sites, ("most-allocated", "random"), strict=True)
    ]

    assert len(made[0]) > 40
    assert made[0] == made[1]
    assert sites[0].cluster.node_specs == sites[1].cluster.node_specs
    placed = [{p["metadata"]["name"]: p["spec"].get("nodeName") for p in pods(s)} for s in sites]
    assert placed[0] != placed[1]


# --- copies


def eventful(**fields):
    return make_scenario(
        make_group("good", count=3),
        make_group("bad", count=1, nature=NodeNature(container_crash_per_hour=10.0)),
        services=(make_service(replicas=3.0, nature=Nature(cpu_ratio=1.5)),),
        jobs=(make_job(),),
        warm_up_s=600.0,
        measured_s=1800.0,
        **fields,
    )


def test_copies_go_on_alike_and_leave_each_other_alone():
    site = Site(eventful(), seed=5)
    make_run(site).advance(site.measured_from_s)
    before = written(site)
    results, ends = [], []
    for twin in (site.copy(), site.copy()):
        results.append(make_run(twin).measure(twin.end_s))
        ends.append(written(twin))

    assert results[0].n_placements > 10
    assert unhurried(results[0]) == unhurried(results[1])
    assert ends[0] == ends[1]
    assert ends[0] != before
    assert (written(site), site.now_s) == (before, site.measured_from_s)


def test_a_copy_goes_on_as_the_original_does():
    site = Site(eventful(), seed=5)
    make_run(site).advance(site.measured_from_s)
    twin = site.copy()
    results = [make_run(each, policy="random").measure(each.end_s) for each in (twin, site)]

    assert unhurried(results[0]) == unhurried(results[1])
    assert written(site) == written(twin)


def unhurried(result):
    return msgspec.structs.replace(result, cpu_s=0.0)


def test_changing_a_copys_natures_changes_only_the_copy():
    site = Site(eventful(), seed=5)
    twin = site.copy()
    name = next(iter(site.cluster.node_specs))
    speed = site.cluster.node_specs[name].traits.speed
    twin.usage.change("web", Nature(cpu_ratio=9.0))
    twin.cluster.set_node_traits(name, SLOW.traits(name, seed=0, cpu_milli=1, memory_bytes=1))

    def asked(each):
        return each.usage.profile(
            pod="default/web-1-x",
            workload="default/web-1",
            container="app/x",
            cpu_request_milli=100,
            memory_request_bytes=1,
        ).cpu_milli

    assert (asked(site), asked(twin)) == (150.0, 900.0)
    assert site.cluster.node_specs[name].traits.speed == speed


NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: team}
"""


def test_what_manifests_describe_is_there_before_the_first_workload(tmp_path):
    (tmp_path / "team.yaml").write_text(NAMESPACE)
    text = """
        name: teams
        description: One.
        manifests: [team.yaml]
        nodes: [{name: worker, count: 1}]
        services: [{name: web, namespace: team, replicas: 2}]
        jobs: [{name: job, namespace: team, per_hour: 600}]
    """
    (tmp_path / "teams.yaml").write_text(textwrap.dedent(text))
    site = Site(load_scenario(tmp_path / "teams.yaml"), seed=0)

    site.step(site.now_s + HOUR_S)

    deployments = {d["metadata"]["namespace"] for d in site.store.list(DEPLOYMENTS)}
    pods = {p["metadata"]["namespace"] for p in site.store.list(PODS)}
    assert deployments == pods == {"team"}
    assert {member.key for member in site.users.members} == {"team/web-1", "team/job-1"}


def test_a_manifest_that_is_not_there_stops_the_start(tmp_path):
    (tmp_path / "teams.yaml").write_text(
        "name: teams\nmanifests: [team.yaml]\nnodes: [{name: worker, count: 1}]\n"
    )

    with pytest.raises(SettingsError, match=r"team\.yaml"):
        Site(load_scenario(tmp_path / "teams.yaml"), seed=0)
