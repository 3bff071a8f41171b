import random
from contextlib import contextmanager

import pytest

from predictor.contract import TrainingReport
from predictor.database import open_database
from predictor.drift import ChangeDetector, DriftWatch, JudgedPrediction
from predictor.history import LearningHistory
from predictor.metrics import Metrics


def errors(n, *, p_wrong, seed, start=0):
    """Outcomes of confident predictions, some of which are wrong; one a second."""
    dice = random.Random(seed)
    return [
        JudgedPrediction(
            p_success=0.9, success=dice.random() >= p_wrong, made_at_s=float(start + i)
        )
        for i in range(n)
    ]


def changes(stream):
    detector = ChangeDetector(delta=0.002)
    return [change for judged in stream if (change := detector.update(judged))]


@pytest.mark.parametrize("seed", range(5))
def test_growing_errors_are_noticed_and_dated(seed):
    stream = errors(300, p_wrong=0.1, seed=seed) + errors(
        200, p_wrong=0.6, seed=seed + 100, start=300
    )

    [change] = changes(stream)

    assert change.since_s == pytest.approx(300.0, abs=25.0)
    assert change.error_before == pytest.approx(0.09, abs=0.05)
    assert change.error_after > 0.3


@pytest.mark.parametrize("seed", range(5))
def test_steady_errors_are_no_change(seed):
    assert changes(errors(2_000, p_wrong=0.3, seed=seed)) == []


@pytest.mark.parametrize("seed", range(5))
def test_falling_errors_are_no_drift(seed):
    assert changes(errors(300, p_wrong=0.6, seed=seed) + errors(300, p_wrong=0.1, seed=seed)) == []


@contextmanager
def open_history(path):
    database = open_database(f"sqlite:///{path}")
    yield LearningHistory(database)
    database.close()


class Reports:
    """What all replicas took in; read by number."""

    def __init__(self, judged=()):
        self.judged = list(judged)

    def after(self, number):
        return dict(enumerate(self.judged[number:], start=number + 1))


def watch(history, *, reports, model_version=lambda: 1):
    return DriftWatch(
        history,
        metrics=Metrics(),
        model_version=model_version,
        delta=0.002,
        judged_after=reports.after,
        since_report=0,
    )


def take(reports, judged, *watches):
    """Each report comes in at one replica; each replica looks from time to time."""
    for one in judged:
        reports.judged.append(one)
        for watched in watches:
            watched.catch_up(now_s=1_000.0)


GOOD = errors(300, p_wrong=0.05, seed=1)
BAD = errors(100, p_wrong=0.7, seed=2, start=300)


def test_a_drift_is_kept_over_a_restart_and_told_once(tmp_path):
    with open_history(tmp_path / "db") as history:
        reports = Reports()
        watched = watch(history, reports=reports)
        take(reports, GOOD + BAD, watched)
        [drift] = history.drifts().values()
        assert watched.is_pending
        watched.settle()
        assert not watched.is_pending

        again = watch(history, reports=reports)

        assert again.since_s == watched.since_s == drift.since_s
        assert not again.is_pending
        assert list(history.drifts().values()) == [drift]


def test_what_was_reported_before_a_start_counts(tmp_path):
    with open_history(tmp_path / "db") as history:
        reports = Reports(GOOD)
        watched = watch(history, reports=reports)

        take(reports, BAD, watched)

        assert watched.is_pending


def test_the_errors_of_another_model_are_not_compared(tmp_path):
    version = 1
    with open_history(tmp_path / "db") as history:
        reports = Reports()
        watched = watch(history, reports=reports, model_version=lambda: version)
        take(reports, GOOD, watched)

        version = 2
        take(reports, BAD, watched)

        assert history.drifts() == {}


def test_a_drift_that_two_replicas_see_is_told_once(tmp_path):
    with open_history(tmp_path / "db") as history:
        reports = Reports()
        one, other = watch(history, reports=reports), watch(history, reports=reports)

        take(reports, GOOD + BAD, one, other)

        [drift] = history.drifts().values()
        assert one.since_s == other.since_s == drift.since_s
        assert one.is_pending
        assert other.is_pending


def test_what_another_replica_learnt_settles_a_drift_from_before_it(tmp_path):
    training = TrainingReport(at_s=1.0, trigger="drift", result="activated", detail="")
    with open_history(tmp_path / "db") as history:
        reports = Reports()
        watched = watch(history, reports=reports)
        earlier = history.add_training(training)
        take(reports, GOOD + BAD, watched)

        watched.settle_until(earlier)
        assert watched.is_pending
        watched.settle_until(history.add_training(training))
        assert not watched.is_pending


def test_only_the_newest_events_are_kept(tmp_path):
    with open_history(tmp_path / "db") as history:
        for i in range(203):
            history.add_training(
                TrainingReport(at_s=float(i), trigger="feedback", result="skipped", detail="")
            )

        kept = [training.at_s for training in history.trainings().values()]

    assert kept == [float(i) for i in range(3, 203)]
