"""What an unmodified kube-scheduler asks of the API server, from its first request to a binding."""

import json
import uuid

import pytest
import requests

from tests.simulator_program import serving, wait_for
from tests.simulator_world import pod_manifest

pytestmark = pytest.mark.integration

WATCHED = {
    "": (
        *("namespaces", "nodes", "pods", "services", "replicationcontrollers"),
        *("persistentvolumes", "persistentvolumeclaims"),
    ),
    "apps": ("replicasets", "statefulsets"),
    "policy": ("poddisruptionbudgets",),
    "storage.k8s.io": (
        *("storageclasses", "csinodes", "csidrivers", "csistoragecapacities"),
        "volumeattachments",
    ),
    "resource.k8s.io": ("deviceclasses", "resourceclaims", "resourceslices"),
}
WRITTEN = {
    "resource.k8s.io": ("resourceclaimtemplates",),
    "scheduling.k8s.io": ("priorityclasses",),
    "coordination.k8s.io": ("leases",),
    "events.k8s.io": ("events",),
}
POD_FIELDS = "status.phase!=Succeeded,status.phase!=Failed"
STREAMING = {
    "allowWatchBookmarks": "true",
    "resourceVersionMatch": "NotOlderThan",
    "sendInitialEvents": "true",
    "watch": "true",
}


def base(group):
    return f"/apis/{group}/v1" if group else "/api/v1"


def collections(*tables):
    return [
        pytest.param(group, plural, id=plural)
        for table in tables
        for group, plurals in table.items()
        for plural in plurals
    ]


@pytest.fixture(scope="module")
def program():
    with serving("--nodes=3", "--speed=20") as running:
        yield running


def parameters(plural, **given):
    return {"fieldSelector": POD_FIELDS, **given} if plural == "pods" else given


def events_of(program, path, **params):
    """The events of a watch, as they come."""
    answer = requests.get(program.url + path, params=params, stream=True, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer, (json.loads(line) for line in answer.iter_lines(chunk_size=1))


@pytest.mark.parametrize(("group", "plural"), collections(WATCHED, WRITTEN))
def test_every_kind_is_discovered_with_all_verbs(program, group, plural):
    found = {each["name"]: each for each in program.get(base(group)).json()["resources"]}

    wanted = {"create", "delete", "get", "list", "patch", "update", "watch"}
    assert wanted <= set(found[plural]["verbs"])


@pytest.mark.parametrize(("group", "plural"), collections(WATCHED))
def test_lists_and_then_watches_from_the_list(program, group, plural):
    path = f"{base(group)}/{plural}"

    listed = program.get(path, params=parameters(plural, limit=500, resourceVersion=0)).json()
    version = listed["metadata"]["resourceVersion"]
    more = {"resourceVersion": version, "allowWatchBookmarks": "true", "watch": "true"}
    answer, _ = events_of(program, path, **parameters(plural, timeoutSeconds=1, **more))
    answer.close()

    assert listed["kind"].endswith("List")
    assert isinstance(listed["items"], list)


@pytest.mark.parametrize(("group", "plural"), collections(WATCHED))
def test_streams_the_list_up_to_its_bookmark(program, group, plural):
    path = f"{base(group)}/{plural}"
    listed = program.get(path, params=parameters(plural)).json()

    answer, events = events_of(program, path, **parameters(plural, **STREAMING))
    seen = []
    for event in events:
        seen.append(event)
        if event["type"] == "BOOKMARK":
            break
    answer.close()

    *added, bookmark = seen
    assert {event["type"] for event in added} <= {"ADDED"}
    names = {each["metadata"]["name"] for each in listed["items"]}
    assert {event["object"]["metadata"]["name"] for event in added} >= names
    meta = bookmark["object"]["metadata"]
    assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(meta["resourceVersion"]) >= int(listed["metadata"]["resourceVersion"])
    assert bookmark["object"]["kind"] == listed["kind"].removesuffix("List")


def test_a_streamed_list_goes_on_with_what_happens_next(program):
    answer, events = events_of(program, "/api/v1/pods", **parameters("pods", **STREAMING))
    while next(events)["type"] != "BOOKMARK":
        pass

    made = program.post("/api/v1/namespaces/default/pods", pod_manifest("streamed"))
    event = next(events)
    answer.close()

    assert made.status_code == 201
    assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "streamed")


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        pytest.param(
            {"watch": "true", "sendInitialEvents": "true"},
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            id="streamed without a match",
        ),
        pytest.param(
            {"watch": "true", "resourceVersionMatch": "NotOlderThan"},
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            id="match without streaming",
        ),
        pytest.param(
            {"sendInitialEvents": "true"}, "sendInitialEvents is forbidden for list", id="list"
        ),
        pytest.param(
            {**STREAMING, "resourceVersionMatch": "Exact"},
            'resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"',
            id="exact",
        ),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(program, params, problem):
    answer = program.get("/api/v1/pods", params=params)

    assert (answer.status_code, answer.json()["reason"]) == (422, "Invalid")
    assert problem in answer.json()["message"]


