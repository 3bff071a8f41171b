"""What is wrong with the containers and volumes of a pod, field by field, in upstream's words."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from kube.quantity import parse_quantity
from scheduler.simulator.apiserver.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    missing_value,
    required,
    unsupported,
)
from scheduler.simulator.apiserver.names import label_key_problems, label_problems
from scheduler.simulator.resources import Object

NOT_NEGATIVE = "must be greater than or equal to 0"
_PORT_RANGE = "must be between 1 and 65535, inclusive"
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_QUOTA_RESOURCES = ("pods", "services", "secrets", "configmaps", "storage")
_PRINTABLE = re.compile(r"[ -<>-~]+")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBE_NUMBERS = (
    *("initialDelaySeconds", "timeoutSeconds", "periodSeconds"),
    *("successThreshold", "failureThreshold"),
)
_REQUIRED_OF_VOLUMES = {
    "configMap": "name",
    "hostPath": "path",
    "persistentVolumeClaim": "claimName",
    "secret": "secretName",
}


def volume_errors(spec: Object, at: str) -> Iterator[FieldError]:
    """Volumes without a name of their own, or with a wrong source."""
    seen: set[str] = set()
    for i, volume in enumerate(spec.get("volumes") or ()):
        name = volume.get("name", "")
        yield from _unique_name_errors(name, f"{at}[{i}].name", seen)
        if len(volume) > 2:
            extra = [key for key in volume if key != "name"][1]
            yield forbidden_field(f"{at}[{i}].{extra}", "may not specify more than 1 volume type")
        for source, field in _REQUIRED_OF_VOLUMES.items():
            if source in volume and not volume[source].get(field):
                yield required(f"{at}[{i}].{source}.{field}")


def amount_errors(name: str, text: str, at: str) -> Iterator[FieldError]:
    """A negative amount, or a fraction of what cannot be divided."""
    amount = parse_quantity(text)
    if amount < 0:
        yield invalid_value(at, text, NOT_NEGATIVE)
    if name not in _STANDARD_RESOURCES and amount != int(amount):
        yield invalid_value(at, text, "must be an integer")


def _unique_name_errors(name: str, at: str, seen: set[str]) -> Iterator[FieldError]:
    if not name:
        yield required(at)
    else:
        for problem in label_problems(name):
            yield invalid_value(at, name, problem)
    if name and name in seen:
        yield duplicate(at, name)
    seen.add(name)


def containers_errors(spec: Object, at: str) -> Iterator[FieldError]:
    """Everything wrong with the containers of a complete pod spec."""
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            here = f"{at}.{field}[{i}]"
            yield from _unique_name_errors(container.get("name", ""), f"{here}.name", seen)
            yield from _container_errors(container, here, volumes)
        yield from _host_port_conflicts(spec.get(field) or (), f"{at}.{field}")


def _container_errors(container: Object, at: str, volumes: set[str | None]) -> Iterator[FieldError]:
    image = container.get("image", "")
    if not image:
        yield required(f"{at}.image")
    elif image != image.strip():
        yield invalid_value(f"{at}.image", image, "must not have leading or trailing whitespace")
    policy = container["imagePullPolicy"]
    allowed = ("Always", "IfNotPresent", "Never")
    if policy not in allowed:
        yield unsupported(f"{at}.imagePullPolicy", policy, allowed)
    yield from _port_errors(container.get("ports") or (), f"{at}.ports")
    yield from _env_errors(container.get("env") or (), f"{at}.env")
    yield from _mount_errors(container.get("volumeMounts") or (), f"{at}.volumeMounts", volumes)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            yield from _probe_errors(container[name], f"{at}.{name}")
    yield from _resource_errors(container.get("resources") or {}, f"{at}.resources")
    message_policy = container["terminationMessagePolicy"]
    if message_policy not in ("File", "FallbackToLogsOnError"):
        known = ("FallbackToLogsOnError", "File")
        yield unsupported(f"{at}.terminationMessagePolicy", message_policy, known)


def _port_errors(ports: Iterable[Object], at: str) -> Iterator[FieldError]:
    names: set[str] = set()
    for i, port in enumerate(ports):
        here = f"{at}[{i}]"
        name = port.get("name", "")
        if name:
            yield from _port_name_errors(name, f"{here}.name")
            if name in names:
                yield duplicate(f"{here}.name", name)
            names.add(name)
        number = port.get("containerPort", 0)
        if not number:
            yield required(f"{here}.containerPort")
        elif not 0 < number < 65536:
            yield invalid_value(f"{here}.containerPort", number, _PORT_RANGE)
        host_port = port.get("hostPort", 0)
        if host_port and not 0 < host_port < 65536:
            yield invalid_value(f"{here}.hostPort", host_port, _PORT_RANGE)
        if port["protocol"] not in ("TCP", "UDP", "SCTP"):
            yield unsupported(f"{here}.protocol", port["protocol"], ("SCTP", "TCP", "UDP"))


def _port_name_errors(name: str, at: str) -> Iterator[FieldError]:
    if len(name) > 15:
        yield invalid_value(at, name, "must be no more than 15 characters")
    elif not _PORT_NAME.fullmatch(name):
        detail = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        yield invalid_value(at, name, detail)
    elif not re.search("[a-z]", name):
        yield invalid_value(at, name, "must contain at least one letter (a-z)")


def _env_errors(variables: Iterable[Object], at: str) -> Iterator[FieldError]:
    for i, variable in enumerate(variables):
        name = variable.get("name", "")
        if not name:
            yield required(f"{at}[{i}].name")
        elif not _PRINTABLE.fullmatch(name):
            detail = (
                "a valid environment variable name must consist only of printable ASCII "
                "characters other than '='"
            )
            yield invalid_value(f"{at}[{i}].name", name, detail)
        if variable.get("value") and variable.get("valueFrom"):
            detail = "may not be specified when `value` is not empty"
            yield invalid_value(f"{at}[{i}].valueFrom", "", detail)


def _mount_errors(
    mounts: Iterable[Object], at: str, volumes: set[str | None]
) -> Iterator[FieldError]:
    paths: set[str] = set()
    for i, mount in enumerate(mounts):
        name, path = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            yield required(f"{at}[{i}].name")
        if name not in volumes:
            yield missing_value(f"{at}[{i}].name", name)
        if not path:
            yield required(f"{at}[{i}].mountPath")
        if path in paths:
            yield invalid_value(f"{at}[{i}].mountPath", path, "must be unique")
        paths.add(path)


def _resource_errors(resources: Object, at: str) -> Iterator[FieldError]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _resource_name_errors(name, f"{at}.{field}[{name}]")
            yield from amount_errors(name, amount, f"{at}.{field}[{name}]")
        if field == "requests":
            yield from _excess_errors(requests, limits, f"{at}.requests")


def _excess_errors(requests: Object, limits: Object, at: str) -> Iterator[FieldError]:
    for name, text in requests.items():
        overcommits = name in _STANDARD_RESOURCES
        if name not in limits:
            if not overcommits:
                yield FieldError(
                    at.replace("requests", "limits"),
                    "FieldValueRequired",
                    "Required value: Limit must be set for non overcommitable resources",
                )
            continue
        asked: Decimal = parse_quantity(text)
        limit: Decimal = parse_quantity(limits[name])
        if not overcommits and asked != limit:
            yield invalid_value(at, text, f"must be equal to {name} limit of {limits[name]}")
        elif asked > limit:
            detail = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_value(at, text, detail)


def _resource_name_errors(name: str, at: str) -> Iterator[FieldError]:
    for problem in label_key_problems(name):
        yield invalid_value(at, name, problem)
    is_known = name in _STANDARD_RESOURCES or name.startswith("hugepages-")
    if "/" in name or is_known:
        return
    if name not in _QUOTA_RESOURCES:
        yield invalid_value(at, name, "must be a standard resource type or fully qualified")
    yield invalid_value(at, name, "must be a standard resource for containers")


def _probe_errors(probe: Object, at: str) -> Iterator[FieldError]:
    handlers = [name for name in _HANDLERS if name in probe]
    if not handlers:
        yield required(at, "must specify a handler type")
    for name in handlers[1:]:
        yield forbidden_field(f"{at}.{name}", "may not specify more than 1 handler type")
    if handlers[:1] == ["exec"] and not probe["exec"].get("command"):
        yield required(f"{at}.exec.command")
    for name in _PROBE_NUMBERS:
        if probe.get(name, 0) < 0:
            yield invalid_value(f"{at}.{name}", probe[name], NOT_NEGATIVE)
    if not at.endswith("readinessProbe") and probe["successThreshold"] != 1:
        yield invalid_value(f"{at}.successThreshold", probe["successThreshold"], "must be 1")


def _host_port_conflicts(containers: Iterable[Object], at: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, container in enumerate(containers):
        for j, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            address = f"{port['protocol']}/{port.get('hostIP', '')}/{port['hostPort']}"
            if address in seen:
                yield duplicate(f"{at}[{i}].ports[{j}].hostPort", address)
            seen.add(address)
