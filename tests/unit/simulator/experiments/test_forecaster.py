"""The predictor within an experiment: answers, trainings, and how right it was."""

import copy
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace

from scheduler.events import Bind, Predicted, PredictionFailed
from scheduler.model import Shape
from scheduler.simulator.experiments.forecaster import Forecaster
from tests.predictor_world import (
    GIB,
    START_S,
    learnable_placements,
    make_node_state,
    make_placement,
    make_snapshot,
    make_workload,
)

HOUR_S = 3600.0
WEB = "default/ReplicaSet/web"


class FakeObserver:
    """A collector's knowledge, as a test sets it."""

    def __init__(self, *placements, snapshot=None):
        self.current = snapshot or two_nodes()
        self.placements = {}
        self.add(*placements)

    def add(self, *placements):
        self.placements |= {placement.pod_uid: placement for placement in placements}

    def snapshot(self, *, now_s):
        return self.current


def two_nodes(*, full_gib=15.5, version=1, **fields):
    """One node that is nearly full, and one that is free."""
    return make_snapshot(
        make_node_state("full", usage_memory_bytes=int(full_gib * GIB)),
        make_node_state("free", usage_memory_bytes=GIB),
        version=version,
        **fields,
    )


def shape(*, cpu_milli=500, workload=WEB):
    return Shape(cpu_milli=cpu_milli, memory_bytes=GIB // 2, namespace="default", workload=workload)


def forecaster(observer=None, *, retrain_every_s=6 * HOUR_S, now_s=START_S):
    return Forecaster(observer or FakeObserver(), now_s=now_s, retrain_every_s=retrain_every_s)


def answer(subject, *shapes, now_s=START_S):
    predicted = subject.answer(shapes or (shape(),), now_s=now_s)
    assert isinstance(predicted, Predicted)
    return predicted.answer


def bind(subject, uid, *, node, asked=None, now_s=START_S):
    """Ask, put a pod on a node, and tell the probability of success that was answered."""
    said = asked or answer(subject, now_s=now_s)
    pod = SimpleNamespace(uid=uid)
    subject.note(Bind(pod, node, said.prediction_ids[0]), now_s=now_s)
    return None if said.p_success is None else said.p_success[0][said.nodes.index(node)]


def outcome_of(uid, *, success, number=10_000, at_s=START_S):
    """A placement of that pod whose outcome is known."""
    placement = make_placement(number, success=success, placed_at_s=at_s)
    return replace(placement, pod_uid=uid)


@pytest.fixture(scope="module")
def learnt():
    """A forecaster that has learnt that pods fail on nodes that are nearly full."""
    return forecaster(FakeObserver(*learnable_placements(200)))


@pytest.fixture
def trained(learnt):
    return copy.deepcopy(learnt)


# --- answers


def test_an_untrained_one_answers_by_enhanced_scoring():
    subject = forecaster(FakeObserver(*learnable_placements(200)), retrain_every_s=None)
    said = answer(subject, shape(), shape(cpu_milli=3000))

    assert (said.algorithm, said.model_version, said.p_success) == ("enhanced_scoring", 0, None)
    assert said.nodes == ("full", "free")
    assert said.scores.shape == (2, 2)
    assert (said.scores[:, 1] > said.scores[:, 0]).all()
    assert said.snapshot_at_s == START_S
    assert dict(subject.trainings) == {}


def test_a_learning_one_ranks_nodes_where_placements_fail_below_others(learnt):
    said = answer(learnt)

    assert dict(learnt.trainings) == {"activated": 1}
    assert (said.algorithm, said.model_version) == ("ml_prediction", 1)
    full, free = said.p_success[0]
    assert full < 0.5 < free
    assert said.scores[0][0] < said.scores[0][1]


def test_with_too_little_to_learn_from_it_scores_as_if_untrained():
    few = learnable_placements(49)
    subject = forecaster(FakeObserver(*few))
    said, plain = answer(subject), answer(forecaster(FakeObserver(*few), retrain_every_s=None))

    assert dict(subject.trainings) == {"skipped": 1}
    assert said.algorithm == "enhanced_scoring"
    assert said.scores.tolist() == plain.scores.tolist()


def test_with_only_successes_to_learn_from_a_training_fails():
    subject = forecaster(FakeObserver(*(make_placement(number) for number in range(1, 101))))

    assert dict(subject.trainings) == {"failed": 1}
    assert answer(subject).model_version == 0


def test_noise_is_not_trusted():
    dice = np.random.default_rng(3)
    observer = FakeObserver(
        *(make_placement(number, success=bool(dice.random() < 0.8)) for number in range(1, 121))
    )
    subject = forecaster(observer)

    assert dict(subject.trainings) == {"not_trusted": 1}
    assert answer(subject).model_version == 0


def test_nodes_that_are_not_ready_or_cordoned_are_left_out():
    nodes = (
        make_node_state("good"),
        make_node_state("lost", is_ready=False),
        make_node_state("cordoned", is_schedulable=False),
    )
    subject = forecaster(FakeObserver(snapshot=make_snapshot(*nodes)), retrain_every_s=None)

    assert answer(subject).nodes == ("good",)


def test_without_a_ready_node_there_is_no_answer():
    snapshot = make_snapshot(make_node_state("lost", is_ready=False))
    subject = forecaster(FakeObserver(snapshot=snapshot), retrain_every_s=None)

    assert subject.answer((shape(),), now_s=START_S) == PredictionFailed((shape(),), "unavailable")


def test_what_replicas_usually_use_is_told():
    usual = make_workload(usual_cpu_milli=120, usual_memory_bytes=GIB // 4)
    subject = forecaster(FakeObserver(snapshot=two_nodes(workloads=[usual])), retrain_every_s=None)
    said = answer(subject, shape(), shape(workload="default/ReplicaSet/other"))

    assert (said.usual[0].cpu_milli, said.usual[0].memory_bytes) == (120, GIB // 4)
    assert said.usual[1] is None


def test_a_new_snapshot_is_answered_from_at_once(trained):
    observer = trained._observer
    before = answer(trained).p_success[0]
    observer.current = two_nodes(full_gib=0.5, version=2)
    after = answer(trained).p_success[0]

    assert before[0] < 0.5 < after[0]


# --- learning anew


def test_it_learns_anew_when_it_is_time_and_not_before(trained):
    trained.tend(now_s=START_S + 6 * HOUR_S - 1.0)
    assert trained.trainings.total() == 1

    trained.tend(now_s=START_S + 6 * HOUR_S)

    assert trained.trainings.total() == 2
    assert trained.next_training_s == START_S + 12 * HOUR_S


def test_one_that_never_learns_does_not():
    subject = forecaster(FakeObserver(*learnable_placements(200)), retrain_every_s=None)
    subject.tend(now_s=START_S + 1000 * HOUR_S)

    assert dict(subject.trainings) == {}
    assert subject.quality() is None


def test_a_model_that_is_not_better_than_the_one_in_service_does_not_replace_it(trained):
    trained.learn(now_s=START_S + HOUR_S)

    assert dict(trained.trainings) == {"activated": 1, "not_better": 1}
    assert answer(trained).model_version == 1


def live_through(subject, n, *, start_s, is_turned):
    """Place pods by turns on the full node and the free one, and learn what became of them."""
    for number in range(n):
        node, used_gib = (("full", 15.5), ("free", 1.0))[number % 2]
        at_s, uid = start_s + 10.0 * number, f"{start_s}-{number}"
        bind(subject, uid, node=node, now_s=at_s)
        placement = make_placement(
            node=make_node_state(node, usage_memory_bytes=int(used_gib * GIB)),
            success=(node == "free") is not is_turned,
            placed_at_s=at_s,
            workload=make_workload(failure_rate=0.05),
            cluster=subject._observer.current.cluster,
        )
        subject._observer.add(replace(placement, pod_uid=uid))
    return start_s + 10.0 * n + 60.0


def test_a_world_that_has_turned_is_noticed_and_learnt_before_it_is_time(trained):
    at_s = live_through(trained, 300, start_s=START_S, is_turned=False)
    trained.tend(now_s=at_s)
    assert dict(trained.trainings) == {"activated": 1}

    at_s = live_through(trained, 300, start_s=at_s, is_turned=True)
    trained.tend(now_s=at_s)

    assert at_s < START_S + 6 * HOUR_S
    assert dict(trained.trainings) == {"activated": 2}
    full, free = answer(trained, now_s=at_s).p_success[0]
    assert full > 0.5 > free


# --- how right it was


def auc_by_hand(p, y):
    """How often a success was given more than a failure; a tie is half a win."""
    pairs = list(
        product(
            [a for a, ok in zip(p, y, strict=True) if ok],
            [b for b, ok in zip(p, y, strict=True) if not ok],
        )
    )
    return sum((good > bad) + 0.5 * (good == bad) for good, bad in pairs) / len(pairs)


def brier_by_hand(p, y):
    return sum((a - ok) ** 2 for a, ok in zip(p, y, strict=True)) / len(y)


def test_outcomes_of_what_was_predicted_make_the_quality(trained):
    p, enhanced, y = [], [], []
    # Mostly as expected, but "a" fails on the free node and "d" does well on the full one.
    for uid, node, success in (
        ("a", "free", False),
        ("b", "free", True),
        ("c", "free", True),
        ("d", "full", True),
        ("e", "full", False),
    ):
        said = answer(trained)
        p.append(bind(trained, uid, node=node, asked=said))
        plain = answer(forecaster(FakeObserver(), retrain_every_s=None))
        enhanced.append(plain.scores[0][plain.nodes.index(node)] / 100.0)
        trained._observer.add(outcome_of(uid, success=success))
        y.append(success)
    bind(trained, "not judged yet", node="free")
    bind(trained, "never to be judged", node="free")
    trained._observer.add(
        replace(make_placement(20_000, success=None), pod_uid="never to be judged")
    )
    quality = trained.quality()

    rate = trained._in_service[1].about.base_rate
    assert quality.n_rows == 5
    assert quality.base_rate == pytest.approx(0.6)
    assert quality.auc == pytest.approx(auc_by_hand(p, y))
    # Of the six pairs two are won, one is lost and three are ties: (2 + 3 / 2) / 6.
    assert quality.auc == pytest.approx(3.5 / 6)
    assert quality.brier == pytest.approx(brier_by_hand(p, y), abs=1e-6)
    assert quality.base_rate_brier == pytest.approx(brier_by_hand([rate] * 5, y))
    assert quality.enhanced_auc == pytest.approx(auc_by_hand(enhanced, y))
    assert quality.enhanced_brier == pytest.approx(brier_by_hand(enhanced, y), abs=0.01)


def test_when_all_ended_alike_there_is_no_auc(trained):
    p = bind(trained, "a", node="free")
    trained._observer.add(outcome_of("a", success=True))
    quality = trained.quality()

    assert (quality.n_rows, quality.auc, quality.enhanced_auc) == (1, None, None)
    assert quality.brier == pytest.approx((1 - p) ** 2, abs=1e-6)


def test_what_was_said_at_the_time_counts_not_what_would_be_said_now(trained):
    p = bind(trained, "a", node="full")
    trained._observer.current = two_nodes(full_gib=0.5, version=2)
    trained._observer.add(outcome_of("a", success=True))

    assert trained.quality().brier == pytest.approx((1 - p) ** 2, abs=1e-6)
    assert p < 0.5


def test_placements_made_without_a_model_have_no_quality():
    subject = forecaster(FakeObserver(), retrain_every_s=None)
    assert bind(subject, "a", node="free") is None
    subject._observer.add(outcome_of("a", success=True))

    assert subject.quality() is None


def test_bindings_that_follow_no_answer_are_passed_over(trained):
    said = answer(trained)
    for node, number in (("free", "unknown"), ("free", ""), ("elsewhere", said.prediction_ids[0])):
        trained.note(Bind(SimpleNamespace(uid="a"), node, number), now_s=START_S)
    trained._observer.add(outcome_of("a", success=True))

    assert trained.quality() is None


def test_only_the_newest_answers_are_remembered(trained):
    first = answer(trained)
    for _ in range(20):
        answer(trained, *[shape(cpu_milli=100 + n) for n in range(100)])
    bind(trained, "a", node="free", asked=first)
    trained._observer.add(outcome_of("a", success=True))

    assert trained.quality() is None
    assert len(trained._answers) == 2000
