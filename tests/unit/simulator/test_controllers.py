"""Controllers over the store: Deployments, ReplicaSets, nodes, budgets, garbage."""

import pytest

from scheduler.simulator import resources as r
from scheduler.simulator.controllers.rollout import Replicas, new_size, old_sizes, resolve
from tests.simulator_world import (
    Simulation,
    condition,
    deployment_manifest,
    pod_manifest,
    with_image,
)

REVISION = "deployment.kubernetes.io/revision"


def deployment(simulation, name="web"):
    return simulation.store.get(r.DEPLOYMENTS, "default", name)


def sets(simulation):
    return simulation.store.list(r.REPLICASETS)


def is_rolled_out(simulation, name="web"):
    """What ``kubectl rollout status`` waits for."""
    found = deployment(simulation, name)
    status, wanted = found["status"], found["spec"]["replicas"]
    return (
        status.get("observedGeneration") == found["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def rolled_out(**manifest):
    simulation = Simulation(nodes=3)
    simulation.create(r.DEPLOYMENTS, deployment_manifest(**manifest))
    simulation.run_until(lambda: is_rolled_out(simulation))
    return simulation


def update_image(simulation, image):
    simulation.store.update(r.DEPLOYMENTS, with_image(deployment(simulation), image))


def test_a_deployment_gets_its_pods_running():
    simulation = rolled_out(replicas=3)

    found = deployment(simulation)
    [replica_set] = sets(simulation)
    digest = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{digest}"
    assert found["metadata"]["annotations"][REVISION] == "1"
    assert condition(found, "Available")["reason"] == "MinimumReplicasAvailable"
    assert condition(found, "Progressing")["reason"] == "NewReplicaSetAvailable"
    for pod in simulation.pods():
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": digest}
        assert pod["metadata"]["ownerReferences"][0]["name"] == f"web-{digest}"
    assert simulation.reasons("web") == ["ScalingReplicaSet"]


@pytest.mark.parametrize("replicas", [0, 1, 7])
def test_scaling_changes_the_number_of_pods(replicas):
    simulation = rolled_out(replicas=3)
    found = deployment(simulation)

    scaled = {**found, "spec": {**found["spec"], "replicas": replicas}}
    simulation.store.update(r.DEPLOYMENTS, scaled)
    simulation.run_until(lambda: is_rolled_out(simulation))

    assert len(sets(simulation)) == 1
    simulation.run_until(lambda: len(simulation.pods()) == replicas)


def test_a_rolling_update_keeps_to_its_limits():
    simulation = rolled_out(
        replicas=4,
        strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
    )
    update_image(simulation, "nginx:1.28")
    seen = []

    def done():
        live = [p for p in simulation.pods() if "deletionTimestamp" not in p["metadata"]]
        seen.append((len(live), sum(condition(p, "Ready") is not None for p in live)))
        status = deployment(simulation)["status"]
        seen[-1] = (len(live), status.get("availableReplicas", 0))
        return is_rolled_out(simulation)

    simulation.run_until(done)

    assert max(n_live for n_live, _ in seen) <= 5
    assert min(n_available for _, n_available in seen) >= 3
    old, new = sorted(sets(simulation), key=lambda s: s["spec"]["replicas"])
    assert (old["spec"]["replicas"], new["spec"]["replicas"]) == (0, 4)
    assert deployment(simulation)["metadata"]["annotations"][REVISION] == "2"


def test_going_back_reuses_the_old_replica_set_under_a_new_revision():
    simulation = rolled_out(replicas=2)
    [first] = sets(simulation)
    update_image(simulation, "nginx:1.28")
    simulation.run_until(lambda: is_rolled_out(simulation))

    update_image(simulation, "nginx:1.27")
    simulation.run_until(lambda: is_rolled_out(simulation))

    current = next(s for s in sets(simulation) if s["spec"]["replicas"])
    assert current["metadata"]["uid"] == first["metadata"]["uid"]
    assert current["metadata"]["annotations"][REVISION] == "3"


def test_a_rollout_that_cannot_succeed_times_out_and_keeps_the_old_pods():
    simulation = rolled_out(replicas=4, progressDeadlineSeconds=60)

    update_image(simulation, "registry.invalid/nginx:9")
    simulation.run(200)

    found = deployment(simulation)
    assert condition(found, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    assert found["status"]["availableReplicas"] >= 3
    assert condition(found, "Available")["status"] == "True"


def test_recreate_removes_the_old_pods_first():
    simulation = rolled_out(replicas=2, strategy={"type": "Recreate"})
    [old] = sets(simulation)
    update_image(simulation, "nginx:1.28")
    mixed = []

    def done():
        owners = {p["metadata"]["ownerReferences"][0]["uid"] for p in simulation.pods()}
        mixed.append(len(owners) > 1)
        return is_rolled_out(simulation)

    simulation.run_until(done)

    assert not any(mixed)
    assert old["metadata"]["uid"] not in {
        p["metadata"]["ownerReferences"][0]["uid"] for p in simulation.pods()
    }


def test_a_paused_deployment_does_not_roll():
    simulation = rolled_out(replicas=2)
    found = deployment(simulation)
    simulation.store.update(r.DEPLOYMENTS, {**found, "spec": {**found["spec"], "paused": True}})

    update_image(simulation, "nginx:1.28")
    simulation.run(30)

    assert len(sets(simulation)) == 1


def test_old_replica_sets_beyond_the_history_limit_go():
    simulation = rolled_out(replicas=1, revisionHistoryLimit=1)
    for version in (28, 29, 30):
        update_image(simulation, f"nginx:1.{version}")
        simulation.run_until(lambda: is_rolled_out(simulation))

    simulation.run(10)

    assert len(sets(simulation)) == 2


def test_lost_pods_are_replaced():
    simulation = rolled_out(replicas=3)
    victim = simulation.pods()[0]["metadata"]

    simulation.store.delete(r.PODS, "default", victim["name"], grace_period_s=0)
    simulation.run(1)
    simulation.run_until(lambda: is_rolled_out(simulation))

    assert len(simulation.pods()) == 3
    assert victim["uid"] not in {p["metadata"]["uid"] for p in simulation.pods()}


def test_scaling_down_takes_pods_that_do_not_run_yet_first():
    simulation = rolled_out(replicas=2)
    ready = {p["metadata"]["uid"] for p in simulation.pods()}
    for node in simulation.store.list(r.NODES):
        simulation.store.update(r.NODES, {**node, "spec": {**node["spec"], "unschedulable": True}})
    simulation.run(2)
    for replicas in (4, 2):
        found = deployment(simulation)
        spec = {**found["spec"], "replicas": replicas}
        simulation.store.update(r.DEPLOYMENTS, {**found, "spec": spec})
        simulation.run(3)

    assert {p["metadata"]["uid"] for p in simulation.pods()} == ready


def test_a_replica_set_adopts_pods_that_match():
    simulation = Simulation()
    manifest = pod_manifest("stray")
    manifest["metadata"]["labels"] = {"app": "web"}
    simulation.create(r.PODS, manifest)
    template = deployment_manifest()["spec"]["template"]
    selector = {"matchLabels": {"app": "web"}}
    simulation.create(
        r.REPLICASETS,
        {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"replicas": 1, "selector": selector, "template": template},
        },
    )

    simulation.run(3)

    [pod] = simulation.pods()
    assert pod["metadata"]["name"] == "stray"
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"


def test_pods_that_admission_refuses_are_reported():
    simulation = Simulation()
    manifest = deployment_manifest(replicas=1)
    manifest["spec"]["template"]["spec"]["priorityClassName"] = "no-such-class"
    simulation.create(r.DEPLOYMENTS, manifest)

    simulation.run(3)

    [replica_set] = sets(simulation)
    assert condition(replica_set, "ReplicaFailure")["reason"] == "FailedCreate"
    assert "FailedCreate" in simulation.reasons(replica_set["metadata"]["name"])


def test_deleting_a_deployment_deletes_all_below_it():
    simulation = rolled_out(replicas=3)

    simulation.store.delete(r.DEPLOYMENTS, "default", "web")
    simulation.run(10)

    assert sets(simulation) == []
    assert simulation.pods() == []


def test_orphaning_leaves_what_is_below_running():
    simulation = rolled_out(replicas=3)

    simulation.store.delete(r.DEPLOYMENTS, "default", "web", finalizer="orphan")
    simulation.run(10)

    assert simulation.store.find(r.DEPLOYMENTS, "default", "web") is None
    [replica_set] = sets(simulation)
    assert "ownerReferences" not in replica_set["metadata"]
    assert len(simulation.pods()) == 3


def test_an_orphaned_replica_set_is_taken_up_again():
    simulation = rolled_out(replicas=3)
    pods = {p["metadata"]["uid"] for p in simulation.pods()}
    simulation.store.delete(r.DEPLOYMENTS, "default", "web", finalizer="orphan")
    simulation.run(3)

    simulation.create(r.DEPLOYMENTS, deployment_manifest(replicas=3))
    simulation.run_until(lambda: is_rolled_out(simulation))

    assert {p["metadata"]["uid"] for p in simulation.pods()} == pods


def test_foreground_deletion_keeps_the_owner_until_the_last_dependent_is_gone():
    simulation = rolled_out(replicas=1)

    simulation.store.delete(r.DEPLOYMENTS, "default", "web", finalizer="foregroundDeletion")
    simulation.cluster.step(simulation.now_s)
    waiting = simulation.store.find(r.DEPLOYMENTS, "default", "web")
    simulation.run(10)

    assert waiting is not None
    assert simulation.store.find(r.DEPLOYMENTS, "default", "web") is None
    assert simulation.pods() == []


# --- nodes


def test_a_silent_node_becomes_not_ready_and_its_pods_leave_after_five_minutes():
    simulation = rolled_out(replicas=3)
    simulation.cluster.world.fail_node("n1", outage_s=10_000)
    failed_s = simulation.now_s

    def ready():
        return condition(simulation.store.get(r.NODES, None, "n1"), "Ready")["status"]

    simulation.run_until(lambda: ready() == "Unknown", limit_s=90)
    silent_s = simulation.now_s - failed_s
    simulation.run(2)
    taints = simulation.store.get(r.NODES, None, "n1")["spec"]["taints"]
    stranded = [p for p in simulation.pods() if p["spec"]["nodeName"] == "n1"]
    simulation.run(280)
    still = [p for p in simulation.pods() if "deletionTimestamp" in p["metadata"]]
    simulation.run(30)

    assert 40 <= silent_s <= 66
    assert {(t["key"], t["effect"]) for t in taints} == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    assert [condition(p, "Ready")["status"] for p in stranded] == ["False"]
    assert still == []
    leaving = [p for p in simulation.pods() if "deletionTimestamp" in p["metadata"]]
    assert [p["metadata"]["uid"] for p in leaving] == [p["metadata"]["uid"] for p in stranded]
    assert condition(leaving[0], "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    simulation.run_until(lambda: is_rolled_out(simulation))


def test_a_node_that_comes_back_in_time_keeps_its_pods():
    simulation = rolled_out(replicas=3)
    pods = {p["metadata"]["uid"] for p in simulation.pods()}
    simulation.cluster.world.fail_node("n1", outage_s=120)

    simulation.run(300)

    node = simulation.store.get(r.NODES, None, "n1")
    assert condition(node, "Ready")["status"] == "True"
    assert "taints" not in node["spec"]
    assert {p["metadata"]["uid"] for p in simulation.pods()} == pods
    assert is_rolled_out(simulation)
    restarts = [
        p["status"]["containerStatuses"][0]["restartCount"]
        for p in simulation.pods()
        if p["spec"]["nodeName"] == "n1"
    ]
    assert restarts == [1]


def test_cordoning_taints():
    simulation = Simulation()
    node = simulation.store.get(r.NODES, None, "n1")

    simulation.store.update(r.NODES, {**node, "spec": {**node["spec"], "unschedulable": True}})
    simulation.run(2)

    node = simulation.store.get(r.NODES, None, "n1")
    [taint] = node["spec"]["taints"]
    assert (taint["key"], taint["effect"]) == ("node.kubernetes.io/unschedulable", "NoSchedule")


def toleration(**fields):
    return {"key": "maintenance", "operator": "Exists", "effect": "NoExecute", **fields}


def test_a_no_execute_taint_drives_away_who_does_not_tolerate_it():
    simulation = Simulation()
    simulation.create(r.PODS, pod_manifest("intolerant", node="n1"))
    simulation.create(r.PODS, pod_manifest("stoic", node="n1", tolerations=[toleration()]))
    patient = pod_manifest("patient", node="n1", tolerations=[toleration(tolerationSeconds=60)])
    simulation.create(r.PODS, patient)
    simulation.run(60)
    node = simulation.store.get(r.NODES, None, "n1")
    taint = {"key": "maintenance", "effect": "NoExecute"}

    simulation.store.update(r.NODES, {**node, "spec": {**node["spec"], "taints": [taint]}})
    simulation.run(40)
    after_40 = {p["metadata"]["name"] for p in simulation.pods()}
    simulation.run(60)
    after_100 = {p["metadata"]["name"] for p in simulation.pods()}

    assert after_40 == {"patient", "stoic"}
    assert after_100 == {"stoic"}


def test_pods_of_a_node_that_never_was_are_collected():
    simulation = Simulation()
    simulation.create(r.PODS, pod_manifest(node="nowhere"))

    simulation.run(30)
    early = len(simulation.pods())
    simulation.run(60)

    assert early == 1
    assert simulation.pods() == []


# --- budgets


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        pytest.param({"minAvailable": 2}, 2, 1, id="number that must stay"),
        pytest.param({"minAvailable": "50%"}, 2, 1, id="share that must stay"),
        pytest.param({"maxUnavailable": 1}, 2, 1, id="number that may go"),
        pytest.param({"maxUnavailable": "100%"}, 0, 3, id="share that may go"),
        pytest.param({"minAvailable": 5}, 5, 0, id="more than there are"),
    ],
)
def test_budgets_count(spec, desired, allowed):
    simulation = rolled_out(replicas=3)
    selector = {"matchLabels": {"app": "web"}}
    budget = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {**spec, "selector": selector},
    }
    simulation.create(r.PDBS, budget)

    simulation.run(2)

    status = simulation.store.get(r.PDBS, "default", "web")["status"]
    assert (status["currentHealthy"], status["expectedPods"]) == (3, 3)
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (desired, allowed)
    assert status["conditions"][0]["status"] == ("True" if allowed else "False")


