"""The simulated cluster as kube-state-metrics, kubelets and the simulator itself show it."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from scheduler.simulator import resources as r
from scheduler.simulator.clock import VirtualClock
from scheduler.simulator.kube_state.exposition import KINDS, KubeState
from scheduler.simulator.telemetry import SimulationMetrics
from tests.api_world import Api, pod
from tests.builders import EPOCH_S
from tests.simulator_world import Simulation

OOM = {
    "name": "app",
    "image": "nginx:1.27",
    "imageID": "sha256:1",
    "containerID": "containerd://2",
    "ready": False,
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
}


def text_of(store, state=None):
    async def gather():
        return b"".join([part async for part in (state or KubeState(store)).parts()])

    return asyncio.run(gather()).decode()


def read(text):
    """Values by name and labels; fails unless the text is a well-formed exposition."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def samples(text, name):
    """A metric's labels, without what names the object, and values."""
    own = ("namespace", "pod", "uid", "node", "deployment", "replicaset")
    return {
        tuple(value for key, value in labels if key not in own): number
        for (found, labels), number in read(text).items()
        if found == name
    }


def api_with(obj, path="/api/v1/namespaces/default/pods", **status):
    api = Api()
    made = api.made(path, obj)
    if status:
        resource = r.NODES if "nodes" in path else r.PODS
        namespace = made["metadata"].get("namespace")
        name = made["metadata"]["name"]
        api.store.modify(resource, namespace, name, lambda old: old | {"status": status})
    return api.store


def test_of_a_node_it_tells_amounts_taints_and_conditions():
    node = {
        "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {
            "unschedulable": True,
            "taints": [{"key": "gpu", "value": "a.1", "effect": "NoSchedule"}],
        },
    }
    text = text_of(
        api_with(
            node,
            "/api/v1/nodes",
            nodeInfo={"kubeletVersion": "v1.36.0", "osImage": 'The "best"\n\\ OS'},
            addresses=[{"type": "InternalIP", "address": "10.0.0.1"}],
            capacity={"cpu": "4", "memory": "8Gi"},
            allocatable={"cpu": "3900m", "memory": "7Gi", "nvidia.com/gpu": "2"},
            conditions=[{"type": "Ready", "status": "Unknown"}],
        )
    )

    assert samples(text, "kube_node_status_allocatable") == {
        ("cpu", "core"): 3.9,
        ("memory", "byte"): 7 * 2**30,
        ("nvidia_com_gpu", "integer"): 2,
    }
    assert samples(text, "kube_node_status_capacity")["cpu", "core"] == 4
    assert samples(text, "kube_node_spec_unschedulable") == {(): 1}
    assert samples(text, "kube_node_spec_taint")["NoSchedule", "gpu", "a.1"] == 1
    assert samples(text, "kube_node_role") == {("worker",): 1}
    assert samples(text, "kube_node_status_condition") == {
        ("Ready", "true"): 0,
        ("Ready", "false"): 0,
        ("Ready", "unknown"): 1,
    }
    assert 'kubelet_version="v1.36.0"' in text
    assert 'internal_ip="10.0.0.1"' in text
    [about] = [dict(labels) for name, labels in read(text) if name == "kube_node_info"]
    assert about["os_image"] == 'The "best"\n\\ OS'


def test_of_a_pod_it_tells_phase_conditions_containers_and_resources():
    asked = {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    container = {"name": "app", "image": "nginx:1.27", "resources": asked}
    text = text_of(
        api_with(
            pod(containers=[container], nodeName="n1"),
            phase="Running",
            qosClass="Burstable",
            startTime="2026-11-15T07:32:19Z",
            conditions=[
                {
                    "type": "Ready",
                    "status": "False",
                    "lastTransitionTime": "2026-11-15T07:32:19Z",
                },
                {
                    "type": "PodScheduled",
                    "status": "True",
                    "lastTransitionTime": "2026-11-15T07:32:18Z",
                },
            ],
            containerStatuses=[OOM],
        )
    )

    assert samples(text, "kube_pod_status_phase")["Running",] == 1
    assert sum(samples(text, "kube_pod_status_phase").values()) == 1
    assert samples(text, "kube_pod_status_ready") == {
        ("true",): 0,
        ("false",): 1,
        ("unknown",): 0,
    }
    assert samples(text, "kube_pod_status_scheduled_time") == {(): 1794727938}
    assert samples(text, "kube_pod_start_time") == {(): 1794727939}
    assert samples(text, "kube_pod_container_resource_requests") == {
        ("app", "cpu", "core"): 0.25,
        ("app", "memory", "byte"): 64 * 2**20,
    }
    assert samples(text, "kube_pod_container_resource_limits") == {
        ("app", "memory", "byte"): 128 * 2**20
    }
    assert samples(text, "kube_pod_container_status_restarts_total") == {("app",): 3}
    assert samples(text, "kube_pod_container_status_waiting_reason") == {
        ("app", "CrashLoopBackOff"): 1
    }
    assert samples(text, "kube_pod_container_status_last_terminated_reason") == {
        ("app", "OOMKilled"): 1
    }
    assert samples(text, "kube_pod_container_status_last_terminated_exitcode") == {("app",): 137}
    assert 'node="n1"' in text


def test_of_a_pod_that_no_node_would_take_it_says_so():
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "lastTransitionTime": "2026-11-15T07:32:18Z",
    }
    text = text_of(api_with(pod(), phase="Pending", conditions=[condition]))

    assert samples(text, "kube_pod_status_unschedulable") == {(): 1}
    assert samples(text, "kube_pod_owner") == {("", "", ""): 1}
    assert samples(text, "kube_pod_status_scheduled_time") == {}


