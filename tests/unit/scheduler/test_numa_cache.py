"""NodeResourceTopologyMatch: pods count in every zone until a report knows of them."""

from dataclasses import replace

import pytest
from msgspec import convert, structs

from kube.custom import NodeResourceTopology
from kube.qos import Qos
from kube.quantity import CPU
from scheduler.events import (
    BindSucceeded,
    ObjectGone,
    ObjectSeen,
    PodGone,
    PodSeen,
)
from scheduler.framework.cycle import CycleState
from scheduler.plugins.numa.arguments import NumaCache
from scheduler.plugins.numa.fingerprint import fingerprint
from tests.builders import make_meta
from tests.unit.scheduler.numa_worlds import (
    GPU,
    cluster,
    make_aligned,
    make_numa_engine,
    make_topology,
    plugin_for,
    refusals,
)
from tests.unit.scheduler.worlds import decisions, feed, make_facts, placements

UNKNOWN = "invalid node topology data"
CONTAINER = "cannot align container"


def pod_of(name, cores, *, node="", is_started=True, **more):
    pod = make_aligned(name, {CPU: 1000 * cores}, **more)
    return replace(pod, node_name=node, start_time_s=1.0 if node and is_started else 0.0)


def report(*available, knows=None, version=1, **more):
    """A report of zones' cores that takes the pods *knows* into account; ``None``: of no pod."""
    told = "" if knows is None else fingerprint(knows)
    zones = [{CPU: cores} for cores in available]
    return make_topology(zones=zones, fingerprint=told, version=version, **more)


NODE = make_facts("n1", cpu_milli=16_000)


def engine_with(*topologies, **args):
    return make_numa_engine(NODE, *topologies, **{"cacheResyncPeriodSeconds": 5, **args})


def run(engine, *steps):
    """Tell an engine one thing after the other; say who was placed each time."""
    placed = []
    for number, step in enumerate(steps):
        actions = feed(engine, step if isinstance(step, list) else [step], now_s=20.0 * number)
        placed.append(sorted(placements(actions)))
    return placed


def bound(pod):
    """What an engine is told of a binding that it asked for, and of the kubelet."""
    return [
        BindSucceeded(pod.uid),
        PodSeen(replace(pod, node_name="n1")),
        PodSeen(replace(pod, node_name="n1", start_time_s=1.0)),
    ]


def test_a_pod_counts_in_every_zone_until_a_report_knows_of_it():
    a, b, c = pod_of("a", 3), pod_of("b", 3), pod_of("c", 3)

    placed = run(
        engine_with(report(4, 4, knows=[])),
        PodSeen(a),
        bound(a),
        PodSeen(b),
        ObjectSeen(report(4, 4, knows=[b], version=2)),
        ObjectSeen(report(1, 4, knows=[a], version=3)),
        bound(b),
        PodSeen(c),
        ObjectSeen(report(1, 1, knows=[a, b], version=4)),
    )

    assert placed == [["a"], [], [], [], ["b"], [], [], []]


def test_without_a_period_the_latest_report_holds():
    engine = engine_with(report(4, 4, knows=[]), cacheResyncPeriodSeconds=0)

    placed = run(engine, [PodSeen(pod_of("a", 3)), PodSeen(pod_of("b", 3))])

    assert placed == [["a", "b"]]


def test_what_leaves_before_a_report_knew_of_it_counts_no_longer():
    a, b = pod_of("a", 3), pod_of("b", 3)

    placed = run(
        engine_with(report(4, 4, knows=[])),
        [PodSeen(a), PodSeen(b)],
        bound(a),
        PodGone(a.key, a.uid),
    )

    assert placed == [["a"], [], ["b"]]


def test_what_a_report_knew_of_is_free_when_the_next_one_says_so():
    a, b = pod_of("a", 3, node="n1"), pod_of("b", 3)

    placed = run(
        engine_with(report(1, 2, knows=[a])),
        [PodSeen(a), PodSeen(b)],
        PodGone(a.key, a.uid),
        ObjectSeen(report(4, 2, knows=[], version=2)),
    )

    assert placed == [[], [], ["b"]]


def test_a_report_may_be_ahead_of_what_the_api_server_says_of_a_pod():
    a, b = pod_of("a", 3), pod_of("b", 3)

    placed = run(
        engine_with(report(4, 4, knows=[])),
        [PodSeen(a), PodSeen(b)],
        ObjectSeen(report(1, 4, knows=[a], version=2)),
    )

    assert placed == [["a"], ["b"]]


def test_a_report_that_knows_only_what_the_kubelet_has_taken_holds_for_that():
    a, b, c = pod_of("a", 3, node="n1"), pod_of("b", 3), pod_of("c", 3)

    placed = run(
        engine_with(report(1, 4, 4, knows=[a])),
        [PodSeen(a), PodSeen(b), PodSeen(c)],
        ObjectSeen(report(1, 4, 4, knows=[a], version=2)),
        ObjectSeen(report(1, 1, 4, knows=[a, b], version=3)),
    )

    assert placed == [["b"], [], ["c"]]


