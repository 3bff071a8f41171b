"""What a pod's status says of how it fares. One reading, shared by whoever judges outcomes."""

from datetime import datetime
from typing import Literal

from kube.objects import ContainerStatus, Pod

FailureReason = Literal[
    "oom_killed", "evicted", "crashed", "start_failed", "preempted", "node_lost", "starved"
]

_START_FAILURES = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)


def ready_since(pod: Pod) -> datetime | None:
    """Tell since when the pod has been Ready; ``None`` if it is not."""
    for condition in pod.status.conditions or []:
        if condition.type == "Ready" and condition.status == "True":
            return condition.last_transition_time
    return None


def last_end(pod: Pod) -> datetime | None:
    """Tell when the last container to end did so; ``None`` if none has."""
    ends = [
        state.terminated.finished_at
        for status in pod.status.container_statuses or []
        for state in (status.state, status.last_state)
        if state is not None and state.terminated is not None
    ]
    return max((end for end in ends if end is not None), default=None)


def pod_failure(pod: Pod) -> FailureReason | None:
    """Tell what has gone wrong with the pod since it started, if anything has.

    A restart counts whatever the exit code: the containers of a healthy long-running pod do not
    end. A pod that ran to completion (``Succeeded``) has not failed.
    """
    if pod.status.phase == "Succeeded":
        return None
    if pod.status.reason == "Evicted":
        return "evicted"
    if pod.status.reason == "NodeLost":
        return "node_lost"
    init_statuses = pod.status.init_container_statuses or []
    for status in [*init_statuses, *(pod.status.container_statuses or [])]:
        reason = _container_failure(status)
        if reason is not None:
            return reason
    return "crashed" if pod.status.phase == "Failed" else None


def _container_failure(status: ContainerStatus) -> FailureReason | None:
    for state in (status.state, status.last_state):
        if state is not None and state.terminated is not None:
            if state.terminated.reason == "OOMKilled":
                return "oom_killed"
            if state.terminated.exit_code != 0:
                return "crashed"
    waiting = status.state.waiting if status.state is not None else None
    if waiting is not None and waiting.reason in _START_FAILURES:
        return "start_failed"
    return "crashed" if status.restart_count > 0 else None
