"""PreemptionToleration: who is safe from whom, and until when."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.custom import PriorityClass
from kube.objects import Condition
from scheduler.engine import Engine, EngineSettings
from scheduler.events import Evict, NodeSeen, ObjectSeen, PodSeen
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import FailedSearch
from scheduler.framework.nominations import Nominations
from scheduler.framework.runtime import FilterRun
from scheduler.model import PodFacts
from scheduler.plugins.default_preemption import DefaultPreemption, DefaultPreemptionArgs
from scheduler.plugins.preemption.toleration import MINIMUM, SECONDS, Toleration
from scheduler.plugins.preemption_toleration import PreemptionToleration
from tests.builders import EPOCH_S, at, make_meta, make_pod
from tests.unit.scheduler.worlds import (
    decide,
    feed,
    make_facts,
    make_pending,
    make_profile,
    make_snapshot,
)

NOW_S = 1000.0
PROFILE = make_profile()


def make_class(name="tolerant", *, value=10, minimum=None, seconds=None):
    annotations = {MINIMUM: minimum, SECONDS: seconds}
    annotations = {key: str(text) for key, text in annotations.items() if text is not None}
    return PriorityClass(metadata=make_meta(name, annotations=annotations), value=value)


def victim_of(name="low", *, priority=10, scheduled_at_s=NOW_S, node="n1", **more):
    more = {"cpu_milli": 4000, "priority_class": "tolerant", **more}
    return make_pending(
        name, priority=priority, scheduled_at_s=scheduled_at_s, node_name=node, **more
    )


def make_plugin():
    return PreemptionToleration(DefaultPreemptionArgs(min_candidate_nodes_absolute=2))


def search_in(snapshot, pod, *, nominations, now_s):
    run = FilterRun(
        PROFILE, state=CycleState(), pod=pod, snapshot=snapshot, nominations=nominations
    )
    return FailedSearch(
        snapshot=snapshot,
        found=run.run(),
        refilter=run.refilter,
        afresh=run.afresh,
        nominations=nominations,
        now_s=now_s,
        signature="any",
    )


def preempt(pod, *victims, classes, now_s=NOW_S, plugin=None):
    """Give the names of those who would be evicted."""
    nodes = sorted({victim.node_name for victim in victims})
    snapshot = make_snapshot(
        *(make_facts(node) for node in nodes), pods=[(v, v.node_name) for v in victims]
    )
    for each in classes:
        snapshot.objects.put(each)
    search = search_in(snapshot, pod, nominations=Nominations(), now_s=now_s)
    result = (plugin or make_plugin()).post_filter(CycleState(), pod=pod, search=search)
    return [victim.name for victim in result.victims]


@pytest.mark.parametrize(
    ("said", "priority", "age_s", "is_safe"),
    [
        pytest.param({"minimum": 100, "seconds": 60}, 99, 59.9, True, id="in time"),
        pytest.param({"minimum": 100, "seconds": 60}, 99, 60, False, id="out of time"),
        pytest.param({"minimum": 100, "seconds": 60}, 100, 1, False, id="of the minimum"),
        pytest.param({"minimum": 100, "seconds": -1}, 99, 10**9, True, id="for ever"),
        pytest.param({"minimum": 100}, 99, 1, False, id="0 seconds by default"),
        pytest.param({"minimum": 100}, 99, None, True, id="not scheduled yet"),
        pytest.param({"seconds": -1}, 11, 1, False, id="one more than its own by default"),
        pytest.param({"minimum": "many", "seconds": -1}, 99, 1, False, id="no minimum"),
        pytest.param({"minimum": 2**31, "seconds": -1}, 99, 1, False, id="no priority"),
        pytest.param({"minimum": 100, "seconds": "1m"}, 99, None, False, id="no seconds"),
        pytest.param({}, 99, None, False, id="nothing is said"),
    ],
)
def test_a_pod_is_safe_from_lesser_pods_for_a_while(said, priority, age_s, is_safe):
    scheduled_at_s = 0.0 if age_s is None else NOW_S - age_s
    low = victim_of(scheduled_at_s=scheduled_at_s)

    victims = preempt(make_pending("new", priority=priority), low, classes=[make_class(**said)])

    assert victims == ([] if is_safe else ["low"])


def test_without_a_class_or_one_that_is_known_nobody_is_safe():
    classes = [make_class(minimum=100, seconds=-1)]
    for name in ("", "gone"):
        low = victim_of(priority_class=name)

        assert preempt(make_pending("new", priority=20), low, classes=classes) == ["low"]


def test_another_node_is_taken_where_nobody_is_safe():
    classes = [make_class(minimum=100, seconds=-1)]
    safe, dear = victim_of("safe"), victim_of("dear", priority=15, priority_class="", node="n2")

    assert preempt(make_pending("new", priority=20), safe, dear, classes=classes) == ["dear"]


def test_time_passes_between_two_looks_at_the_same_nodes():
    plugin, classes = (
        PreemptionToleration(DefaultPreemptionArgs()),
        [make_class(minimum=99, seconds=9)],
    )
    pod, low = make_pending("new", priority=20), victim_of()

    found = [
        preempt(pod, low, classes=classes, now_s=NOW_S + s, plugin=plugin) for s in (0, 8.9, 9)
    ]

    assert found == [[], [], ["low"]]


pods = st.builds(
    lambda number, node, priority, cpu, ago_s, name: victim_of(
        f"p{number}",
        node=f"n{node}",
        priority=priority,
        cpu_milli=cpu,
        scheduled_at_s=0.0 if ago_s is None else NOW_S - ago_s,
        priority_class=name,
    ),
    st.integers(0, 10**6),
    st.integers(1, 3),
    st.integers(0, 30),
    st.sampled_from([1000, 2000, 4000]),
    st.none() | st.integers(0, 100),
    st.sampled_from(["", "tolerant", "other"]),
)


@given(
    placed=st.lists(pods, max_size=8, unique_by=lambda pod: pod.name),
    priority=st.integers(1, 40),
    said=st.tuples(st.integers(-5, 50) | st.none(), st.integers(-1, 90) | st.none()),
)
def test_tolerated_pods_are_never_evicted_before_their_time(placed, priority, said):
    minimum, seconds = said
    pod = make_pending("new", priority=priority, cpu_milli=3000)

    names = preempt(pod, *placed, classes=[make_class(minimum=minimum, seconds=seconds)])

    for victim in placed:
        if victim.name in names and victim.priority_class == "tolerant":
            assert victim.priority < priority
            needed = victim.priority + 1 if minimum is None else minimum
            is_over = victim.scheduled_at_s and victim.scheduled_at_s + (seconds or 0) <= NOW_S
            assert priority >= needed or ((seconds or 0) >= 0 and is_over)


@given(
    placed=st.lists(pods, max_size=8, unique_by=lambda pod: pod.name), priority=st.integers(1, 40)
)
def test_without_tolerations_it_does_as_default_preemption_does(placed, priority):
    pod = make_pending("new", priority=priority, cpu_milli=3000)
    default = DefaultPreemption(DefaultPreemptionArgs(min_candidate_nodes_absolute=2))

    assert preempt(pod, *placed, classes=[make_class()]) == preempt(
        pod, *placed, classes=[], plugin=default
    )


def test_what_is_kept_of_trials_changes_no_choice():
    rng = random.Random(5)
    snapshot, nominations, kept = make_snapshot(), Nominations(), make_plugin()
    for i in range(4):
        snapshot.set_node(make_facts(f"n{i}"))
    snapshot.objects.put(make_class(minimum=30, seconds=20))
    n_found = 0
    for number in range(150):
        now_s, node = NOW_S + number / 3, f"n{rng.randrange(4)}"
        low = victim_of(
            f"low-{number}",
            node=node,
            cpu_milli=1000,
            priority=rng.randrange(20),
            scheduled_at_s=now_s // 1 if rng.random() < 0.7 else 0.0,
            priority_class=rng.choice(["tolerant", ""]),
        )
        snapshot.add_pod(low, node=node)
        while len(list(snapshot.pods_on(snapshot.rows[node]))) > 4:
            snapshot.remove_pod(next(iter(snapshot.pods_on(snapshot.rows[node]))), node=node)
        pod = make_pending("new", cpu_milli=3000, priority=rng.choice([15, 40]))
        search = search_in(snapshot, pod, nominations=nominations, now_s=now_s)

        found, fresh = (
            plugin.post_filter(CycleState(), pod=pod, search=search)
            for plugin in (kept, make_plugin())
        )

        assert found == fresh
        n_found += found.status.is_success
    assert 10 < n_found < 140


def test_the_engine_counts_from_when_the_pod_was_scheduled():
    profile = make_profile()
    plugin = PreemptionToleration(DefaultPreemptionArgs())
    engine = Engine(
        {"ai-scheduler": replace(profile, post_filter=(plugin,))}, settings=EngineSettings()
    )
    low = victim_of(scheduled_at_s=0.0)
    feed(engine, [NodeSeen(make_facts()), ObjectSeen(make_class(minimum=99, seconds=60))])
    feed(engine, [PodSeen(low)], now_s=1.0)
    engine.handle(PodSeen(replace(low, scheduled_at_s=30.0)), now_s=30.0)

    def evicted(at_s):
        pod = make_pending(f"new-{at_s}", priority=20)
        actions = [*feed(engine, [PodSeen(pod)], now_s=at_s), *decide(engine, now_s=at_s)]
        return [action.victim.name for action in actions if isinstance(action, Evict)]

    assert engine.reads >= {PriorityClass}
    assert evicted(89.0) == []
    assert evicted(91.0) == ["low"]


@pytest.mark.parametrize("size", [1, 2])
def test_who_waits_is_tried_again_when_the_time_is_over(size):
    profile = replace(make_profile(), post_filter=(make_plugin(),))
    engine = Engine({"ai-scheduler": profile}, settings=EngineSettings())
    low = [victim_of(f"low-{i}", node=f"n{i}", scheduled_at_s=30.0 + 20 * i) for i in range(2)]
    classes = [make_class(minimum=99, seconds=60), make_class("other", minimum=99, seconds=-1)]
    feed(engine, [NodeSeen(make_facts(f"n{i}")) for i in range(3)])
    feed(engine, [ObjectSeen(each) for each in classes])
    feed(
        engine, [*map(PodSeen, low), PodSeen(victim_of("never", node="n2", priority_class="other"))]
    )
    gang = {"pod_group": "gang", "pod_group_size": size, "cpu_milli": 3000, "priority": 20}
    pods = [make_pending(f"new-{i}", **gang) for i in range(size)]

    asked = {31.0: feed(engine, [PodSeen(pod) for pod in pods], now_s=31.0)}
    asked |= {at_s: decide(engine, now_s=at_s) for at_s in (89.0, 90.0, 109.0, 110.0, 120.0)}

    evicted = {
        at_s: [a.victim.name for a in found if isinstance(a, Evict)]
        for at_s, found in asked.items()
    }
    due_s = 90.0 if size == 1 else 110.0
    assert {at_s for at_s, names in evicted.items() if names} == {due_s}
    assert sorted(evicted[due_s]) == [pod.name for pod in low[:size]]


def test_the_condition_says_since_when_a_pod_has_its_node():
    since = Condition(type="PodScheduled", status="True", last_transition_time=at(40))
    waiting = Condition(type="PodScheduled", status="False", last_transition_time=at(40))

    found = [
        PodFacts.from_pod(make_pod("web", conditions=[each])).scheduled_at_s
        for each in (since, waiting, Condition(type="PodScheduled", status="True"))
    ]

    assert found == [EPOCH_S + 40, 0.0, EPOCH_S]


def test_annotations_are_read_as_integers():
    assert Toleration.of(make_class(minimum="-5", seconds="+7")) == Toleration(-5, 7)
    assert Toleration.of(make_class(minimum=" 5")) is None
