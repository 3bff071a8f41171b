"""Gangs: whole or not at all, through the engine."""

import pytest

from kube.custom import PodGroup, PodGroupSpec
from kube.objects import ObjectMeta, OwnerReference
from scheduler.events import (
    BindFailed,
    BindSucceeded,
    Evict,
    EvictFailed,
    NodeSeen,
    ObjectSeen,
    PodGone,
    PodSeen,
    ReportFailure,
)
from scheduler.model import POD_GROUP_LABEL
from scheduler.queue import Pool
from tests.unit.scheduler.worlds import (
    decide,
    feed,
    make_engine,
    make_facts,
    make_pending,
    placements,
)


def make_members(n, *, gang="train", size=None, cpu_milli=1500, start=1, **more):
    return [
        make_pending(
            f"{gang}-{i}", pod_group=gang, pod_group_size=size, cpu_milli=cpu_milli, **more
        )
        for i in range(start, start + n)
    ]


def seen(*pods):
    return [PodSeen(pod) for pod in pods]


def bound(engine, actions, *, now_s=1.0):
    """Let the API server have all bindings, and the watch show them."""
    for action in actions:
        if type(action).__name__ == "Bind":
            engine.handle(BindSucceeded(action.pod.uid), now_s=now_s)
            engine.handle(PodSeen(on_node(action.pod, action.node)), now_s=now_s)


def on_node(pod, node, **more):
    fields = {name: getattr(pod, name) for name in pod.__slots__}
    return type(pod)(**{**fields, "node_name": node, **more})


def owner_of(uid):
    return OwnerReference(kind="Job", name=uid, uid=uid, controller=True)


def evicted(actions):
    return sorted(action.victim.name for action in actions if isinstance(action, Evict))


def nominated(actions):
    return {
        action.pod.name: action.nominated_node
        for action in actions
        if isinstance(action, ReportFailure) and action.nominated_node
    }


def test_a_gang_that_fits_is_placed_whole():
    engine = make_engine("n1", "n2")

    actions = feed(engine, seen(*make_members(4, size=4)))

    assert set(placements(actions)) == {"train-1", "train-2", "train-3", "train-4"}


def test_a_gang_that_does_not_fit_leaves_no_trace():
    engine = make_engine("n1", "n2")

    actions = feed(engine, seen(*make_members(5, size=5)))
    later = feed(engine, seen(make_pending("web-1", cpu_milli=4000)))

    assert placements(actions) == {}
    assert {a.message.split(";")[0] for a in actions if isinstance(a, ReportFailure)} == {
        "gang default/train: 4 of 5 members fit"
    }
    assert set(placements(later)) == {"web-1"}


def test_a_gang_waits_until_enough_of_it_are_known():
    engine = make_engine("n1", "n2")

    first = feed(engine, seen(*make_members(3, size=4)))
    n_gated = engine.n_pending(Pool.GATED)
    last = feed(engine, seen(*make_members(1, size=4, start=4)))

    assert (placements(first), n_gated) == ({}, 3)
    assert len(placements(last)) == 4


def test_a_gang_that_stays_short_of_members_says_so():
    engine = make_engine("n1", "n2")

    at_first = feed(engine, seen(*make_members(3, size=4)))
    soon = decide(engine, now_s=6.0)

    assert at_first == []
    assert {(a.pod.name, a.message) for a in soon} == {
        (f"train-{i}", "gang default/train: 3 of 4 members are there") for i in (1, 2, 3)
    }
    assert decide(engine, now_s=600.0) == []


def test_a_member_that_comes_later_is_told_too_how_many_there_are():
    engine = make_engine("n1", "n2")
    feed(engine, seen(*make_members(1, size=3)))
    decide(engine, now_s=6.0)

    feed(engine, seen(*make_members(1, size=3, start=2)), now_s=10.0)
    told = decide(engine, now_s=16.0)

    assert {(a.pod.name, a.message) for a in told} == {
        (f"train-{i}", "gang default/train: 2 of 3 members are there") for i in (1, 2)
    }
    assert decide(engine, now_s=600.0) == []


def test_a_pod_group_says_how_many_are_needed():
    engine = make_engine("n1")
    group = PodGroup(
        metadata=ObjectMeta(name="train", namespace="default"), spec=PodGroupSpec(min_member=2)
    )

    alone = feed(engine, [ObjectSeen(group), *seen(*make_members(1))])
    all_three = feed(engine, seen(*make_members(2, start=2)))

    assert placements(alone) == {}
    # Two fit on the node and are enough; the third waits.
    assert len(placements(all_three)) == 2
    assert engine.n_pending(Pool.UNSCHEDULABLE) == 1


