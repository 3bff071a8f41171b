"""NetworkOverhead: how far pods are from those that they talk to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.custom import AppGroup, NetworkTopology
from kube.edge.settings import SettingsError
from scheduler.engine import Engine, EngineSettings
from scheduler.events import NodeSeen, ObjectSeen, PodSeen
from scheduler.framework.checks import check_filter_plugin, check_score_plugin
from scheduler.framework.configuration import Enabled, Plugins, PluginSet
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.plugins.network.network_overhead import NetworkOverhead, NetworkOverheadArgs
from tests.unit.scheduler.network_worlds import (
    load_profiles,
    make_group,
    make_topology,
    node_in,
    part_of,
)
from tests.unit.scheduler.worlds import (
    decisions,
    feed,
    make_facts,
    make_pending,
    make_profile,
    make_snapshot,
    placements,
)

COSTS = make_topology(
    zones=[("z1", "z2", 5), ("z2", "z1", 7), ("z3", "z4", 10)],
    regions=[("east", "west", 20), ("west", "east", 30)],
)
NODES = [
    node_in("n1", "east", "z1"),
    node_in("n2", "east", "z1"),
    node_in("n3", "east", "z2"),
    node_in("n4", "west", "z3"),
    node_in("n5", "west", "z4"),
    node_in("n6", "south", "z5"),
    node_in("n7"),
]


def snapshot_of(nodes, *, placed=(), objects=()):
    snapshot = make_snapshot(*nodes, pods=placed)
    for each in objects:
        snapshot.objects.put(each)
    return snapshot


def make_plugin(**args):
    return NetworkOverhead(NetworkOverheadArgs(**args))


def asked(plugin, pod, snapshot):
    """Return who is refused, and the costs; ``None`` where the plugin skips."""
    state = CycleState()
    if plugin.pre_filter(state, pod=pod, snapshot=snapshot).status.is_skip:
        return None, None
    verdicts = plugin.filter(state, pod=pod, snapshot=snapshot)
    refused = [snapshot.names[row] for row in np.flatnonzero(verdicts.codes)]
    feasible = np.ones(snapshot.n_nodes, dtype=np.bool_)
    if plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=feasible).is_skip:
        return refused, None
    return refused, plugin.score(state, pod=pod, snapshot=snapshot).tolist()


@pytest.mark.parametrize(
    ("at", "most", "costs", "refused"),
    [
        # From n3 (z2) to z1 it costs 7, from west to east 30; of south nothing is known.
        pytest.param(["n1"], 30, [0, 1, 7, 30, 30, 100, 100], ["n7"], id="near enough"),
        pytest.param(["n1"], 29, [0, 1, 7, 30, 30, 100, 100], ["n4", "n5", "n7"], id="a region"),
        pytest.param(["n1"], 6, [0, 1, 7, 30, 30, 100, 100], ["n3", "n4", "n5", "n7"], id="a zone"),
        pytest.param(["n3"], 5, [5, 5, 0, 30, 30, 100, 100], ["n4", "n5", "n7"], id="one way"),
        pytest.param(
            ["n5"], 10, [20, 20, 20, 10, 0, 100, 100], ["n1", "n2", "n3", "n7"], id="zone"
        ),
        pytest.param(
            ["n7"],
            99,
            [100, 100, 100, 100, 100, 100, 0],
            ["n1", "n2", "n3", "n4", "n5", "n6"],
            id="nowhere",
        ),
        # One near, one far: neither outweighs the other. n7 is nowhere, twice.
        pytest.param(["n1", "n4"], 10, [20, 21, 27, 30, 130, 200, 200], ["n5", "n7"], id="two"),
        pytest.param(["n1", "n1"], 10, [0, 2, 14, 60, 60, 200, 200], ["n4", "n5", "n7"], id="both"),
    ],
)
def test_costs_and_refusals_follow_regions_and_zones(at, most, costs, refused):
    placed = [(part_of("db", f"db-{i}"), node) for i, node in enumerate(at)]
    group = make_group(web=[("db", most)], db=[])
    snapshot = snapshot_of(NODES, placed=placed, objects=[group, COSTS])

    assert asked(make_plugin(), part_of("web"), snapshot) == (refused, costs)


def test_dependencies_add_up_each_with_its_own_limit():
    group = make_group(web=[("db", 10), ("cache", 1)], db=[], cache=[])
    placed = [(part_of("db"), "n1"), (part_of("cache"), "n3")]
    snapshot = snapshot_of(NODES[:3], placed=placed, objects=[group, COSTS])

    refused, costs = asked(make_plugin(), part_of("web"), snapshot)

    # Near the database, a cache is too far; beside the cache, the database is near enough.
    assert (refused, costs) == ([], [5, 6, 7])


@pytest.mark.parametrize(
    ("raw", "scores"),
    [
        ([0, 1, 5], [100, 80, 0]),
        ([0, 1, 7, 30], [100, 97, 77, 0]),
        ([20, 20], [100, 100]),
        ([0, 0], [0, 0]),
        ([], []),
    ],
)
def test_the_lowest_cost_is_best(raw, scores):
    assert make_plugin().normalize(np.array(raw, dtype=np.int64)).tolist() == scores


@pytest.mark.parametrize(
    ("pod", "objects"),
    [
        pytest.param(make_pending(), [make_group(web=["db"])], id="of no application"),
        pytest.param(part_of("web"), [], id="its AppGroup is not there"),
        pytest.param(part_of("web"), [make_group(namespace="x", web=["db"])], id="is elsewhere"),
        pytest.param(part_of("web"), [make_group(web=[])], id="needs nobody"),
        pytest.param(part_of("other"), [make_group(web=["db"])], id="not part of it"),
    ],
)
def test_has_nothing_to_say_of_pods_that_depend_on_none(pod, objects):
    snapshot = snapshot_of(NODES, placed=[(part_of("db"), "n1")], objects=[*objects, COSTS])

    assert asked(make_plugin(), pod, snapshot) == (None, None)


def test_while_nothing_is_placed_all_nodes_pass_and_are_alike():
    others = [(part_of("db", group="other"), "n1"), (part_of("web", "web-0"), "n1")]
    snapshot = snapshot_of(NODES, placed=others, objects=[make_group(web=["db"]), COSTS])

    assert asked(make_plugin(), part_of("web"), snapshot) == ([], None)


def test_objects_are_found_by_the_names_that_the_arguments_give():
    plugin = make_plugin(
        namespaces=("a", "b"), network_topology_name="nt", weights_name="NetperfCosts"
    )
    objects = [
        make_group(namespace="b", web=[("db", 5)]),
        make_topology(name="nt", weights="NetperfCosts", namespace="a", zones=[("z2", "z1", 5)]),
        COSTS,
    ]
    snapshot = snapshot_of(NODES[:3], placed=[(part_of("db"), "n1")], objects=objects)

    assert asked(plugin, part_of("web"), snapshot) == ([], [0, 1, 5])


def test_without_costs_only_nodes_and_zones_tell():
    snapshot = snapshot_of(
        NODES[:4], placed=[(part_of("db"), "n1")], objects=[make_group(web=[("db", 9)])]
    )

    assert asked(make_plugin(), part_of("web"), snapshot) == ([], [0, 1, 100, 100])


def test_new_costs_and_labels_are_taken_in():
    plugin, pod = make_plugin(), part_of("web")
    snapshot = snapshot_of(
        NODES[:3], placed=[(part_of("db"), "n1")], objects=[make_group(web=[("db", 9)]), COSTS]
    )

    before = asked(plugin, pod, snapshot)[1]
    snapshot.objects.put(make_topology(zones=[("z2", "z1", 2)]))
    cheaper = asked(plugin, pod, snapshot)[1]
    snapshot.set_node(node_in("n3", "east", "z1"))
    moved = asked(plugin, pod, snapshot)[1]
    snapshot.set_node(node_in("n0", "east", "z2"))
    joined = asked(plugin, pod, snapshot)[1]

    assert (before, cheaper, moved, joined) == ([0, 1, 7], [0, 1, 2], [0, 1, 1], [0, 1, 1, 2])


@pytest.mark.parametrize(
    ("change", "helps"),
    [
        (Change(ClusterEvent.ASSIGNED_POD_ADD, after=part_of("db")), True),
        (Change(ClusterEvent.ASSIGNED_POD_DELETE, before=part_of("db", group="other")), False),
        (Change(ClusterEvent.POD_UPDATE, before=part_of("web"), after=part_of("web")), True),
        (Change(ClusterEvent.NODE_ADD, after=make_facts()), True),
        (Change(ClusterEvent.CUSTOM, after=COSTS), True),
        (Change(ClusterEvent.CUSTOM, after=make_group(web=["db"])), True),
        (Change(ClusterEvent.CUSTOM, before=make_group(), after=make_group(web=["db"])), True),
        (Change(ClusterEvent.CUSTOM, before=make_group(), after=make_group()), False),
    ],
)
def test_a_refused_pod_waits_for_its_own_application_for_nodes_and_for_costs(change, helps):
    plugin = make_plugin()

    assert plugin.wakes_for(change)
    assert plugin.may_help(part_of("web"), change=change) is helps


# ------------------------------------------------------------------------------------ properties

OPTIONAL = st.sampled_from([None, "a", "b", "c"])
PLACES = st.lists(st.tuples(OPTIONAL, OPTIONAL), min_size=1, max_size=7)
TRIPLES = st.lists(
    st.tuples(*[st.sampled_from("abc")] * 2, st.integers(0, 30)),
    max_size=6,
    unique_by=lambda triple: triple[:2],
)
LIMITS = st.one_of(st.none(), st.integers(0, 30))


def by_the_book(places, at, *, own, most, zones, regions):
    """Judge one candidate node against one pod, as the rules are written."""
    if own == at:
        return 1, 0, 0
    (region, zone), (other_region, other_zone) = places[own], places[at]
    if not (region or zone) or not (other_region or other_zone):
        return 0, 1, 100
    if (region, zone) == (other_region, other_zone):
        return 1, 0, 1
    if region == other_region:
        cost = zones.get((zone, other_zone))
    else:
        cost = regions.get((region, other_region))
    if cost is None:
        return 0, 0, 100
    return (1, 0, cost) if cost <= (most or 0) else (0, 1, cost)


@settings(deadline=None, max_examples=60)
@given(
    places=PLACES,
    at=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["db", "cache"])), max_size=8),
    zones=TRIPLES,
    regions=TRIPLES,
    limits=st.tuples(LIMITS, LIMITS),
    moved=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["db", "cache"])), max_size=3),
)
def test_judges_as_the_rules_are_written_also_what_might_be(
    places, at, zones, regions, limits, moved
):
    most = dict(zip(("db", "cache"), limits, strict=True))
    group = make_group(web=list(most.items()), db=[], cache=[])
    nodes = [node_in(f"n{i}", *place) for i, place in enumerate(places)]
    placed = [(part_of(who, f"{who}-{i}"), f"n{n % len(places)}") for i, (n, who) in enumerate(at)]
    objects = [group, make_topology(zones=zones, regions=regions)]
    snapshot = snapshot_of(nodes, placed=placed, objects=objects)
    costs_given = {"zones": {t[:2]: t[2] for t in zones}, "regions": {t[:2]: t[2] for t in regions}}
    extra = [(n % len(places), who) for n, who in moved]

    def expected(own, pods):
        judged = [by_the_book(places, n, own=own, most=most[who], **costs_given) for n, who in pods]
        return [sum(column) for column in zip(*judged, strict=True)] if judged else [0, 0, 0]

    there = [(n % len(places), who) for n, who in at]
    books = [expected(own, there) for own in range(len(places))]
    refused, costs = asked(make_plugin(), part_of("web"), snapshot)

    assert refused == [f"n{i}" for i, (near, far, _) in enumerate(books) if far > near]
    assert costs == ([cost for _, _, cost in books] if at else None)

    plugin, state = make_plugin(), CycleState()
    plugin.pre_filter(state, pod=part_of("web"), snapshot=snapshot)
    what_if = snapshot.what_if()
    for i, (n, who) in enumerate(extra):
        what_if.add_pod(part_of(who, f"new-{i}"), node=f"n{n}")
    codes = plugin.filter(state, pod=part_of("web"), snapshot=what_if).codes
    for own in range(len(places)):
        near, far, _ = expected(own, [*there, *(each for each in extra if each[0] == own)])
        assert bool(codes[own]) == (far > near)


def test_keeps_the_contract_of_its_points():
    objects = [
        make_group("app", **{name: [("a", 5), ("b", 20)] for name in "ab"}),
        make_topology(
            zones=[("a", "b", 3), ("b", "a", 10), ("c", "a", 30)],
            regions=[("x", "y", 12), ("y", "x", 25)],
        ),
    ]

    check_filter_plugin(make_plugin(), objects=objects)
    check_score_plugin(make_plugin(), objects=objects)


# ---------------------------------------------------------------------------------- in the engine


def make_engine():
    enabled = PluginSet(enabled=(Enabled(name="NetworkOverhead", weight=10),))
    profile = make_profile(plugins=Plugins(multi_point=enabled))
    return Engine({profile.scheduler_name: profile}, settings=EngineSettings())


@settings(deadline=None, max_examples=25)
@given(
    places=PLACES,
    order=st.lists(st.sampled_from(["web", "db", "cache"]), max_size=8),
    zones=TRIPLES,
    limits=st.tuples(LIMITS, LIMITS),
)
def test_no_pod_is_ever_placed_where_more_is_too_far_than_near(places, order, zones, limits):
    most = dict(zip(("db", "cache"), limits, strict=True))
    given_zones = {triple[:2]: triple[2] for triple in zones}
    objects = [make_group(web=list(most.items()), db=[], cache=[]), make_topology(zones=zones)]
    engine, there = make_engine(), []
    feed(engine, [NodeSeen(node_in(f"n{i}", *place)) for i, place in enumerate(places)])
    feed(engine, [ObjectSeen(each) for each in objects])

    for i, who in enumerate(order):
        actions = feed(engine, [PodSeen(part_of(who, f"{who}-{i}"))])
        judged = [
            by_the_book(places, n, own=own, most=most[other], zones=given_zones, regions={})
            for own in (int(node[1:]) for node in placements(actions).values())
            for n, other in there
            if who == "web" and other != "web"
        ]
        assert sum(far for _, far, _ in judged) <= sum(near for near, _, _ in judged)
        there += [(int(node[1:]), who) for node in placements(actions).values()]


def test_an_application_is_placed_together_and_never_too_far():
    engine = make_engine()
    far = node_in("far", "west", "z3")
    group = make_group(web=[("db", 10)], db=[])
    events = [NodeSeen(far), ObjectSeen(group), ObjectSeen(COSTS)]
    feed(engine, [*events, PodSeen(part_of("db"))])

    refused = feed(engine, [NodeSeen(node_in("other", "east", "z1"))])
    engine.handle(PodSeen(part_of("web", cpu_milli=3900)), now_s=0.0)
    [decision] = decisions(feed(engine, []))
    joined = feed(engine, [NodeSeen(node_in("near", "west", "z3"))], now_s=20.0)

    assert engine.reads >= {AppGroup, NetworkTopology}
    assert refused == []
    assert decision.node is None
    assert "too far" in str(decision)
    assert placements(joined) == {"web-1": "near"}


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"namespaces": [""]}, "namespaces"),
        ({"nameSpaces": ["a"]}, "nameSpaces"),
        ({"weightsName": ""}, "weightsName"),
        ({"networkTopologyName": 3}, "networkTopologyName"),
    ],
)
def test_wrong_arguments_stop_the_scheduler(tmp_path, args, field):
    plugins = {"multiPoint": {"enabled": [{"name": "NetworkOverhead"}]}}

    with pytest.raises(SettingsError, match=f"{field}.*NetworkOverhead"):
        load_profiles(tmp_path, plugins=plugins, args={"NetworkOverhead": args})
