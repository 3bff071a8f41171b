"""CapacityScheduling: what a quota grants, lends and takes back."""

import pytest

from kube.custom import ElasticQuotaStatus
from kube.objects import (
    LabelSelector,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
)
from scheduler.events import Evict, ObjectGone, ObjectSeen, PodGone, PodSeen
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent, PluginArgs
from scheduler.framework.status import Code
from scheduler.plugins.capacity_scheduling import CapacityScheduling
from scheduler.plugins.quotas.shares import Shares
from tests.builders import at, make_meta
from tests.unit.scheduler.quota_worlds import make_quota, make_quota_engine, pod_of
from tests.unit.scheduler.worlds import (
    decisions,
    feed,
    make_facts,
    make_snapshot,
    placements,
)

LARGE = make_facts("n1", cpu_milli=100_000, memory_bytes=2**40)


def evicted(actions):
    return {action.victim.name for action in actions if isinstance(action, Evict)}


def on_node(namespace, n, *, node="n1", **more):
    return [PodSeen(pod_of(namespace, f"{namespace}-{i}", node=node, **more)) for i in range(n)]


def verdict(pod, *, quotas, pods=(), promised=()):
    """What PreFilter says of a pod."""
    snapshot = make_snapshot(LARGE, pods=[(each, "n1") for each in pods])
    for quota in quotas:
        snapshot.objects.put(quota)
    for each in promised:
        snapshot.nominations.put(each, node="n1")
    result = CapacityScheduling(PluginArgs()).pre_filter(CycleState(), pod=pod, snapshot=snapshot)
    return result.status


@pytest.mark.parametrize(
    ("used_a", "used_b", "asked", "code", "why"),
    [
        pytest.param(3, 0, 1, Code.SUCCESS, "", id="its own"),
        pytest.param(4, 0, 1, Code.SUCCESS, "", id="borrows what b leaves"),
        pytest.param(4, 3, 1, Code.SUCCESS, "", id="the last that b leaves"),
        pytest.param(4, 4, 1, Code.UNSCHEDULABLE, "total ElasticQuota used is more", id="all used"),
        pytest.param(5, 3, 1, Code.UNSCHEDULABLE, "total ElasticQuota used is more", id="all lent"),
        pytest.param(6, 0, 1, Code.UNSCHEDULABLE, "ElasticQuota a is more than Max", id="its max"),
        pytest.param(0, 0, 7, Code.UNSCHEDULABLE_AND_UNRESOLVABLE, "Max: cpu", id="too large"),
    ],
)
def test_a_namespace_may_borrow_up_to_its_max_what_others_do_not_use(
    used_a, used_b, asked, code, why
):
    quotas = [make_quota("a", min={"cpu": 4}, max={"cpu": 6}), make_quota("b", min={"cpu": 4})]
    pods = [pod_of("a", f"a{i}") for i in range(used_a)]
    pods += [pod_of("b", f"b{i}") for i in range(used_b)]

    status = verdict(pod_of("a", "new", cpu_milli=asked * 1000), quotas=quotas, pods=pods)

    assert status.code is code
    assert why in " ".join(status.reasons)


@pytest.mark.parametrize(
    ("spec", "asked", "is_granted"),
    [
        pytest.param(
            {"min": {"cpu": 1}}, {"memory_bytes": 2**30}, True, id="memory that no min names"
        ),
        pytest.param({}, {}, False, id="nothing is guaranteed to anyone"),
        pytest.param({"max": {"cpu": 4}}, {}, False, id="there is only a max"),
        pytest.param({"max": {"cpu": 4}}, {"cpu_milli": 0}, True, id="nothing is asked for"),
        pytest.param({"min": {"cpu": 1}}, {"requests": {"gpu": 1}}, False, id="no min has a gpu"),
        pytest.param({"min": {"cpu": 1, "gpu": 1}}, {"requests": {"gpu": 1}}, True, id="a gpu"),
        pytest.param({"min": {"cpu": 1}, "max": {"pods": 0}}, {}, False, id="no pods at all"),
        pytest.param({"min": {"cpu": "1"}, "max": {"memory": "1Gi"}}, {}, True, id="not named"),
        pytest.param({"min": {"memory": "1Gi"}}, {"memory_bytes": 2**31}, False, id="memory"),
        pytest.param({"max": {"cpu": "lots"}}, {}, True, id="unreadable, so none"),
    ],
)
def test_resources_that_are_not_named(spec, asked, is_granted):
    status = verdict(pod_of("a", "new", **asked), quotas=[make_quota("a", **spec)])

    assert status.is_success is is_granted