def test_of_a_report_that_knows_of_other_pods_the_least_is_believed():
    a, b = pod_of("a", 3, node="n1"), pod_of("b", 1)

    placed = run(
        engine_with(report(4, 3, knows=[b])),
        [PodSeen(a), PodSeen(b), PodSeen(pod_of("c", 2))],
        ObjectSeen(report(4, 0, knows=[a, b], version=2)),
    )

    assert placed == [["b"], ["c"]]


def test_a_first_report_without_a_fingerprint_knows_what_the_kubelet_had_taken():
    old, fresh = pod_of("old", 3, node="n1"), pod_of("fresh", 3, node="n1", is_started=False)
    topology = report(1, 4)
    pods = [(old, "n1"), (fresh, "n1")]
    plugin = plugin_for(period_s=5)
    snapshot = cluster(NODE, topologies=[topology], pods=pods)

    assert refusals(plugin, pod_of("a", 1), snapshot) == {}
    assert refusals(plugin, pod_of("a", 2), snapshot) == {"n1": CONTAINER}


@pytest.mark.parametrize(
    ("detect", "pod", "reason"),
    [
        pytest.param("All", pod_of("x", 1, qos=Qos.BURSTABLE), UNKNOWN, id="all"),
        pytest.param(
            "OnlyExclusiveResources", pod_of("x", 1, qos=Qos.BURSTABLE), "", id="shared cores"
        ),
        pytest.param("OnlyExclusiveResources", pod_of("x", 1), UNKNOWN, id="whole cores"),
        pytest.param(
            "OnlyExclusiveResources",
            make_aligned("x", {CPU: 1500}),
            "",
            id="parts of cores",
        ),
        pytest.param(
            "OnlyExclusiveResources",
            make_aligned("x", {GPU: 1}, qos=Qos.BEST_EFFORT),
            UNKNOWN,
            id="a device of a zone",
        ),
        pytest.param(
            "OnlyExclusiveResources",
            make_aligned("x", {"example.com/nic": 1}, qos=Qos.BEST_EFFORT),
            "",
            id="a device of no zone",
        ),
        pytest.param("None", pod_of("x", 1), "", id="none"),
    ],
)
def test_a_node_is_unknown_when_others_put_pods_there(detect, pod, reason):
    plugin = plugin_for(period_s=5, cache=convert({"foreignPodsDetect": detect}, NumaCache))
    zones = [{CPU: 8, GPU: 1}]
    snapshot = cluster(NODE, topologies=[make_topology(zones=zones, fingerprint=fingerprint([]))])
    found = [refusals(plugin, pod_of("a", 1), snapshot).get("n1", "")]
    foreign = replace(pod, scheduler_name="default-scheduler", node_name="n1", start_time_s=1.0)

    snapshot.add_pod(foreign, node="n1")
    found.append(refusals(plugin, pod_of("a", 1), snapshot).get("n1", ""))
    snapshot.objects.put(make_topology(zones=zones, fingerprint=fingerprint([foreign]), version=2))
    found.append(refusals(plugin, pod_of("a", 1), snapshot).get("n1", ""))

    assert found == ["", reason, ""]


def test_pods_of_another_of_our_profiles_are_foreign_until_it_places_one():
    plugin = plugin_for(period_s=5)
    snapshot = cluster(NODE, topologies=[report(8, knows=[])])
    other = replace(pod_of("x", 1, node="n1"), scheduler_name="our-other-profile")
    snapshot.add_pod(other, node="n1")
    before = refusals(plugin, pod_of("a", 1), snapshot)

    refusals(plugin, replace(other, name="y", uid="y"), snapshot)

    assert before == {"n1": UNKNOWN}
    assert refusals(plugin, pod_of("a", 1), snapshot) == {}


@pytest.mark.parametrize(
    ("method", "said", "counts_all"),
    [
        ("Autodetect", "with-exclusive-resources", False),
        ("Autodetect", "all", True),
        ("Autodetect", "", True),
        ("All", "with-exclusive-resources", True),
        ("OnlyExclusiveResources", "all", False),
    ],
)
def test_fingerprints_are_of_all_pods_or_of_those_with_exclusive_resources(
    method, said, counts_all
):
    plugin = plugin_for(period_s=5, cache=convert({"resyncMethod": method}, NumaCache))
    shared = pod_of("shared", 1, node="n1", qos=Qos.BURSTABLE)
    whole = pod_of("whole", 2, node="n1")
    pods = [(shared, "n1"), (whole, "n1")]
    counted = [shared, whole] if counts_all else [whole]
    snapshot = cluster(NODE, topologies=[report(1, knows=[])], pods=pods)
    refusals(plugin, pod_of("a", 1), snapshot)

    told = {"nodeTopologyPodsFingerprintMethod": said}
    snapshot.objects.put(report(4, knows=counted, version=2, **told))

    assert refusals(plugin, pod_of("a", 4), snapshot) == {}