def test_who_waits_for_members_that_may_not_be_scheduled_is_tried_when_fewer_are_needed():
    engine = make_engine("n1")
    meta = ObjectMeta(name="train", namespace="default")
    groups = [PodGroup(metadata=meta, spec=PodGroupSpec(min_member=n)) for n in (2, 1)]
    free, gated = make_members(1), make_members(1, start=2, scheduling_gates=("later",))

    waiting = feed(engine, [ObjectSeen(groups[0]), *seen(*free, *gated)])
    fewer = feed(engine, [ObjectSeen(groups[1])], now_s=30.0)

    assert [a.message for a in waiting if isinstance(a, ReportFailure)] == [
        "gang default/train: 1 of 2 members may be scheduled"
    ]
    assert set(placements(fewer)) == {"train-1"}


def test_a_gang_that_did_not_fit_is_tried_when_fewer_are_needed():
    engine = make_engine("n1")
    meta = ObjectMeta(name="train", namespace="default")
    groups = [PodGroup(metadata=meta, spec=PodGroupSpec(min_member=n)) for n in (2, 1)]
    members = make_members(2, cpu_milli=3000)

    refused = feed(engine, [ObjectSeen(groups[0]), *seen(*members)])
    alone = feed(engine, [PodGone(members[1].key, members[1].uid)], now_s=20.0)
    fewer = feed(engine, [ObjectSeen(groups[1])], now_s=40.0)

    assert (placements(refused), placements(alone)) == ({}, {})
    assert set(placements(fewer)) == {"train-1"}


def test_members_by_label_wait_for_their_pod_group():
    engine = make_engine("n1", "n2")
    group = PodGroup(
        metadata=ObjectMeta(name="train", namespace="default"), spec=PodGroupSpec(min_member=3)
    )

    early = feed(engine, seen(*make_members(2, labels={POD_GROUP_LABEL: "train"})))
    n_gated = engine.n_pending(Pool.GATED)
    too_few = feed(engine, [ObjectSeen(group)])
    whole = feed(engine, seen(*make_members(1, labels={POD_GROUP_LABEL: "train"}, start=3)))

    assert (placements(early), n_gated, placements(too_few)) == ({}, 2, {})
    assert len(placements(whole)) == 3


def test_a_member_whose_pod_group_is_not_there_is_told():
    engine = make_engine("n1")
    [pod] = make_members(1, labels={POD_GROUP_LABEL: "train"})

    feed(engine, seen(pod))

    assert [(a.reason, a.message) for a in decide(engine, now_s=6.0)] == [
        ("Unschedulable", "gang default/train: its PodGroup is not there")
    ]


def test_an_annotated_size_will_do_for_members_by_label():
    engine = make_engine("n1")

    actions = feed(engine, seen(*make_members(2, size=2, labels={POD_GROUP_LABEL: "train"})))

    assert len(placements(actions)) == 2


def test_without_a_size_all_that_are_known_go_together():
    engine = make_engine("n1")

    too_many = feed(engine, seen(*make_members(3)))
    woken = feed(engine, [NodeSeen(make_facts("n2"))], now_s=20.0)

    assert placements(too_many) == {}
    assert len(placements(woken)) == 3


def test_two_gangs_never_hold_half_of_the_room_each():
    engine = make_engine("n1", "n2")
    one, two = make_members(3, gang="one", size=3), make_members(3, gang="two", size=3)

    actions = feed(engine, seen(*(pod for pair in zip(one, two, strict=True) for pod in pair)))

    assert len(placements(actions)) == 3
    assert len({name.split("-")[0] for name in placements(actions)}) == 1


def test_at_equal_priority_the_smaller_gang_goes_first():
    engine = make_engine("n1")
    large = make_members(3, gang="large", size=3, cpu_milli=1000)
    small = make_members(2, gang="small", size=2, cpu_milli=1000)

    actions = feed(engine, seen(*large, *small))

    assert set(placements(actions)) == {"small-1", "small-2"}


def test_a_gangs_priority_is_that_of_its_least_member():
    engine = make_engine("n1")
    gang = [*make_members(1, size=2, priority=100), *make_members(1, size=2, start=2, priority=1)]
    other = make_pending("other", priority=50, cpu_milli=2000)

    actions = feed(engine, seen(*gang, other))

    assert set(placements(actions)) == {"other"}


