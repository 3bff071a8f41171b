"""NodeResourceTopologyMatch: which nodes can align a pod, and how good their zones are."""

import random

import msgspec
import pytest

from kube.custom import TopologyAttribute, ZoneResource
from kube.qos import Qos
from kube.quantity import CPU, MEMORY
from scheduler.framework.checks import check_filter_plugin, check_score_plugin
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.model import EPHEMERAL_STORAGE
from scheduler.plugins.numa.arguments import NodeResourceTopologyMatchArgs, NumaScoringStrategy
from scheduler.plugins.numa.fingerprint import fingerprint, xxh64
from scheduler.plugins.numa.reports import read_report
from scheduler.plugins.scoring_strategies import ResourceSpec
from tests.builders import make_container, make_meta, make_pod
from tests.unit.scheduler.numa_worlds import (
    GPU,
    cluster,
    make_aligned,
    make_topology,
    plugin_for,
    refusals,
    scores,
)
from tests.unit.scheduler.worlds import GI, make_facts, make_pending

CONTAINER, POD = "cannot align container", "cannot align pod"
STRATEGIES = ["LeastAllocated", "MostAllocated", "BalancedAllocation", "LeastNUMANodes"]


def cores(number, **more):
    return {CPU: 1000 * number, **more}


def zones_of(*numbers):
    return [{CPU: number} for number in numbers]


def why(pod, *, allocatable=None, period_s=None, **topology):
    """Say why a node with such a report is refused; empty if it is not."""
    node = make_facts("n1", allocatable=allocatable or {})
    snapshot = cluster(node, topologies=[make_topology(**topology)])
    return refusals(plugin_for(period_s=period_s), pod, snapshot).get("n1", "")


# ----------------------------------------------------------------------------------------- laws


def random_topologies():
    rng = random.Random(3)
    return [
        make_topology(
            f"n{i}",
            zones=[
                {CPU: rng.randint(0, 4), MEMORY: f"{rng.randint(0, 8)}Gi", GPU: rng.randint(0, 1)}
                for _ in range(rng.choice((1, 2, 4)))
            ],
            policy=rng.choice(("single-numa-node", "single-numa-node", "none")),
            scope=rng.choice(("pod", "container")),
        )
        for i in range(24)
        if i % 5
    ]


@pytest.mark.parametrize("period_s", [None, 5])
def test_keeps_the_contract_of_a_filter_plugin(period_s):
    check_filter_plugin(plugin_for(period_s=period_s), objects=random_topologies())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_keeps_the_contract_of_a_score_plugin(strategy):
    check_score_plugin(plugin_for(strategy), objects=random_topologies())


# --------------------------------------------------------------------------------------- filter


@pytest.mark.parametrize(
    ("scope", "available", "containers", "reason"),
    [
        pytest.param("container", (4, 4), (4,), "", id="fits a zone"),
        pytest.param("container", (4, 4), (5,), CONTAINER, id="the node has it, no zone has"),
        pytest.param("container", (4, 4), (4, 4), "", id="a zone for each container"),
        pytest.param("container", (4, 4), (4, 3, 1), "", id="what is left of a zone"),
        pytest.param("container", (4, 4), (3, 3, 2), CONTAINER, id="scattered rest"),
        pytest.param("container", (3, 4), (2, 2, 2), "", id="lowest zone first"),
        pytest.param("container", (4, 5), (2, 2, 5), "", id="packs the first zone"),
        pytest.param("container", (4, 5), (3, 2, 5), CONTAINER, id="order matters"),
        pytest.param("pod", (4, 4), (2, 2), "", id="pod fits a zone"),
        pytest.param("pod", (4, 4), (4, 4), POD, id="pod fits none"),
    ],
)
def test_containers_or_the_pod_must_fit_one_zone(scope, available, containers, reason):
    pod = make_aligned("p", *map(cores, containers))

    assert why(pod, zones=zones_of(*available), scope=scope) == reason


@pytest.mark.parametrize(
    ("init", "sidecars", "containers", "reason"),
    [
        pytest.param((4, 4, 4), (), (4,), "", id="one after the other"),
        pytest.param((5,), (), (1,), CONTAINER, id="too large at the start"),
        pytest.param((4,), (4,), (4,), "", id="beside a sidecar"),
        pytest.param((), (4, 4), (1,), CONTAINER, id="sidecars stay"),
    ],
)
def test_init_containers_leave_what_they_had_and_sidecars_keep_it(
    init, sidecars, containers, reason
):
    pod = make_aligned(
        "p",
        *map(cores, containers),
        init=[cores(n) for n in init],
        sidecars=[cores(n) for n in sidecars],
    )

    assert why(pod, zones=zones_of(4, 4)) == reason