def test_the_state_at_a_version_that_is_yet_to_come_is_not_waited_for(program):
    answer = program.get("/api/v1/pods", params={**STREAMING, "resourceVersion": 2**62})

    assert (answer.status_code, answer.json()["reason"]) == (504, "Timeout")
    assert "Too large resource version" in answer.json()["message"]


def test_holds_a_lease_binds_a_pod_and_says_so(program):
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
        "spec": {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-11-22T00:00:00.000000Z",
            "renewTime": "2026-11-22T00:00:00.000000Z",
            "leaseTransitions": 0,
        },
    }
    leases = f"{base('coordination.k8s.io')}/namespaces/kube-system/leases"
    held = program.post(leases, lease).json()
    renewed = requests.put(f"{program.url}{leases}/kube-scheduler", json=held, timeout=10)
    pods = "/api/v1/namespaces/default/pods"
    created = program.post(pods, pod_manifest("chosen")).json()

    binding = {
        "kind": "Binding",
        "apiVersion": "v1",
        "metadata": {
            "name": "chosen",
            "namespace": "default",
            "uid": created["metadata"]["uid"],
        },
        "target": {"kind": "Node", "name": "n1"},
    }
    bound = program.post(f"{pods}/chosen/binding", binding)
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"chosen.{uuid.uuid4().hex[:16]}", "namespace": "default"},
        "eventTime": "2026-11-22T00:00:00.000000Z",
        "reportingController": "default-scheduler",
        "reportingInstance": "default-scheduler-host",
        "action": "Binding",
        "reason": "Scheduled",
        "regarding": {
            "kind": "Pod",
            "namespace": "default",
            "name": "chosen",
            "uid": created["metadata"]["uid"],
            "apiVersion": "v1",
        },
        "note": "Successfully assigned default/chosen to n1",
        "type": "Normal",
    }
    told = program.post(f"{base('events.k8s.io')}/namespaces/default/events", event)

    assert (renewed.status_code, bound.status_code, told.status_code) == (200, 201, 201)
    assert program.get(f"{pods}/chosen").json()["spec"]["nodeName"] == "n1"
    wait_for(lambda: program.get(f"{pods}/chosen").json()["status"]["phase"] == "Running")


def test_counts_a_repeated_event_by_a_patch(program):
    events = f"{base('events.k8s.io')}/namespaces/default/events"
    event = {
        "metadata": {"name": "again.1", "namespace": "default"},
        "eventTime": "2026-11-22T00:00:00.000000Z",
        "reportingController": "default-scheduler",
        "reportingInstance": "default-scheduler-host",
        "action": "Scheduling",
        "reason": "FailedScheduling",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "again"},
        "type": "Warning",
    }
    program.post(events, event).raise_for_status()
    series = {"count": 2, "lastObservedTime": "2026-11-22T00:01:00.000000Z"}

    patched, missing = (
        requests.patch(
            f"{program.url}{events}/{name}",
            json={"series": series},
            headers={"Content-Type": "application/strategic-merge-patch+json"},
            timeout=10,
        )
        for name in ("again.1", "gone.1")
    )

    assert patched.json()["series"] == series
    assert (missing.status_code, missing.json()["reason"]) == (404, "NotFound")


