"""What controllers ask of a pod."""

from kube.instants import parse_rfc3339
from scheduler.simulator.resources import Object


def condition_of(obj: Object, type_: str) -> Object | None:
    """The object's condition of that type."""
    conditions = obj.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c.get("type") == type_), None)


def with_condition(status: Object, condition: Object) -> Object:
    """A copy of a status with one condition replaced or added."""
    others = [c for c in status.get("conditions") or () if c.get("type") != condition["type"]]
    return {**status, "conditions": [*others, condition]}


def is_ready(pod: Object) -> bool:
    """Tell whether the pod's condition Ready is true."""
    return (condition_of(pod, "Ready") or {}).get("status") == "True"


def is_over(pod: Object) -> bool:
    """Tell whether the pod has ended."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Tell whether the pod counts as a replica."""
    return not is_over(pod) and "deletionTimestamp" not in pod["metadata"]


def ready_since_s(pod: Object) -> float | None:
    """Since when the pod has been ready, if it is."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition.get("status") != "True":
        return None
    since = condition.get("lastTransitionTime")
    return parse_rfc3339(since) if since else 0.0


def available_at_s(pod: Object, *, min_ready_s: int) -> float | None:
    """From when the pod counts as available, if it is ready."""
    since_s = ready_since_s(pod)
    return None if since_s is None else since_s + min_ready_s