def test_a_budget_counts_a_rollouts_pods_once():
    simulation = rolled_out(replicas=4)
    budget = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    simulation.create(r.PDBS, budget)

    update_image(simulation, "nginx:1.28")
    simulation.run_until(lambda: len(simulation.pods()) > 4)
    simulation.cluster.step(simulation.now_s)

    status = simulation.store.get(r.PDBS, "default", "web")["status"]
    assert (status["expectedPods"], status["desiredHealthy"]) == (4, 3)


def test_a_budget_follows_its_pods():
    simulation = rolled_out(replicas=3)
    selector = {"matchLabels": {"app": "web"}}
    budget = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"minAvailable": 3, "selector": selector},
    }
    simulation.create(r.PDBS, budget)
    simulation.run(2)

    simulation.store.delete(r.PODS, "default", simulation.pods()[0]["metadata"]["name"])
    simulation.cluster.step(simulation.now_s)

    status = simulation.store.get(r.PDBS, "default", "web")["status"]
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 0)


# --- the arithmetic of rolling


@pytest.mark.parametrize(
    ("value", "round_up", "expected"),
    [(3, True, 3), ("25%", True, 3), ("25%", False, 2), (None, True, 0), ("x", True, 0)],
)
def test_limits_may_be_numbers_or_percentages(value, round_up, expected):
    assert resolve(value, total=10, round_up=round_up) == expected


