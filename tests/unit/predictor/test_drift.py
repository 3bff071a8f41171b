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
    engine = open_database(path)
    yield LearningHistory(engine)
    engine.dispose()


def watch(history, *, past=(), model_version=lambda: 1):
    return DriftWatch(
        history, metrics=Metrics(), model_version=model_version, delta=0.002, past=list(past)
    )


GOOD = errors(300, p_wrong=0.05, seed=1)
BAD = errors(100, p_wrong=0.7, seed=2, start=300)


def test_a_drift_is_kept_over_a_restart_and_told_once(tmp_path):
    with open_history(tmp_path / "db") as history:
        watched = watch(history)
        for judged in GOOD + BAD:
            watched.observe(judged, now_s=1_000.0)
        [drift] = history.drifts()
        assert watched.is_pending
        watched.settle()
        assert not watched.is_pending

        again = watch(history, past=GOOD + BAD)

        assert again.since_s == watched.since_s == drift.since_s
        assert not again.is_pending
        assert history.drifts() == [drift]


def test_what_was_reported_before_a_start_counts(tmp_path):
    with open_history(tmp_path / "db") as history:
        watched = watch(history, past=GOOD)

        for judged in BAD:
            watched.observe(judged, now_s=1_000.0)

        assert watched.is_pending


def test_the_errors_of_another_model_are_not_compared(tmp_path):
    version = 1
    with open_history(tmp_path / "db") as history:
        watched = watch(history, model_version=lambda: version)
        for judged in GOOD:
            watched.observe(judged, now_s=1_000.0)

        version = 2
        for judged in BAD:
            watched.observe(judged, now_s=1_000.0)

        assert history.drifts() == []


def test_only_the_newest_events_are_kept(tmp_path):
    with open_history(tmp_path / "db") as history:
        for i in range(203):
            history.add_training(
                TrainingReport(at_s=float(i), trigger="feedback", result="skipped", detail="")
            )

        kept = [training.at_s for training in history.trainings()]

    assert kept == [float(i) for i in range(3, 203)]
