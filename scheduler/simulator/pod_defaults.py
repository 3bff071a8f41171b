"""What a pod that leaves a field out means by it, as the API server fills it in."""

from collections.abc import Callable, Iterable

from kube.quantity import QuantityError, parse_quantity
from scheduler.simulator.resources import Object

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
_OUTAGE_TOLERATION_S = 300
_DEFAULT_MODE = 0o644
_TOKEN_LIFE_S = 3600
_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "lastTransitionTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def complete_pod_spec(spec: Object) -> Object:
    """A copy of a pod's (or template's) spec with every default made explicit."""
    full: Object = {
        **spec,
        "restartPolicy": spec.get("restartPolicy") or "Always",
        "terminationGracePeriodSeconds": _given(spec.get("terminationGracePeriodSeconds"), 30),
        "dnsPolicy": spec.get("dnsPolicy") or "ClusterFirst",
        "securityContext": _given(spec.get("securityContext"), {}),
        "schedulerName": spec.get("schedulerName") or "default-scheduler",
    }
    on_host = bool(spec.get("hostNetwork"))
    for field in ("containers", "initContainers"):
        if spec.get(field):
            full[field] = [_complete_container(each, on_host=on_host) for each in spec[field]]
    if spec.get("volumes"):
        full["volumes"] = [_complete_volume(volume) for volume in spec["volumes"]]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        full["serviceAccountName"] = full["serviceAccount"] = account
    return full


def initial_status(spec: Object) -> Object:
    """The status of a pod that was just created."""
    status: Object = {"phase": "Pending", "qosClass": qos_class(spec)}
    return status | {"conditions": [_GATED]} if spec.get("schedulingGates") else status


def with_pod_ips(status: Object) -> Object:
    """Let a status that tells one address of a pod tell the list of them, and the reverse."""
    first = (status.get("podIPs") or [{}])[0].get("ip", "")
    address = status.get("podIP") or first
    if not address or address == first == status.get("podIP"):
        return status
    ips = status["podIPs"] if address == first else [{"ip": address}]
    return {**status, "podIP": address, "podIPs": ips}


def with_outage_tolerations(tolerations: Iterable[Object]) -> list[Object]:
    """Add the five minutes that a pod stays on a node that is gone, unless it says otherwise."""
    result = list(tolerations)
    for key in (NOT_READY, UNREACHABLE):
        if not any(_covers(toleration, key) for toleration in result):
            result.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _OUTAGE_TOLERATION_S,
                }
            )
    return result


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by what the containers request and are limited to."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    asked = [_compute(container) for container in containers]
    if not any(requests or limits for requests, limits in asked):
        return "BestEffort"
    if all(limits.keys() == {"cpu", "memory"} and requests == limits for requests, limits in asked):
        return "Guaranteed"
    return "Burstable"


def _compute(container: Object) -> tuple[dict[str, object], dict[str, object]]:
    resources = container.get("resources") or {}
    return _amounts(resources.get("requests")), _amounts(resources.get("limits"))


def _amounts(quantities: Object | None) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in ("cpu", "memory"):
        if quantities and name in quantities:
            try:
                amount = parse_quantity(str(quantities[name]))
            except QuantityError:
                continue  # validation has its own word on that
            if amount:
                found[name] = amount
    return found


def _covers(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in (
        "NoExecute",
        None,
        "",
    )


def _given(value: object, default: object) -> object:
    return default if value is None else value


def _complete_container(container: Object, *, on_host: bool) -> Object:
    full: Object = {
        **container,
        "resources": _complete_resources(container.get("resources") or {}),
        "terminationMessagePath": container.get("terminationMessagePath") or "/dev/termination-log",
        "terminationMessagePolicy": container.get("terminationMessagePolicy") or "File",
        "imagePullPolicy": container.get("imagePullPolicy")
        or _pull_policy(container.get("image") or ""),
    }
    if container.get("ports"):
        full["ports"] = [_complete_port(port, on_host=on_host) for port in container["ports"]]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            full[name] = _complete_probe(container[name])
    if container.get("lifecycle"):
        hooks = container["lifecycle"].items()
        full["lifecycle"] = {name: _complete_handler(hook) for name, hook in hooks}
    if container.get("env"):
        full["env"] = [_complete_env(variable) for variable in container["env"]]
    return full


def _complete_resources(resources: Object) -> Object:
    limits = resources.get("limits")
    if not limits:
        return resources
    # What is limited and not requested is requested in full.
    return {**resources, "requests": {**limits, **(resources.get("requests") or {})}}


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _complete_port(port: Object, *, on_host: bool) -> Object:
    full = {**port, "protocol": port.get("protocol") or "TCP"}
    if on_host and not port.get("hostPort"):
        full["hostPort"] = port.get("containerPort")
    return full


def _complete_probe(probe: Object) -> Object:
    return {
        **_complete_handler(probe),
        "timeoutSeconds": probe.get("timeoutSeconds") or 1,
        "periodSeconds": probe.get("periodSeconds") or 10,
        "successThreshold": probe.get("successThreshold") or 1,
        "failureThreshold": probe.get("failureThreshold") or 3,
    }


def _complete_handler(handler: Object) -> Object:
    full = dict(handler)
    if get := handler.get("httpGet"):
        full["httpGet"] = {"scheme": "HTTP", **get, "path": get.get("path") or "/"}
    if "grpc" in handler:
        full["grpc"] = {"service": "", **handler["grpc"]}
    return full


def _complete_env(variable: Object) -> Object:
    if "valueFrom" not in variable:
        return variable
    return {**variable, "valueFrom": _complete_references(variable["valueFrom"])}


def _complete_references(source: Object) -> Object:
    """The parts of a source that point into the pod itself."""
    full = dict(source)
    if "fieldRef" in source:
        full["fieldRef"] = {"apiVersion": "v1", **source["fieldRef"]}
    if "resourceFieldRef" in source:
        full["resourceFieldRef"] = {"divisor": "0", **source["resourceFieldRef"]}
    return full


def _complete_files(source: Object) -> Object:
    return {"defaultMode": _DEFAULT_MODE, **source}


def _complete_downward(source: Object) -> Object:
    items = {"items": [_complete_references(item) for item in source.get("items") or ()]}
    return source | items if items["items"] else source


def _complete_projected(source: Object) -> Object:
    sources = [dict(each) for each in source.get("sources") or ()]
    for each in sources:
        if "downwardAPI" in each:
            each["downwardAPI"] = _complete_downward(each["downwardAPI"])
        if "serviceAccountToken" in each:
            token = {"expirationSeconds": _TOKEN_LIFE_S, **each["serviceAccountToken"]}
            each["serviceAccountToken"] = token
    return _complete_files({**source, "sources": sources})


_VOLUME_SOURCES: dict[str, Callable[[Object], Object]] = {
    "secret": _complete_files,
    "configMap": _complete_files,
    "downwardAPI": lambda source: _complete_files(_complete_downward(source)),
    "projected": _complete_projected,
    "hostPath": lambda source: {"type": "", **source},
    "iscsi": lambda source: {"iscsiInterface": "default", **source},
}


def _complete_volume(volume: Object) -> Object:
    sources = {key: value for key, value in volume.items() if key != "name"}
    if not sources:
        return {**volume, "emptyDir": {}}
    return {
        "name": volume.get("name", ""),
        **{
            key: _VOLUME_SOURCES[key](value) if key in _VOLUME_SOURCES else value
            for key, value in sources.items()
        },
    }
