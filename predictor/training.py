"""Training in a process of its own, at low priority, so that no prediction waits for it."""

import contextlib
import hashlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import joblib
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from predictor.contract import ModelVersion
from predictor.evaluation import TrustRule, validate, why_no_longer_trusted, why_not_trusted
from predictor.features import FEATURES
from predictor.forest import MAX_PACKED_ROWS, PackedForest
from predictor.registry import ModelRecord, UnusableModelError, read_model
from predictor.rows import TrainingSet

log = logging.getLogger(__name__)

_NICENESS: Final = 10
_GRACE_S: Final = 5.0
_TOLERANCE: Final = 1e-6


class TrainingError(Exception):
    """A training gave no model; the message says why. The model in service stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """All that a training needs to know; it is sent to another process."""

    rows: TrainingSet
    n_estimators: int
    max_depth: int
    random_state: int
    max_samples: int
    n_jobs: int
    joblib_backend: str
    rule: TrustRule
    version: int
    trained_at_s: float
    last_feedback_id: int
    path: str
    """Where to write the model."""
    in_service: tuple[str, ModelRecord] | None
    """The model to judge anew, if any, and where it is."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gave."""

    record: ModelRecord
    why_not_in_service: str
    """Why the model in service may no longer answer; empty if it may, or is replaced anyway."""


def train(request: TrainingRequest) -> Trained:
    """Fit, validate and write a model; if it is not trusted, judge the one in service, too.

    Raises:
        TrainingError: There is only one outcome to learn from, or the packed forest does not
            agree with scikit-learn's.
        UnusableModelError: The model in service cannot be read.
    """
    rows = request.rows
    if rows.n_failures in (0, rows.n_rows):
        raise TrainingError(
            f"all {rows.n_rows} placements ended alike, there is nothing to tell apart"
        )

    def fit(X: NDArray[np.float32], y: NDArray[np.bool_]) -> PackedForest:
        return PackedForest.pack(_fit(X, y=y, request=request))

    with joblib.parallel_config(backend=request.joblib_backend, n_jobs=request.n_jobs):
        validation, calibration = validate(rows, fit=lambda X, y: fit(X, y).predict_p_success)
        classifier = _fit(rows.X, y=rows.y, request=request)
    _check_packing(classifier, X=rows.X)
    joblib.dump(
        {
            "classifier": classifier,
            "calibration_slope": calibration.slope,
            "calibration_intercept": calibration.intercept,
        },
        request.path,
        compress=3,
    )
    reason = why_not_trusted(
        validation, n_rows=rows.n_rows, n_failures=rows.n_failures, rule=request.rule
    )
    record = ModelRecord(
        about=ModelVersion(
            version=request.version,
            trained_at_s=request.trained_at_s,
            n_rows=rows.n_rows,
            n_failures=rows.n_failures,
            base_rate=float(rows.y.mean()),
            is_trusted=not reason,
            why_not_trusted=reason,
            validation=validation,
            importances=dict(zip(FEATURES, classifier.feature_importances_.tolist(), strict=True)),
            hyperparameters={
                "n_estimators": request.n_estimators,
                "max_depth": request.max_depth,
                "random_state": request.random_state,
                "max_samples": request.max_samples,
            },
        ),
        sha256=hashlib.sha256(Path(request.path).read_bytes()).hexdigest(),
        sklearn_version=sklearn.__version__,
        last_feedback_id=request.last_feedback_id,
    )
    return Trained(record, _judge_in_service(request) if reason else "")


def _judge_in_service(request: TrainingRequest) -> str:
    if request.in_service is None:
        return ""
    path, record = request.in_service
    rows = request.rows
    is_later = rows.made_at_s > record.about.trained_at_s
    if not is_later.any():
        return ""
    model = read_model(Path(path), record=record)
    return why_no_longer_trusted(
        model.predict_p_success(rows.X[is_later]), y=rows.y[is_later], rule=request.rule
    )


def _fit(
    X: NDArray[np.float32], *, y: NDArray[np.bool_], request: TrainingRequest
) -> RandomForestClassifier:
    return RandomForestClassifier(
        n_estimators=request.n_estimators,
        max_depth=request.max_depth,
        random_state=request.random_state,
        # Trees that draw 10,000 of 100,000 rows are as accurate and eight times cheaper.
        max_samples=request.max_samples if len(y) > request.max_samples else None,
    ).fit(X, y.astype(np.int64))


def _check_packing(classifier: RandomForestClassifier, *, X: NDArray[np.float32]) -> None:
    forest = PackedForest.pack(classifier)
    for n_rows in (MAX_PACKED_ROWS, 2 * MAX_PACKED_ROWS):
        sample = X[-n_rows:]
        expected = classifier.predict_proba(sample)[:, 1]
        off = float(np.abs(forest.predict_p_success(sample) - expected).max())
        if off > _TOLERANCE:
            raise TrainingError(f"the packed forest is off by {off:.1e}")


class TrainingProcess:
    """Runs trainings in another process, one at a time; ``stop`` ends the one under way.

    Args:
        timeout_s: A training that takes longer is stopped.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._is_stopped = threading.Event()

    def run(self, request: TrainingRequest) -> Trained:
        """Train and wait for the end.

        Raises:
            TrainingError: It gave no model, took too long or was stopped.
        """
        # Spawned, not forked: this process has threads, and a fork would copy their locks.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, request), name="training")
        process.start()
        # At once: its imports alone take a second of a processor that predictions may need.
        os.setpriority(os.PRIO_PROCESS, process.pid or 0, _NICENESS)
        theirs.close()
        try:
            result = self._wait_for(ours)
            # It ends by itself when joblib's helpers have been put away.
            process.join(_GRACE_S)
        finally:
            process.terminate()
            process.join()
            process.close()
            ours.close()
        if isinstance(result, Trained):
            return result
        raise TrainingError(result)

    def _wait_for(self, connection: Connection) -> Trained | str:
        deadline_s = time.monotonic() + self._timeout_s
        while not connection.poll(0.1):
            if self._is_stopped.is_set():
                raise TrainingError("the program is stopping")
            if time.monotonic() > deadline_s:
                raise TrainingError(f"it took longer than {self._timeout_s:.0f} s")
        try:
            result: Trained | str = connection.recv()
        except EOFError as error:
            raise TrainingError("its process died") from error
        return result

    def stop(self) -> None:
        """End the training under way, and let no other begin."""
        self._is_stopped.set()


def _work(connection: Connection, request: TrainingRequest) -> None:
    """Be the other process: train and send back the record, or what went wrong."""
    # An interrupt from the keyboard reaches us too; the parent ends us when it has tidied up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    result: Trained | str
    try:
        result = train(request)
    except (TrainingError, UnusableModelError, ValueError, OSError, MemoryError) as error:
        result = f"{error}"
    # A parent that was killed wants no answer.
    with contextlib.suppress(BrokenPipeError):
        connection.send(result)
    connection.close()