def test_a_member_whose_binding_failed_is_tried_again_alone():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(2, size=2)))
    [failed, done] = [a for a in actions if type(a).__name__ == "Bind"]
    bound(engine, [done])

    engine.handle(BindFailed(failed.pod.uid, "the server is busy"), now_s=1.0)
    again = decide(engine, now_s=3.0)

    assert set(placements(again)) == {failed.pod.name}


def test_a_gang_that_stays_incomplete_is_taken_off_its_nodes_in_time():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(2, size=2)))
    [failed, done] = [a for a in actions if type(a).__name__ == "Bind"]
    bound(engine, [done])
    engine.handle(PodGone(failed.pod.key, failed.pod.uid), now_s=1.0)

    assert evicted(decide(engine, now_s=59.0)) == []
    assert evicted(decide(engine, now_s=61.0)) == [done.pod.name]
    assert evicted(decide(engine, now_s=200.0)) == []


def test_a_member_that_dies_is_replaced_and_the_rest_stays():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(2, size=2)))
    bound(engine, actions)
    [dead, _] = [a.pod for a in actions if type(a).__name__ == "Bind"]

    engine.handle(PodGone(dead.key, dead.uid), now_s=100.0)
    replaced = feed(engine, seen(*make_members(1, size=2, start=3)), now_s=100.0)

    assert set(placements(replaced)) == {"train-3"}
    assert evicted(decide(engine, now_s=1000.0)) == []


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    ("n_succeeded", "n_replaced", "n_started"),
    [
        pytest.param(2, 1, 1, id="one is tried again"),
        pytest.param(1, 2, 2, id="the rest is tried again"),
        pytest.param(1, 1, 0, id="not all of the rest is there"),
        pytest.param(0, 3, 3, id="all of it is tried again"),
        pytest.param(0, 2, 0, id="it is not whole"),
    ],
)
def test_who_succeeded_need_not_be_there_again(is_restarted, n_succeeded, n_replaced, n_started):
    engine, first = make_engine("n1", "n2"), make_members(3, size=3)
    actions = feed(engine, seen(*first))
    bound(engine, actions)
    engine = make_engine("n1", "n2") if is_restarted else engine
    for i, pod in enumerate(first):
        ended = {"is_finished": True, "has_succeeded": i < n_succeeded}
        feed(engine, seen(on_node(pod, placements(actions)[pod.name], **ended)), now_s=2.0)

    again = feed(engine, seen(*make_members(n_replaced, size=3, start=4)), now_s=30.0)

    assert len(placements(again)) == n_started


@pytest.mark.parametrize(("controller", "n_started"), [("job-1", 1), ("job-2", 0)])
def test_what_succeeded_in_another_run_does_not_count(controller, n_started):
    engine = make_engine("n1", "n2")
    first = make_members(2, size=2, owner=owner_of("job-1"))
    for pod, has_succeeded in zip(first, (True, False), strict=True):
        ended = on_node(pod, "n1", is_finished=True, has_succeeded=has_succeeded)
        feed(engine, seen(ended), now_s=2.0)

    late = make_members(1, size=2, start=3, owner=owner_of(controller))

    assert len(placements(feed(engine, seen(*late), now_s=30.0))) == n_started


def test_what_is_left_of_a_gang_whose_others_succeeded_stays_after_a_restart():
    engine, pods = make_engine("n1"), make_members(2, size=2)
    done = on_node(pods[0], "n1", is_finished=True, has_succeeded=True)

    feed(engine, seen(on_node(pods[1], "n1", start_time_s=1.0), done), now_s=2.0)

    assert evicted(decide(engine, now_s=600.0)) == []


def test_members_that_succeeded_count_for_as_long_as_they_are_known():
    engine, [first, second] = make_engine("n1"), make_members(2, size=2)
    done = on_node(first, "n1", is_finished=True, has_succeeded=True)
    feed(engine, seen(done))

    deleted = feed(engine, [PodGone(first.key, first.uid), *seen(second)])
    told = decide(engine, now_s=6.0)
    back = feed(engine, seen(done), now_s=7.0)

    assert placements(deleted) == {}
    assert [a.message for a in told] == ["gang default/train: 1 of 2 members are there"]
    assert placements(back) == {"train-2": "n1"}