def test_of_an_evicted_pod_it_says_why():
    text = text_of(api_with(pod(), phase="Failed", reason="Evicted"))

    assert samples(text, "kube_pod_status_reason") == {("Evicted",): 1}


def test_an_object_is_written_anew_only_when_it_changes(monkeypatch):
    store = api_with(pod())
    api_pod = store.list(r.PODS)[0]
    state = KubeState(store)
    first = text_of(store, state)
    kept = dict(state._written[r.PODS.table])

    again = text_of(store, state)
    store.put(r.PODS, api_pod, status={"phase": "Running"})
    changed = text_of(store, state)

    assert again == first
    assert kept[api_pod["metadata"]["uid"]][0] is api_pod
    assert samples(changed, "kube_pod_status_phase")["Running",] == 1
    store.delete(r.PODS, "default", "web", grace_period_s=0)
    assert samples(text_of(store, state), "kube_pod_info") == {}
    assert state._written[r.PODS.table] == {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource.plural)
def test_every_metric_explains_itself_and_none_has_the_name_of_another(kind):
    names = [family.name for family in kind.families]

    assert all(family.help for family in kind.families)
    assert len(set(names)) == len(names)
    assert all(
        name.endswith("_total") == (f.type == "counter")
        for name, f in zip(names, kind.families, strict=True)
    )


def test_a_running_cluster_is_shown_by_kubelets_and_by_the_simulator():
    simulation = Simulation()
    registry = CollectorRegistry()
    clock = VirtualClock(start_s=EPOCH_S, speed=30.0, monotonic_s=lambda: 0.0)
    SimulationMetrics(registry, cluster=simulation.cluster, clock=clock)
    simulation.create(
        r.PODS,
        {
            "metadata": {
                "name": "choked",
                "annotations": {"simulator.ai-scheduler/usage": '{"cpu": "2", "memory": "100Mi"}'},
            },
            "spec": {
                "containers": [
                    {"name": "app", "image": "nginx", "resources": {"limits": {"cpu": "500m"}}}
                ]
            },
        },
    )
    simulation.run(120)

    kubelets = read("".join(simulation.cluster.metrics.exposition()))
    labels = (
        ("container", "app"),
        ("image", "nginx"),
        ("namespace", "default"),
        ("node", "n1"),
        ("pod", "choked"),
    )

    periods = kubelets["container_cpu_cfs_throttled_periods_total", labels]
    assert periods > 0
    throttled_s = kubelets["container_cpu_cfs_throttled_seconds_total", labels]
    assert throttled_s == pytest.approx(periods / 10.0)
    assert ("node_cpu_usage_seconds_total", (("node", "n1"),)) in kubelets
    assert registry.get_sample_value("simulator_time_seconds") == EPOCH_S
    assert registry.get_sample_value("simulator_lacking_cpu_seconds_total") > 10
    started = registry.get_sample_value(
        "simulator_world_events_total", {"event": "ContainerStarted"}
    )
    assert started == 1


def test_containers_killed_for_memory_are_counted_by_cause():
    simulation = Simulation()
    registry = CollectorRegistry()
    clock = VirtualClock(start_s=EPOCH_S, speed=1.0, monotonic_s=lambda: 0.0)
    metrics = SimulationMetrics(registry, cluster=simulation.cluster, clock=clock)
    usage = '{"cpu": "10m", "memory": "300Mi", "startup_s": 1}'
    limit = {"name": "app", "image": "nginx", "resources": {"limits": {"memory": "128Mi"}}}
    simulation.create(
        r.PODS,
        {
            "metadata": {
                "name": "fat",
                "annotations": {"simulator.ai-scheduler/usage": usage},
            },
            "spec": {"containers": [limit]},
        },
    )
    with metrics.timing_step():
        simulation.run(60)

    exits = registry.get_sample_value("simulator_container_exits_total", {"cause": "limit"})

    assert exits >= 1
    assert registry.get_sample_value("simulator_step_duration_seconds_count") == 1
