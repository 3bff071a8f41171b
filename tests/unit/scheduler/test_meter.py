"""What the scheduler shows of its decisions: how long, how often, and of what kind."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from scheduler.cluster.counts import EngineCounts
from scheduler.cluster.decisions import DecisionLog
from scheduler.cluster.histograms import SwiftHistogram
from scheduler.cluster.meter import CycleMeter
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.records import Recorder
from scheduler.engine import Engine, EngineSettings
from scheduler.events import Bind, BindFailed, BindSucceeded, NodeSeen, PodGone, PodSeen
from scheduler.framework.interface import ClusterEvent
from scheduler.framework.metering import metered
from scheduler.queue import _word
from tests.unit.scheduler.worlds import (
    decide,
    feed,
    make_engine,
    make_facts,
    make_pending,
    make_profile,
    placements,
)


class FakeMeter:
    """Its clock ticks once a look, and it samples whenever it is told to."""

    def __init__(self, *, is_sampling):
        self.points, self.calls = [], []
        self.is_sampling = is_sampling
        self._now_s = 0.0

    def now_s(self):
        self._now_s += 1.0
        return self._now_s

    def passed(self, point, *, profile, status, since_s):
        self.points.append((point, status))
        now_s = self.now_s()
        assert now_s > since_s
        return now_s

    def called(self, plugin, *, point, status, since_s):
        assert self.now_s() > since_s
        self.calls.append((plugin, point, status))

    def samples(self):
        return self.is_sampling


def metered_engine(meter, *nodes):
    profile = metered(make_profile(), meter=meter)
    engine = Engine({"ai-scheduler": profile}, settings=EngineSettings())
    for node in nodes:
        engine.handle(NodeSeen(make_facts(node)), now_s=0.0)
    return engine


def test_extension_points_are_told_in_their_order():
    meter = FakeMeter(is_sampling=False)
    engine = metered_engine(meter, "n1", "n2")

    feed(engine, [PodSeen(make_pending())])

    assert meter.points == [
        ("PreFilter", "Success"),
        ("Filter", "Success"),
        ("PreScore", "Success"),
        ("Score", "Success"),
        ("Reserve", "Success"),
    ]
    assert meter.calls == []


def test_a_pod_that_fits_nowhere_passes_filter_in_vain():
    meter = FakeMeter(is_sampling=False)
    engine = metered_engine(meter, "n1")

    feed(engine, [PodSeen(make_pending(cpu_milli=100_000))])

    assert meter.points == [
        ("PreFilter", "Success"),
        ("Filter", "Unschedulable"),
        ("PostFilter", "Unschedulable"),
    ]


def test_plugins_are_measured_in_sampled_cycles_and_decide_the_same():
    meter = FakeMeter(is_sampling=True)
    engine, plain = metered_engine(meter, "n1", "n2"), make_engine("n1", "n2")
    pods = [PodSeen(make_pending(f"web-{n}")) for n in range(8)]

    placed = placements(feed(engine, pods))

    assert placed == placements(feed(plain, pods))
    points = {point for _, point, _ in meter.calls}
    assert points == {"PreFilter", "Filter", "PreScore", "Score"}
    assert ("NodeResourcesFit", "Filter", "Success") in meter.calls


def test_whoever_looks_for_room_is_measured_in_sampled_cycles():
    meter = FakeMeter(is_sampling=True)

    feed(metered_engine(meter, "n1"), [PodSeen(make_pending(cpu_milli=10**6))])

    assert ("DefaultPreemption", "PostFilter", "Unschedulable") in meter.calls


def test_one_cycle_of_ten_is_sampled():
    meter = CycleMeter(CollectorRegistry())

    assert [meter.samples() for _ in range(20)].count(True) == 2


def test_looking_for_room_is_counted_as_preemption():
    registry = CollectorRegistry()
    engine = metered_engine(CycleMeter(registry), "n1")

    feed(engine, [PodSeen(make_pending(cpu_milli=100_000))])

    assert registry.get_sample_value("scheduler_preemption_attempts_total") == 1


def test_a_swift_histogram_shows_what_an_ordinary_one_would():
    registry = CollectorRegistry()
    histogram = SwiftHistogram(
        "took_seconds", "How long", ("how",), buckets=(1, 2), registry=registry
    )
    for value in (0.5, 1.0, 1.5, 7.0):
        histogram.observe(value, "well")

    def bucket(bound):
        return registry.get_sample_value("took_seconds_bucket", {"how": "well", "le": bound})

    assert [bucket(bound) for bound in ("1.0", "2.0", "+Inf")] == [2, 3, 4]
    assert registry.get_sample_value("took_seconds_count", {"how": "well"}) == 4
    assert registry.get_sample_value("took_seconds_sum", {"how": "well"}) == 10.0


def test_a_histogram_shows_zeros_for_what_is_to_be_expected():
    registry = CollectorRegistry()
    histogram = SwiftHistogram(
        "took_seconds", "How long", ("how",), buckets=(1,), registry=registry
    )

    histogram.expect("badly")

    assert registry.get_sample_value("took_seconds_count", {"how": "badly"}) == 0


@pytest.mark.parametrize(("type_", "name"), [("counter", "pods_total"), ("gauge", "pods")])
def test_the_engines_own_figures_are_shown_as_they_are(type_, name):
    registry = CollectorRegistry()
    counts = EngineCounts("pods", "Pods", ("queue",), type=type_, registry=registry)

    counts.show({("active",): 3}.items())

    assert registry.get_sample_value(name, {"queue": "active"}) == 3


def test_queues_tell_what_brought_pods_and_who_refused_them():
    engine = make_engine("n1")

    feed(engine, [PodSeen(make_pending("big", cpu_milli=100_000)), PodSeen(make_pending("web"))])
    brought = dict(engine.incoming)
    refused = {key: n for key, n in engine.refusals.items() if n}
    engine.handle(PodGone("default/big", "uid-of-big"), now_s=1.0)

    assert brought == {("active", "PodAdd"): 2, ("unschedulable", "ScheduleAttemptFailure"): 1}
    assert refused == {("NodeResourcesFit", "ai-scheduler"): 1}
    assert not any(engine.refusals.values())


def test_a_change_of_the_cluster_is_named_by_what_it_is():
    engine = make_engine("n1")
    feed(engine, [PodSeen(make_pending("big", cpu_milli=8_000))])

    engine.handle(NodeSeen(make_facts("n2", cpu_milli=16_000)), now_s=100.0)
    decide(engine, now_s=100.0)

    assert engine.incoming["active", "NodeAdd"] == 1
    assert not any(engine.refusals.values())


def test_of_changes_at_once_the_first_gives_the_name():
    assert _word(ClusterEvent.ASSIGNED_POD_DELETE) == "AssignedPodDelete"
    assert _word(ClusterEvent.NODE_LABEL | ClusterEvent.NODE_TAINT) == "NodeLabel"


@pytest.mark.parametrize(
    ("end", "status"),
    [(BindSucceeded, "Success"), (lambda uid: BindFailed(uid, "refused"), "Error")],
    ids=["bound", "refused"],
)
def test_bind_lasts_until_the_api_server_has_answered(end, status):
    metrics = Metrics(CollectorRegistry())
    recorder = Recorder(decisions=DecisionLog(10), metrics=metrics)
    engine = make_engine("n1")
    actions = feed(engine, [PodSeen(make_pending("web"))])
    [decision] = [action.decision for action in actions if hasattr(action, "decision")]
    [bind] = [action for action in actions if isinstance(action, Bind)]

    recorder.record(decision, took_s=0.001)
    recorder.hand_over(bind)
    recorder.note(end(bind.pod.uid))

    labels = {"extension_point": "Bind", "status": status, "profile": "ai-scheduler"}
    count = "scheduler_framework_extension_point_duration_seconds_count"
    assert metrics.registry.get_sample_value(count, labels) == 1


def test_what_has_not_happened_yet_is_shown_as_zero():
    metrics = Metrics(CollectorRegistry())
    metrics.know_profiles(["ai-scheduler"])
    text = generate_latest(metrics.registry).decode()

    assert 'scheduler_schedule_attempts_total{profile="ai-scheduler",result="error"} 0.0' in text
    assert 'scheduler_feedback_total{result="dropped"} 0.0' in text
    assert 'scheduler_predictor_requests_total{result="timed out"} 0.0' in text
    assert 'scheduler_usage_requests_total{result="unavailable"} 0.0' in text