@pytest.mark.parametrize(
    ("init", "asked", "reason"),
    [
        pytest.param([cores(1)], cores(3), "", id="its zone is large enough"),
        pytest.param([cores(1)], cores(4), CONTAINER, id="another one is"),
        pytest.param([cores(1), cores(2)], cores(4), CONTAINER, id="after several"),
        pytest.param([cores(0.5)], cores(4), "", id="half a core is nobody's own"),
        pytest.param([{MEMORY: GI}], cores(4), "", id="nor does memory bind"),
        pytest.param([{GPU: 1}], cores(4), "", id="who asks for no device is free"),
        pytest.param([{GPU: 1}], cores(4, **{GPU: 1}), CONTAINER, id="who asks for one is not"),
    ],
)
def test_who_could_use_what_an_init_container_had_must_be_in_its_zone(init, asked, reason):
    zones = [{CPU: 3, MEMORY: "8Gi", GPU: 2}, {CPU: 4, MEMORY: "8Gi", GPU: 2}]
    pod = make_aligned("p", asked, init=init)

    assert why(pod, zones=zones, allocatable={GPU: 4}) == reason


def test_what_was_used_again_binds_nobody_any_more():
    pod = make_aligned("p", cores(2), cores(4), init=[cores(2)])

    assert why(pod, zones=zones_of(3, 4)) == ""


def test_devices_that_no_zone_reports_bind_nobody():
    pod = make_aligned("p", cores(4, **{GPU: 1}), init=[{GPU: 1}])

    assert why(pod, zones=zones_of(3, 4), allocatable={GPU: 4}) == ""


def test_all_resources_of_a_container_must_be_in_the_same_zone():
    zones = [{CPU: 4, MEMORY: "1Gi", GPU: 1}, {CPU: 1, MEMORY: "8Gi", GPU: 1}]
    apart = make_aligned("p", cores(2, **{MEMORY: 4 * GI}))
    together = make_aligned("p", cores(2, **{MEMORY: GI, GPU: 1}))

    assert why(apart, zones=zones) == CONTAINER
    assert why(together, zones=zones, allocatable={GPU: 2}) == ""


@pytest.mark.parametrize("qos", [Qos.BURSTABLE, Qos.BEST_EFFORT])
def test_only_devices_tie_a_pod_to_a_zone_that_is_not_guaranteed(qos):
    pod = make_aligned("p", cores(9, **{"hugepages-2Mi": 2**30, GPU: 1}), qos=qos)

    assert why(pod, zones=[{CPU: 1, GPU: 0}, {CPU: 1, GPU: 1}], allocatable={GPU: 1}) == ""
    assert why(pod, zones=[{CPU: 1, GPU: 0}, {CPU: 1, GPU: 0}], allocatable={GPU: 1}) == CONTAINER


@pytest.mark.parametrize(
    ("resource", "allocatable", "reason"),
    [
        pytest.param(GPU, {GPU: 2}, "", id="device without a zone"),
        pytest.param(EPHEMERAL_STORAGE, {EPHEMERAL_STORAGE: 9}, "", id="disk"),
        pytest.param(GPU, {}, CONTAINER, id="device that is not there"),
        pytest.param("hugepages-1Gi", {"hugepages-1Gi": 9}, CONTAINER, id="zones have these"),
    ],
)
def test_devices_and_disk_may_be_in_no_zone(resource, allocatable, reason):
    pod = make_aligned("p", cores(1, **{resource: 1}))

    assert why(pod, zones=zones_of(4, 4), allocatable=allocatable) == reason


@pytest.mark.parametrize("policy", ["none", "best-effort", "restricted", "unheard-of"])
def test_kubelets_that_take_anything_are_not_asked_about(policy):
    assert why(make_aligned("p", cores(9)), zones=zones_of(4), policy=policy) == ""


def test_nodes_of_which_nothing_is_known_pass():
    snapshot = cluster(make_facts("n1"), make_facts("n2"), topologies=[make_topology("n2")])

    assert refusals(plugin_for(), make_aligned("p", cores(9)), snapshot) == {"n2": CONTAINER}


