"""Volumes and claims: binding, provisioning, reclaiming, and the pods that wait for them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.storage import BIND_COMPLETED, SELECTED_NODE
from scheduler.simulator import resources as r
from tests.simulator_world import Simulation, condition, pod_manifest

ZONE = "topology.kubernetes.io/zone"
PVC_PROTECTION = "kubernetes.io/pvc-protection"


def storage_class(name="fast", *, delayed=False, **fields):
    mode = "WaitForFirstConsumer" if delayed else "Immediate"
    return {
        "metadata": {"name": name},
        "provisioner": "disks.example",
        "volumeBindingMode": mode,
        **fields,
    }


def claim_manifest(name="data", *, size="1Gi", storage_class="fast", **spec):
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            **({} if storage_class is None else {"storageClassName": storage_class}),
            **spec,
        },
    }


def volume_manifest(name, *, size="1Gi", storage_class="fast", labels=None, **spec):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size},
            "csi": {"driver": "disks.example", "volumeHandle": name},
            "storageClassName": storage_class,
            **spec,
        },
    }


def pod_with_claim(name="web", *, claim="data", **spec):
    source = {"persistentVolumeClaim": {"claimName": claim}}
    return pod_manifest(name, volumes=[{"name": "data", **source}], **spec)


def make_simulation(*objects, **fields):
    simulation = Simulation(**fields)
    for resource, obj in objects:
        simulation.create(resource, obj)
    simulation.run(3)
    return simulation


def claim(simulation, name="data"):
    return simulation.store.get(r.PVCS, "default", name)


def volume(simulation, name):
    return simulation.store.get(r.PVS, None, name)


def volumes(simulation):
    return simulation.store.list(r.PVS)


def phases(simulation, *names):
    return [volume(simulation, name)["status"]["phase"] for name in names]


def select_node(simulation, node, name="data"):
    found = claim(simulation, name)
    meta = {**found["metadata"], "annotations": {SELECTED_NODE: node}}
    simulation.store.update(r.PVCS, {**found, "metadata": meta})


def is_running(simulation, name="web"):
    return simulation.pod(name)["status"]["phase"] == "Running"


def test_an_immediate_claim_takes_the_smallest_volume_that_fits():
    simulation = make_simulation(
        (r.PVS, volume_manifest("small", size="500Mi")),
        (r.PVS, volume_manifest("large", size="10Gi")),
        (r.PVS, volume_manifest("right", size="2Gi")),
        (r.PVS, volume_manifest("other", size="1Gi", storage_class="slow")),
        (r.PVCS, claim_manifest(size="1Gi")),
    )

    found = claim(simulation)
    assert found["spec"]["volumeName"] == "right"
    assert found["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "2Gi"},
    }
    assert found["metadata"]["annotations"][BIND_COMPLETED] == "yes"
    assert volume(simulation, "right")["spec"]["claimRef"]["uid"] == found["metadata"]["uid"]
    assert phases(simulation, "right", "small", "large") == ["Bound", "Available", "Available"]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"selector": {"matchLabels": {"disk": "ssd"}}}, id="selector"),
        pytest.param({"volumeMode": "Block"}, id="mode"),
        pytest.param({"accessModes": ["ReadWriteMany"]}, id="access"),
    ],
)
def test_a_claim_waits_for_a_volume_that_suits_it(spec):
    simulation = make_simulation(
        (r.PVS, volume_manifest("plain", storage_class="")),
        (r.PVCS, claim_manifest(storage_class="", **spec)),
    )
    before = claim(simulation)["status"]["phase"]

    suiting = {key: value for key, value in spec.items() if key != "selector"}
    made = volume_manifest("suits", storage_class="", labels={"disk": "ssd"}, **suiting)
    simulation.create(r.PVS, made)
    simulation.run(2)

    assert before == "Pending"
    assert "FailedBinding" in simulation.reasons("data")
    assert claim(simulation)["spec"]["volumeName"] == "suits"


def test_a_claim_that_nothing_fits_gets_a_volume_made():
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class(mountOptions=["noatime"])), (r.PVCS, claim_manifest())
    )

    found = claim(simulation)
    [made] = volumes(simulation)
    assert made["metadata"]["name"] == f"pvc-{found['metadata']['uid']}"
    assert made["spec"]["mountOptions"] == ["noatime"]
    assert made["spec"]["csi"]["driver"] == "disks.example"
    assert (made["status"]["phase"], found["status"]["phase"]) == ("Bound", "Bound")
    assert "ProvisioningSucceeded" in simulation.reasons("data")


def test_a_delayed_claim_waits_for_the_choice_of_a_node():
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class(delayed=True)),
        (r.PVS, volume_manifest("free")),
        (r.PVCS, claim_manifest()),
    )
    before = claim(simulation)["status"]["phase"], simulation.reasons("data")

    select_node(simulation, "n1")
    simulation.run(3)

    assert before == ("Pending", ["WaitForFirstConsumer"])
    assert claim(simulation)["spec"]["volumeName"].startswith("pvc-")
    assert phases(simulation, "free") == ["Available"]


def test_a_volume_is_made_where_the_selected_node_reaches_it():
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class(delayed=True)),
        (r.PVCS, claim_manifest()),
    )
    node = simulation.store.get(r.NODES, None, "n1")
    labels = {**node["metadata"]["labels"], ZONE: "a"}
    simulation.store.update(r.NODES, {**node, "metadata": {**node["metadata"], "labels": labels}})
    driver = {"name": "disks.example", "nodeID": "n1", "topologyKeys": [ZONE]}
    simulation.create(r.CSI_NODES, {"metadata": {"name": "n1"}, "spec": {"drivers": [driver]}})

    select_node(simulation, "n1")
    simulation.run(3)

    [made] = volumes(simulation)
    [term] = made["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": ZONE, "operator": "In", "values": ["a"]}]


def test_a_selected_node_that_is_gone_is_given_back():
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class(delayed=True)), (r.PVCS, claim_manifest())
    )

    select_node(simulation, "gone")
    simulation.run(3)

    assert SELECTED_NODE not in claim(simulation)["metadata"]["annotations"]
    assert "ProvisioningFailed" in simulation.reasons("data")
    assert volumes(simulation) == []


def test_a_volume_that_a_scheduler_set_aside_is_bound():
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class(delayed=True)),
        (r.PVS, volume_manifest("chosen", size="5Gi")),
        (r.PVS, volume_manifest("smaller")),
        (r.PVCS, claim_manifest()),
    )
    found, chosen = claim(simulation), volume(simulation, "chosen")
    ref = {"namespace": "default", "name": "data", "uid": found["metadata"]["uid"]}

    simulation.store.update(r.PVS, {**chosen, "spec": {**chosen["spec"], "claimRef": ref}})
    simulation.run(2)

    assert claim(simulation)["spec"]["volumeName"] == "chosen"
    assert phases(simulation, "chosen", "smaller") == ["Bound", "Available"]


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        pytest.param("Delete", [], id="deleted"),
        pytest.param("Retain", ["Released"], id="retained"),
        pytest.param("Recycle", ["Available"], id="recycled"),
    ],
)
def test_a_volume_is_reclaimed_when_its_claim_is_gone(policy, left):
    simulation = make_simulation(
        (r.PVS, volume_manifest("disk", persistentVolumeReclaimPolicy=policy)),
        (r.PVCS, claim_manifest()),
    )

    simulation.store.delete(r.PVCS, "default", "data")
    simulation.run(2)

    assert [each["status"]["phase"] for each in volumes(simulation)] == left


def test_a_claim_without_its_volume_is_lost():
    lost = claim_manifest(volumeName="gone")
    lost["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}

    simulation = make_simulation((r.PVCS, lost))

    assert claim(simulation)["status"]["phase"] == "Lost"


def test_a_claim_may_name_its_volume():
    simulation = make_simulation(
        (r.PVCS, claim_manifest(volumeName="disk")), (r.PVS, volume_manifest("other"))
    )
    before = claim(simulation)["status"]["phase"]

    simulation.create(r.PVS, volume_manifest("disk", size="9Gi"))
    simulation.run(2)

    assert before == "Pending"
    assert claim(simulation)["status"]["capacity"] == {"storage": "9Gi"}


def test_of_two_claims_to_one_volume_the_second_is_misbound():
    second = claim_manifest("second", volumeName="disk")
    second["metadata"]["annotations"] = {BIND_COMPLETED: "yes"}

    simulation = make_simulation(
        (r.PVS, volume_manifest("disk")), (r.PVCS, claim_manifest()), (r.PVCS, second)
    )

    assert claim(simulation)["status"]["phase"] == "Bound"
    assert claim(simulation, "second")["status"]["phase"] == "Lost"
    assert simulation.reasons("second") == ["ClaimMisbound"]


@pytest.mark.parametrize(
    ("annotations", "phases_left"),
    [
        pytest.param({"pv.kubernetes.io/bound-by-controller": "yes"}, ["Available"], id="freed"),
        pytest.param({"pv.kubernetes.io/provisioned-by": "disks.example"}, [], id="removed"),
    ],
)
def test_a_volume_whose_claim_took_another_is_let_go(annotations, phases_left):
    simulation = make_simulation((r.PVS, volume_manifest("taken")), (r.PVCS, claim_manifest()))
    ref = {"namespace": "default", "name": "data", "uid": claim(simulation)["metadata"]["uid"]}

    late = volume_manifest("late", claimRef=ref, persistentVolumeReclaimPolicy="Delete")
    late["metadata"]["annotations"] = annotations
    simulation.create(r.PVS, late)
    simulation.run(2)

    left = [v for v in volumes(simulation) if v["metadata"]["name"] == "late"]
    assert [each["status"]["phase"] for each in left] == phases_left


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(0, 3), st.sampled_from(["1Gi", "3Gi"])),
        st.tuples(st.just("volume"), st.integers(0, 3), st.sampled_from(["1Gi", "5Gi"])),
        st.tuples(st.just("drop claim"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("drop volume"), st.integers(0, 3), st.just("")),
        st.tuples(st.just("wait"), st.just(0), st.just("")),
    ),
    max_size=25,
)


def take_step(simulation, step, number, size):
    store, name = simulation.store, f"x{number}"
    resource, namespace = (r.PVCS, "default") if "claim" in step else (r.PVS, None)
    if step == "wait":
        simulation.run(1)
    elif step.startswith("drop"):
        if store.find(resource, namespace, name) is not None:
            store.delete(resource, namespace, name)
    elif store.find(resource, namespace, name) is None:
        make = claim_manifest if step == "claim" else volume_manifest
        simulation.create(resource, make(name, size=size))


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, provisions=st.booleans())
def test_whatever_happens_claims_and_volumes_are_bound_in_pairs(steps, provisions):
    simulation = make_simulation(*([(r.STORAGE_CLASSES, storage_class())] if provisions else []))

    for step in steps:
        take_step(simulation, *step)
    simulation.run(5)

    by_uid = {each["metadata"]["uid"]: each for each in simulation.store.list(r.PVCS)}
    for each in by_uid.values():
        if each["status"]["phase"] == "Bound":
            held = volume(simulation, each["spec"]["volumeName"])
            assert held["spec"]["claimRef"]["uid"] == each["metadata"]["uid"]
    for each in volumes(simulation):
        if each["status"]["phase"] == "Bound":
            owner = by_uid[each["spec"]["claimRef"]["uid"]]
            assert owner["spec"]["volumeName"] == each["metadata"]["name"]
    if provisions:
        assert {each["status"]["phase"] for each in by_uid.values()} <= {"Bound", "Lost"}


def test_a_claim_without_a_class_gets_the_default_one():
    default = storage_class()
    marks = {"storageclass.kubernetes.io/is-default-class": "true"}
    default["metadata"]["annotations"] = marks

    simulation = make_simulation(
        (r.STORAGE_CLASSES, default), (r.PVCS, claim_manifest(storage_class=None))
    )

    assert claim(simulation)["spec"]["storageClassName"] == "fast"
    assert claim(simulation)["status"]["phase"] == "Bound"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        pytest.param(None, 'storageclass.storage.k8s.io "fast" not found', id="no class"),
        pytest.param(
            storage_class(provisioner="kubernetes.io/no-provisioner"),
            "no volume plugin matched name: kubernetes.io/no-provisioner",
            id="no provisioner",
        ),
    ],
)
def test_says_why_no_volume_is_made(made, reason):
    classes = [(r.STORAGE_CLASSES, made)] if made else []

    simulation = make_simulation(*classes, (r.PVCS, claim_manifest()))

    notes = {event["note"] for event in simulation.store.list(r.EVENTS)}
    assert reason in notes
    assert claim(simulation)["status"]["phase"] == "Pending"


def test_a_pod_starts_when_its_claim_is_bound():
    simulation = make_simulation((r.PODS, pod_with_claim(node="n1")))
    waiting = simulation.pod("web")
    simulation.create(r.STORAGE_CLASSES, storage_class())
    simulation.create(r.PVCS, claim_manifest())

    simulation.run_until(lambda: is_running(simulation), limit_s=60)

    [container] = waiting["status"]["containerStatuses"]
    assert container["state"]["waiting"]["reason"] == "ContainerCreating"
    assert condition(waiting, "PodReadyToStartContainers")["status"] == "False"
    assert simulation.reasons("web")[0] == "FailedMount"


def test_a_pod_that_waits_for_its_claim_can_be_deleted():
    simulation = make_simulation((r.PODS, pod_with_claim(node="n1")))

    simulation.store.delete(r.PODS, "default", "web")
    simulation.run(2)

    assert simulation.pods() == []


def test_a_claim_stays_as_long_as_a_pod_uses_it():
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class()),
        (r.PVCS, claim_manifest()),
        (r.PODS, pod_with_claim(node="n1")),
    )
    simulation.run_until(lambda: is_running(simulation), limit_s=60)

    simulation.store.delete(r.PVCS, "default", "data")
    simulation.run(2)
    kept = claim(simulation)
    simulation.store.delete(r.PODS, "default", "web", grace_period_s=0)
    simulation.run(2)

    assert kept["metadata"]["finalizers"] == [PVC_PROTECTION]
    assert kept["status"]["phase"] == "Bound"
    assert simulation.store.find(r.PVCS, "default", "data") is None
    assert volumes(simulation) == []


def test_an_ephemeral_volume_gets_a_claim_that_goes_with_its_pod():
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim_manifest()["spec"]}
    scratch = {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}
    simulation = make_simulation(
        (r.STORAGE_CLASSES, storage_class()),
        (r.PODS, pod_manifest("web", node="n1", volumes=[scratch])),
    )
    simulation.run_until(lambda: is_running(simulation), limit_s=60)
    made = claim(simulation, "web-scratch")

    simulation.store.delete(r.PODS, "default", "web", grace_period_s=0)
    simulation.run(5)

    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["ownerReferences"][0]["name"] == "web"
    assert simulation.store.list(r.PVCS) == volumes(simulation) == []