def test_may_ask_who_may_read_its_metrics(program):
    spec = {"user": "a", "nonResourceAttributes": {"path": "/metrics", "verb": "get"}}

    answer = program.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec},
    )

    assert (answer.status_code, answer.json()["status"]["allowed"]) == (201, True)


def test_says_why_a_pod_waits_and_where_it_is_nominated(program):
    pods = "/api/v1/namespaces/default/pods"
    program.post(pods, pod_manifest("waiting"))
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
    }

    answer = requests.patch(
        f"{program.url}{pods}/waiting/status",
        json={"status": {"conditions": [condition], "nominatedNodeName": "n2"}},
        headers={"Content-Type": "application/strategic-merge-patch+json"},
        timeout=10,
    )

    assert answer.status_code == 200
    status = answer.json()["status"]
    assert status["nominatedNodeName"] == "n2"
    assert [each["reason"] for each in status["conditions"]] == ["Unschedulable"]


def test_has_a_volume_made_where_its_pod_is_to_run(program):
    storage_class = {
        "metadata": {"name": "late"},
        "provisioner": "disks.example",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    program.post("/api/v1/namespaces", {"metadata": {"name": "stored"}}).raise_for_status()
    program.post(f"{base('storage.k8s.io')}/storageclasses", storage_class).raise_for_status()
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": {"name": "data"}, "spec": {**spec, "storageClassName": "late"}}
    claims = "/api/v1/namespaces/stored/persistentvolumeclaims"
    program.post(claims, claim).raise_for_status()
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = pod_manifest("stored", volumes=[volume])
    pod["metadata"]["namespace"] = "stored"
    pods = "/api/v1/namespaces/stored/pods"
    program.post(pods, pod).raise_for_status()

    selected = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}}
    requests.patch(
        f"{program.url}{claims}/data",
        json=selected,
        headers={"Content-Type": "application/merge-patch+json"},
        timeout=10,
    ).raise_for_status()
    wait_for(lambda: program.get(f"{claims}/data").json()["status"]["phase"] == "Bound")
    binding = {"metadata": {"name": "stored"}, "target": {"kind": "Node", "name": "n1"}}
    program.post(f"{pods}/stored/binding", binding).raise_for_status()
    wait_for(lambda: program.get(f"{pods}/stored").json()["status"]["phase"] == "Running")
    [made] = program.items("/api/v1/persistentvolumes")
    requests.delete(f"{program.url}/api/v1/namespaces/stored", timeout=10).raise_for_status()
    wait_for(lambda: program.get("/api/v1/namespaces/stored").status_code == 404)

    assert made["spec"]["claimRef"]["name"] == "data"
    wait_for(lambda: program.items("/api/v1/persistentvolumes") == [])


def test_writes_about_volumes_and_devices_are_kept(program):
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    asked = {"storage": "1Gi"}
    program.post(
        claims,
        {
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "none",
                "resources": {"requests": asked},
            },
        },
    )
    device_claims = f"{base('resource.k8s.io')}/namespaces/default/resourceclaims"
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu"}}
    made = program.post(
        device_claims,
        {"metadata": {"name": "gpu"}, "spec": {"devices": {"requests": [request]}}},
    ).json()

    annotation = {"volume.kubernetes.io/selected-node": "n1"}
    selected = requests.patch(
        f"{program.url}{claims}/data",
        json={"metadata": {"annotations": annotation}},
        headers={"Content-Type": "application/merge-patch+json"},
        timeout=10,
    )
    user = {"resource": "pods", "name": "chosen", "uid": "u"}
    allocated = requests.put(
        f"{program.url}{device_claims}/gpu/status",
        json={**made, "status": {"reservedFor": [user]}},
        timeout=10,
    )

    assert selected.json()["metadata"]["annotations"] == annotation
    assert made["spec"]["devices"]["requests"] == [request]
    assert allocated.json()["status"] == {"reservedFor": [user]}