def test_the_old_fingerprint_is_an_annotation():
    a, b = pod_of("a", 3), pod_of("b", 3)
    annotations = {"topology.node.k8s.io/fingerprint": fingerprint([a])}
    later = structs.replace(
        report(1, 4), metadata=make_meta("n1", resource_version="2", annotations=annotations)
    )

    placed = run(engine_with(report(4, 4)), [PodSeen(a), PodSeen(b)], ObjectSeen(later))

    assert placed == [["a"], ["b"]]


def test_a_report_without_a_fingerprint_does_not_take_pods_into_account():
    a, b = pod_of("a", 3), pod_of("b", 3)

    placed = run(
        engine_with(report(4, 4)), [PodSeen(a), PodSeen(b)], ObjectSeen(report(1, 4, version=2))
    )

    assert placed == [["a"], []]


def test_a_node_whose_report_is_withdrawn_takes_anything():
    placed = run(
        engine_with(report(1, 1)),
        PodSeen(pod_of("a", 3)),
        ObjectGone(NodeResourceTopology, "n1"),
    )

    assert placed == [[], ["a"]]


def test_a_refused_pod_is_told_why():
    actions = feed(engine_with(report(1, 1)), [PodSeen(pod_of("a", 3))])

    [decision] = decisions(actions)

    assert decision.message.startswith("0/1 nodes are available: 1 cannot align container.")


def test_nodes_are_left_alone_while_a_pod_is_being_bound():
    a, b, c = pod_of("a", 3), pod_of("b", 3), pod_of("c", 3)
    engine = engine_with(report(8, 8), discardReservedNodes=True)

    placed = run(
        engine,
        [PodSeen(a), PodSeen(b)],
        PodGone(b.key, b.uid),
        bound(a),
        PodSeen(c),
    )

    assert placed == [["a"], [], [], ["c"]]


def test_a_binding_that_fails_frees_the_node():
    plugin, pod = plugin_for(discard_reserved_nodes=True), pod_of("a", 3)
    snapshot, state = cluster(NODE, topologies=[report(8, 8)]), CycleState()
    found = []

    plugin.reserve(state, pod=pod, node="n1", snapshot=snapshot)
    found.append(refusals(plugin, pod, snapshot))
    plugin.unreserve(state, pod=pod, node="n1")
    found.append(refusals(plugin, pod, snapshot))

    assert found == [{"n1": UNKNOWN}, {}]


def test_what_if_pods_came_or_went():
    known, unknown = pod_of("known", 3, node="n1"), pod_of("unknown", 3)
    plugin, asking = plugin_for(period_s=5), pod_of("a", 3)
    snapshot = cluster(NODE, topologies=[report(1, 4, knows=[known])], pods=[(known, "n1")])
    found = [refusals(plugin, asking, snapshot)]
    snapshot.add_pod(replace(unknown, node_name="n1"), node="n1")
    found.append(refusals(plugin, asking, snapshot))

    without_unknown, without_known, copied = (snapshot.what_if() for _ in range(3))
    without_unknown.remove_pod(unknown, node="n1")
    without_known.remove_pod(known, node="n1")
    copied = snapshot.copy()
    copied.remove_pod(unknown, node="n1")
    tried = [without_unknown, without_known, copied, copied.what_if(), snapshot]
    found += [refusals(plugin, asking, each) for each in tried]

    refused = {"n1": CONTAINER}
    # Nobody knows which zone has what the report knew of.
    assert found == [{}, refused, {}, refused, {}, {}, refused]


def test_a_pod_that_comes_back_under_its_name_is_the_one_that_the_report_knows_of():
    before = pod_of("db-0", 3, node="n1")
    after = replace(pod_of("db-0", 3), uid="another")
    b = pod_of("b", 3)

    placed = run(
        engine_with(report(1, 4, knows=[before])),
        [PodSeen(before), PodSeen(pod_of("asks", 9))],
        PodGone(before.key, before.uid),
        PodSeen(replace(after, node_name="n1")),
        PodSeen(b),
        [
            PodSeen(replace(after, node_name="n1", start_time_s=1.0)),
            PodSeen(replace(b, labels={"tried": "again"})),
        ],
    )

    assert placed == [[], [], [], [], ["b"]]


@pytest.mark.parametrize("detect", ["All", "None"])
def test_pods_that_take_nothing_of_zones_are_not_waited_for_where_reports_leave_them_out(detect):
    plugin = plugin_for(period_s=5, cache=convert({"foreignPodsDetect": detect}, NumaCache))
    told = {"nodeTopologyPodsFingerprintMethod": "with-exclusive-resources"}
    snapshot = cluster(NODE, topologies=[report(4, knows=[], **told)])
    refusals(plugin, pod_of("a", 4), snapshot)

    shared = replace(pod_of("shared", 2, qos=Qos.BURSTABLE), scheduler_name="other")
    snapshot.add_pod(replace(shared, node_name="n1", start_time_s=1.0), node="n1")

    assert refusals(plugin, pod_of("a", 4), snapshot) == {}
