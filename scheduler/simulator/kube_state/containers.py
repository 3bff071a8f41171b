"""Metrics of the containers of pods."""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from scheduler.simulator.kube_state.families import (
    Family,
    Sample,
    Samples,
    amount,
    instant,
    label,
    resources,
)
from scheduler.simulator.resources import Object


def _of_each(read: Callable[[Object], list[Sample]]) -> Samples:
    """Read the status of every container."""

    def samples(pod: Object) -> list[Sample]:
        return [
            (f"{label('container', status['name'])}{more}", value)
            for status in pod["status"].get("containerStatuses") or ()
            for more, value in read(status)
        ]

    return samples


def _info(status: Object) -> list[Sample]:
    labels = (
        ("image", status.get("image", "")),
        ("image_id", status.get("imageID", "")),
        ("container_id", status.get("containerID", "")),
    )
    return [("".join([label(name, value) for name, value in labels]), 1)]


def _is_in(state: str, status: Object) -> list[Sample]:
    return [("", state in (status.get("state") or {}))]


def _reason(field: Literal["state", "lastState"], state: str, status: Object) -> list[Sample]:
    reason = ((status.get(field) or {}).get(state) or {}).get("reason")
    return [(label("reason", reason), 1)] if reason else []


def _exit_code(status: Object) -> list[Sample]:
    last = (status.get("lastState") or {}).get("terminated")
    return amount(last["exitCode"]) if last else []


def _started(status: Object) -> list[Sample]:
    return instant(((status.get("state") or {}).get("running") or {}).get("startedAt"))


def _asked(what: Literal["requests", "limits"], pod: Object) -> list[Sample]:
    node = label("node", pod["spec"].get("nodeName", ""))
    return [
        sample
        for container in pod["spec"]["containers"]
        for sample in resources(
            (container.get("resources") or {}).get(what),
            more=f"{label('container', container['name'])}{node}",
        )
    ]


OF_CONTAINERS: Final = (
    Family("kube_pod_container_info", "Information about a container in a pod.", _of_each(_info)),
    Family(
        "kube_pod_container_resource_requests",
        "What a container requests.",
        partial(_asked, "requests"),
    ),
    Family(
        "kube_pod_container_resource_limits",
        "What a container is limited to.",
        partial(_asked, "limits"),
    ),
    Family(
        "kube_pod_container_status_ready",
        "Whether the container is ready.",
        _of_each(lambda status: [("", bool(status.get("ready")))]),
    ),
    Family(
        "kube_pod_container_status_running",
        "Whether the container is running.",
        _of_each(partial(_is_in, "running")),
    ),
    Family(
        "kube_pod_container_status_waiting",
        "Whether the container is waiting.",
        _of_each(partial(_is_in, "waiting")),
    ),
    Family(
        "kube_pod_container_status_terminated",
        "Whether the container is terminated.",
        _of_each(partial(_is_in, "terminated")),
    ),
    Family(
        "kube_pod_container_status_waiting_reason",
        "Why the container is waiting.",
        _of_each(partial(_reason, "state", "waiting")),
    ),
    Family(
        "kube_pod_container_status_terminated_reason",
        "Why the container is terminated.",
        _of_each(partial(_reason, "state", "terminated")),
    ),
    Family(
        "kube_pod_container_status_last_terminated_reason",
        "Why the container was terminated the last time.",
        _of_each(partial(_reason, "lastState", "terminated")),
    ),
    Family(
        "kube_pod_container_status_last_terminated_exitcode",
        "The exit code of the container's last termination.",
        _of_each(_exit_code),
    ),
    Family(
        "kube_pod_container_status_restarts_total",
        "How often the container was restarted.",
        _of_each(lambda status: amount(status.get("restartCount"))),
        type="counter",
    ),
    Family(
        "kube_pod_container_state_started",
        "Start time in unix timestamp for a pod container.",
        _of_each(_started),
    ),
)
