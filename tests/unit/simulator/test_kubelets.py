"""Kubelets over the store: what they write about pods and nodes."""

import pytest

from kube.instants import parse_rfc3339
from scheduler.model import GPU_COUNT, GPU_INDEX, GPU_MILLI
from scheduler.simulator import resources as r
from tests.simulator_world import (
    MI,
    Simulation,
    condition,
    container_manifest,
    pod_manifest,
    traits,
)

QUIET_USAGE = '{"cpu": "10m", "memory": "10Mi", "crash_per_hour": 0, "startup_s": 2, "stop_s": 1}'


def started(simulation, *pods, seconds=20.0):
    for pod in pods:
        simulation.create(r.PODS, pod)
    simulation.run(seconds)
    return [simulation.pod(pod["metadata"]["name"]) for pod in pods]


def test_a_bound_pod_becomes_running_and_ready_as_a_real_one():
    simulation = Simulation()

    [pod] = started(simulation, pod_manifest(usage=QUIET_USAGE))

    status = pod["status"]
    assert status["phase"] == "Running"
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")
    assert [condition(pod, kind)["status"] for kind in kinds] == ["True"] * 4
    [container] = status["containerStatuses"]
    assert container["ready"] is container["started"] is True
    assert container["imageID"].startswith("nginx@sha256:")
    assert container["containerID"].startswith("containerd://")
    assert "startedAt" in container["state"]["running"]
    assert status["podIP"] == "10.10.0.2"
    assert status["hostIP"] == "172.18.0.2"
    assert status["qosClass"] == "BestEffort"
    assert simulation.reasons("web-1") == ["Pulling", "Pulled", "Created", "Started"]