def test_a_quota_without_a_min_has_what_others_leave_of_theirs():
    quotas = [make_quota("a", max={"cpu": 4}), make_quota("b", min={"cpu": 2})]
    pods = [pod_of("a", "a1"), pod_of("a", "a2")]

    assert verdict(pod_of("a", "new"), quotas=quotas, pods=pods[:1]).is_success
    assert not verdict(pod_of("a", "new"), quotas=quotas, pods=pods).is_success


def test_what_a_pod_does_not_ask_for_does_not_matter():
    quotas = [make_quota("a", min={"cpu": 4, "memory": "1Gi"})]
    pods = [pod_of("a", "fat", memory_bytes=2**31)]

    assert verdict(pod_of("a", "slim"), quotas=quotas, pods=pods).is_success


def test_namespaces_without_a_quota_are_not_asked():
    quotas = [make_quota("a", min={"cpu": 0}, max={"cpu": 0})]

    assert verdict(pod_of("free", "new"), quotas=quotas).is_success


@pytest.mark.parametrize(
    ("promised", "is_granted"),
    [
        pytest.param(pod_of("a", "p", priority=5), False, id="own, as important"),
        pytest.param(pod_of("a", "p", priority=4), True, id="own, less important"),
        pytest.param(pod_of("b", "p"), False, id="of one that takes no more than is its own"),
        pytest.param(pod_of("c", "p"), True, id="of one that borrows"),
        pytest.param(pod_of("free", "p"), True, id="of one without a quota"),
    ],
)
def test_who_was_promised_room_is_ahead(promised, is_granted):
    quotas = [make_quota(name, min={"cpu": 1}) for name in "abc"]
    pods = [pod_of("c", "c1"), pod_of("c", "c2")]

    status = verdict(pod_of("a", "new", priority=5), quotas=quotas, pods=pods, promised=[promised])

    assert status.is_success is is_granted


def test_what_was_promised_counts_where_it_is_not_borrowed():
    quotas = [make_quota(name, min={"cpu": 1, "gpu": 1}) for name in "ab"]
    busy, promised = pod_of("b", "b1", cpu_milli=2000), pod_of("b", "p", requests={"gpu": 1})
    gpus = pod_of("a", "new", cpu_milli=0, requests={"gpu": 2})

    assert verdict(gpus, quotas=quotas, pods=[busy]).is_success
    assert not verdict(gpus, quotas=quotas, pods=[busy], promised=[promised]).is_success


def test_of_two_quotas_in_a_namespace_the_older_counts():
    shares = Shares(
        [
            make_quota("a", name="late", max={"cpu": 1}, creation_timestamp=at(5)),
            make_quota("a", name="early", max={"cpu": 2}, creation_timestamp=at(1)),
        ]
    )

    assert [(share.name, share.max) for share in shares] == [("early", {"cpu": 2000})]


def test_a_refused_pod_is_tried_when_another_gives_quota_back():
    engine = make_quota_engine(LARGE, make_quota("a", min={"cpu": 2}))
    feed(engine, on_node("a", 2))
    [refused] = decisions(feed(engine, [PodSeen(pod_of("a", "new"))]))

    gone = feed(engine, [PodGone("a/a-0", "uid-of-a/a-0")], now_s=20.0)

    assert refused.message == (
        "0/1 nodes are available: Pod a/new is rejected in PreFilter because total ElasticQuota "
        "used is more than min: cpu. preemption: 0/1 nodes are available: "
        "1 No preemption victims found for incoming pod."
    )
    assert placements(gone) == {"new": "n1"}


@pytest.mark.parametrize(
    ("event", "is_tried"),
    [
        pytest.param(ObjectSeen(make_quota("a", min={"cpu": 3})), True, id="more is granted"),
        pytest.param(ObjectSeen(make_quota("b", min={"cpu": 3})), True, id="another lends"),
        pytest.param(ObjectGone(type(make_quota("a")), "a/quota"), True, id="no quota any more"),
    ],
)
def test_a_refused_pod_is_tried_when_a_quota_changes(event, is_tried):
    engine = make_quota_engine(LARGE, make_quota("a", min={"cpu": 2}))
    feed(engine, [*on_node("a", 2), PodSeen(pod_of("a", "new"))])

    assert bool(placements(feed(engine, [event], now_s=20.0))) is is_tried


