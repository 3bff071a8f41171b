import multiprocessing
import stat
import threading
from dataclasses import replace

import numpy as np
import pytest

from predictor.evaluation import TrustRule
from predictor.registry import Registry
from predictor.rows import placement_row, training_set
from predictor.scoring import Weights
from predictor.training import TrainingError, TrainingProcess, TrainingRequest, train
from tests.predictor_world import learnable_placements


def make_request(directory, *, n=120, version=1, rows=None, **fields):
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
        "version": version,
        "trained_at_s": 5.0,
        "last_feedback_id": 3,
        "path": str(directory / f"candidate-{version}"),
        "in_service": None,
    }
    return TrainingRequest(**(defaults | fields))


def test_a_model_that_learns_something_is_trusted(tmp_path):
    about = train(make_request(tmp_path)).record.about

    assert about.is_trusted
    assert about.why_not_trusted == ""
    assert about.n_rows == 120
    assert sum(about.importances.values()) == pytest.approx(1.0)
    assert about.validation.model.brier < about.validation.base_rate.brier


def test_the_same_rows_make_the_same_model(tmp_path):
    first = train(make_request(tmp_path, version=1)).record
    second = train(make_request(tmp_path, version=2)).record

    assert first.sha256 == second.sha256
    assert first.about.validation == second.about.validation


def test_a_model_that_learns_from_noise_is_not_trusted(tmp_path):
    request = make_request(tmp_path)
    request.rows.y[:] = np.random.default_rng(3).random(120) < 0.8

    record = train(request).record

    assert not record.about.is_trusted
    assert "later rows" in record.about.why_not_trusted


def test_the_model_in_service_is_judged_anew_when_its_successor_is_not_trusted(tmp_path):
    old = make_request(tmp_path, n=100)
    record = train(replace(old, trained_at_s=float(old.rows.made_at_s[-1]))).record
    new = make_request(tmp_path, n=180, version=2, in_service=(old.path, record))
    new.rows.y[100:] = ~new.rows.y[100:]

    trained = train(new)

    assert record.about.is_trusted
    assert not trained.record.about.is_trusted
    assert "does not beat the base rate" in trained.why_withdrawn


def contest(directory, *, n, turned_at):
    """Train on the first 200 of *n* placements, then on all; what fails turns at some point."""
    new = make_request(directory, n=n, version=2)
    new.rows.y[turned_at:] = ~new.rows.y[turned_at:]
    old = make_request(directory, n=200)
    record = train(old).record
    return train(replace(new, in_service=(old.path, record))).record.about


def test_a_challenger_that_learnt_of_a_change_replaces_the_champion(tmp_path):
    about = contest(tmp_path, n=800, turned_at=200)

    assert about.why_not_in_service == ""


def test_a_challenger_that_learnt_nothing_new_does_not_replace_the_champion(tmp_path):
    about = contest(tmp_path, n=400, turned_at=400)

    assert about.is_trusted
    assert about.challenge.champion == 1
    assert about.challenge.n_rows == 100
    assert "does not beat" in about.why_not_in_service


def test_a_challenger_without_new_placements_does_not_replace_the_champion(tmp_path):
    about = contest(tmp_path, n=200, turned_at=200)

    assert about.challenge is None
    assert "no placement came" in about.why_not_in_service


def test_a_champion_that_cannot_be_read_gives_way_to_a_trusted_challenger(tmp_path):
    record = train(make_request(tmp_path)).record
    gone = (str(tmp_path / "gone"), record)

    about = train(make_request(tmp_path, n=200, version=2, in_service=gone)).record.about

    assert about.is_trusted
    assert about.why_not_in_service == ""


def test_one_outcome_teaches_nothing(tmp_path):
    request = make_request(tmp_path)
    request.rows.y[:] = True

    with pytest.raises(TrainingError, match="ended alike"):
        train(request)


def test_a_training_that_is_stopped_leaves_no_process(tmp_path):
    process = TrainingProcess(timeout_s=60)
    request = make_request(tmp_path, n_estimators=100_000)
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


def test_a_training_that_takes_too_long_is_stopped(tmp_path):
    process = TrainingProcess(timeout_s=0.0)

    with pytest.raises(TrainingError, match="longer than"):
        process.run(make_request(tmp_path, n_estimators=100_000))


def test_what_goes_wrong_in_the_other_process_is_told_here(tmp_path):
    process = TrainingProcess(timeout_s=60)

    with pytest.raises(TrainingError, match="no-such-backend"):
        process.run(make_request(tmp_path, joblib_backend="no-such-backend"))


def test_a_model_file_is_for_its_owner_alone(tmp_path):
    registry = Registry(tmp_path / "models", keep_versions=2)
    path = registry.candidate_path()
    record = train(make_request(tmp_path, path=str(path))).record

    registry.add(path, record=record)

    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "models").iterdir()}
    assert stat.S_IMODE((tmp_path / "models").stat().st_mode) == 0o700
    assert modes == {
        "model-000001.joblib": 0o600,
        "model-000001.json": 0o600,
        "active.json": 0o600,
    }
