"""What is wrong with a pod's spec, field by field, in upstream's words."""

from collections.abc import Iterable, Iterator

from scheduler.simulator.apiserver.affinity_validation import affinity_errors, spread_errors
from scheduler.simulator.apiserver.container_validation import containers_errors, volume_errors
from scheduler.simulator.apiserver.errors import (
    FieldError,
    duplicate,
    invalid_value,
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

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def pod_spec_errors(spec: Object, at: str, *, always_restarts: bool = False) -> list[FieldError]:
    """Everything wrong with a complete pod spec.

    Args:
        spec: With defaults made explicit.
        at: Path of the spec, such as ``spec`` or ``spec.template.spec``.
        always_restarts: Its owner allows no other restart policy.
    """
    # Upstream's order, which is the order in which the message lists them.
    errors = list(volume_errors(spec, f"{at}.volumes"))
    errors += containers_errors(spec, at)
    errors += _host_network_errors(spec, at)
    errors += _policy_errors(spec, at, always_restarts=always_restarts)
    errors += label_errors(spec.get("nodeSelector"), f"{at}.nodeSelector")
    errors += affinity_errors(spec.get("affinity") or {}, f"{at}.affinity")
    errors += _gate_errors(spec.get("schedulingGates") or (), f"{at}.schedulingGates")
    errors += spread_errors(spec, f"{at}.topologySpreadConstraints")
    errors += _identity_errors(spec, at)
    errors += toleration_errors(spec.get("tolerations") or (), f"{at}.tolerations")
    errors += _preemption_errors(spec, at)
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


def _host_network_errors(spec: Object, at: str) -> Iterator[FieldError]:
    for i, container in enumerate(spec.get("containers") or () if spec.get("hostNetwork") else ()):
        for j, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort", 0) != port.get("containerPort", 0):
                detail = "must match `containerPort` when `hostNetwork` is true"
                here = f"{at}.containers[{i}].ports[{j}].hostPort"
                yield invalid_value(here, port.get("hostPort", 0), detail)


def _gate_errors(gates: Iterable[Object], at: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name", "")
        for problem in label_key_problems(name):
            yield invalid_value(f"{at}[{i}]", name, problem)
        if name in seen:
            yield duplicate(f"{at}[{i}]", name)
        seen.add(name)


def _policy_errors(spec: Object, at: str, *, always_restarts: bool) -> Iterator[FieldError]:
    policy = spec["restartPolicy"]
    if policy not in ("Always", "OnFailure", "Never"):
        yield unsupported(f"{at}.restartPolicy", policy, ("Always", "OnFailure", "Never"))
    elif always_restarts and policy != "Always":
        yield unsupported(f"{at}.restartPolicy", policy, ("Always",))
    dns = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    if spec["dnsPolicy"] not in dns:
        yield unsupported(f"{at}.dnsPolicy", spec["dnsPolicy"], dns)


def _identity_errors(spec: Object, at: str) -> Iterator[FieldError]:
    for field in ("serviceAccountName", "nodeName"):
        if spec.get(field):
            for problem in subdomain_problems(spec[field]):
                yield invalid_value(f"{at}.{field}", spec[field], problem)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline < 2**31:
        detail = "must be between 1 and 2147483647, inclusive"
        yield invalid_value(f"{at}.activeDeadlineSeconds", deadline, detail)
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            for problem in label_problems(spec[field]):
                yield invalid_value(f"{at}.{field}", spec[field], problem)


def _preemption_errors(spec: Object, at: str) -> Iterator[FieldError]:
    policy = spec.get("preemptionPolicy", "Never")
    if policy not in ("PreemptLowerPriority", "Never"):
        known = ("PreemptLowerPriority", "Never")
        yield unsupported(f"{at}.preemptionPolicy", policy, known)