def test_before_that_it_waits_in_the_kubelets_words():
    simulation = Simulation(traits=traits(pull_bytes_per_s=1e6))

    [pod] = started(simulation, pod_manifest(usage=QUIET_USAGE))

    assert pod["status"]["phase"] == "Pending"
    [container] = pod["status"]["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "ContainerCreating"}}
    ready = condition(pod, "Ready")
    assert (ready["reason"], ready["message"]) == (
        "ContainersNotReady",
        "containers with unready status: [app]",
    )


def test_an_unknown_image_ends_in_image_pull_back_off():
    simulation = Simulation()
    manifest = pod_manifest(containers=[container_manifest(image="registry.invalid/app:1")])

    [pod] = started(simulation, manifest, seconds=5)
    first = pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
    simulation.run(20)
    second = simulation.pod("web-1")["status"]["containerStatuses"][0]["state"]["waiting"]

    assert (first, second["reason"]) == ("ErrImagePull", "ImagePullBackOff")
    assert "no such host" in second["message"]


def test_a_crashing_container_shows_its_last_end_and_the_back_off():
    simulation = Simulation()
    usage = '{"run_s": 2, "exit_code": 7, "cpu": "1m", "memory": "1Mi"}'

    [pod] = started(simulation, pod_manifest(usage=usage), seconds=60)

    [container] = pod["status"]["containerStatuses"]
    assert container["restartCount"] >= 2
    assert container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (
        "restarting failed container=app pod=web-1_default("
        in (container["state"]["waiting"]["message"])
    )
    assert container["lastState"]["terminated"]["exitCode"] == 7
    assert container["lastState"]["terminated"]["reason"] == "Error"
    assert pod["status"]["phase"] == "Running"
    assert "BackOff" in simulation.reasons("web-1")


def test_a_container_over_its_limit_shows_oom_killed():
    simulation = Simulation()
    limited = container_manifest(resources={"limits": {"memory": "64Mi"}})

    [pod] = started(
        simulation, pod_manifest(usage='{"memory": "100Mi"}', containers=[limited]), seconds=90
    )

    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


@pytest.mark.parametrize(
    ("exit_code", "phase"), [pytest.param(0, "Succeeded"), pytest.param(1, "Failed")]
)
def test_jobs_end(exit_code, phase):
    simulation = Simulation()
    usage = f'{{"run_s": 5, "exit_code": {exit_code}}}'

    [pod] = started(simulation, pod_manifest(usage=usage, restartPolicy="Never"), seconds=60)

    assert pod["status"]["phase"] == phase
    assert condition(pod, "Ready")["status"] == "False"
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == exit_code


def test_init_containers_are_reported_apart():
    simulation = Simulation()
    manifest = pod_manifest(usage=QUIET_USAGE, initContainers=[container_manifest("setup")])

    [pod] = started(simulation, manifest, seconds=3)
    early = pod["status"]
    simulation.run(20)
    late = simulation.pod("web-1")["status"]

    assert early["containerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(pod, "Initialized")["reason"] == "ContainersNotInitialized"
    [setup] = late["initContainerStatuses"]
    assert setup["state"]["terminated"]["reason"] == "Completed"
    assert setup["ready"] is True
    assert late["phase"] == "Running"


def test_a_deleted_pod_stops_within_its_grace_and_goes():
    simulation = Simulation()
    started(simulation, pod_manifest(usage=QUIET_USAGE))

    simulation.store.delete(r.PODS, "default", "web-1")
    still_there = simulation.store.find(r.PODS, "default", "web-1")
    simulation.run(5)

    assert still_there["metadata"]["deletionGracePeriodSeconds"] == 30
    assert simulation.store.find(r.PODS, "default", "web-1") is None
    assert "Killing" in simulation.reasons("web-1")


def test_a_pod_deleted_at_once_makes_room_at_once():
    simulation = Simulation()
    started(simulation, pod_manifest(usage=QUIET_USAGE))

    simulation.store.delete(r.PODS, "default", "web-1", grace_period_s=0)
    [pod] = started(simulation, pod_manifest(usage=QUIET_USAGE))

    assert pod["status"]["phase"] == "Running"
    assert len(simulation.cluster.world.sample().containers) == 1


def test_ended_pods_are_deleted_without_delay():
    simulation = Simulation()
    started(simulation, pod_manifest(usage='{"run_s": 1}', restartPolicy="Never"), seconds=30)

    simulation.store.delete(r.PODS, "default", "web-1")
    simulation.run(1)

    assert simulation.store.find(r.PODS, "default", "web-1") is None


@pytest.mark.parametrize(
    ("requests", "reason", "message"),
    [
        pytest.param(
            {"cpu": "5"},
            "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 5000, used: 0, capacity: 3900",
            id="cpu",
        ),
        pytest.param({"memory": "64Gi"}, "OutOfmemory", "resource: memory", id="memory"),
        pytest.param({"example.com/gpu": "1"}, "OutOfexample.com/gpu", "gpu", id="unknown"),
    ],
)
def test_a_kubelet_refuses_what_does_not_fit(requests, reason, message):
    simulation = Simulation()
    greedy = container_manifest(resources={"requests": requests, "limits": requests})

    [pod] = started(simulation, pod_manifest(containers=[greedy]), seconds=3)

    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["reason"] == reason
    assert message in pod["status"]["message"]
    assert reason in simulation.reasons("web-1")


def test_more_pods_than_the_node_takes_are_refused():
    simulation = Simulation(max_pods=2)

    pods = started(simulation, *(pod_manifest(f"p{i}", usage=QUIET_USAGE) for i in range(3)))

    assert sorted(pod["status"]["phase"] for pod in pods) == ["Failed", "Running", "Running"]
    assert {pod["status"].get("reason") for pod in pods} == {None, "OutOfpods"}


def advertise(simulation, **amounts):
    """Say on the node object that the node has these, too."""
    node = simulation.store.get(r.NODES, None, "n1")
    status = node["status"]
    both = {key: {**status[key], **amounts} for key in ("capacity", "allocatable")}
    simulation.store.update(r.NODES, {**node, "status": {**status, **both}})


def test_what_others_advertise_on_a_node_is_given_out_until_there_is_none():
    simulation = Simulation()
    advertise(simulation, **{"example.com/gpu": "1"})
    one = {"example.com/gpu": "1"}
    container = container_manifest(resources={"requests": one, "limits": one})

    pods = started(simulation, *(pod_manifest(f"p{i}", containers=[container]) for i in range(2)))

    assert [pod["status"]["phase"] for pod in pods] == ["Running", "Failed"]
    assert pods[1]["status"]["reason"] == "OutOfexample.com/gpu"


@pytest.mark.parametrize(
    ("indices", "fails"),
    [(("0", "0", "1"), False), (("", "", ""), True), (("1", "0", ""), True)],
    ids=["as chosen", "spread, where nobody chose", "badly chosen"],
)
def test_a_share_is_had_of_one_card_and_a_whole_card_is_idle_before(indices, fails):
    simulation = Simulation()
    advertise(simulation, **{GPU_COUNT: "2"})
    asks = [("300", indices[0]), ("400", indices[1]), ("1000", indices[2])]
    wanted = [pod_manifest(f"p{i}") for i in range(3)]
    for pod, (milli, index) in zip(wanted, asks, strict=True):
        said = {GPU_MILLI: milli, GPU_INDEX: index}
        pod["metadata"]["annotations"] = {key: value for key, value in said.items() if value}

    pods = started(simulation, *wanted)

    assert [pod["status"]["phase"] for pod in pods[:2]] == ["Running", "Running"]
    assert pods[2]["status"].get("reason") == ("UnexpectedAdmissionError" if fails else None)


def test_evicted_pods_say_why():
    simulation = Simulation(memory_bytes=1024 * MI, reserved_memory_bytes=0)
    usage = '{"memory": "500Mi"}'

    pods = started(simulation, *(pod_manifest(f"p{i}", usage=usage) for i in range(2)), seconds=100)

    [evicted] = [pod for pod in pods if pod["status"]["phase"] == "Failed"]
    assert evicted["status"]["reason"] == "Evicted"
    assert evicted["status"]["message"].startswith("The node was low on resource: memory.")
    assert condition(evicted, "DisruptionTarget")["reason"] == "TerminationByKubelet"
    node = simulation.store.get(r.NODES, None, "n1")
    assert condition(node, "MemoryPressure")["status"] == "True"
    assert [t["key"] for t in node["spec"]["taints"]] == ["node.kubernetes.io/memory-pressure"]
    assert "EvictionThresholdMet" in simulation.reasons("n1")


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param("{", id="no JSON"),
        pytest.param('{"cpus": "1"}', id="unknown field"),
        pytest.param('{"cpu": "lots"}', id="no quantity"),
        pytest.param('{"cpu": "-1"}', id="negative"),
        pytest.param('{"burst_ratio": 7}', id="out of range"),
        pytest.param('{"crash_per_hour": "2"}', id="wrong type"),
    ],
)
def test_a_malformed_usage_annotation_is_announced_and_ignored(usage):
    simulation = Simulation()

    [pod] = started(simulation, pod_manifest(usage=usage), seconds=100)

    assert pod["status"]["phase"] == "Running"
    assert "InvalidUsageAnnotation" in simulation.reasons("web-1")


