"""A cluster and pods in which every plugin of ``config/profiles/all.yaml`` has something to do.

Nodes of 32 cores and 128Gi report two NUMA zones each; one in nine has eight GPUs. Forty kinds of
pods, each with a controller of its own, differ in size, class of service, priority class, namespace
(each has a quota), workload of an application, and system calls; a fifth want a share of a GPU, and
those of one kind come in gangs. Where pods must make way, nodes are set apart for them.
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from kube.custom import (
    AppGroup,
    CustomResource,
    ElasticQuota,
    NetworkTopology,
    NodeResourceTopology,
    PodGroup,
    PriorityClass,
    SeccompProfile,
)
from scheduler.framework.configuration import read_configuration
from scheduler.framework.metering import metered
from scheduler.framework.profile import make_profiles
from scheduler.framework.registry import Registry
from scheduler.model import GPU_CARD_MODEL, GPU_COUNT, GPU_MILLI, POD_GROUP_LABEL
from scheduler.plugins.network.app_groups import APP_GROUP_LABEL, WORKLOAD_LABEL
from scheduler.plugins.network.costs import REGION
from scheduler.plugins.preemption.toleration import MINIMUM, SECONDS
from tests.bench import templates
from tests.bench.engine_world import EngineWorld
from tests.bench.plugin_times import PluginTimes
from tests.bench.templates import ZONE, Json
from tests.networks import write_network

PROFILE = Path(__file__).parents[2] / "config" / "profiles" / "all.yaml"

N_SHAPES = 40
GANG_SIZE = 10
PODS_A_ROUND = N_SHAPES * GANG_SIZE
"""Among so many pods each gang is whole."""

NAMESPACES = ("default", "team-0", "team-1", "team-2", "team-3")
PRIORITIES = {"steady": 100, "usual": 200, "urgent": 300}
CALLS = {"web": 150, "crypto": 60, "batch": 90, "all-syscalls": 330}
N_ZONES = 10
N_WORKLOADS = 5
POOL = "example.com/pool"
TIGHT, APART = "tight", "apart"
N_TIGHT = 10
PRICE = "example.com/price-per-hour"


def make_all(folder: Path, *, nodes: Iterable[Json], registry: Registry, times: PluginTimes) -> Any:
    """Load the profile, with what it cannot say itself: a network, and the nodes' power models.

    Args:
        folder: Where to write the network.
        nodes: Of the cluster.
        registry: Of plugins.
        times: Is told what they take.

    Returns:
        The profile, by scheduler name.
    """
    data = yaml.safe_load(PROFILE.read_text())
    [profile] = data["profiles"]
    network = write_network(folder / "policy.onnx", weights={"cpu_requested_ratio": 1.0})
    profile["plugins"]["multiPoint"]["enabled"].append({"name": "LearnedPolicy"})
    profile["pluginConfig"].append({"name": "LearnedPolicy", "args": {"path": str(network)}})
    power = {
        node["metadata"]["name"]: {"k0": 50, "k1": 10 + i % 7, "k2": 0.02 + 0.001 * (i % 5)}
        for i, node in enumerate(nodes)
    }
    for config in profile["pluginConfig"]:
        if config["name"] == "Peaks":
            config["args"]["nodePowerModel"] = power
    made = make_profiles(read_configuration(data, registry=registry), registry=registry)
    return {name: metered(each, meter=times) for name, each in made.items()}


def nodes(n_nodes: int) -> list[Json]:
    """Nodes in zones of two regions, a few of them set apart."""
    return [_node(i) for i in range(n_nodes - N_TIGHT - 2)] + [
        *(_pool_node(f"tight-{i}", TIGHT, "zone-0") for i in range(N_TIGHT)),
        *(_pool_node(f"apart-{i}", APART, "zone-apart") for i in range(2)),
    ]


def _node(index: int) -> Json:
    zone = index % N_ZONES
    labels = {ZONE: f"zone-{zone}", REGION: f"region-{zone % 2}"}
    made = _sized(templates.node(f"node-{index}", labels=labels))
    made["metadata"]["annotations"] = {PRICE: f"{0.5 + index % 13 / 10:.1f}"}
    if index % 9 == 3:
        made["status"]["allocatable"] |= {GPU_COUNT: "8", GPU_MILLI: "1000"}
        made["metadata"]["labels"][GPU_CARD_MODEL] = ("T4", "P100")[index % 18 == 3]
    return made


def _pool_node(name: str, pool: str, zone: str) -> Json:
    labels = {ZONE: zone, REGION: "region-0", POOL: pool}
    made = _sized(templates.node(name, labels=labels))
    made["spec"]["taints"] = [{"key": POOL, "value": pool, "effect": "NoSchedule"}]
    return made


def _sized(node: Json) -> Json:
    amounts = {"cpu": "32", "memory": "128Gi", "pods": "110"}
    node["status"] |= {"capacity": dict(amounts), "allocatable": dict(amounts)}
    return node


def objects(nodes: Iterable[Json], *, n_gangs: int) -> list[tuple[type[CustomResource], Json]]:
    """Make all that the plugins read beside nodes and pods."""
    quota = {"min": {"cpu": "200000", "memory": "400Ti"}, "max": {"cpu": "400000"}}
    return [
        *((ElasticQuota, _object("quota", spec=quota, namespace=n)) for n in NAMESPACES[1:]),
        *((NodeResourceTopology, _report(node, i)) for i, node in enumerate(nodes)),
        *((SeccompProfile, _seccomp(name, n_calls)) for name, n_calls in CALLS.items()),
        *((PriorityClass, _priority_class(name, v)) for name, v in PRIORITIES.items()),
        *(
            (PodGroup, _object(f"crew-{i}", spec={"minMember": GANG_SIZE}, namespace="team-3"))
            for i in range(n_gangs)
        ),
        (AppGroup, _object("shop", spec=_app_group())),
        (NetworkTopology, _object("nt-default", spec=_network_topology())),
    ]


def _object(name: str, *, namespace: str = "default", **fields: Any) -> Json:
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"}, **fields}


def _report(node: Json, index: int) -> Json:
    """Two zones; of four nodes one has a kubelet that aligns nothing."""
    policy = "restricted" if index % 4 == 3 else "single-numa-node"
    scope = ("container", "pod")[index % 2]
    said = {"topologyManagerPolicy": policy, "topologyManagerScope": scope}
    resources = [
        {"name": name, "capacity": half, "allocatable": half, "available": half}
        for name, half in (("cpu", "16"), ("memory", "64Gi"))
    ]
    return {
        "metadata": {"name": node["metadata"]["name"], "uid": f"uid-of-report-{index}"},
        "attributes": [{"name": name, "value": value} for name, value in said.items()],
        "zones": [
            {
                "name": f"node-{zone}",
                "type": "Node",
                "costs": [
                    {"name": f"node-{other}", "value": 10 if other == zone else 20}
                    for other in range(2)
                ],
                "resources": resources,
            }
            for zone in range(2)
        ],
    }


def _seccomp(name: str, n_calls: int) -> Json:
    calls = [f"call-{i}" for i in sorted(random.Random(name).sample(range(330), n_calls))]
    syscalls = [{"action": "SCMP_ACT_ALLOW", "names": calls}]
    return _object(name, spec={"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls})


def _priority_class(name: str, value: int) -> Json:
    safe = {MINIMUM: "1000", SECONDS: "-1"} if name == "steady" else {}
    return {"metadata": {"name": name, "uid": f"uid-{name}", "annotations": safe}, "value": value}


def _app_group() -> Json:
    """A chain of workloads, in which each may talk over any distance but the longest."""

    def ref(number: int) -> Json:
        name = f"w{number}"
        return {"name": name, "kind": "Deployment", "selector": name, "namespace": "default"}

    workloads: list[Json] = [{"workload": ref(0)}]
    for number in range(1, N_WORKLOADS):
        needed = {"workload": ref(number - 1), "minBandwidth": "1M", "maxNetworkCost": 60}
        workloads.append({"workload": ref(number), "dependencies": [needed]})
    return {
        "numMembers": 1000,
        "topologySortingAlgorithm": "KahnSort",
        "workloads": workloads,
    }


def _network_topology() -> Json:
    zones = [f"zone-{i}" for i in range(N_ZONES)]
    by_zone = [
        (a, b, 5 + (3 * i + j) % 20) for i, a in enumerate(zones) for j, b in enumerate(zones)
    ]
    by_region = [("region-0", "region-1", 50), ("region-1", "region-0", 70)]

    def info(key: str, costs: list[tuple[str, str, int]]) -> Json:
        origins = [
            {
                "origin": origin,
                "costList": [
                    {"destination": to, "networkCost": cost} for a, to, cost in costs if a == origin
                ],
            }
            for origin in sorted({a for a, _, _ in costs})
        ]
        return {"topologyKey": key, "originList": origins}

    topologies = [info(REGION, by_region), info(ZONE, by_zone)]
    return {"weights": [{"name": "UserDefined", "topologyList": topologies}]}


def pod_of_shape(name: str, *, shape: int, gang: str = "", **fields: Any) -> Json:
    """Make a pod of one of the forty kinds."""
    has_gpu = shape % 5 == 1
    labels = {APP_GROUP_LABEL: "shop", WORKLOAD_LABEL: f"w{shape % N_WORKLOADS}"}
    if gang:
        labels[POD_GROUP_LABEL] = gang
    annotations = {GPU_MILLI: str(100 + 50 * (shape % 4)), GPU_COUNT: "1"} if has_gpu else {}
    priority_class = list(PRIORITIES)[shape % 3]
    made = templates.pod(
        name,
        namespace=NAMESPACES[1 + shape % 4],
        cpu=f"{100 + 25 * (shape % 8)}m",
        labels=labels,
        annotations=annotations,
        priority=PRIORITIES[priority_class],
        priorityClassName=priority_class,
        securityContext={"seccompProfile": _profile(list(CALLS)[shape % 3])},
        **fields,
    )
    if shape % 2 == 0:
        [container] = made["spec"]["containers"]
        container["resources"]["limits"] = {"cpu": "1", "memory": "1Gi"}
    return _owned(made, f"kind-{shape}")


def _profile(name: str) -> Json:
    return {"type": "Localhost", "localhostProfile": f"operator/default/{name}.json"}


def _owned(pod: Json, name: str) -> Json:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": name, "uid": f"uid-{name}"}
    pod["metadata"]["ownerReferences"] = [owner | {"controller": True}]
    return pod


def mixed_pods(prefix: str, n_pods: int, *, first_gang: int) -> list[Json]:
    """Make pods of all kinds in turn; those of the last one come in gangs, one a whole round."""

    def gang(index: int) -> str:
        number = index // PODS_A_ROUND
        is_member = index % N_SHAPES == N_SHAPES - 1 and number < n_pods // PODS_A_ROUND
        return f"crew-{first_gang + number}" if is_member else ""

    return [pod_of_shape(f"{prefix}-{i}", shape=i % N_SHAPES, gang=gang(i)) for i in range(n_pods)]


def alike_pods(prefix: str, n_pods: int) -> list[Json]:
    """Make pods of one kind, to which every plugin has something to say."""
    return [pod_of_shape(f"{prefix}-{i}", shape=1) for i in range(n_pods)]


def run_already(world: EngineWorld, *, n_nodes: int, n_running: int) -> None:
    """Have pods of all kinds run on half of the nodes, some of them about to go."""
    for i in range(n_running):
        world.see_running(
            pod_of_shape(f"old-{i}", shape=i % (N_SHAPES - 1)), node=f"node-{i % (n_nodes // 2)}"
        )
    for i in range(n_nodes // 50):
        world.see_running(leaving_pod(f"leaving-{i}"), node=f"node-{i}")


def leaving_pod(name: str) -> Json:
    """Make a pod that is asked to go."""
    made = pod_of_shape(name, shape=0)
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


def _in_pool(name: str, pool: str, **fields: Any) -> Json:
    toleration = {"key": POOL, "operator": "Exists"}
    made = templates.pod(name, nodeSelector={POOL: pool}, tolerations=[toleration], **fields)
    # Burstable: no zone has to have room for it.
    del made["spec"]["containers"][0]["resources"]["limits"]
    return made


def filling_pods() -> list[Json]:
    """Make those who are to make way: three on each tight node, one on each node apart."""
    steady = {"priority": PRIORITIES["steady"], "priorityClassName": "steady"}
    tight = [
        _in_pool(f"tight-{i}", TIGHT, cpu="10", namespace="team-0", **steady)
        for i in range(3 * N_TIGHT)
    ]
    green = {"color": "green"}
    apart = [_in_pool(f"apart-{i}", APART, cpu="20", labels=green, priority=0) for i in range(2)]
    return tight + apart


def pressing_pods(prefix: str, n_pods: int) -> list[Json]:
    """Make pods for which others go that their class protects, as neither class nor quota asks."""
    return [
        _in_pool(f"{prefix}-{i}", TIGHT, cpu="10", priority=500, terminationGracePeriodSeconds=0)
        for i in range(n_pods)
    ]


def far_reaching_pod(name: str) -> Json:
    """Make a pod for which others must go on two nodes."""
    term = {"labelSelector": {"matchLabels": {"color": "green"}}, "topologyKey": ZONE}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return _in_pool(name, APART, priority=10, affinity=affinity)


def hopeless_pod(name: str) -> Json:
    """Make a pod that waits for room that nobody can make."""
    return _in_pool(name, TIGHT, cpu="10", priority=50)