def test_the_new_set_grows_only_into_the_surge():
    old = [Replicas(10, 10)]

    assert new_size(wanted=10, max_surge=3, new=Replicas(0, 0), old=old) == 3
    assert new_size(wanted=10, max_surge=3, new=Replicas(3, 0), old=old) == 3
    assert new_size(wanted=2, max_surge=1, new=Replicas(5, 5), old=[]) == 2


def test_old_sets_shrink_only_by_what_is_available_elsewhere():
    def sizes(new, *old, wanted=10, max_missing=2):
        return old_sizes(wanted=wanted, max_missing=max_missing, new=new, old=list(old))

    assert sizes(Replicas(3, 0), Replicas(10, 10)) == [8]
    assert sizes(Replicas(3, 3), Replicas(8, 8)) == [5]
    assert sizes(Replicas(3, 0), Replicas(4, 0), Replicas(6, 6)) == [2, 6]
    assert sizes(Replicas(10, 10), Replicas(2, 2)) == [0]


# --- what a client may do to a status


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param([{}], id="nothing"),
        pytest.param([{"type": "Ready"}], id="no status"),
        pytest.param([{"type": "Ready", "status": "True"}], id="no time"),
        pytest.param(
            [{"type": "Ready", "status": "True", "lastTransitionTime": None}], id="null time"
        ),
    ],
)
@pytest.mark.parametrize("resource", [r.PODS, r.NODES, r.DEPLOYMENTS, r.REPLICASETS])
def test_half_a_condition_does_not_stop_the_cluster(resource, conditions):
    simulation = rolled_out(replicas=1)
    for obj in simulation.store.list(resource):
        simulation.store.update(
            resource, {**obj, "status": {**obj["status"], "conditions": conditions}}
        )

    simulation.run(30)
    update_image(simulation, "nginx:1.28")

    simulation.run_until(lambda: is_rolled_out(simulation))


def test_an_object_beyond_understanding_is_left_alone(caplog):
    simulation = Simulation()
    broken = deployment_manifest("broken")
    del broken["spec"]["selector"]
    simulation.create(r.DEPLOYMENTS, broken)
    simulation.create(r.DEPLOYMENTS, deployment_manifest("web", replicas=1))

    simulation.run_until(lambda: is_rolled_out(simulation, "web"))

    assert "left alone" in caplog.text