def test_word_of_what_is_used_wakes_nobody():
    plugin = CapacityScheduling(PluginArgs())
    before = make_quota("a", min={"cpu": 2})
    after = type(before)(
        metadata=before.metadata, spec=before.spec, status=ElasticQuotaStatus(used={"cpu": 1})
    )
    change = Change(ClusterEvent.CUSTOM, before=before, after=after)

    assert plugin.wakes_for(change)
    assert not plugin.may_help(pod_of("a", "new"), change=change)


def test_pods_on_nodes_that_are_not_known_count_too():
    engine = make_quota_engine(LARGE, make_quota("a", min={"cpu": 2}))
    events = on_node("a", 2, node="unknown")

    refused = feed(engine, [*events, PodSeen(pod_of("a", "new"))])

    assert placements(refused) == {}


# --------------------------------------------------------------------------------- taking back


def test_who_borrows_evicts_lesser_pods_of_its_own_namespace_only():
    engine = make_quota_engine(
        LARGE, make_quota("a", min={"cpu": 1}), make_quota("b", min={"cpu": 3})
    )
    feed(engine, [*on_node("a", 2), *on_node("b", 2, priority=-5)])

    actions = feed(engine, [PodSeen(pod_of("a", "new", priority=1))])

    assert evicted(actions) <= {"a-0", "a-1"}
    assert len(evicted(actions)) == 1


def test_who_takes_no_more_than_its_own_takes_back_what_was_borrowed_whatever_the_priority():
    engine = make_quota_engine(
        LARGE, make_quota("a", min={"cpu": 2}), make_quota("b", min={"cpu": 2})
    )
    feed(engine, on_node("b", 4, priority=1000))

    asked = feed(engine, [PodSeen(pod_of("a", "first")), PodSeen(pod_of("a", "second"))])
    third = feed(engine, [PodSeen(pod_of("a", "third"))])
    gone = [PodGone(f"b/{name}", f"uid-of-b/{name}") for name in evicted(asked)]
    placed = feed(engine, gone, now_s=20.0)

    assert len(evicted(asked)) == 2
    assert evicted(third) == set()
    assert placements(placed) == {"first": "n1", "second": "n1"}


def test_a_namespace_keeps_what_it_is_guaranteed():
    engine = make_quota_engine(
        make_facts("n1", cpu_milli=4000),
        make_quota("a", min={"cpu": 4}),
        make_quota("b", min={"cpu": 4}),
    )
    feed(engine, on_node("b", 4))

    actions = feed(engine, [PodSeen(pod_of("a", "new"))])

    assert evicted(actions) == set()


def test_only_holders_of_what_is_borrowed_and_asked_for_are_evicted():
    engine = make_quota_engine(
        LARGE,
        make_quota("a", min={"cpu": 2, "memory": "4Gi"}),
        make_quota("b", min={"cpu": 1, "memory": "4Gi"}),
    )
    lean = PodSeen(pod_of("b", "lean", cpu_milli=0, memory_bytes=2**30, node="n1", priority=-9))
    feed(engine, [lean, *on_node("b", 3)])

    actions = feed(engine, [PodSeen(pod_of("a", "new"))])

    assert len(evicted(actions) & {"b-0", "b-1", "b-2"}) == 1
    assert "lean" not in evicted(actions)


def test_the_least_important_borrowers_go_first():
    engine = make_quota_engine(
        LARGE, make_quota("a", min={"cpu": 1}), make_quota("b", min={"cpu": 2})
    )
    borrowers = [
        PodSeen(pod_of("b", f"b-{priority}", node="n1", priority=priority))
        for priority in (5, 1, 9)
    ]
    feed(engine, borrowers)

    assert evicted(feed(engine, [PodSeen(pod_of("a", "new"))])) == {"b-1"}


def test_quota_is_taken_back_from_several_nodes_where_one_does_not_hold_enough():
    nodes = [make_facts(f"n{i}", cpu_milli=4000) for i in range(4)]
    engine = make_quota_engine(
        *nodes, make_quota("a", min={"cpu": 3}), make_quota("b", min={"cpu": 1})
    )
    for i in range(4):
        feed(engine, [PodSeen(pod_of("b", f"b-{i}", node=f"n{i}"))])

    asked = feed(engine, [PodSeen(pod_of("a", "new", cpu_milli=3000))])
    waiting = feed(engine, [PodSeen(pod_of("a", "new", cpu_milli=3000, labels={"x": "y"}))])
    [first, *others] = [PodGone(f"b/{name}", f"uid-of-b/{name}") for name in sorted(evicted(asked))]
    one_gone = feed(engine, [first], now_s=20.0)
    all_gone = feed(engine, others, now_s=40.0)

    assert len(evicted(asked)) == 3
    assert (evicted(waiting), evicted(one_gone), placements(one_gone)) == (set(), set(), {})
    assert [*placements(all_gone)] == ["new"]


