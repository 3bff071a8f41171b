"""A pod as a row: how many containers are ready, and the one word for what state it is in."""

from typing import Any

from scheduler.simulator.apiserver.durations import since
from scheduler.simulator.resources import Object

_NODE_LOST = "NodeLost"


def pod_row(pod: Object, now_s: float) -> list[Any]:
    """The cells of ``POD_COLUMNS``."""
    spec, status = pod["spec"], pod.get("status") or {}
    statuses = status.get("containerStatuses") or ()
    sidecars = _sidecars(pod)
    total = len(spec.get("containers") or ()) + len(_restartable(spec))
    ready = sum(1 for each in (*statuses, *sidecars) if each.get("ready"))
    addresses = [each.get("ip", "") for each in status.get("podIPs") or ()]
    return [
        pod["metadata"]["name"],
        f"{ready}/{total}",
        pod_state(pod),
        _restarts(pod, now_s),
        since(pod["metadata"].get("creationTimestamp"), now_s=now_s),
        (addresses[0] if addresses else status.get("podIP")) or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(pod),
    ]


def pod_state(pod: Object) -> str:
    """``Running``, ``CrashLoopBackOff``, ``Init:0/1``, ``Terminating`` and so on."""
    status = pod.get("status") or {}
    state = status.get("reason") or status.get("phase") or ""
    gated = _condition(pod, "PodScheduled")
    if gated is not None and gated.get("reason") == "SchedulingGated":
        state = "SchedulingGated"
    initializing = _init_state(pod)
    if initializing is not None and not _is_initialized(pod):
        state = initializing
    else:
        state = _container_state(pod, state)
    if "deletionTimestamp" not in pod["metadata"]:
        return state
    if status.get("reason") == _NODE_LOST:
        return "Unknown"
    return state if status.get("phase") in ("Succeeded", "Failed") else "Terminating"


def _condition(pod: Object, kind: str) -> Object | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), None)


def _is_initialized(pod: Object) -> bool:
    found = _condition(pod, "Initialized")
    return found is not None and found.get("status") == "True"


def _restartable(spec: Object) -> list[Object]:
    containers = spec.get("initContainers") or ()
    return [each for each in containers if each.get("restartPolicy") == "Always"]


def _sidecars(pod: Object) -> list[Object]:
    names = {each["name"] for each in _restartable(pod["spec"])}
    statuses = pod.get("status", {}).get("initContainerStatuses") or ()
    return [each for each in statuses if each.get("name") in names]


def _init_state(pod: Object) -> str | None:
    names = {each["name"] for each in _restartable(pod["spec"])}
    total = len(pod["spec"].get("initContainers") or ())
    for i, each in enumerate(pod.get("status", {}).get("initContainerStatuses") or ()):
        state = each.get("state") or {}
        terminated = state.get("terminated")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if each.get("name") in names and each.get("started"):
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        reason = (state.get("waiting") or {}).get("reason", "")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{i}/{total}"
    return None


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _container_state(pod: Object, state: str) -> str:
    has_running = False
    for each in reversed((pod.get("status") or {}).get("containerStatuses") or ()):
        now = each.get("state") or {}
        waiting = (now.get("waiting") or {}).get("reason")
        if waiting:
            state = waiting
        elif now.get("terminated") is not None:
            state = _ended(now["terminated"])
        elif each.get("ready") and now.get("running") is not None:
            has_running = True
    if state == "Completed" and has_running:
        found = _condition(pod, "Ready")
        is_ready = found is not None and found.get("status") == "True"
        return "Running" if is_ready else "NotReady"
    return state


def _restarts(pod: Object, now_s: float) -> str:
    status = pod.get("status") or {}
    statuses = status.get("containerStatuses") or ()
    if _init_state(pod) is not None and not _is_initialized(pod):
        statuses = status.get("initContainerStatuses") or ()
    else:
        statuses = (*statuses, *_sidecars(pod))
    count = sum(each.get("restartCount", 0) for each in statuses)
    ended = [
        each["lastState"]["terminated"].get("finishedAt")
        for each in statuses
        if (each.get("lastState") or {}).get("terminated")
    ]
    last = max((instant for instant in ended if instant), default=None)
    if not count or last is None:
        return str(count)
    return f"{count} ({since(last, now_s=now_s)} ago)"


def _gates(pod: Object) -> str:
    gates = pod["spec"].get("readinessGates") or ()
    if not gates:
        return "<none>"
    found = (_condition(pod, gate.get("conditionType", "")) for gate in gates)
    passed = sum(1 for each in found if each is not None and each.get("status") == "True")
    return f"{passed}/{len(gates)}"
