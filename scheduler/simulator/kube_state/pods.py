"""Metrics of pods."""

from collections.abc import Callable, Iterable
from typing import Final

from scheduler.simulator.controllers.pods import is_over
from scheduler.simulator.kube_state.containers import OF_CONTAINERS
from scheduler.simulator.kube_state.families import Family, Kind, Sample, instant, label, one_of
from scheduler.simulator.resources import PODS, Object

_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
_STATUSES: Final = ("true", "false", "unknown")


def _labels(pod: Object) -> str:
    meta = pod["metadata"]
    return f'namespace="{meta["namespace"]}",pod="{meta["name"]}",uid="{meta["uid"]}"'


def _controller(pod: Object) -> Object:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def _info(pod: Object) -> list[Sample]:
    spec, status, owner = pod["spec"], pod["status"], _controller(pod)
    labels = (
        ("host_ip", status.get("hostIP", "")),
        ("pod_ip", status.get("podIP", "")),
        ("node", spec.get("nodeName", "")),
        ("created_by_kind", owner.get("kind", "")),
        ("created_by_name", owner.get("name", "")),
        ("priority_class", spec.get("priorityClassName", "")),
        ("host_network", "true" if spec.get("hostNetwork") else "false"),
    )
    return [("".join([label(name, value) for name, value in labels]), 1)]


def _owners(pod: Object) -> list[Sample]:
    owners: Iterable[Object] = pod["metadata"].get("ownerReferences") or ({},)
    return [
        (
            label("owner_kind", owner.get("kind", ""))
            + label("owner_name", owner.get("name", ""))
            + label("owner_is_controller", _truth(owner)),
            1,
        )
        for owner in owners
    ]


def _truth(owner: Object) -> str:
    if not owner:
        return ""
    return "true" if owner.get("controller") else "false"


def _condition(pod: Object, type_: str) -> Object:
    conditions = pod["status"].get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})


def _holds(type_: str) -> Callable[[Object], list[Sample]]:
    def samples(pod: Object) -> list[Sample]:
        found = _condition(pod, type_)
        return (
            one_of("condition", _STATUSES, actual=found["status"].lower())
            if found
            else list[Sample]()
        )

    return samples


def _since(type_: str) -> Callable[[Object], list[Sample]]:
    def samples(pod: Object) -> list[Sample]:
        found = _condition(pod, type_)
        return instant(found["lastTransitionTime"]) if found.get("status") == "True" else []

    return samples


def _phase(pod: Object) -> list[Sample]:
    return one_of("phase", _PHASES, actual=pod["status"].get("phase", "Pending"))


def _reason(pod: Object) -> list[Sample]:
    reason = pod["status"].get("reason")
    return [(label("reason", reason), 1)] if reason else []


def _unschedulable(pod: Object) -> list[Sample]:
    found = _condition(pod, "PodScheduled")
    is_refused = found.get("status") == "False" and found.get("reason") == "Unschedulable"
    return [("", 1)] if is_refused else []


def _completed(pod: Object) -> list[Sample]:
    ends = [
        state["finishedAt"]
        for each in pod["status"].get("containerStatuses") or ()
        if (state := (each.get("state") or {}).get("terminated"))
    ]
    return instant(max(ends)) if ends and is_over(pod) else []


def _qos(pod: Object) -> list[Sample]:
    qos = pod["status"].get("qosClass")
    return [(label("qos_class", qos), 1)] if qos else []


OF_PODS: Final = Kind(
    PODS,
    _labels,
    (
        Family("kube_pod_info", "Information about pod.", _info),
        Family("kube_pod_owner", "Information about the Pod's owner.", _owners),
        Family(
            "kube_pod_created",
            "Unix creation timestamp",
            lambda pod: instant(pod["metadata"]["creationTimestamp"]),
        ),
        Family(
            "kube_pod_start_time",
            "Start time in unix timestamp for a pod.",
            lambda pod: instant(pod["status"].get("startTime")),
        ),
        Family(
            "kube_pod_completion_time", "Completion time in unix timestamp for a pod.", _completed
        ),
        Family(
            "kube_pod_deletion_timestamp",
            "Unix deletion timestamp",
            lambda pod: instant(pod["metadata"].get("deletionTimestamp")),
        ),
        Family(
            "kube_pod_restart_policy",
            "The restart policy of the pod.",
            lambda pod: [(label("type", pod["spec"].get("restartPolicy", "Always")), 1)],
        ),
        Family("kube_pod_status_phase", "The pod's current phase.", _phase),
        Family("kube_pod_status_reason", "Why the pod is in its phase.", _reason),
        Family("kube_pod_status_qos_class", "The pod's QoS class.", _qos),
        Family("kube_pod_status_scheduled", "Whether the pod has a node.", _holds("PodScheduled")),
        Family(
            "kube_pod_status_scheduled_time",
            "Unix timestamp when the pod got its node.",
            _since("PodScheduled"),
        ),
        Family(
            "kube_pod_status_unschedulable", "The scheduler found no node for it.", _unschedulable
        ),
        Family("kube_pod_status_ready", "Whether the pod is ready to serve.", _holds("Ready")),
        Family(
            "kube_pod_status_ready_time",
            "Unix timestamp when the pod became ready.",
            _since("Ready"),
        ),
        *OF_CONTAINERS,
    ),
)
