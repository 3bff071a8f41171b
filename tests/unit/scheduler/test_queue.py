"""The scheduling queue: order, back-off, wake-ups."""

import math

import pytest

from scheduler.framework.interface import Change, ClusterEvent, PluginArgs, Waiting
from scheduler.framework.objects import ClusterObjects
from scheduler.plugins.queue_order import PrioritySort
from scheduler.queue import Pool, QueueSettings, SchedulingQueue
from tests.unit.scheduler.worlds import make_pending


def rank(queued):
    waiting = Waiting(
        pod=queued.pod,
        priority=queued.pod.priority,
        queued_at_s=queued.queued_at_s,
        since_s=queued.first_queued_at_s,
    )
    return PrioritySort(PluginArgs()).sort_key(waiting, objects=ClusterObjects())


def make_queue():
    return SchedulingQueue(
        rank=rank,
        gate=lambda pod: "SchedulingGates" if pod.scheduling_gates else None,
        hint=lambda queued, change: True,
        settings=QueueSettings(),
    )


def names(queue):
    found = []
    while (queued := queue.pop()) is not None:
        found.append(queued.pod.name)
    return found


def refuse(queue, name="a", *, wakes_on=ClusterEvent.NODE_ADD, now_s=0.0):
    queue.put(make_pending(name), now_s=now_s)
    queued = queue.pop()
    queue.put_back(queued, wakes_on=wakes_on, now_s=now_s)
    return queued


def test_a_refused_pod_is_tried_again_at_the_time_that_is_named():
    queue = make_queue()
    for name, at_s in (("late", 60.0), ("soon", 30.0), ("never", math.inf), ("at once", 0.0)):
        queued = refuse(queue, name)
        queue.remove(queued.pod.key)
        queue.put_back(queued, wakes_on=ClusterEvent.NODE_ADD, retry_at_s=at_s, now_s=10.0)

    found = {}
    for now_s in (11.0, 12.0, 29.0, 30.0, 60.0, 61.0):
        queue.flush(now_s=now_s)
        found[now_s] = names(queue)

    assert {now_s: tried for now_s, tried in found.items() if tried} == {
        12.0: ["at once"],
        30.0: ["soon"],
        60.0: ["late"],
    }


def test_higher_priority_first_then_first_come_first_served():
    queue = make_queue()
    for at_s, (name, priority) in enumerate([("a", 1), ("b", 5), ("c", 5), ("d", -1)]):
        queue.put(make_pending(name, priority=priority), now_s=at_s)

    assert names(queue) == ["b", "c", "a", "d"]


def test_a_status_update_does_not_cost_a_pod_its_place():
    queue = make_queue()
    queue.put(make_pending("a"), now_s=0.0)
    queue.put(make_pending("b"), now_s=1.0)
    queue.put(make_pending("a"), now_s=2.0)

    assert names(queue) == ["a", "b"]


def test_a_pod_that_took_the_name_of_another_is_another():
    queue = make_queue()
    queue.put(make_pending("a", uid="old"), now_s=0.0)
    queue.put(make_pending("a", uid="new"), now_s=1.0)

    assert [queue.pop().pod.uid, queue.pop()] == ["new", None]


@pytest.mark.parametrize(
    ("n_refusals", "backoff_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10), (40, 10)]
)
def test_back_off_doubles_up_to_ten_seconds(n_refusals, backoff_s):
    queue = make_queue()
    queued = refuse(queue)
    for _ in range(n_refusals - 1):
        queue.remove("default/a")
        queue.put_back(queued, wakes_on=ClusterEvent.NODE_ADD, now_s=0.0)
    queue.wake(Change(ClusterEvent.NODE_ADD), now_s=0.0)

    queue.flush(now_s=backoff_s - 0.01)
    early = queue.peek()
    queue.flush(now_s=backoff_s)

    assert early is None
    assert queue.peek() is queued


def test_only_the_events_of_the_refusing_plugins_wake_a_pod():
    queue = make_queue()
    refuse(queue, wakes_on=ClusterEvent.NODE_TAINT)

    queue.wake(Change(ClusterEvent.ASSIGNED_POD_DELETE), now_s=10.0)
    unmoved = queue.size(Pool.UNSCHEDULABLE)
    queue.wake(Change(ClusterEvent.NODE_TAINT), now_s=10.0)

    assert unmoved == 1
    assert names(queue) == ["a"]


def test_no_event_wakes_nobody():
    queue = make_queue()
    refuse(queue)

    queue.wake(Change(ClusterEvent(0)), now_s=10.0)

    assert queue.size(Pool.UNSCHEDULABLE) == 1


def test_the_flush_takes_exactly_those_that_waited_five_minutes():
    queue = make_queue()
    refuse(queue, "a", now_s=0.0)
    refuse(queue, "b", now_s=0.0)
    refuse(queue, "c", now_s=10.0)

    queue.flush(now_s=300.0)

    assert sorted(names(queue)) == ["a", "b"]
    assert queue.size(Pool.UNSCHEDULABLE) == 1


def test_an_error_is_waited_out_by_its_own_count():
    queue = make_queue()
    queued = refuse(queue)
    queue.remove("default/a")
    queue.retry(queued, now_s=0.0)
    queue.flush(now_s=1.0)
    queue.pop()
    queue.retry(queued, now_s=1.0)

    queue.flush(now_s=2.9)
    early = queue.peek()
    queue.flush(now_s=3.0)

    assert early is None
    assert queue.peek() is queued


def test_a_gated_pod_is_counted_apart_and_moves_when_it_may():
    queue = make_queue()
    queue.put(make_pending("a", scheduling_gates=("g",)), now_s=0.0)
    gated = {pool: queue.size(pool) for pool in Pool}
    queue.put(make_pending("a"), now_s=1.0)

    assert gated == {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 1}
    assert names(queue) == ["a"]


def test_a_removed_pod_is_gone_from_every_pool():
    queue = make_queue()
    queue.put(make_pending("active"), now_s=0.0)
    queue.put(make_pending("gated", scheduling_gates=("g",)), now_s=0.0)
    refuse(queue, "refused", now_s=-1.0)
    for name in ("active", "gated", "refused", "never"):
        queue.remove(f"default/{name}")

    queue.wake(Change(ClusterEvent.NODE_ADD), now_s=100.0)
    queue.flush(now_s=1000.0)

    assert len(queue) == 0
    assert queue.pop() is None
    assert list(queue.active_shapes()) == []


def test_reordering_over_and_over_does_not_pile_up():
    queue = make_queue()
    for i in range(5_000):
        queue.put(make_pending("a", priority=i), now_s=0.0)

    assert len(queue._active._entries) <= 200
    assert names(queue) == ["a"]