def test_nodes_look_real():
    simulation = Simulation()

    node = simulation.store.get(r.NODES, None, "n1")

    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    assert node["status"]["capacity"] == {"cpu": "4", "memory": "8388608Ki", "pods": "110"}
    assert node["status"]["allocatable"]["cpu"] == "3900m"
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.36.")
    assert [c["type"] for c in node["status"]["conditions"]] == [
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "Ready",
    ]


def test_heartbeats_renew_the_lease_every_ten_seconds():
    simulation = Simulation()
    simulation.run(30)
    times = set()
    for _ in range(60):
        simulation.run(1)
        lease = simulation.store.get(r.LEASES, "kube-node-lease", "n1")
        times.add(parse_rfc3339(lease["spec"]["renewTime"]))

    gaps = {b - a for a, b in zip(sorted(times), sorted(times)[1:], strict=False)}
    assert len(times) in (6, 7)
    assert all(9 <= gap <= 11 for gap in gaps)


def test_images_on_a_node_are_listed():
    simulation = Simulation()
    started(simulation, pod_manifest(usage=QUIET_USAGE))
    simulation.run(300)

    node = simulation.store.get(r.NODES, None, "n1")

    assert [image["names"] for image in node["status"]["images"]] == [["nginx:1.27"]]


def client_node(**meta):
    return {
        "metadata": {"name": "theirs", **meta},
        "status": {"capacity": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    }


def test_a_node_that_a_client_wrote_stays_as_it_was_written():
    simulation = Simulation(nodes=0)
    written = simulation.create(r.NODES, client_node())
    simulation.create(r.PODS, pod_manifest(node="theirs"))

    simulation.run(300)

    assert simulation.store.get(r.NODES, None, "theirs") == written
    assert simulation.pod("web-1")["status"]["phase"] == "Pending"


def test_a_node_that_asks_for_a_kubelet_gets_one():
    simulation = Simulation(nodes=0)
    simulation.create(r.PODS, pod_manifest(node="theirs", usage=QUIET_USAGE))
    annotations = {"simulator.ai-scheduler/kubelet": "true"}
    simulation.create(r.NODES, client_node(annotations=annotations))

    simulation.run_until(lambda: simulation.pod("web-1")["status"]["phase"] == "Running")

    node = simulation.store.get(r.NODES, None, "theirs")
    assert node["status"]["capacity"] == {"cpu": "2", "memory": "4194304Ki", "pods": "10"}
    assert condition(node, "Ready")["status"] == "True"


def test_deleting_a_node_ends_its_pods():
    simulation = Simulation(nodes=1)
    started(simulation, pod_manifest(usage=QUIET_USAGE, node="n1"))

    simulation.store.delete(r.NODES, None, "n1")
    simulation.run(90)

    assert simulation.pods() == []
    assert not simulation.cluster.world.is_up("n1")


def test_events_are_counted_when_repeated_and_expire_after_an_hour():
    simulation = Simulation(step_s=5.0)
    usage = '{"run_s": 2, "exit_code": 7}'
    started(simulation, pod_manifest(usage=usage), seconds=900)
    counted = [e["deprecatedCount"] for e in simulation.store.list(r.EVENTS)]
    simulation.store.delete(r.PODS, "default", "web-1", grace_period_s=0)

    simulation.run(3700)

    assert max(counted) >= 4
    assert simulation.store.list(r.EVENTS) == []


def test_metrics_come_late_and_averaged():
    simulation = Simulation()
    [_] = started(simulation, pod_manifest(usage='{"cpu": "500m", "memory": "200Mi"}'), seconds=10)
    assert not simulation.cluster.metrics.pod_metrics()

    simulation.run(120)

    [pod] = simulation.cluster.metrics.pod_metrics()
    [node] = simulation.cluster.metrics.node_metrics()
    assert pod["metadata"]["name"] == "web-1"
    cpu_milli = int(pod["containers"][0]["usage"]["cpu"].removesuffix("n")) / 1e6
    assert 350 < cpu_milli < 1600
    memory_mi = int(pod["containers"][0]["usage"]["memory"].removesuffix("Ki")) / 1024
    assert memory_mi == pytest.approx(200, rel=0.1)
    assert pod["window"] in ("10.000s", "20.000s")
    assert 0 <= simulation.now_s - parse_rfc3339(node["timestamp"]) <= 25
    assert 'container_memory_working_set_bytes{namespace="default",pod="web-1"' in (
        "".join(simulation.cluster.metrics.exposition())
    )


def test_nothing_is_announced_in_a_namespace_that_is_going():
    simulation = Simulation()
    simulation.create(r.NAMESPACES, {"metadata": {"name": "team"}})
    manifest = pod_manifest(usage=QUIET_USAGE, node="n1")
    manifest["metadata"]["namespace"] = "team"
    simulation.create(r.PODS, manifest)
    simulation.run(20)
    before = simulation.reasons("web-1")

    simulation.store.delete(r.NAMESPACES, None, "team")
    simulation.store.delete(r.PODS, "team", "web-1")
    simulation.run(10)

    assert "Started" in before
    assert simulation.reasons("web-1") == before
    assert simulation.pods() == []
