import multiprocessing
import threading
from dataclasses import replace

import numpy as np
import pytest

from predictor.evaluation import TrustRule, quality
from predictor.registry import read_model
from predictor.rows import TrainingSet, placement_row, training_set
from predictor.scoring import Weights
from predictor.training import TrainingError, TrainingProcess, TrainingRequest, train
from tests.predictor_world import learnable_placements


def make_request(*, n=120, rows=None, **fields):
    placements = {p.pod_uid: placement_row(p, weights=Weights()) for p in learnable_placements(n)}
    defaults = {
        "rows": rows or training_set(placements, feedback=(), since_s=0.0, max_rows=10_000),
        "n_estimators": 10,
        "max_depth": 5,
        "random_state": 42,
        "max_samples": 100,
        "n_jobs": 1,
        "joblib_backend": "threading",
        "rule": TrustRule(),
        "trained_at_s": 5.0,
        "last_feedback_id": 3,
        "in_service": None,
    }
    return TrainingRequest(**(defaults | fields))


def test_a_model_that_learns_something_is_trusted():
    about = train(make_request()).record.about

    assert about.is_trusted
    assert about.why_not_trusted == ""
    assert about.n_rows == 120
    assert sum(about.importances.values()) == pytest.approx(1.0)
    assert about.validation.model.brier < about.validation.base_rate.brier


def test_the_same_rows_make_the_same_model():
    first = train(make_request()).record
    second = train(make_request()).record

    assert first.sha256 == second.sha256
    assert first.about.validation == second.about.validation


def test_a_model_that_learns_from_noise_is_not_trusted():
    request = make_request()
    request.rows.y[:] = np.random.default_rng(3).random(120) < 0.8

    record = train(request).record

    assert not record.about.is_trusted
    assert "later rows" in record.about.why_not_trusted


def in_service(trained):
    return read_model(trained.content, record=trained.record), trained.record


def test_the_model_in_service_is_judged_anew_when_its_successor_is_not_trusted():
    old = make_request(n=100)
    before = train(replace(old, trained_at_s=float(old.rows.made_at_s[-1])))
    new = make_request(n=180, in_service=in_service(before))
    new.rows.y[100:] = ~new.rows.y[100:]

    trained = train(new)

    assert before.record.about.is_trusted
    assert not trained.record.about.is_trusted
    assert "does not beat the base rate" in trained.why_withdrawn


def contest(*, n, turned_at):
    """Train on the first 200 of *n* placements, then on all; what fails turns at some point."""
    new = make_request(n=n)
    new.rows.y[turned_at:] = ~new.rows.y[turned_at:]
    before = train(make_request(n=200))
    return train(replace(new, in_service=in_service(before))).record.about


def test_a_challenger_that_learnt_of_a_change_replaces_the_champion():
    about = contest(n=800, turned_at=200)

    assert about.why_not_in_service == ""


def test_a_challenger_that_learnt_nothing_new_does_not_replace_the_champion():
    about = contest(n=400, turned_at=400)

    assert about.is_trusted
    assert about.challenge.champion == 0
    assert about.challenge.n_rows == 100
    assert "does not beat" in about.why_not_in_service


def test_a_challenger_without_new_placements_does_not_replace_the_champion():
    about = contest(n=200, turned_at=200)

    assert about.challenge is None
    assert "no placement came" in about.why_not_in_service


def test_one_outcome_teaches_nothing():
    request = make_request()
    request.rows.y[:] = True

    with pytest.raises(TrainingError, match="ended alike"):
        train(request)


def test_a_training_that_is_stopped_leaves_no_process():
    process = TrainingProcess(timeout_s=60)
    request = make_request(n_estimators=100_000)
    errors = []

    def run():
        try:
            process.run(request)
        except TrainingError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    process.stop()
    thread.join(timeout=30)

    assert errors == ["the program is stopping"]
    assert not multiprocessing.active_children()


def test_a_training_that_takes_too_long_is_stopped():
    process = TrainingProcess(timeout_s=0.0)

    with pytest.raises(TrainingError, match="longer than"):
        process.run(make_request(n_estimators=100_000))


def test_a_training_ends_when_its_turn_is_lost():
    def lose_turn():
        raise TrainingError("another replica has begun")

    process = TrainingProcess(timeout_s=60, on_waiting=lose_turn)

    with pytest.raises(TrainingError, match="another replica"):
        process.run(make_request(n_estimators=100_000))
    assert not multiprocessing.active_children()


def test_what_goes_wrong_in_the_other_process_is_told_here():
    process = TrainingProcess(timeout_s=60)

    with pytest.raises(TrainingError, match="no-such-backend"):
        process.run(make_request(joblib_backend="no-such-backend"))


def rows_of(matrix, *, y):
    made_at_s = np.arange(len(y), dtype=np.float64)
    return TrainingSet(
        X=matrix,
        y=y,
        enhanced_ratio=1.0 - matrix[:, 3].astype(np.float64),
        made_at_s=made_at_s,
        decided_at_s=made_at_s,
    )


def rare_failures(n, *, seed):
    """One placement in sixty fails, nearly all of them on the fullest twentieth of nodes."""
    dice = np.random.default_rng(seed)
    matrix = dice.random((n, 13)).astype(np.float32)
    is_strained = matrix[:, 3] > 0.95
    return matrix, dice.random(n) >= np.where(is_strained, 0.25, 0.004), is_strained


def test_rare_failures_are_found_and_their_probabilities_stay_honest():
    matrix, y, _ = rare_failures(5_000, seed=1)
    request = make_request(rows=rows_of(matrix, y=y), n_estimators=50, max_samples=10_000)

    trained = train(request)

    assert trained.record.about.is_trusted
    fresh, came, is_strained = rare_failures(20_000, seed=2)
    p_success = read_model(trained.content, record=trained.record).predict_p_success(fresh)
    p_failure = 1.0 - p_success
    assert p_failure.mean() == pytest.approx((~came).mean(), abs=0.005)
    assert p_failure[is_strained].mean() > 10 * p_failure[~is_strained].mean()
    assert quality(p_success, y=came).expected_calibration_error < 0.01


def test_a_model_is_judged_on_the_newest_slice_beside_both_baselines():
    validation = train(make_request()).record.about.validation
    newest = validation.newest

    assert newest.n_rows == 20  # the last of six blocks of 120 rows
    assert 0 < newest.n_failures < validation.n_failures
    assert newest.success_rate == 1.0 - newest.n_failures / newest.n_rows
    assert newest.model.brier < min(newest.base_rate.brier, newest.enhanced_scoring.brier)
    assert newest.base_rate.roc_auc == 0.5
    for said in (newest.model, newest.base_rate, newest.enhanced_scoring):
        assert 0.0 <= said.expected_calibration_error <= 1.0


def test_many_rows_are_judged_by_half_of_the_trees_and_served_by_all(monkeypatch):
    monkeypatch.setattr("predictor.training.MANY_ROWS", 120)
    before = train(make_request(n=100))
    monkeypatch.setattr("predictor.training.MANY_ROWS", 121)
    after = train(make_request(in_service=in_service(before)))
    monkeypatch.setattr("predictor.training.MANY_ROWS", 120)

    many = train(make_request(in_service=in_service(before)))

    assert len(read_model(many.content, record=many.record).forest.trees) == 10
    assert many.record.about.validation != after.record.about.validation
    assert many.record.about.challenge == after.record.about.challenge
