"""Training in a process of its own, at low priority, so that no prediction waits for it."""

import contextlib
import hashlib
import io
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Final

import joblib
import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from predictor.artefact import BadArtefactError, decode, encode
from predictor.backends import Backend, fitting_on
from predictor.calibration import Calibration
from predictor.contract import Challenge, ModelVersion
from predictor.evaluation import (
    MANY_ROWS,
    Fit,
    TrustRule,
    challenge,
    newest_unseen,
    validate,
    why_no_longer_trusted,
    why_not_better,
    why_not_trusted,
    without_the_past,
)
from predictor.features import FEATURES
from predictor.forest import MAX_PACKED_ROWS, PackedForest
from predictor.rating import Model
from predictor.records import ModelRecord
from predictor.rows import TrainingSet
from predictor.settings import PredictorSettings

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
    joblib_backend: Backend
    rule: TrustRule
    trained_at_s: float
    last_feedback_id: int
    in_service: tuple[Model, ModelRecord] | None
    """The model to compare with, if any."""
    changed_at_s: float | None = None
    """When the world has changed, as drift tells, Unix seconds; what came before may mislead."""
    cluster_address: str = ""


def training_request(
    settings: PredictorSettings,
    *,
    rows: TrainingSet,
    trained_at_s: float,
    last_feedback_id: int,
    in_service: tuple[Model, ModelRecord] | None,
    changed_at_s: float | None,
) -> TrainingRequest:
    """Ask for a training as the settings say; for the others see ``TrainingRequest``."""
    model, learning = settings.model, settings.online_learning
    return TrainingRequest(
        rows=rows,
        n_estimators=model.n_estimators,
        max_depth=model.max_depth,
        random_state=model.random_state,
        max_samples=model.max_samples,
        n_jobs=model.n_jobs,
        joblib_backend=model.joblib_backend,
        cluster_address=model.cluster_address,
        rule=TrustRule(
            min_rows=learning.min_rows,
            min_failures=learning.min_failures,
            min_gain_errors=learning.min_gain_errors,
        ),
        trained_at_s=trained_at_s,
        last_feedback_id=last_feedback_id,
        in_service=in_service,
        changed_at_s=changed_at_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training gave."""

    record: ModelRecord
    """Without a version; whoever stores it gives it one."""
    content: bytes
    """The model, as ``predictor.artefact`` writes it; ``record.sha256`` is of this."""
    classifier: bytes
    """scikit-learn's classifier and its calibration, as joblib writes them."""
    why_withdrawn: str
    """Why the model in service may no longer answer; empty if it may, or was beaten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """How a candidate and the model in service stand."""

    challenge: Challenge | None = None
    why_not_in_service: str = ""
    why_withdrawn: str = ""


def train(request: TrainingRequest) -> Trained:
    """Fit and validate a model, and compare it with the one in service.

    Raises:
        TrainingError: There is only one outcome to learn from, or the packed forest does not
            agree with scikit-learn's.
    """
    rows = request.rows
    if rows.n_failures in (0, rows.n_rows):
        raise TrainingError(
            f"all {rows.n_rows} placements ended alike, there is nothing to tell apart"
        )

    n_estimators = request.n_estimators
    if request.changed_at_s is not None:
        rows = _since_change(request, since_s=request.changed_at_s)
        request = replace(request, rows=rows)
    # With many rows, half of the trees judge as well: their Brier score is larger by a tenth of
    # its standard error, and a judge that errs errs against the model.
    n_judging = n_estimators if rows.n_rows < MANY_ROWS else (n_estimators + 1) // 2
    with fitting_on(request.joblib_backend, n_jobs=request.n_jobs, address=request.cluster_address):
        judgement = validate(rows, fit=_fitting(request, n_estimators=n_judging))
        reason = why_not_trusted(
            judgement.validation, n_rows=rows.n_rows, n_failures=rows.n_failures, rule=request.rule
        )
        comparison = _compare(request, raw=judgement.raw, is_trusted=not reason)
        classifier = _fit(rows.X, y=rows.y, request=request, n_estimators=n_estimators)
    calibration = judgement.calibration
    content = encode(PackedForest.pack(classifier), calibration=calibration)
    _check_content(content, classifier=classifier, X=rows.X)
    record = ModelRecord(
        about=ModelVersion(
            version=0,
            trained_at_s=request.trained_at_s,
            n_rows=rows.n_rows,
            n_failures=rows.n_failures,
            base_rate=float(rows.y.mean()),
            is_trusted=not reason,
            why_not_trusted=reason,
            validation=judgement.validation,
            importances=dict(zip(FEATURES, classifier.feature_importances_.tolist(), strict=True)),
            hyperparameters={
                "n_estimators": request.n_estimators,
                "max_depth": request.max_depth,
                "random_state": request.random_state,
                "max_samples": request.max_samples,
            },
            challenge=comparison.challenge,
            why_not_in_service=comparison.why_not_in_service,
        ),
        sha256=hashlib.sha256(content).hexdigest(),
        sklearn_version=sklearn.__version__,
        last_feedback_id=request.last_feedback_id,
        learnt_until_s=float(rows.made_at_s[-1]),
    )
    return Trained(
        record=record,
        content=content,
        classifier=_dumped(classifier, calibration=calibration),
        why_withdrawn=comparison.why_withdrawn,
    )


def _since_change(request: TrainingRequest, *, since_s: float) -> TrainingSet:
    backend, n_jobs = request.joblib_backend, request.n_jobs
    with fitting_on(backend, n_jobs=n_jobs, address=request.cluster_address):
        return without_the_past(
            request.rows,
            since_s=since_s,
            fit=_fitting(request, n_estimators=request.n_estimators),
            rule=request.rule,
        )


def _dumped(classifier: RandomForestClassifier, *, calibration: Calibration) -> bytes:
    written = io.BytesIO()
    joblib.dump(
        {
            "classifier": classifier,
            "calibration_slope": calibration.slope,
            "calibration_intercept": calibration.intercept,
        },
        written,
        compress=3,
    )
    return written.getvalue()


def _compare(
    request: TrainingRequest, *, raw: NDArray[np.float64], is_trusted: bool
) -> _Comparison:
    if request.in_service is None:
        return _Comparison()
    champion, record = request.in_service
    rows = request.rows
    unseen = np.flatnonzero(rows.made_at_s > record.unseen_after_s)
    if not len(unseen):
        why_not = "no placement came that the model in service has not seen"
        return _Comparison(why_not_in_service=why_not if is_trusted else "")
    p_champion = champion.predict_p_success(rows.X[unseen])
    why_withdrawn = why_no_longer_trusted(p_champion, y=rows.y[unseen], rule=request.rule)
    if not is_trusted:
        return _Comparison(why_withdrawn=why_withdrawn)
    fold = newest_unseen(rows, after_s=record.unseen_after_s, rule=request.rule)
    if isinstance(fold, str):
        made, why_not = None, fold
    else:
        p_newest = p_champion[-len(fold.test) :]
        fit = _fitting(request, n_estimators=request.n_estimators)
        made = challenge(
            rows, fold=fold, fit=fit, raw=raw, p_champion=p_newest, champion=champion.version
        )
        why_not = why_not_better(made, rule=request.rule)
    return _Comparison(
        challenge=made,
        # Who is trusted need not beat who no longer is.
        why_not_in_service="" if why_withdrawn else why_not,
        why_withdrawn=why_withdrawn,
    )


def _fitting(request: TrainingRequest, *, n_estimators: int) -> Fit:
    def fit(
        X: NDArray[np.float32], y: NDArray[np.bool_]
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
        classifier = _fit(X, y=y, request=request, n_estimators=n_estimators)
        return PackedForest.pack(classifier).predict_p_success

    return fit


def _fit(
    X: NDArray[np.float32], *, y: NDArray[np.bool_], request: TrainingRequest, n_estimators: int
) -> RandomForestClassifier:
    return RandomForestClassifier(
        n_estimators=n_estimators,
        max_depth=request.max_depth,
        random_state=request.random_state,
        # Trees that draw 10,000 of 100,000 rows are as accurate and eight times cheaper.
        max_samples=request.max_samples if len(y) > request.max_samples else None,
    ).fit(X, y.astype(np.int64))


def _check_content(
    content: bytes, *, classifier: RandomForestClassifier, X: NDArray[np.float32]
) -> None:
    forest, _ = decode(content)
    for n_rows in (MAX_PACKED_ROWS, 1 + MAX_PACKED_ROWS):
        sample = np.resize(X[-n_rows:], (n_rows, X.shape[1]))  # repeated, if they are too few
        expected = classifier.predict_proba(sample)[:, 1]
        off = float(np.abs(forest.predict_p_success(sample) - expected).max())
        if off > _TOLERANCE:
            raise TrainingError(f"the packed forest is off by {off:.1e}")


class TrainingProcess:
    """Runs trainings in another process, one at a time; ``stop`` ends the one under way.

    Args:
        timeout_s: A training that takes longer is stopped.
        on_waiting: Called some times a second while one is under way.
    """

    def __init__(self, *, timeout_s: float, on_waiting: Callable[[], None] = lambda: None) -> None:
        self._timeout_s = timeout_s
        self._on_waiting = on_waiting
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
            self._on_waiting()
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
    except (TrainingError, BadArtefactError, ValueError, OSError, MemoryError) as error:
        result = f"{error}"
    # A parent that was killed wants no answer.
    with contextlib.suppress(BrokenPipeError):
        connection.send(result)
    connection.close()
