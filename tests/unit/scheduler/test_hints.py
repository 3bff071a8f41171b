"""A refused pod is tried again when something happened that may help it, and only then."""

import random
from dataclasses import replace

import pytest

from kube.objects import NodeAffinity as Affinity
from kube.objects import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration
from scheduler.cache import ClusterCache, pod_change
from scheduler.framework.checks import _node as random_node
from scheduler.framework.checks import _pod as random_pod
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent, PreFilterPlugin
from scheduler.model import HostPort, Taint
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.node_affinity import NodeAffinity, NodeAffinityArgs
from scheduler.plugins.node_resources import NodeResourcesFit, NodeResourcesFitArgs
from tests.unit.scheduler.worlds import make_facts, make_pending

DEDICATED = Taint("dedicated", "db", "NoSchedule")
PREFERRED = Taint("dedicated", "db", "PreferNoSchedule")
TOLERATED = (Toleration(key="dedicated", operator="Exists"),)


def may_help(plugin, pod, *, before=None, after=None, event=ClusterEvent.NODE_ADD):
    if isinstance(plugin, str):
        kind = built_in_registry()[plugin]
        plugin = kind(kind.args_type())
    change = Change(event, before, after)
    return plugin.may_help(pod, change=change)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, {"cpu_milli": 500}, True, id="a node that is large enough"),
        pytest.param(None, {"cpu_milli": 499}, False, id="a node that is too small"),
        pytest.param(None, {"allocatable": {"pods": 0}}, False, id="a node without a place"),
        pytest.param({"cpu_milli": 1000}, {"cpu_milli": 2000}, True, id="a node that grew"),
        pytest.param({"cpu_milli": 100}, {"cpu_milli": 200}, False, id="not by enough"),
        pytest.param(
            {"allocatable": {"a.b/c": 1}},
            {"allocatable": {"a.b/c": 2}},
            False,
            id="by what the pod does not ask for",
        ),
        pytest.param(
            {"allocatable": {"pods": 10}}, {"allocatable": {"pods": 20}}, True, id="by places"
        ),
    ],
)
def test_a_pod_without_room_waits_for_a_larger_node(before, after, expected):
    before = None if before is None else make_facts(**before)

    helps = may_help("NodeResourcesFit", make_pending(), before=before, after=make_facts(**after))

    assert helps is expected


def test_a_node_needs_none_of_the_ignored_resources():
    plugin = NodeResourcesFit(NodeResourcesFitArgs(ignored_resources=("a.b/c",)))

    assert may_help(plugin, make_pending(requests={"a.b/c": 1}), after=make_facts())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({"cpu_milli": 500}, {"cpu_milli": 400}, True, id="asks for less cpu"),
        pytest.param(
            {"requests": {"a.b/c": 2}}, {"requests": {"a.b/c": 1}}, False, id="of something else"
        ),
        pytest.param({"cpu_milli": 500}, {"cpu_milli": 600}, False, id="asks for more"),
        pytest.param({}, None, True, id="is gone"),
        pytest.param({"cpu_milli": 0, "memory_bytes": 0}, None, True, id="its place is free"),
        pytest.param({}, {"node_name": "n2"}, True, id="turns out to be elsewhere"),
    ],
)
def test_a_pod_without_room_waits_for_a_pod_that_leaves_some(before, after, expected):
    before = make_pending("busy", **{"node_name": "n1", **before})
    after = None if after is None else make_pending("busy", **{"node_name": "n1", **after})
    event = ClusterEvent.ASSIGNED_POD_SCALE_DOWN | ClusterEvent.ASSIGNED_POD_DELETE

    helps = may_help("NodeResourcesFit", make_pending(), before=before, after=after, event=event)

    assert helps is expected


def test_a_pod_without_room_may_itself_ask_for_less():
    before, after = make_pending(requests={"a.b/c": 1}), make_pending()

    assert may_help("NodeResourcesFit", after, before=before, after=after)
    assert not may_help("NodeResourcesFit", before, before=after, after=before)


@pytest.mark.parametrize(
    ("plugin", "pod", "before", "after", "expected"),
    [
        pytest.param("TaintToleration", {}, None, {}, True, id="a node without taint"),
        pytest.param(
            "TaintToleration", {}, None, {"taints": (DEDICATED,)}, False, id="a tainted node"
        ),
        pytest.param(
            "TaintToleration", {}, None, {"taints": (PREFERRED,)}, True, id="a soft taint"
        ),
        pytest.param(
            "TaintToleration",
            {"tolerations": TOLERATED},
            None,
            {"taints": (DEDICATED,)},
            True,
            id="a tolerated taint",
        ),
        pytest.param(
            "TaintToleration", {}, {"taints": (DEDICATED,)}, {}, True, id="a taint is gone"
        ),
        pytest.param("TaintToleration", {}, {}, {}, False, id="there was none before"),
        pytest.param(
            "NodeUnschedulable", {}, {"is_unschedulable": True}, {}, True, id="uncordoned"
        ),
        pytest.param(
            "NodeUnschedulable", {}, None, {"is_unschedulable": True}, False, id="cordoned"
        ),
        pytest.param("NodeUnschedulable", {}, {}, {}, False, id="was not cordoned before"),
        pytest.param("NodeName", {"node_name": "n1"}, None, {"name": "n1"}, True, id="named"),
        pytest.param("NodeName", {"node_name": "n1"}, None, {"name": "n2"}, False, id="not named"),
        pytest.param(
            "NodeAffinity",
            {"node_selector": {"disk": "ssd"}},
            {},
            {"labels": {"disk": "ssd"}},
            True,
            id="a label that it asks for",
        ),
        pytest.param(
            "NodeAffinity",
            {"node_selector": {"disk": "ssd"}},
            {},
            {"labels": {"disk": "hdd"}},
            False,
            id="another label",
        ),
        pytest.param(
            "NodeAffinity",
            {"node_selector": {"disk": "ssd"}},
            {"labels": {"disk": "ssd"}},
            {"labels": {"disk": "ssd", "zone": "a"}},
            False,
            id="the label was there before",
        ),
    ],
)
def test_a_pod_refused_by_what_a_node_is_waits_for_one_that_begins_to_do(
    plugin, pod, before, after, expected
):
    before = None if before is None else make_facts(**before)

    helps = may_help(plugin, make_pending(**pod), before=before, after=make_facts(**after))

    assert helps is expected


