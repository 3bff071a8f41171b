"""Taking in feedback: checked against the prediction it is about, then stored with its vector."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from kube.edge.problems import ProblemError
from predictor.contract import Feedback, FeedbackAnswer
from predictor.drift import DriftWatch
from predictor.feedback import FeedbackStore, Report, StoredPrediction
from predictor.learning import Learner
from predictor.metrics import Metrics
from predictor.snapshots import Snapshots

_INVALID: Final = "Invalid request"
_TEXTS: Final = ("actual_node", "pod_uid", "pod_namespace", "pod_name", "pod_status", "reason")
_MAX_INSTANT_S: Final = 253_402_300_800.0
"""The year 10000; what lies after it is no instant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Answers ``/feedback``."""

    store: FeedbackStore
    learner: Learner
    drift: DriftWatch
    metrics: Metrics
    snapshots: Snapshots
    now_s: Callable[[], float]
    """The cluster's time, Unix seconds."""

    def take(self, feedback: Feedback) -> FeedbackAnswer:
        """Store a report and train if that makes a model due.

        Raises:
            ProblemError: It does not fit the prediction it names, or that is not known.
        """
        now_s = self.now_s()
        report = self._join(feedback, now_s=now_s)
        self.store.add_report(report, now_s=now_s)
        self.metrics.feedback.labels("success" if report.success else "failure").inc()
        if report.p_success is not None:
            self.metrics.judge(report.p_success, success=report.success)
            self.drift.catch_up(now_s=now_s)
        is_retraining = self.learner.train_if_due()
        return FeedbackAnswer(
            accepted=True, n_feedback=self.learner.n_feedback(), retraining=is_retraining
        )

    def _join(self, feedback: Feedback, *, now_s: float) -> Report:
        observed_at_s = now_s if feedback.observed_at_s is None else feedback.observed_at_s
        if not 0.0 <= observed_at_s < _MAX_INSTANT_S:
            raise ProblemError(
                422, _INVALID, detail="this is no Unix time in seconds", field="observed_at_s"
            )
        prediction_id, named_by = _prediction_id(feedback)
        _check_texts(feedback, prediction_id=prediction_id, named_by=named_by)
        prediction, position = None, 0
        if prediction_id is None:
            self._check_node(feedback.actual_node)
        else:
            prediction = self._find(prediction_id, named_by=named_by)
            if feedback.actual_node not in prediction.nodes:
                raise ProblemError(
                    422,
                    _INVALID,
                    detail=f"the prediction did not rate node {feedback.actual_node!r}",
                    field="actual_node",
                )
            position = prediction.nodes.index(feedback.actual_node)
        p_success = None if prediction is None else prediction.p_success
        return Report(
            subject=_subject(feedback, prediction_id=prediction_id),
            pod_uid=feedback.pod_uid,
            pod_namespace=feedback.pod_namespace,
            pod_name=feedback.pod_name,
            node=feedback.actual_node,
            prediction_id=prediction_id,
            success=feedback.success,
            pod_status=feedback.pod_status,
            reason=feedback.reason,
            made_at_s=now_s if prediction is None else prediction.made_at_s,
            decided_at_s=observed_at_s,
            vector=None if prediction is None else prediction.vectors[position],
            p_success=None if p_success is None else float(p_success[position]),
        )

    def _check_node(self, name: str) -> None:
        view = self.snapshots.newest()
        if view is not None and name not in view.position:
            raise ProblemError(
                422,
                "Unknown node",
                detail=f"the cluster has no node {name!r}",
                field="actual_node",
            )

    def _find(self, prediction_id: str, *, named_by: str) -> StoredPrediction:
        prediction = self.store.find_prediction(prediction_id)
        if prediction is None:
            raise ProblemError(
                404,
                "Unknown prediction",
                detail="there is no such prediction, or it is no longer kept",
                field=named_by,
            )
        return prediction


def _check_texts(feedback: Feedback, *, prediction_id: str | None, named_by: str) -> None:
    """Refuse what not every database can keep.

    Raises:
        ProblemError: 422, if there is a NUL in a text.
    """
    texts = {name: getattr(feedback, name) for name in _TEXTS} | {named_by: prediction_id or ""}
    for name, text in texts.items():
        if "\0" in text:
            raise ProblemError(422, _INVALID, detail="a text may hold no NUL", field=name)


def _prediction_id(feedback: Feedback) -> tuple[str | None, str]:
    """Give the prediction's id, if there is one, and the field that names it.

    Raises:
        ProblemError: 422, if the id inside ``prediction_result`` is none, or another.
    """
    named_by = "prediction_result.prediction_id"
    raw = (feedback.prediction_result or {}).get("prediction_id")
    inner = None
    if raw is not None:
        try:
            inner = msgspec.json.decode(raw, type=str | None)
        except msgspec.ValidationError as error:
            raise ProblemError(422, _INVALID, detail=str(error), field=named_by) from error
    if feedback.prediction_id is None:
        return inner, named_by
    if inner is not None and inner != feedback.prediction_id:
        raise ProblemError(
            422,
            _INVALID,
            detail="this is not the prediction that prediction_id names",
            field=named_by,
        )
    return feedback.prediction_id, "prediction_id"


def _subject(feedback: Feedback, *, prediction_id: str | None) -> str | None:
    """Name whom a report is about: the pod, else as much as is known of it."""
    if feedback.pod_uid:
        return f"pod/{feedback.pod_uid}"
    if prediction_id is not None:
        # Many pods may share the prediction of a batch, but each has its name.
        return f"prediction/{prediction_id}/{feedback.pod_namespace}/{feedback.pod_name}"
    return None
