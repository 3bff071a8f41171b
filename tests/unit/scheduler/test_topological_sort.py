"""TopologicalSort: whose turn it is, by who needs whom."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.custom import AppGroup
from kube.edge.settings import SettingsError
from scheduler.engine import Engine, EngineSettings
from scheduler.events import NodeSeen, ObjectGone, ObjectSeen, PodSeen, Tick
from scheduler.framework.configuration import Enabled, Plugins, PluginSet
from scheduler.framework.interface import Change, ClusterEvent, Waiting
from scheduler.framework.objects import ClusterObjects
from scheduler.plugins.network.app_groups import AppGroupArgs
from scheduler.plugins.network.topological_sort import TopologicalSort
from scheduler.plugins.network.workload_order import workload_order
from tests.builders import EPOCH_S, at
from tests.unit.scheduler.network_worlds import (
    load_profiles,
    make_group,
    make_spec,
    make_topology,
    part_of,
)
from tests.unit.scheduler.worlds import make_facts, make_pending, make_profile, placements

DIAMOND = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}
ALGORITHMS = ["KahnSort", "TarjanSort", "ReverseKahn", "ReverseTarjan", "AlternateKahn"]


def order_of(algorithm, **needs):
    return "".join(each.selector for each in workload_order(make_spec(algorithm, **needs)))


@pytest.mark.parametrize(
    ("algorithm", "order"),
    [
        ("KahnSort", "acbd"),
        ("TarjanSort", "acbd"),
        ("ReverseKahn", "dbca"),
        ("ReverseTarjan", "dbca"),
        ("AlternateKahn", "adcb"),
        ("AlternateTarjan", "adcb"),
        ("SomethingElse", "acbd"),
    ],
)
def test_each_algorithm_has_its_order(algorithm, order):
    assert order_of(algorithm, **DIAMOND) == order


def test_kahn_goes_by_who_is_needed_no_more_and_tarjan_goes_deep():
    needs = {"a": ["b", "c"], "b": ["d"], "x": ["c"]}

    assert order_of("KahnSort", **needs) == "abdxc"
    assert order_of("TarjanSort", **needs) == "abdxc"
    assert order_of("KahnSort", a=["b", "c", "d"], b=["d"], c=["b"]) == "acbd"
    assert order_of("TarjanSort", a=["d", "c"], c=["b"], b=["d"]) == "acbd"


@pytest.mark.parametrize(
    ("needs", "order"),
    [
        pytest.param({}, "", id="nobody"),
        pytest.param({"a": [], "b": [], "c": []}, "abc", id="strangers"),
        pytest.param({"a": ["b", "c", "d"]}, "adcb", id="not listed themselves"),
        pytest.param({"b": ["b"], "a": ["b"]}, "ab", id="itself"),
        pytest.param({"a": ["b", "b"], "b": []}, "ab", id="twice"),
        pytest.param({"c": [], "a": ["b"], "b": ["a"]}, "cab", id="a circle: as named"),
    ],
)
@pytest.mark.parametrize("algorithm", ["KahnSort", "TarjanSort"])
def test_odd_graphs_have_an_order_too(algorithm, needs, order):
    assert order_of(algorithm, **needs) == order


@pytest.mark.parametrize(("n", "order"), [(1, "a"), (2, "ab"), (3, "acb"), (5, "aebdc")])
def test_alternating_takes_from_both_ends(n, order):
    assert order_of("AlternateKahn", **{name: [] for name in "abcde"[:n]}) == order


EDGES = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda e: e[0] < e[1]))


@settings(deadline=None, max_examples=50)
@given(edges=EDGES, names=st.permutations("abcdefgh"), algorithm=st.sampled_from(ALGORITHMS))
def test_who_needs_others_comes_before_them_whatever_is_named_first(edges, names, algorithm):
    needs = {name: [names[j] for i, j in edges if names[i] == name] for name in sorted(names)}

    order = order_of(algorithm, **needs)

    assert sorted(order) == sorted(names)
    for i, j in edges:
        is_before = order.index(names[i]) < order.index(names[j])
        if not algorithm.startswith("Alternate"):
            assert is_before is not algorithm.startswith("Reverse")


# ------------------------------------------------------------------------------------- the queue


def make_plugin(*namespaces):
    return TopologicalSort(AppGroupArgs(namespaces=namespaces or ("default",)))


def sorted_names(waiting, *, groups, plugin=None):
    objects = ClusterObjects()
    for group in groups:
        objects.put(group)
    sort = plugin or make_plugin()
    keyed = sorted(waiting, key=lambda each: sort.sort_key(each, objects=objects))
    return [each.pod.name for each in keyed]


def waiting(pod, *, since_s=10.0, size=1):
    return Waiting(
        pod=pod,
        priority=pod.priority,
        size=size,
        queued_at_s=EPOCH_S + since_s,
        since_s=EPOCH_S + since_s,
    )


def test_an_application_goes_by_its_order_whoever_came_first():
    group = make_group(web=["api"], api=["db"], db=[])
    pods = [
        waiting(part_of("odd"), since_s=1),
        waiting(part_of("db"), since_s=2),
        waiting(part_of("api", "api-2"), since_s=6),
        waiting(part_of("api"), since_s=3),
        waiting(part_of("web"), since_s=4),
    ]

    assert sorted_names(pods, groups=[group]) == ["web-1", "api-1", "api-2", "db-1", "odd-1"]


def test_applications_queue_since_they_were_made_and_others_since_they_came():
    groups = [
        make_group("old", created_at=at(5), a=[], b=["a"]),
        make_group("new", created_at=at(20), a=[], b=["a"]),
    ]
    pods = [
        waiting(part_of("a", "new-a", group="new"), since_s=21),
        waiting(part_of("b", "new-b", group="new"), since_s=30),
        waiting(part_of("a", "old-a", group="old"), since_s=40),
        waiting(part_of("b", "old-b", group="old"), since_s=50),
        waiting(make_pending("lone-1"), since_s=1),
        waiting(make_pending("lone-2"), since_s=12),
        waiting(make_pending("urgent", priority=1), since_s=60),
        waiting(make_pending("gang", priority=0), since_s=0, size=3),
    ]

    assert sorted_names(pods, groups=groups) == [
        *("urgent", "lone-1", "old-b", "old-a", "lone-2", "new-b", "new-a", "gang"),
    ]


def test_priority_goes_before_the_order_of_an_application():
    pods = [waiting(part_of("web")), waiting(part_of("db", priority=5))]

    assert sorted_names(pods, groups=[make_group(web=["db"], db=[])]) == ["db-1", "web-1"]


def test_applications_are_looked_for_where_the_arguments_say():
    pods = [waiting(part_of("db"), since_s=1), waiting(part_of("web"), since_s=2)]
    group = make_group(namespace="apps", web=["db"], db=[])

    assert sorted_names(pods, groups=[group]) == ["db-1", "web-1"]
    assert sorted_names(pods, groups=[group], plugin=make_plugin("default", "apps")) == [
        "web-1",
        "db-1",
    ]


def make_sorted_engine():
    only = PluginSet(enabled=(Enabled(name="TopologicalSort"),), disabled=(Enabled(name="*"),))
    profile = make_profile(plugins=Plugins(queue_sort=only))
    engine = Engine(
        {profile.scheduler_name: profile}, settings=EngineSettings(max_cycles_per_tick=1)
    )
    engine.handle(NodeSeen(make_facts()), now_s=0.0)
    return engine


@pytest.mark.parametrize(
    ("events", "first"),
    [
        pytest.param([ObjectSeen(make_group(web=["db"], db=[]))], "web-1", id="comes late"),
        pytest.param(
            [
                ObjectSeen(make_group(web=["db"], db=[])),
                ObjectSeen(make_group(web=[], db=["web"])),
            ],
            "db-1",
            id="changes",
        ),
        pytest.param(
            [
                ObjectSeen(make_group(web=["db"], db=[])),
                ObjectGone(AppGroup, "default/shop"),
            ],
            "api-1",
            id="goes",
        ),
    ],
)
def test_the_queue_is_sorted_anew_when_an_application(events, first):
    engine = make_sorted_engine()
    for name in ("api", "db", "web"):
        engine.handle(PodSeen(part_of(name)), now_s=0.0)

    for event in events:
        engine.handle(event, now_s=1.0)

    assert list(placements(engine.handle(Tick(), now_s=1.0))) == [first]


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        (Change(ClusterEvent.CUSTOM, after=make_group()), True),
        (Change(ClusterEvent.CUSTOM, before=make_group()), True),
        (Change(ClusterEvent.CUSTOM, before=make_group(), after=make_group(a=[])), True),
        (Change(ClusterEvent.CUSTOM, before=make_group(), after=make_group()), False),
        (Change(ClusterEvent.CUSTOM, after=make_topology()), False),
    ],
)
def test_what_is_said_of_an_application_moves_nobody(change, moves):
    assert make_plugin().moves_pods(change) is moves


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"namespaces": [""]}, "namespaces"),
        ({"nameSpaces": ["a"]}, "nameSpaces"),
    ],
)
def test_wrong_arguments_stop_the_scheduler(tmp_path, args, field):
    plugins = {"queueSort": {"enabled": [{"name": "TopologicalSort"}], "disabled": [{"name": "*"}]}}

    with pytest.raises(SettingsError, match=f"{field}.*TopologicalSort"):
        load_profiles(tmp_path, plugins=plugins, args={"TopologicalSort": args})