def test_a_late_member_joins():
    engine = make_engine("n1", "n2")
    bound(engine, feed(engine, seen(*make_members(2, size=2))))

    late = feed(engine, seen(*make_members(1, size=2, start=3)), now_s=100.0)

    assert set(placements(late)) == {"train-3"}


@pytest.mark.parametrize(
    ("started_s", "created_s", "is_half"),
    [(990.0, 980.0, True), (100.0, 90.0, True), (100.0, 500.0, False)],
    ids=["just begun", "begun long ago", "one that died is replaced"],
)
def test_what_a_restart_finds_half_placed_is_completed_or_taken_away(started_s, created_s, is_half):
    engine = make_engine("n1")
    [first] = make_members(1, size=2, cpu_milli=3000)
    [second] = make_members(1, size=2, cpu_milli=3000, start=2, created_at_s=created_s)
    there = on_node(first, "n1", start_time_s=started_s)

    feed(engine, seen(there, second), now_s=1000.0)

    assert evicted(decide(engine, now_s=1040.0)) == []
    assert evicted(decide(engine, now_s=1100.0)) == (["train-1"] if is_half else [])


def test_a_gang_preempts_as_a_unit():
    engine = make_engine("n1", "n2")
    low = [on_node(make_pending(f"low-{i}", cpu_milli=3000), f"n{i}") for i in (1, 2)]
    feed(engine, seen(*low))

    actions = feed(engine, seen(*make_members(2, size=2, cpu_milli=3000, priority=10)))

    assert placements(actions) == {}
    assert evicted(actions) == ["low-1", "low-2"]
    assert sorted(nominated(actions).values()) == ["n1", "n2"]
    for pod in low:
        engine.handle(PodGone(pod.key, pod.uid), now_s=20.0)
    assert placements(decide(engine, now_s=20.0)) == nominated(actions)


def test_a_gang_that_would_not_fit_all_the_same_evicts_nobody():
    engine = make_engine("n1", "n2")
    low = on_node(make_pending("low", cpu_milli=3000), "n1")
    high = on_node(make_pending("high", cpu_milli=3000, priority=100), "n2")
    feed(engine, seen(low, high))

    actions = feed(engine, seen(*make_members(2, size=2, cpu_milli=3000, priority=10)))
    room = feed(engine, seen(make_pending("small", cpu_milli=1000, priority=20)))

    assert (evicted(actions), nominated(actions)) == ([], {})
    assert len(placements(room)) == 1


def test_a_victims_gang_goes_with_it():
    engine = make_engine("n1", "n2")
    bound(engine, feed(engine, seen(*make_members(2, size=2, cpu_milli=3000))))

    actions = feed(engine, seen(make_pending("urgent", cpu_milli=3000, priority=10)))

    assert evicted(actions) == ["train-1", "train-2"]


def test_a_gang_with_a_member_that_must_stay_is_spared():
    engine = make_engine("n1", "n2")
    members = [
        *make_members(1, size=2, cpu_milli=3000, priority=100),
        *make_members(1, size=2, cpu_milli=3000, start=2),
    ]
    bound(engine, feed(engine, seen(*members)))

    actions = feed(engine, seen(make_pending("urgent", cpu_milli=3000, priority=10)))

    assert evicted(actions) == []


def test_a_late_member_does_not_send_its_own_gang_away():
    engine = make_engine("n1", "n2")
    bound(engine, feed(engine, seen(*make_members(2, size=2, cpu_milli=3000))))

    late = make_members(1, size=2, start=3, cpu_milli=3000, priority=10)
    actions = feed(engine, seen(*late), now_s=100.0)

    assert evicted(actions) == []


def test_members_that_were_promised_room_are_not_counted_twice():
    engine = make_engine("n1")
    low = on_node(make_pending("low", cpu_milli=3000), "n1")
    feed(engine, seen(low))
    gang = make_members(3, size=2, cpu_milli=2000, priority=10)
    feed(engine, seen(*gang[:2]))

    # The third comes first by its key and is promised nothing; two of the three fit.
    first = make_members(1, size=2, cpu_milli=2000, start=0, priority=10)
    actions = feed(engine, [*seen(*first), PodGone(low.key, low.uid)], now_s=20.0)

    assert len(placements(actions)) == 2


def test_a_promise_to_a_gang_ends_when_it_cannot_be_kept():
    engine = make_engine("n1")
    low = on_node(make_pending("low", cpu_milli=3000), "n1")
    feed(engine, seen(low))
    feed(engine, seen(*make_members(2, size=2, cpu_milli=2000, priority=10)))

    high = on_node(make_pending("high", cpu_milli=1000, priority=20), "n1")
    feed(engine, [PodGone(low.key, low.uid), *seen(high)], now_s=20.0)
    small = feed(engine, seen(make_pending("small", cpu_milli=2000)), now_s=21.0)

    assert set(placements(small)) == {"small"}