def test_a_node_must_match_the_profiles_affinity_too():
    required = NodeSelectorTerm(
        match_expressions=[NodeSelectorRequirement(key="pool", operator="In", values=["a"])]
    )
    added = Affinity(
        required_during_scheduling_ignored_during_execution=NodeSelector(
            node_selector_terms=[required]
        )
    )
    plugin, pod = NodeAffinity(NodeAffinityArgs(added_affinity=added)), make_pending()

    assert may_help(plugin, pod, after=make_facts(labels={"pool": "a"}))
    assert not may_help(plugin, pod, after=make_facts(labels={"pool": "b"}))


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        pytest.param(HostPort("10.0.0.1", "TCP", 80), True, id="the port"),
        pytest.param(HostPort("10.0.0.1", "UDP", 80), False, id="of another protocol"),
        pytest.param(HostPort("10.0.0.1", "TCP", 81), False, id="another port"),
    ],
)
def test_a_pod_without_its_port_waits_for_one_that_had_it(gone, expected):
    pod = make_pending(host_ports=frozenset({HostPort("0.0.0.0", "TCP", 80)}))
    before = make_pending("gone", host_ports=frozenset({gone}))
    event = ClusterEvent.ASSIGNED_POD_DELETE

    assert may_help("NodePorts", pod, before=before, event=event) is expected
    assert may_help("NodePorts", pod, after=make_facts())


@pytest.mark.parametrize(
    "name", ["NodeResourcesFit", "TaintToleration", "NodeUnschedulable", "NodeAffinity"]
)
def test_no_hint_stands_against_a_change_of_the_pod_itself(name):
    before = make_pending()
    after = make_pending(tolerations=TOLERATED, requests={"cpu": 1})

    assert may_help(name, after, before=before, after=after, event=ClusterEvent.POD_UPDATE)


def passing(plugin, pod, cache):
    """Find the nodes that a filter lets a pod onto."""
    state, snapshot = CycleState(), cache.snapshot
    if isinstance(plugin, PreFilterPlugin):
        plugin.pre_filter(state, pod=pod, snapshot=snapshot)
    found = plugin.filter(state, pod=pod, snapshot=snapshot)
    if found is None:
        return set(snapshot.names)
    return {name for name, row in snapshot.rows.items() if not found.codes[row]}


def some_change(rng, cache, pods):
    """Change a node or a pod, or add or remove one; tell as the engine would tell the queue."""
    kind = rng.choice(("node", "new node", "gone", "shrunk"))
    if kind in ("node", "new node") or not pods:
        name = "new" if kind == "new node" else rng.choice(cache.snapshot.names)
        return cache.set_node(random_node(rng, name))
    before = rng.choice(pods)
    if kind == "gone":
        cache.remove_pod(before.uid)
        return Change(ClusterEvent.ASSIGNED_POD_DELETE, before=before)
    halved = {resource: amount // 2 for resource, amount in before.requests.items()}
    after = replace(before, requests=halved)
    cache.add_pod(after)
    return pod_change(before, after)


@pytest.mark.parametrize(
    "name",
    [
        "NodeUnschedulable",
        "NodeName",
        "TaintToleration",
        "NodeAffinity",
        "NodePorts",
        "NodeResourcesFit",
    ],
)
def test_whatever_lets_a_refused_pod_in_is_hinted_at(name):
    rng = random.Random(name)
    kind = built_in_registry()[name]
    plugin = kind(kind.args_type())
    n_let_in = 0
    for _ in range(1_500):
        cache = ClusterCache()
        for number in range(rng.randint(1, 3)):
            cache.set_node(random_node(rng, f"n{number}"))
        pods = [
            random_pod(rng, f"p{number}", node=rng.choice(cache.snapshot.names))
            for number in range(rng.randint(0, 5))
        ]
        for each in pods:
            cache.add_pod(each)
        wanted = {"node_name": rng.choice(("n0", "new"))} if name == "NodeName" else {}
        pod = replace(random_pod(rng, "waiting"), **wanted)
        before = passing(plugin, pod, cache)

        change = some_change(rng, cache, pods)

        if passing(plugin, pod, cache) - before:
            n_let_in += 1
            assert change.event & plugin.wakes_on
            assert plugin.may_help(pod, change=change)
    assert n_let_in > 20
