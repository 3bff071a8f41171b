"""How the placements went that this scheduler made: pure judging, by the cluster's clock.

A success is Ready and then healthy for the observation window. A pod deleted before it could tell
is no outcome at all.
"""

from dataclasses import dataclass
from typing import Final

from kube.health import last_end, pod_failure, ready_since
from kube.objects import Pod
from predictor.contract import Feedback
from scheduler.model import PREDICTION_ANNOTATION

_OUTLASTS_DELETION: Final = frozenset({"evicted", "node_lost", "oom_killed"})
"""Failures that deletion does not bring about; containers told to stop may exit as if crashed."""


@dataclass(slots=True)
class _Trial:
    pod: Pod
    placed_at_s: float
    ready_at_s: float | None = None


class OutcomeTracker:
    """Follows pods from binding to outcome.

    It holds one entry for each pod of ours on the cluster. After a restart the pods themselves
    carry all that it needs: when they were bound, when they became Ready, and in an annotation the
    prediction that they were placed by.

    Args:
        scheduler_names: Whose pods are ours.
        window_s: The observation window, in seconds of the cluster's clock.
    """

    def __init__(self, scheduler_names: frozenset[str], *, window_s: float) -> None:
        self._scheduler_names = scheduler_names
        self._window_s = window_s
        self._trials: dict[str, _Trial] = {}
        self._decided: set[str] = set()

    @property
    def n_open(self) -> int:
        """How many outcomes are not known yet."""
        return len(self._trials)

    def see(self, pod: Pod, *, now_s: float) -> Feedback | None:
        """Take in a pod's state; return its outcome if that decides it."""
        uid = pod.metadata.uid
        if pod.spec.scheduler_name not in self._scheduler_names or not pod.spec.node_name:
            return None
        if uid in self._decided:
            return None
        trial = self._trials.get(uid)
        if trial is None:
            trial = _Trial(pod, _placed_at_s(pod, now_s=now_s))
            if self._is_past_telling(trial):
                self._decided.add(uid)
                return None
            self._trials[uid] = trial
        trial.pod = pod
        ready = ready_since(pod)
        if trial.ready_at_s is None and ready is not None:
            trial.ready_at_s = ready.timestamp()
        return self._judge(trial, now_s=now_s)

    def gone(self, pod: Pod, *, now_s: float) -> Feedback | None:
        """Forget a deleted pod; return its outcome if its last state tells."""
        feedback = self.see(pod, now_s=now_s)
        self._trials.pop(pod.metadata.uid, None)
        self._decided.discard(pod.metadata.uid)
        return feedback

    def due(self, *, now_s: float) -> list[Feedback]:
        """Return the outcomes that time alone has decided."""
        judged = [self._judge(trial, now_s=now_s) for trial in list(self._trials.values())]
        return [feedback for feedback in judged if feedback is not None]

    def _judge(self, trial: _Trial, *, now_s: float) -> Feedback | None:
        pod = trial.pod
        due_s = self._window_s + (
            trial.placed_at_s if trial.ready_at_s is None else trial.ready_at_s
        )
        failure = pod_failure(pod)
        ended_at_s = _ended_at_s(trial, now_s=now_s)
        is_deleting = pod.metadata.deletion_timestamp is not None
        is_in_time = trial.ready_at_s is None or ended_at_s <= due_s
        if failure and is_in_time and (not is_deleting or failure in _OUTLASTS_DELETION):
            return self._decide(trial, failure=failure, at_s=ended_at_s)
        # Told to stop, containers may end well in the middle of their work.
        if is_deleting:
            return None
        if pod.status.phase == "Succeeded":
            return self._decide(trial, failure="", at_s=ended_at_s)
        if now_s < due_s:
            return None
        failure_by_then = "start_failed" if trial.ready_at_s is None else ""
        return self._decide(trial, failure=failure_by_then, at_s=due_s)

    def _is_past_telling(self, trial: _Trial) -> bool:
        """Tell whether a pod may have failed in time or not, as when it was ready is forgotten."""
        end = last_end(trial.pod)
        latest_s = trial.placed_at_s + self._window_s
        return end is not None and end.timestamp() > latest_s and bool(pod_failure(trial.pod))

    def _decide(self, trial: _Trial, *, failure: str, at_s: float) -> Feedback:
        pod = trial.pod
        del self._trials[pod.metadata.uid]
        self._decided.add(pod.metadata.uid)
        annotations = pod.metadata.annotations or {}
        return Feedback(
            actual_node=pod.spec.node_name,
            success=not failure,
            pod_status=pod.status.reason or pod.status.phase,
            prediction_id=annotations.get(PREDICTION_ANNOTATION),
            pod_uid=pod.metadata.uid,
            pod_namespace=pod.metadata.namespace,
            pod_name=pod.metadata.name,
            reason=failure or "healthy",
            observed_at_s=at_s,
        )


def _ended_at_s(trial: _Trial, *, now_s: float) -> float:
    end = last_end(trial.pod)
    return now_s if end is None else max(trial.placed_at_s, min(now_s, end.timestamp()))


def _placed_at_s(pod: Pod, *, now_s: float) -> float:
    for condition in pod.status.conditions or []:
        since = condition.last_transition_time
        if condition.type == "PodScheduled" and condition.status == "True" and since is not None:
            return since.timestamp()
    return now_s