def test_a_promise_to_a_gang_ends_when_too_few_of_it_are_left():
    engine = make_engine("n1")
    low = on_node(make_pending("low", cpu_milli=3000), "n1")
    feed(engine, seen(low))
    [one, _] = gang = make_members(2, size=2, cpu_milli=2000, priority=10)
    feed(engine, seen(*gang))

    gone = [PodGone(low.key, low.uid), PodGone(one.key, one.uid)]
    other = feed(engine, [*gone, *seen(make_pending("other", cpu_milli=3000))], now_s=20.0)

    assert set(placements(other)) == {"other"}


def test_what_comes_after_a_gang_that_was_sent_away_must_be_whole_again():
    engine = make_engine("n1", "n2")
    gang = make_members(2, size=2, cpu_milli=3000)
    bound(engine, feed(engine, seen(*gang)))
    [stopped, _] = gang
    feed(engine, seen(make_pending("urgent", cpu_milli=3000, priority=10)), now_s=2.0)

    gone = PodGone(stopped.key, stopped.uid)
    replacement = make_members(1, size=2, start=3, cpu_milli=500)
    actions = feed(engine, [gone, *seen(*replacement)], now_s=3.0)

    assert "train-3" not in placements(actions)


def test_a_member_beyond_the_needed_that_cannot_be_bound_does_not_send_the_gang_away():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(3, size=2)))
    [one, other, failed] = [a for a in actions if type(a).__name__ == "Bind"]
    bound(engine, [one, other])

    engine.handle(BindFailed(failed.pod.uid, "the server is busy"), now_s=1.0)

    assert evicted(decide(engine, now_s=100.0)) == []


def test_a_member_that_could_not_be_taken_off_its_node_is_asked_again():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(2, size=2)))
    [failed, done] = [a for a in actions if type(a).__name__ == "Bind"]
    bound(engine, [done])
    engine.handle(PodGone(failed.pod.key, failed.pod.uid), now_s=1.0)

    first = evicted(decide(engine, now_s=61.0))
    engine.handle(EvictFailed(done.pod.uid), now_s=62.0)

    assert (first, evicted(decide(engine, now_s=130.0))) == ([done.pod.name], [done.pod.name])


def test_bindings_shown_after_the_gangs_time_is_over_do_not_make_it_whole():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(2, size=2)))
    [gone, late] = [a for a in actions if type(a).__name__ == "Bind"]

    decide(engine, now_s=61.0)
    engine.handle(PodGone(gone.pod.key, gone.pod.uid), now_s=62.0)
    engine.handle(PodSeen(on_node(late.pod, late.node, start_time_s=1.0)), now_s=62.0)

    assert evicted(decide(engine, now_s=130.0)) == [late.pod.name]


def test_a_victim_whose_binding_failed_waits_for_its_gang():
    engine = make_engine("n1", "n2")
    actions = feed(engine, seen(*make_members(2, size=2, cpu_milli=3000)))
    [failed, done] = [a for a in actions if type(a).__name__ == "Bind"]
    bound(engine, [done])
    urgent = make_pending("urgent", cpu_milli=3000, priority=10)
    feed(engine, seen(urgent), now_s=2.0)

    engine.handle(BindFailed(failed.pod.uid, "the server is busy"), now_s=3.0)
    engine.handle(PodGone(urgent.key, urgent.uid), now_s=3.0)

    assert placements(decide(engine, now_s=30.0)) == {}


def test_a_gang_of_which_fewer_are_needed_than_before_may_be_whole_as_it_is():
    engine = make_engine("n1", "n2")
    group = PodGroup(
        metadata=ObjectMeta(name="train", namespace="default"), spec=PodGroupSpec(min_member=2)
    )
    engine.handle(ObjectSeen(group), now_s=0.0)
    actions = feed(engine, seen(*make_members(2)))
    [_, done] = [a for a in actions if type(a).__name__ == "Bind"]
    bound(engine, [done])

    smaller = PodGroup(metadata=group.metadata, spec=PodGroupSpec(min_member=1))
    engine.handle(ObjectSeen(smaller), now_s=2.0)

    assert evicted(decide(engine, now_s=61.0)) == []
