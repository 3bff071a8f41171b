"""The engine: events in, actions out; no I/O, no clock."""

from dataclasses import replace

import numpy as np
import pytest

from kube.objects import Toleration
from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    AskPrediction,
    Bind,
    BindFailed,
    BindSucceeded,
    Evict,
    NodeGone,
    NodeSeen,
    PodGone,
    PodSeen,
    Predicted,
    PredictionFailed,
    ReportFailure,
    ReportScheduled,
)
from scheduler.framework.interface import FilterPlugin, PluginArgs, ScorePlugin
from scheduler.framework.status import Verdicts
from scheduler.model import Taint
from scheduler.plugins.defaults import built_in_configuration
from scheduler.predictions import PredictionSettings
from scheduler.queue import Pool
from tests.unit.scheduler.worlds import (
    GI,
    decide,
    decisions,
    feed,
    make_answer,
    make_engine,
    make_facts,
    make_pending,
    make_profile,
    placements,
)


def seen(*pods):
    return [PodSeen(pod) for pod in pods]


def failures(actions):
    return [action for action in actions if isinstance(action, ReportFailure)]


def questions(actions):
    return [action for action in actions if isinstance(action, AskPrediction)]


def test_binds_a_pod_to_the_node_with_most_room():
    engine = make_engine(make_facts("small", cpu_milli=1000), "big")

    actions = feed(engine, seen(make_pending()))

    assert placements(actions) == {"web-1": "big"}


def test_news_alone_decides_nothing():
    engine = make_engine("n1")

    assert engine.handle(PodSeen(make_pending()), now_s=0.0) == []


def test_counts_a_pod_from_the_moment_it_is_decided():
    engine = make_engine("n1")
    pods = [make_pending(f"p{i}", cpu_milli=1500) for i in range(3)]

    actions = feed(engine, seen(*pods))

    assert placements(actions) == {"p0": "n1", "p1": "n1"}
    assert [f.pod.name for f in failures(actions)] == ["p2"]


def test_says_why_no_node_would_do():
    tainted = make_facts("n2", taints=(Taint("dedicated", "a", "NoSchedule"),))
    engine = make_engine(make_facts("n1", cpu_milli=100), tainted, make_facts("n3", cpu_milli=200))

    [failure] = failures(feed(engine, seen(make_pending())))

    assert failure.reason == "Unschedulable"
    assert failure.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


def test_says_that_there_are_no_nodes():
    engine = make_engine()
    actions = feed(engine, seen(make_pending()))
    woken = feed(engine, [NodeSeen(make_facts("n1"))], now_s=1.1)

    [failure], [decision] = failures(actions), decisions(actions)
    assert failure.message == decision.message == "no nodes available to schedule pods"
    assert placements(woken) == {"web-1": "n1"}