@pytest.mark.parametrize(
    ("old", "policy", "scope"),
    [
        ("SingleNUMANodePodLevel", True, "pod"),
        ("SingleNUMANodeContainerLevel", True, "container"),
        ("RestrictedPodLevel", False, "pod"),
        ("BestEffortContainerLevel", False, "container"),
        ("None", False, "container"),
    ],
)
def test_policy_and_scope_may_be_told_in_the_old_way(old, policy, scope):
    told = msgspec.structs.replace(make_topology(), attributes=None, topology_policies=[old])

    report = read_report(told)

    assert (report.is_single, report.is_pod_scope) == (policy, scope == "pod")


def test_attributes_outdo_the_old_way():
    told = msgspec.structs.replace(
        make_topology(policy="none"), topology_policies=["SingleNUMANodePodLevel"]
    )

    report = read_report(told)

    assert (report.is_single, report.is_pod_scope) == (False, False)


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 8), ("16", 16), ("2", 2), ("1", 8), ("0", 8), ("-4", 8), ("x", 8), ("4096", 1024)],
)
def test_reads_how_many_zones_a_kubelet_copes_with(text, number):
    report = read_report(make_topology(topologyManagerMaxNUMANodes=text))

    assert report.max_zones == number


def damaged(**changes):
    topology = make_topology()
    first = msgspec.structs.replace(topology.zones[0], **changes)
    return msgspec.structs.replace(topology, zones=[first, *topology.zones[1:]])


@pytest.mark.parametrize(
    "topology",
    [
        pytest.param(damaged(name="numa0"), id="name"),
        pytest.param(damaged(name="node-64"), id="number"),
        pytest.param(damaged(name="node-1"), id="two of a name"),
        pytest.param(damaged(resources=[ZoneResource(name=CPU, available="two")]), id="amount"),
    ],
)
def test_zones_that_cannot_be_read_refuse(topology):
    snapshot = cluster(make_facts(), topologies=[topology])

    found = refusals(plugin_for(), make_aligned("p", cores(1)), snapshot)

    assert found == {"n1": "invalid node topology data"}


def test_only_numa_nodes_count_as_zones():
    topology = make_topology(zones=zones_of(1, 9))
    socket = msgspec.structs.replace(topology.zones[1], type="Socket", name="socket-0")
    topology = msgspec.structs.replace(topology, zones=[topology.zones[0], socket])
    snapshot = cluster(make_facts(), topologies=[topology])

    assert refusals(plugin_for(), make_aligned("p", cores(2)), snapshot) == {"n1": CONTAINER}


def test_pods_to_which_zones_do_not_matter_are_signed_and_skipped():
    plugin, snapshot = plugin_for(), cluster(make_facts(), topologies=[make_topology()])
    plain = make_pending()
    found = plugin.pre_filter(CycleState(), pod=plain, snapshot=snapshot)

    assert found.status.is_skip
    assert plugin.sign_pod(plain) == ()
    assert plugin.sign_pod(make_aligned("p", cores(1))) is None


def test_follows_nodes_that_come_and_go():
    plugin, pod = plugin_for(), make_aligned("p", cores(3))
    names = ("n1", "n2", "n3")
    topologies = [make_topology(n, zones=zones_of(i)) for i, n in enumerate(names, 2)]
    snapshot = cluster(*map(make_facts, names), topologies=topologies)
    found = [refusals(plugin, pod, snapshot)]

    snapshot.remove_node("n1")
    found.append(refusals(plugin, pod, snapshot))
    snapshot.set_node(make_facts("n4"))
    snapshot.objects.put(make_topology("n4", zones=[{CPU: 2}, {CPU: 2}, {CPU: 2, GPU: 1}]))
    snapshot.set_node(make_facts("n1"))
    found.append(refusals(plugin, pod, snapshot))
    snapshot.objects.remove(type(topologies[0]), "n4")
    snapshot.objects.put(make_topology("n2", zones=zones_of(1, 1)))
    found.append(refusals(plugin, pod, snapshot))

    one, two, four = ({name: CONTAINER} for name in ("n1", "n2", "n4"))
    assert found == [one, {}, {**one, **four}, {**one, **two}]