@pytest.mark.parametrize(("n_allowed", "spared"), [(0, "b-0"), (1, "b-3")])
def test_who_is_protected_by_a_budget_gives_back_last_on_whatever_node(n_allowed, spared):
    nodes = [make_facts(f"n{i}", cpu_milli=4000) for i in range(4)]
    engine = make_quota_engine(
        *nodes, make_quota("a", min={"cpu": 3}), make_quota("b", min={"cpu": 1})
    )
    budget = PodDisruptionBudget(
        metadata=make_meta("budget", namespace="b"),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": "kept"})),
        status=PodDisruptionBudgetStatus(disruptions_allowed=n_allowed),
    )
    for i in range(4):
        labels = {"app": "kept"} if i == 0 else {}
        pod = pod_of("b", f"b-{i}", node=f"n{i}", priority=i, labels=labels)
        feed(engine, [ObjectSeen(budget), PodSeen(pod)])

    asked = feed(engine, [PodSeen(pod_of("a", "new", cpu_milli=3000))])

    assert evicted(asked) == {f"b-{i}" for i in range(4)} - {spared}


def test_a_gang_that_borrowed_gives_back_as_a_whole():
    engine = make_quota_engine(
        "n1", "n2", make_quota("a", min={"cpu": 2}), make_quota("b", min={"cpu": 2})
    )
    for i, node in enumerate(("n1", "n2")):
        gang = {"pod_group": "gang", "pod_group_size": 2, "cpu_milli": 2000}
        feed(engine, [PodSeen(pod_of("b", f"b-{i}", node=node, **gang))])

    actions = feed(engine, [PodSeen(pod_of("a", "new"))])

    assert evicted(actions) == {"b-0", "b-1"}


def test_pods_without_a_quota_leave_those_with_one_alone():
    engine = make_quota_engine(
        make_facts("n1", cpu_milli=2000), make_quota("a", min={"cpu": 0}, max={"cpu": 10})
    )
    feed(engine, [*on_node("a", 1, priority=-1), *on_node("free", 1, priority=-1)])

    actions = feed(engine, [PodSeen(pod_of("other", "new", priority=5))])

    assert evicted(actions) == {"free-0"}


def test_a_gang_is_admitted_whole_or_not_at_all():
    engine = make_quota_engine(LARGE, make_quota("a", min={"cpu": 2}))
    gang = {"pod_group": "gang", "pod_group_size": 3}

    refused = feed(engine, [PodSeen(pod_of("a", f"g{i}", **gang)) for i in range(3)])
    granted = feed(engine, [ObjectSeen(make_quota("a", min={"cpu": 3}))], now_s=20.0)

    assert placements(refused) == {}
    assert set(placements(granted)) == {"g0", "g1", "g2"}


def test_nobody_borrows_what_is_on_its_way_back_to_a_gang():
    engine = make_quota_engine(
        LARGE, make_quota("a", min={"cpu": 2}), make_quota("b", min={"cpu": 1})
    )
    feed(engine, [*on_node("b", 3), PodSeen(pod_of("b", "greedy"))])
    gang = {"pod_group": "gang", "pod_group_size": 2}

    asked = feed(engine, [PodSeen(pod_of("a", f"g{i}", **gang)) for i in range(2)])
    [first, second] = [PodGone(f"b/{name}", f"uid-of-b/{name}") for name in evicted(asked)]
    one_gone = feed(engine, [first], now_s=20.0)
    both_gone = feed(engine, [second], now_s=40.0)

    assert (placements(one_gone), evicted(one_gone)) == ({}, set())
    assert set(placements(both_gone)) == {"g0", "g1"}


def test_a_gang_takes_back_what_all_of_it_needs():
    engine = make_quota_engine(
        LARGE, make_quota("a", min={"cpu": 3}), make_quota("b", min={"cpu": 1})
    )
    feed(engine, on_node("b", 4))
    gang = {"pod_group": "gang", "pod_group_size": 3}

    actions = feed(engine, [PodSeen(pod_of("a", f"g{i}", **gang)) for i in range(3)])

    assert len(evicted(actions)) == 3