def test_refuses_a_pod_that_asks_for_devices_instead_of_placing_it_without():
    engine = make_engine("n1", "n2")

    refused = feed(engine, seen(make_pending(has_resource_claims=True)))
    woken = feed(engine, [NodeSeen(make_facts("n3"))], now_s=100.0)

    [failure] = failures(refused)
    assert failure.message == (
        "0/2 nodes are available: pod asks for devices (spec.resourceClaims), "
        "which this scheduler does not allocate. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert woken == []


def test_leaves_other_schedulers_pods_alone():
    engine = make_engine("n1")

    assert feed(engine, seen(make_pending(scheduler_name="default-scheduler"))) == []
    assert engine.n_pending(Pool.ACTIVE) == 0


def test_leaves_terminating_pods_alone():
    assert feed(make_engine("n1"), seen(make_pending(is_terminating=True))) == []


def test_takes_the_most_urgent_pod_first_and_then_who_waited_longer():
    engine = make_engine(make_facts("n1", cpu_milli=1000))
    first = make_pending("first", cpu_milli=600)
    urgent = make_pending("urgent", cpu_milli=600, priority=10)
    engine.handle(PodSeen(first), now_s=0.0)

    actions = feed(engine, seen(urgent), now_s=1.0)

    assert placements(actions) == {"urgent": "n1"}


def test_a_priority_that_changes_while_waiting_counts_at_once():
    engine = make_engine(make_facts("n1", cpu_milli=1000))
    pods = [make_pending("a", cpu_milli=600, priority=5), make_pending("b", cpu_milli=600)]

    actions = feed(engine, [*seen(*pods), PodSeen(make_pending("b", cpu_milli=600, priority=9))])

    assert placements(actions) == {"b": "n1"}


def test_a_refused_pod_gets_its_chance_when_room_appears():
    engine = make_engine(make_facts("n1", cpu_milli=1000))
    feed(engine, seen(make_pending("a", cpu_milli=800), make_pending("b", cpu_milli=800)))

    at_once = feed(engine, [PodGone("default/a", "uid-of-a")], now_s=0.5)
    later = feed(engine, [], now_s=1.5)

    assert placements(at_once) == {}
    assert placements(later) == {"b": "n1"}


@pytest.mark.parametrize(
    ("event", "is_tried"),
    [
        pytest.param(NodeSeen(make_facts("n2")), True, id="a node joins"),
        pytest.param(NodeSeen(make_facts("n1", cpu_milli=2000)), True, id="a node grows"),
        pytest.param(
            NodeSeen(make_facts("n1", cpu_milli=100, labels={"a": "b"})), False, id="a label"
        ),
        pytest.param(PodSeen(make_pending(priority=3)), True, id="the pod changes"),
    ],
)
def test_only_what_may_help_wakes_a_refused_pod(event, is_tried):
    engine = make_engine(make_facts("n1", cpu_milli=100))
    feed(engine, seen(make_pending()))

    actions = feed(engine, [event], now_s=20.0)

    assert bool(decisions(actions)) is is_tried


def test_a_refused_pod_is_tried_again_after_five_minutes_whatever_happened():
    engine = make_engine(make_facts("n1", cpu_milli=100))
    feed(engine, seen(make_pending()))

    assert feed(engine, [], now_s=299.0) == []
    assert len(failures(feed(engine, [], now_s=300.0))) == 1


def test_a_gated_pod_waits_until_its_gates_are_gone():
    engine = make_engine("n1")
    gated = feed(engine, seen(make_pending(scheduling_gates=("later",))))

    opened = feed(engine, seen(make_pending()), now_s=5.0)

    assert gated == []
    assert placements(opened) == {"web-1": "n1"}


def test_tells_of_a_binding_once_it_is_there():
    engine = make_engine("n1")
    engine.handle(PodSeen(make_pending()), now_s=10.0)
    decide(engine, now_s=10.0)

    [report] = engine.handle(BindSucceeded("uid-of-web-1"), now_s=12.0)

    assert report == ReportScheduled(report.pod, "n1", 1, 2.0)
    assert engine.handle(BindSucceeded("uid-of-web-1"), now_s=13.0) == []


def test_a_binding_that_may_succeed_later_is_tried_again_after_back_off():
    engine = make_engine("n1")
    feed(engine, seen(make_pending()))

    [report] = engine.handle(BindFailed("uid-of-web-1", "HTTP 500"), now_s=1.0)
    early, later = feed(engine, [], now_s=1.9), feed(engine, [], now_s=2.1)

    assert report.reason == "SchedulerError"
    assert placements(early) == {}
    assert placements(later) == {"web-1": "n1"}


def test_a_lost_race_for_a_pod_is_not_reported_and_makes_room():
    engine = make_engine(make_facts("n1", cpu_milli=600))
    feed(engine, seen(make_pending()))

    actions = engine.handle(BindFailed("uid-of-web-1", "gone", is_lost_race=True), now_s=1.0)
    room = feed(engine, seen(make_pending("next")), now_s=1.0)

    assert actions == []
    assert placements(room) == {"next": "n1"}


def test_a_pod_is_not_lost_with_a_race_that_it_turns_out_to_have_won():
    engine = make_engine("n1")
    feed(engine, seen(make_pending()))
    engine.handle(BindFailed("uid-of-web-1", "gone", is_lost_race=True), now_s=1.0)

    assert placements(feed(engine, [], now_s=2.1)) == {"web-1": "n1"}


def test_a_pod_that_is_being_deleted_is_not_tried_again():
    engine = make_engine("n1")
    feed(engine, seen(make_pending(), make_pending(is_terminating=True)))
    engine.handle(BindFailed("uid-of-web-1", "is being deleted"), now_s=1.0)

    assert placements(feed(engine, [], now_s=100.0)) == {}


def test_news_from_before_the_binding_does_not_bring_the_pod_back():
    engine = make_engine("n1", "n2")
    feed(engine, seen(make_pending()))
    engine.handle(BindSucceeded("uid-of-web-1"), now_s=0.0)

    late = feed(engine, seen(make_pending(priority=7)))

    assert late == []
    assert engine.cache_sizes["assumed_pods"] == 1


def test_decides_no_more_than_may_be_bound_at_once():
    engine = make_engine("n1", max_binding=2)
    feed(engine, seen(*[make_pending(f"p{i}") for i in range(5)]))
    full = decide(engine)
    engine.handle(BindSucceeded("uid-of-p0"), now_s=0.0)

    assert (engine.n_pending(Pool.ACTIVE), full) == (3, [])
    assert placements(decide(engine)) == {"p2": "n1"}


def test_a_running_pod_that_shrinks_makes_room():
    engine = make_engine(make_facts("n1", cpu_milli=600))
    feed(engine, seen(make_pending("old", node_name="n1"), make_pending()))

    smaller = make_pending("old", node_name="n1", cpu_milli=50)

    assert placements(feed(engine, seen(smaller), now_s=10.0)) == {"web-1": "n1"}


def test_believes_the_api_server_about_where_a_pod_is():
    engine = make_engine("n1", "n2")
    [node] = placements(feed(engine, seen(make_pending()))).values()
    other = "n2" if node == "n1" else "n1"

    feed(engine, seen(make_pending(node_name=other)))

    assert engine.snapshot.node(node).pods == ()
    assert [pod.name for pod in engine.snapshot.node(other).pods] == ["web-1"]


def test_a_finished_pod_makes_room():
    engine = make_engine(make_facts("n1", cpu_milli=600))
    feed(engine, seen(make_pending("old", node_name="n1")))

    actions = feed(
        engine, seen(make_pending("old", node_name="n1", is_finished=True), make_pending())
    )

    assert placements(actions) == {"web-1": "n1"}


def test_a_node_that_goes_and_comes_back_still_holds_its_pods():
    node = make_facts("n1", cpu_milli=600)
    engine = make_engine(node)
    feed(engine, [*seen(make_pending("old", node_name="n1")), NodeGone("n1"), NodeSeen(node)])

    assert placements(feed(engine, seen(make_pending()))) == {}


def test_tolerations_open_tainted_nodes():
    engine = make_engine(make_facts("n1", taints=(Taint("dedicated", "a", "NoExecute"),)))
    tolerant = make_pending(tolerations=(Toleration(key="dedicated", operator="Exists"),))

    assert placements(feed(engine, seen(tolerant))) == {"web-1": "n1"}


def test_the_same_events_give_the_same_plan_and_another_seed_another():
    def plan(seed, names):
        engine = make_engine(*names, seed=seed)
        pods = [make_pending(f"p{i}", cpu_milli=1) for i in range(8)]
        return placements(feed(engine, seen(*pods)))

    names = [f"n{i}" for i in range(8)]

    assert plan(1, names) == plan(1, names)
    assert plan(1, names) == plan(1, names[::-1])
    assert plan(1, names) != plan(2, names)


def test_a_decision_explains_itself():
    engine = make_engine("n1", "n2", make_facts("n3", cpu_milli=100))
    feed(engine, seen(make_pending("old", node_name="n1", cpu_milli=2000)))

    [decision] = decisions(feed(engine, seen(make_pending()), now_s=7.0))

    assert (decision.node, decision.runner_up) == ("n2", "n1")
    assert decision.margin == decision.scores.totals[0] - decision.scores.totals[1]
    assert (decision.n_nodes, decision.n_feasible) == (3, 2)
    assert decision.refusals == {("NodeResourcesFit", "Insufficient cpu"): 1}
    assert [(v.node, v.code) for v in decision.verdicts] == [("n3", "UnschedulableAndUnresolvable")]
    assert decision.prediction.words == "prediction: not asked"


# ------------------------------------------------------------------------------- predictions


def test_asks_once_about_pods_of_the_same_shape_and_decides_when_the_answer_comes():
    engine = make_engine("n1", "n2", predicts=True)
    pods = [make_pending(f"p{i}", cpu_milli=10) for i in range(3)]

    asked = feed(engine, seen(*pods))
    [question] = questions(asked)
    decided = feed(engine, [Predicted(make_answer(question.shapes, {"n1": 0.4, "n2": 0.9}))])

    assert len(question.shapes) == 1
    assert placements(asked) == {}
    assert placements(decided) == {"p0": "n2", "p1": "n2", "p2": "n2"}


def test_asks_about_all_shapes_at_once_and_about_none_twice():
    engine = make_engine("n1", predicts=True)
    pods = [make_pending("a", cpu_milli=10), make_pending("b", cpu_milli=20)]

    asked, again = feed(engine, seen(*pods)), feed(engine, [])

    assert [len(question.shapes) for question in questions(asked)] == [2]
    assert questions(again) == []


def test_a_pod_that_comes_while_another_waits_is_asked_about_at_once():
    engine = make_engine("n1", predicts=True)
    [first] = questions(feed(engine, seen(make_pending("a", cpu_milli=1))))

    [second] = questions(feed(engine, seen(make_pending("b", cpu_milli=2))))
    placed = placements(feed(engine, [PredictionFailed(second.shapes, "timed out")]))
    rest = placements(feed(engine, [PredictionFailed(first.shapes, "timed out")]))

    assert [shape.cpu_milli for shape in second.shapes] == [2]
    assert (placed, list(rest)) == ({}, ["a", "b"])


def test_goes_on_without_the_predictor_and_says_so():
    engine = make_engine("n1", "n2", predicts=True)
    [question] = questions(feed(engine, seen(make_pending())))

    actions = feed(engine, [PredictionFailed(question.shapes, "timed out")])

    assert set(placements(actions)) == {"web-1"}
    assert decisions(actions)[0].prediction.words == "prediction: timed out"


def test_asks_again_some_time_after_a_failure():
    engine = make_engine("n1", predicts=True)
    [question] = questions(feed(engine, seen(make_pending())))
    feed(engine, [PredictionFailed(question.shapes, "unavailable")])

    soon = feed(engine, seen(make_pending("b")), now_s=0.5)
    later = feed(engine, seen(make_pending("c")), now_s=2.0)

    assert questions(soon) == []
    assert len(questions(later)) == 1


@pytest.mark.parametrize(
    ("age_s", "is_asked"),
    [pytest.param(29, False, id="fresh"), pytest.param(31, True, id="too old")],
)
def test_an_answer_serves_until_it_is_too_old(age_s, is_asked):
    engine = make_engine("n1", predicts=True, prediction=PredictionSettings(max_age_s=30))
    [question] = questions(feed(engine, seen(make_pending("a"))))
    feed(engine, [Predicted(make_answer(question.shapes, {"n1": 0.9}))])

    actions = feed(engine, seen(make_pending("b")), now_s=age_s)

    assert bool(questions(actions)) is is_asked


def test_a_burst_does_not_all_go_to_the_node_that_looked_best_before_it():
    engine = make_engine("n1", "n2", predicts=True)
    pods = [make_pending(f"p{i}", cpu_milli=800, memory_bytes=GI) for i in range(6)]
    [question] = questions(feed(engine, seen(*pods)))

    actions = feed(engine, [Predicted(make_answer(question.shapes, {"n1": 0.97, "n2": 0.99}))])

    assert set(placements(actions).values()) == {"n1", "n2"}


def test_the_binding_carries_the_prediction_that_it_rests_on():
    engine = make_engine("n1", "n2", predicts=True)
    [question] = questions(feed(engine, seen(make_pending())))

    actions = feed(engine, [Predicted(make_answer(question.shapes, {"n1": 0.2, "n2": 0.9}))])

    [bind] = [action for action in actions if isinstance(action, Bind)]
    [decision] = decisions(actions)
    assert bind.prediction_id == "prediction-0"
    assert decision.prediction.p_success == pytest.approx(0.9)
    assert decision.prediction.words == (
        "prediction: ml_prediction, model version 7, p(success) 0.90"
    )


def test_enhanced_scores_serve_while_there_is_no_model():
    engine = make_engine("n1", "n2", predicts=True)
    [question] = questions(feed(engine, seen(make_pending())))
    answer = make_answer(question.shapes, scores={"n1": 80, "n2": 20})

    [decision] = decisions(feed(engine, [Predicted(answer)]))

    assert decision.node == "n1"
    assert decision.prediction.p_success is None


def test_the_built_in_profile_weighs_the_prediction_most():
    [profile] = built_in_configuration().profiles

    assert [(each.name, each.weight) for each in profile.plugins.multi_point.enabled] == [
        ("NodePrediction", 6),
        ("NodeLoad", 6),
    ]


def test_a_running_pod_that_becomes_less_important_wakes_those_that_wait():
    engine = make_engine("n1")
    running = replace(make_pending("a", cpu_milli=3000, priority=9), node_name="n1")
    first = feed(engine, [PodSeen(running), PodSeen(make_pending("b", cpu_milli=3000, priority=5))])

    later = feed(engine, [PodSeen(replace(running, priority=1))], now_s=20.0)

    assert not any(isinstance(action, Evict) for action in first)
    assert [action.victim.name for action in later if isinstance(action, Evict)] == ["a"]


def test_a_priority_that_changes_while_the_pod_is_being_bound_counts():
    engine = make_engine("n1")
    low = make_pending("low", cpu_milli=3000)
    feed(engine, [PodSeen(low)])

    raised = replace(low, priority=5)
    actions = feed(
        engine, [PodSeen(raised), PodSeen(make_pending("b", cpu_milli=3000, priority=3))]
    )

    assert not [action for action in actions if isinstance(action, Evict)]


def test_the_room_promised_to_a_pod_that_is_gone_is_others_at_once():
    engine = make_engine("n1")
    low = make_pending("low", cpu_milli=3000, node_name="n1")
    feed(engine, [PodSeen(low)])
    urgent = make_pending("urgent", cpu_milli=4000, priority=5)
    feed(engine, [PodSeen(urgent)])
    feed(engine, [PodGone(low.key, low.uid)], now_s=0.1)
    feed(engine, [PodSeen(make_pending("other", cpu_milli=3000))], now_s=0.2)

    feed(engine, [PodGone(urgent.key, urgent.uid)], now_s=0.5)

    assert placements(decide(engine, now_s=3.0)) == {"other": "n1"}


class Stumbles(FilterPlugin, ScorePlugin):
    """A plugin of others that some pods are too much for."""

    name = "Stumbles"

    def filter(self, state, *, pod, snapshot):
        if pod.name == "too-odd":
            raise RuntimeError("cannot read this pod")
        n_nodes = snapshot.n_nodes - (pod.name == "too-short")
        return Verdicts(np.zeros(n_nodes, dtype=np.uint8), ())

    def score(self, state, *, pod, snapshot):
        return np.array([{"too-odd": 1}[pod.name]] if pod.name == "too-rare" else [1, 1])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("too-odd", "Stumbles failed: RuntimeError('cannot read this pod')"),
        ("too-short", "Stumbles: not one verdict for each node"),
        ("too-rare", "Stumbles failed: KeyError('too-rare')"),
    ],
)
def test_a_pod_that_a_plugin_stumbles_over_stops_nobody_else(name, why):
    profile = make_profile()
    stumbles = Stumbles(PluginArgs())
    profile = replace(
        profile,
        filter=(*profile.filter, stumbles),
        score=(*profile.score, stumbles),
        weights={**profile.weights, "Stumbles": 1},
    )
    engine = Engine({"ai-scheduler": profile}, settings=EngineSettings())

    pods = seen(make_pending(name, priority=9), make_pending("web-1"))
    actions = feed(engine, [NodeSeen(make_facts("n1")), NodeSeen(make_facts("n2")), *pods])

    assert set(placements(actions)) == {"web-1"}
    assert [(f.reason, f.message) for f in failures(actions)] == [("SchedulerError", why)]