# ---------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize(
    ("strategy", "scope", "containers", "expected"),
    [
        # One container of 1 core and 2 Gi; zones have 4 cores and 8 Gi, and 2 cores and 8 Gi.
        pytest.param("LeastAllocated", "pod", [(1, 2)], 62, id="least: min(75, (50 + 75) / 2)"),
        pytest.param("MostAllocated", "pod", [(1, 2)], 25, id="most: min(25, (50 + 25) / 2)"),
        # Fractions 0.25 and 0.25, and 0.5 and 0.25: variance 0 and 0.03125.
        pytest.param("BalancedAllocation", "pod", [(1, 2)], 96, id="balanced"),
        # 3 cores do not fit the second zone: (25 + 75) / 2, and (0 + 75) / 2.
        pytest.param("LeastAllocated", "pod", [(3, 2)], 37, id="a zone without room"),
        pytest.param("BalancedAllocation", "pod", [(3, 2)], 87, id="balanced in one zone"),
        pytest.param("LeastAllocated", "container", [(1, 2), (2, 4)], 43, id="mean of 62 and 25"),
        pytest.param("LeastAllocated", "pod", [(1, 2), (2, 4)], 12, id="min(25, (0 + 25) / 2)"),
    ],
)
def test_rates_the_worst_zone_that_will_do(strategy, scope, containers, expected):
    zones = [{CPU: 4, MEMORY: "8Gi"}, {CPU: 2, MEMORY: "8Gi"}]
    pod = make_aligned("p", *(cores(c, **{MEMORY: m * GI}) for c, m in containers))
    snapshot = cluster(make_facts(), topologies=[make_topology(zones=zones, scope=scope)])

    assert scores(plugin_for(strategy), pod, snapshot) == {"n1": expected}


def test_resources_have_weights():
    zones = [{CPU: 4, MEMORY: "8Gi"}]
    pod = make_aligned("p", cores(2, **{MEMORY: 2 * GI}))
    snapshot = cluster(make_facts(), topologies=[make_topology(zones=zones)])
    strategy = NumaScoringStrategy(resources=(ResourceSpec(name=CPU, weight=3),))

    assert scores(plugin_for(scoring_strategy=strategy), pod, snapshot) == {
        "n1": (3 * 50 + 75) // 4
    }


SQUARE = [[10, 12, 20, 20], [12, 10, 20, 20], [20, 20, 10, 14], [20, 20, 14, 10]]
"""Zones 0 and 1 are near each other; so are 2 and 3, not quite as near."""


@pytest.mark.parametrize(
    ("available", "costs", "containers", "expected"),
    [
        # 100 // 8 = 12 for each zone, and 6 if no other zones are nearer.
        pytest.param((4, 4, 4, 4), SQUARE, (4,), 100 - 12 + 6, id="one"),
        pytest.param((4, 4, 4, 4), SQUARE, (6,), 100 - 24 + 6, id="two, near each other"),
        pytest.param((4, 1, 4, 4), SQUARE, (8,), 100 - 24, id="two, not the nearest"),
        pytest.param((4, 4, 4, 4), SQUARE, (9,), 100 - 36 + 6, id="three"),
        pytest.param((4, 4, 4, 4), (), (6,), 100 - 24 + 6, id="nobody knows how far"),
        pytest.param((4, 4), (), (4, 5), 0, id="what one takes the next one lacks"),
        pytest.param((4, 4), (), (3, 5), 100 - 24 + 6, id="the one that needs most"),
        pytest.param((4, 4), (), (9,), 0, id="no room"),
    ],
)
def test_prefers_nodes_where_few_near_zones_have_enough(available, costs, containers, expected):
    pod = make_aligned("p", *map(cores, containers))
    topology = make_topology(zones=zones_of(*available), costs=costs, policy="restricted")
    snapshot = cluster(make_facts(), topologies=[topology])

    assert scores(plugin_for("LeastNUMANodes"), pod, snapshot) == {"n1": expected}


@pytest.mark.parametrize(
    ("most", "asked", "expected"),
    [("4", 4, 100 - 25 + 12), ("2", 8, 100 - 2 * 50 + 25), ("2", 12, 0), ("1024", 4, 100)],
)
def test_a_zone_counts_for_more_where_kubelets_cope_with_few(most, asked, expected):
    topology = make_topology(zones=zones_of(4, 4, 4), topologyManagerMaxNUMANodes=most)
    snapshot = cluster(make_facts(), topologies=[topology])

    pod = make_aligned("p", cores(asked))

    assert scores(plugin_for("LeastNUMANodes"), pod, snapshot) == {"n1": expected}


def test_devices_that_no_zone_has_need_no_zone():
    snapshot = cluster(make_facts(), topologies=[make_topology(zones=[{GPU: 1}], policy="none")])
    pod = make_aligned("p", {"example.com/nic": 1})

    assert scores(plugin_for("LeastNUMANodes"), pod, snapshot) == {"n1": 100}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_nothing_is_known_of_is_worth_nothing(strategy):
    nodes = [make_facts("n1"), make_facts("n2")]
    snapshot = cluster(*nodes, topologies=[make_topology("n2", policy="none")])

    found = scores(plugin_for(strategy), make_aligned("p", cores(1)), snapshot)

    assert found == {"n1": 0, "n2": 100 - 12 + 6 if strategy == "LeastNUMANodes" else 0}


