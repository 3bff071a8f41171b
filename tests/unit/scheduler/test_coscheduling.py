"""Coscheduling: what a profile's arguments and a PodGroup say about gangs."""

from dataclasses import replace

import msgspec
import pytest

from kube.custom import PodGroup, PodGroupSpec
from scheduler.engine import Engine, EngineSettings
from scheduler.events import BindFailed, Evict, NodeSeen, ObjectSeen, PodSeen
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Waiting
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.status import Code
from scheduler.gangs import GangBook
from scheduler.model import POD_GROUP_LABEL
from scheduler.plugins.coscheduling import Coscheduling, CoschedulingArgs
from tests.builders import EPOCH_S, at, make_meta
from tests.unit.scheduler.worlds import (
    decide,
    decisions,
    feed,
    make_facts,
    make_pending,
    make_profile,
    make_snapshot,
    placements,
)


def make_engine(*nodes, **arguments):
    """Make an engine whose profile has the plugin, with some arguments."""
    plugin, profile = Coscheduling(CoschedulingArgs(**arguments)), make_profile()
    profile = replace(
        profile,
        queue_sort=plugin,
        pre_filter=(*profile.pre_filter, plugin),
        post_filter=(*profile.post_filter, plugin),
        permit=(plugin,),
        reserve=(*profile.reserve, plugin),
    )
    engine = Engine({profile.scheduler_name: profile}, settings=EngineSettings())
    for node in nodes:
        engine.handle(NodeSeen(node), now_s=0.0)
    return engine


def group_of(n, *, name="gang", created_s=0.0, **spec):
    meta = make_meta(name, namespace="default", creation_timestamp=at(created_s))
    return PodGroup(metadata=meta, spec=PodGroupSpec(min_member=n, **spec))


def members(n, *, of="gang", **more):
    return [
        PodSeen(make_pending(f"{of}-{i}", pod_group=of, labels={POD_GROUP_LABEL: of}, **more))
        for i in range(n)
    ]


def waiting(pod, *, since_s, priority=0, size=1):
    return Waiting(pod=pod, priority=priority, size=size, since_s=since_s, queued_at_s=99.0)


def test_orders_by_priority_and_then_by_who_waits_longer_gangs_by_their_group():
    plugin, objects, pod = Coscheduling(CoschedulingArgs()), ClusterObjects(), make_pending()
    ordered = [
        waiting(pod, since_s=50.0, priority=5),
        waiting(pod, since_s=10.0, size=100),
        waiting(pod, since_s=20.0),
    ]

    keys = [plugin.sort_key(each, objects=objects) for each in ordered]

    assert keys == sorted(keys)


def test_of_two_gangs_that_fit_the_older_goes_first_however_large():
    small = [ObjectSeen(group_of(2, name="small", created_s=10)), *members(2, of="small")]
    large = [ObjectSeen(group_of(4, name="large", created_s=1)), *members(4, of="large")]
    engine = make_engine(make_facts(cpu_milli=2000))

    placed = placements(feed(engine, [*small, *large]))

    assert {name.split("-")[0] for name in placed} == {"large"}


def test_of_two_gangs_that_were_made_at_once_the_first_by_name_goes_first():
    groups = [ObjectSeen(group_of(2, name=name, created_s=1)) for name in ("b", "a")]
    engine = make_engine(make_facts(cpu_milli=1000))

    placed = placements(feed(engine, [*groups, *members(2, of="b"), *members(2, of="a")]))

    assert set(placed) == {"a-0", "a-1"}


def test_a_gang_waits_since_its_group_was_made_or_it_was_refused():
    objects = ClusterObjects()
    book = GangBook(objects)
    gang = book.see(members(1, created_at_s=7.0)[0].pod, now_s=8.0)

    by_member = book.since_s(gang)
    objects.put(group_of(1, created_s=5))
    by_group = book.since_s(gang)
    book.fail(gang, now_s=EPOCH_S + 20)
    refused = book.since_s(gang)
    book.begin(gang, gang.pending, now_s=EPOCH_S + 30)

    assert (by_member, by_group, refused) == (7.0, EPOCH_S + 5, EPOCH_S + 20)
    assert book.since_s(gang) == by_group


