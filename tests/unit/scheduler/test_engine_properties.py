"""Laws that hold whatever happens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.events import (
    AskPrediction,
    Bind,
    BindFailed,
    BindSucceeded,
    NodeGone,
    NodeSeen,
    PodGone,
    PodSeen,
    Predicted,
    PredictionFailed,
    Tick,
)
from scheduler.model import PODS
from scheduler.queue import Pool
from tests.unit.scheduler.worlds import (
    decide,
    feed,
    make_answer,
    make_engine,
    make_facts,
    make_pending,
    placements,
)

NAMES = ["n1", "n2", "n3"]


def is_within(info):
    return all(
        amount <= info.facts.allocatable.get(name, 0) for name, amount in info.requested.items()
    )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(requests=st.lists(st.integers(1, 3000), max_size=30))
def test_never_overcommits(requests):
    engine = make_engine(*NAMES)

    feed(engine, [PodSeen(make_pending(f"p{i}", cpu_milli=cpu)) for i, cpu in enumerate(requests)])

    assert all(is_within(engine.snapshot.node(name)) for name in NAMES)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(requests=st.lists(st.integers(1, 3000), max_size=30))
def test_a_pod_that_would_fit_is_never_left_waiting(requests):
    engine = make_engine(*NAMES)
    pods = {f"p{i}": make_pending(f"p{i}", cpu_milli=cpu) for i, cpu in enumerate(requests)}

    placed = placements(feed(engine, [PodSeen(pod) for pod in pods.values()]))

    free = [4000 - engine.snapshot.node(name).requested.get("cpu", 0) for name in NAMES]
    waiting = [pod for name, pod in pods.items() if name not in placed]
    assert all(pod.requests["cpu"] > max(free) for pod in waiting)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(priorities=st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_pods_are_taken_by_priority_and_then_in_order(priorities):
    engine = make_engine("n1", max_cycles_per_tick=1)
    for i, priority in enumerate(priorities):
        engine.handle(
            PodSeen(make_pending(f"p{i}", cpu_milli=1, memory_bytes=1, priority=priority)),
            now_s=float(i),
        )

    taken = list(placements(decide(engine, now_s=100.0)))

    expected = sorted(range(len(priorities)), key=lambda i: (-priorities[i], i))
    assert taken == [f"p{i}" for i in expected]


PODS_IN_PLAY = [make_pending(f"p{i}", cpu_milli=1900 + i % 2, priority=i % 3) for i in range(8)]
EVENTS = st.one_of(
    st.sampled_from(PODS_IN_PLAY).map(PodSeen),
    st.sampled_from(PODS_IN_PLAY).map(lambda pod: PodGone(pod.key, pod.uid)),
    st.sampled_from(NAMES).map(lambda name: NodeSeen(make_facts(name))),
    st.sampled_from(NAMES).map(NodeGone),
    st.just("answer"),
    st.just("no answer"),
    st.just("bound"),
    st.just("not bound"),
    st.just("gone meanwhile"),
    st.just(Tick()),
)


class Cluster:
    """Plays the shell's part: carries out what the engine asks for, well or badly."""

    def __init__(self):
        self.engine = make_engine(*NAMES, predicts=True)
        self.questions, self.binds = [], []
        self.bound = {}
        self.now_s = 0.0

    def play(self, event):
        self.now_s += 1.7
        for each in self.translate(event):
            self.take(self.engine.handle(each, now_s=self.now_s))
        self.take(self.engine.handle(Tick(), now_s=self.now_s))

    def take(self, actions):
        for action in actions:
            if isinstance(action, AskPrediction):
                open_shapes = {shape for each in self.questions for shape in each.shapes}
                assert open_shapes.isdisjoint(action.shapes), "asked twice at once"
                self.questions.append(action)
            elif isinstance(action, Bind):
                under_way = [bind.pod.uid for bind in self.binds]
                assert action.pod.uid not in under_way, "bound twice at once"
                assert action.pod.uid not in self.bound, "bound again"
                self.binds.append(action)

    def translate(self, event):
        match event:
            case "answer" | "no answer":
                return self.answer(event) if self.questions else []
            case str():
                return self.end_binding(event) if self.binds else []
            case PodGone(_, uid):
                self.bound.pop(uid, None)
                self.binds = [bind for bind in self.binds if bind.pod.uid != uid]
        return [event]

    def answer(self, how):
        shapes = self.questions.pop(0).shapes
        if how == "no answer":
            return [PredictionFailed(shapes, "timed out")]
        return [Predicted(make_answer(shapes, {"n1": 0.9, "n2": 0.5}, snapshot_at_s=self.now_s))]

    def end_binding(self, how):
        bind = self.binds.pop(0)
        uid = bind.pod.uid
        if how == "bound":
            self.bound[uid] = bind.node
            return [BindSucceeded(uid)]
        if how == "not bound":
            return [BindFailed(uid, "HTTP 500")]
        return [BindFailed(uid, "HTTP 404", is_lost_race=True), PodGone(bind.pod.key, uid)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(events=st.lists(EVENTS, min_size=40, max_size=80))
def test_whatever_goes_wrong_nothing_is_overcommitted_or_bound_twice(events):
    cluster = Cluster()

    for event in events:
        cluster.play(event)
        snapshot = cluster.engine.snapshot
        for name in snapshot.names:
            assert len(snapshot.node(name).pods) == snapshot.node(name).requested.get(PODS, 0)
            assert is_within(snapshot.node(name))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(events=st.lists(EVENTS, min_size=30, max_size=60))
def test_when_things_calm_down_every_pod_that_fits_is_bound(events):
    cluster = Cluster()
    for event in events:
        cluster.play(event)

    for name in NAMES:
        cluster.play(NodeSeen(make_facts(name, cpu_milli=100_000)))
    for _ in range(60):
        cluster.play("answer")
        cluster.play("bound")

    assert [cluster.engine.n_pending(pool) for pool in Pool] == [0, 0, 0, 0]
    assert cluster.binds == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(events=st.lists(EVENTS, min_size=30, max_size=60))
def test_the_same_events_give_the_same_plan(events):
    one, other = Cluster(), Cluster()

    for event in events:
        one.play(event)
        other.play(event)

    assert one.bound == other.bound
    assert [(b.pod.uid, b.node) for b in one.binds] == [(b.pod.uid, b.node) for b in other.binds]