def test_pods_that_are_not_guaranteed_are_not_rated():
    snapshot = cluster(make_facts(), topologies=[make_topology()])
    pod = make_aligned("p", {GPU: 1}, qos=Qos.BURSTABLE)

    assert plugin_for().pre_score(CycleState(), pod=pod, snapshot=snapshot, feasible=None).is_skip


# ---------------------------------------------------------------------- fingerprints, arguments


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        # From the tests of the library that agents use.
        (
            "production/jaeger-dpgjk production/nginx-rt684 production/envoy-g9m22",
            "pfp0v001607b76a0e9d3aeb4",
        ),
        (
            "analytics/controller-69dkj kube-public/subscriber-tq6v7 kube-public/transformer-hfbng"
            " kube-public/validator-c6pn5 kube-system/proxy-wszrd middleware/processor-jkrl4"
            " network/gateway-vsll5 network/importer-kzdfr network/importer-q5vt9"
            " staging/prometheus-bwgbn",
            "pfp0v001567144e4a561bb5a",
        ),
    ],
)
def test_fingerprints_are_those_of_the_agents(pods, expected):
    found = [
        make_pending(name, namespace=namespace)
        for namespace, _, name in (pod.partition("/") for pod in pods.split())
    ]

    assert fingerprint(found) == fingerprint(reversed(found)) == expected


def test_hashes_as_xxh64_does():
    assert xxh64(b"") == 0xEF46DB3751D8E999
    assert xxh64(b"abc") == 0x44BC2CF5AD770999
    assert xxh64(b"a", seed=1) != xxh64(b"a")


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"preemptionMode": "Enabled"}, "preemptionMode"),
        ({"cache": {"resyncScope": "Some"}}, "resyncScope"),
        ({"cache": {"foreignPodsDetect": "Some"}}, "foreignPodsDetect"),
        ({"cache": {"informer": "Shared"}}, "informer"),
        ({"cacheResyncPeriodSeconds": -1}, "cacheResyncPeriodSeconds"),
        ({"scoringStrategy": {"type": "RequestedToCapacityRatio"}}, "scoringStrategy"),
    ],
)
def test_refuses_arguments_that_mean_nothing_here(args, field):
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(args, NodeResourceTopologyMatchArgs)


def test_takes_upstreams_arguments():
    args = msgspec.convert(
        {
            "scoringStrategy": {"type": "LeastNUMANodes", "resources": [{"name": "cpu"}]},
            "cacheResyncPeriodSeconds": 5,
            "discardReservedNodes": False,
            "cache": {
                "foreignPodsDetect": "OnlyExclusiveResources",
                "resyncMethod": "OnlyExclusiveResources",
                "informerMode": "Shared",
                "resyncScope": "OnlyResources",
            },
            "preemptionMode": "Disabled",
        },
        NodeResourceTopologyMatchArgs,
    )

    assert (args.cache_resync_period_seconds, args.cache.informer_mode) == (5, "Shared")


def test_a_report_that_says_nothing_new_wakes_nobody():
    def change(before, after):
        return plugin_for().may_help(
            make_aligned(), change=Change(ClusterEvent.CUSTOM, before, after)
        )

    now = make_topology(fingerprint="a")
    later = msgspec.structs.replace(now, metadata=make_meta("n1", resource_version="2"))
    tagged = msgspec.structs.replace(
        now, attributes=[*now.attributes, TopologyAttribute(name="x", value="y")]
    )

    assert not change(now, later)
    assert change(now, tagged)
    assert change(None, now)
    assert change(now, None)


def test_a_pods_containers_are_read_in_the_order_in_which_they_start():
    pod = make_pod(
        containers=[make_container("app", limits={"cpu": "2", "memory": "1Gi"})],
        init_containers=[
            make_container("first", requests={"cpu": "500m", GPU: "0"}),
            make_container("sidecar", requests={"cpu": "1"}, restart_policy="Always"),
        ],
    )

    facts = type(make_pending()).from_pod(pod)

    assert [(dict(c.requests), c.is_brief) for c in facts.containers] == [
        ({CPU: 500}, True),
        ({CPU: 1000}, False),
        ({CPU: 2000, MEMORY: GI}, False),
    ]