def test_refuses_a_group_that_needs_more_than_the_cluster_has_left():
    nodes = [make_facts(f"n{i}", cpu_milli=2000, memory_bytes=2**30) for i in range(2)]
    own = make_pending("gang-0", cpu_milli=1000, memory_bytes=0, pod_group="gang")
    other = make_pending("other", cpu_milli=1000, memory_bytes=0)
    snapshot = make_snapshot(*nodes, pods=[(own, "n0"), (other, "n1")])
    pod = make_pending("gang-1", pod_group="gang")
    plugin = Coscheduling(CoschedulingArgs())

    def verdict(n=2, **needs):
        snapshot.objects.put(group_of(n, min_resources=needs or None))
        return plugin.pre_filter(CycleState(), pod=pod, snapshot=snapshot).status

    # Its own members' requests count as free for it: 1 + 1 (left) + 1 (its own).
    assert verdict(cpu=3).is_success
    assert verdict(cpu="3001m").code is Code.UNSCHEDULABLE_AND_UNRESOLVABLE
    assert verdict(cpu="3001m").reasons == (
        "PodGroup default/gang needs more than is left in the cluster: cpu",
    )
    assert verdict(n=300, cpu=1).reasons[0].endswith(": pods")
    assert verdict(n=300).is_success
    assert verdict(gpu=1).reasons[0].endswith(": gpu")
    assert verdict(cpu="many").is_success


def test_a_group_is_tried_when_there_is_as_much_as_it_needs():
    engine = make_engine(make_facts(cpu_milli=4000))
    group = ObjectSeen(group_of(2, min_resources={"cpu": 5}))

    refused = feed(engine, [group, *members(2)])
    grown = feed(engine, [NodeSeen(make_facts("n2", cpu_milli=4000))], now_s=20.0)

    assert "needs more than is left in the cluster: cpu" in decisions(refused)[0].message
    assert set(placements(grown)) == {"gang-0", "gang-1"}


def test_a_gang_that_did_not_fit_rests_for_as_long_as_the_profile_says():
    engine = make_engine(make_facts(cpu_milli=500), pod_group_backoff_seconds=120)
    feed(engine, [ObjectSeen(group_of(2)), *members(2)])

    grown = feed(engine, [NodeSeen(make_facts(cpu_milli=4000))], now_s=30.0)
    third = feed(engine, members(3)[2:], now_s=60.0)
    too_early = feed(engine, [], now_s=119.0)
    rested = feed(engine, [], now_s=120.0)

    assert [placements(each) for each in (grown, third, too_early)] == [{}, {}, {}]
    assert set(placements(rested)) == {"gang-0", "gang-1", "gang-2"}
    assert {each.attempt for each in decisions(rested)} == {1, 2}


@pytest.mark.parametrize(
    ("group", "profile_s", "due_s"),
    [
        pytest.param(group_of(2), 30, 30.0, id="the profile's"),
        pytest.param(group_of(2), 0, 60.0, id="nobody's"),
        pytest.param(group_of(2, schedule_timeout_seconds=90), 30, 90.0, id="the group's own"),
    ],
)
def test_a_gang_in_part_on_nodes_is_taken_off_after_the_permitted_time(group, profile_s, due_s):
    engine = make_engine(make_facts(cpu_milli=4000), permit_waiting_time_seconds=profile_s)
    bound = feed(engine, [ObjectSeen(group), *members(2)])
    [first, second] = [event.pod for event in members(2)]
    engine.handle(BindFailed(second.uid, "no"), now_s=0.0)
    engine.handle(PodSeen(replace(first, node_name="n1", start_time_s=1.0)), now_s=0.0)
    engine.handle(NodeSeen(make_facts(cpu_milli=500)), now_s=0.0)

    early, late = decide(engine, now_s=due_s - 0.5), decide(engine, now_s=due_s + 0.5)

    assert set(placements(bound)) == {"gang-0", "gang-1"}
    assert not [action for action in early if isinstance(action, Evict)]
    assert [a.victim.name for a in late if isinstance(a, Evict)] == ["gang-0"]


def test_lone_pods_are_none_of_its_business():
    engine = make_engine(make_facts(cpu_milli=1000))

    actions = feed(engine, [PodSeen(make_pending("a")), PodSeen(make_pending("b", cpu_milli=900))])

    assert set(placements(actions)) == {"a"}
    assert decisions(actions)[1].message.endswith("1 No preemption victims found for incoming pod.")


@pytest.mark.parametrize(
    "arguments",
    [
        {"permitWaitingTimeSeconds": -1},
        {"podGroupBackoffSeconds": -1},
        {"podGroupRejectPercentage": 101},
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments):
    with pytest.raises(msgspec.ValidationError, match=next(iter(arguments))):
        msgspec.convert(arguments, CoschedulingArgs)
