"""What is wrong with a pod's spec, field by field, in upstream's words."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal

from kube.quantity import parse_quantity
from scheduler.simulator.apiserver.affinity_validation import affinity_errors, spread_errors
from scheduler.simulator.apiserver.errors import (
    FieldError,
    duplicate,
    invalid_value,
    missing_value,
    required,
    unsupported,
)
from scheduler.simulator.apiserver.names import (
    label_key_problems,
    label_problems,
    label_value_problems,
    subdomain_problems,
)
from scheduler.simulator.resources import Object

NOT_NEGATIVE = "must be greater than or equal to 0"
_PORT_RANGE = "must be between 1 and 65535, inclusive"
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_QUOTA_RESOURCES = ("pods", "services", "secrets", "configmaps", "storage")
_PRINTABLE = re.compile(r"[ -<>-~]+")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def pod_spec_errors(spec: Object, at: str, *, always_restarts: bool = False) -> list[FieldError]:
    """Everything wrong with a complete pod spec.

    Args:
        spec: With defaults made explicit.
        at: Path of the spec, such as ``spec`` or ``spec.template.spec``.
        always_restarts: Its owner allows no other restart policy.
    """
    errors = list(_volume_errors(spec, f"{at}.volumes"))
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    errors += _containers_errors(spec, at, volumes)
    errors += _policy_errors(spec, at, always_restarts=always_restarts)
    errors += label_errors(spec.get("nodeSelector"), f"{at}.nodeSelector")
    errors += _identity_errors(spec, at)
    errors += affinity_errors(spec.get("affinity") or {}, f"{at}.affinity")
    errors += toleration_errors(spec.get("tolerations") or (), f"{at}.tolerations")
    errors += spread_errors(spec, f"{at}.topologySpreadConstraints")
    return errors


def label_errors(labels: Object | None, at: str) -> Iterator[FieldError]:
    """Keys and values that are no labels."""
    for key, value in (labels or {}).items():
        for problem in label_key_problems(key):
            yield invalid_value(at, key, problem)
        for problem in label_value_problems(value):
            yield invalid_value(at, value, problem)


def toleration_errors(tolerations: Iterable[Object], at: str) -> Iterator[FieldError]:
    """Tolerations that contradict themselves."""
    for i, toleration in enumerate(tolerations):
        here = f"{at}[{i}]"
        key, operator = toleration.get("key", ""), toleration.get("operator", "")
        if key:
            for problem in label_key_problems(key):
                yield invalid_value(f"{here}.key", key, problem)
        elif operator != "Exists":
            yield invalid_value(
                f"{here}.operator",
                operator,
                "operator must be Exists when `key` is empty, "
                'which means "match all values and all keys"',
            )
        if "tolerationSeconds" in toleration and toleration.get("effect") != "NoExecute":
            yield invalid_value(
                f"{here}.effect",
                toleration.get("effect", ""),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )
        yield from _toleration_value_errors(toleration, here)
        if toleration.get("effect"):
            yield from taint_effect_errors(toleration["effect"], f"{here}.effect")


def taint_effect_errors(effect: str, at: str) -> Iterator[FieldError]:
    """An effect that no taint has."""
    if not effect:
        yield required(at)
    elif effect not in _EFFECTS:
        yield unsupported(at, effect, _EFFECTS)


def amount_errors(amounts: Object | None, at: str) -> Iterator[FieldError]:
    """Negative amounts, and fractions of what cannot be divided."""
    for name, text in (amounts or {}).items():
        amount = parse_quantity(text)
        if amount < 0:
            yield invalid_value(f"{at}[{name}]", text, NOT_NEGATIVE)
        if name not in _STANDARD_RESOURCES and amount != int(amount):
            yield invalid_value(f"{at}[{name}]", text, "must be an integer")


def _toleration_value_errors(toleration: Object, at: str) -> Iterator[FieldError]:
    operator, value = toleration.get("operator", ""), toleration.get("value", "")
    if operator in ("Equal", ""):
        problems = label_value_problems(value)
        if problems:
            yield invalid_value(f"{at}.operator", value, ";".join(problems))
    elif operator == "Exists":
        if value:
            fields = ("key", "operator", "value", "effect")
            shown = {name[0].upper() + name[1:]: toleration.get(name, "") for name in fields}
            shown["TolerationSeconds"] = toleration.get("tolerationSeconds")
            detail = "value must be empty when `operator` is 'Exists'"
            yield invalid_value(f"{at}.operator", shown, detail)
    else:
        yield unsupported(f"{at}.operator", operator, ("Equal", "Exists"))


def _volume_errors(spec: Object, at: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, volume in enumerate(spec.get("volumes") or ()):
        name = volume.get("name", "")
        yield from _unique_name_errors(name, f"{at}[{i}].name", seen)
        if len(volume) > 2:
            extra = [key for key in volume if key != "name"][1]
            yield FieldError(
                f"{at}[{i}].{extra}",
                "FieldValueForbidden",
                "Forbidden: may not specify more than 1 volume type",
            )


def _unique_name_errors(name: str, at: str, seen: set[str]) -> Iterator[FieldError]:
    if not name:
        yield required(at)
    else:
        for problem in label_problems(name):
            yield invalid_value(at, name, problem)
    if name and name in seen:
        yield duplicate(at, name)
    seen.add(name)


def _containers_errors(spec: Object, at: str, volumes: set[str | None]) -> Iterator[FieldError]:
    if not spec.get("containers"):
        yield required(f"{at}.containers")
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(field) or ()):
            here = f"{at}.{field}[{i}]"
            yield from _unique_name_errors(container.get("name", ""), f"{here}.name", seen)
            yield from _container_errors(container, here, volumes)


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
        for name in amounts:
            yield from _resource_name_errors(name, f"{at}.{field}[{name}]")
        yield from amount_errors(amounts, f"{at}.{field}")
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


def _policy_errors(spec: Object, at: str, *, always_restarts: bool) -> Iterator[FieldError]:
    policy = spec["restartPolicy"]
    if policy not in ("Always", "OnFailure", "Never"):
        yield unsupported(f"{at}.restartPolicy", policy, ("Always", "OnFailure", "Never"))
    elif always_restarts and policy != "Always":
        yield unsupported(f"{at}.restartPolicy", policy, ("Always",))
    dns = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    if spec["dnsPolicy"] not in dns:
        yield unsupported(f"{at}.dnsPolicy", spec["dnsPolicy"], dns)
    grace = spec["terminationGracePeriodSeconds"]
    if grace < 0:
        yield invalid_value(f"{at}.terminationGracePeriodSeconds", grace, NOT_NEGATIVE)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline < 2**31:
        detail = "must be between 1 and 2147483647, inclusive"
        yield invalid_value(f"{at}.activeDeadlineSeconds", deadline, detail)
    preemption = spec.get("preemptionPolicy", "Never")
    if preemption not in ("PreemptLowerPriority", "Never"):
        known = ("PreemptLowerPriority", "Never")
        yield unsupported(f"{at}.preemptionPolicy", preemption, known)


def _identity_errors(spec: Object, at: str) -> Iterator[FieldError]:
    for field in ("serviceAccountName", "nodeName"):
        if spec.get(field):
            for problem in subdomain_problems(spec[field]):
                yield invalid_value(f"{at}.{field}", spec[field], problem)
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            for problem in label_problems(spec[field]):
                yield invalid_value(f"{at}.{field}", spec[field], problem)
