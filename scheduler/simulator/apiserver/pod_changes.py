"""What may be changed about a pod's spec, and how a refusal shows the difference.

Upstream prints a unified diff of its internal types, so the shape of these types is part of
the answer; ``internal_spec`` writes a spec in that shape.
"""

import difflib
from typing import Any

import msgspec

from scheduler.simulator.apiserver.errors import FieldError, forbidden_field, invalid_value
from scheduler.simulator.resources import Object

_ADVICE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
    "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
    "(allow it to be set to 1 if it was previously negative)"
)

_SPEC = (
    "Volumes InitContainers Containers EphemeralContainers RestartPolicy= "
    "TerminationGracePeriodSeconds ActiveDeadlineSeconds DNSPolicy= NodeSelector "
    "ServiceAccountName= AutomountServiceAccountToken NodeName= SecurityContext "
    "ImagePullSecrets Hostname= Subdomain= SetHostnameAsFQDN Affinity SchedulerName= "
    "Tolerations HostAliases PriorityClassName= Priority PreemptionPolicy DNSConfig "
    "ReadinessGates RuntimeClassName Overhead EnableServiceLinks TopologySpreadConstraints OS "
    "SchedulingGates ResourceClaims Resources HostnameOverride"
)
_CONTAINER = (
    "Name= Image= Command Args WorkingDir= Ports EnvFrom Env Resources{} ResizePolicy "
    "RestartPolicy RestartPolicyRules VolumeMounts VolumeDevices LivenessProbe ReadinessProbe "
    "StartupProbe Lifecycle TerminationMessagePath= TerminationMessagePolicy= ImagePullPolicy= "
    "SecurityContext Stdin? StdinOnce? TTY?"
)
_SHAPES: dict[str, str] = {
    "Containers": _CONTAINER,
    "InitContainers": _CONTAINER,
    "Resources": "Limits Requests Claims",
    "Ports": "Name= HostPort# ContainerPort# Protocol= HostIP=",
    "Env": "Name= Value= ValueFrom",
    "Tolerations": "Key= Operator= Value= Effect= TolerationSeconds",
    "SecurityContext": (
        "HostNetwork? HostPID? HostIPC? ShareProcessNamespace HostUsers SELinuxOptions "
        "WindowsOptions RunAsUser RunAsGroup RunAsNonRoot SupplementalGroups "
        "SupplementalGroupsPolicy FSGroup FSGroupChangePolicy Sysctls SeccompProfile "
        "AppArmorProfile SELinuxChangePolicy"
    ),
}
"""Fields by type, in order: ``=`` text, ``#`` number, ``?`` boolean, ``{}`` struct, or pointer."""

_WORDS = {
    "DNSPolicy": "dnsPolicy",
    "DNSConfig": "dnsConfig",
    "OS": "os",
    "TTY": "tty",
    "FSGroup": "fsGroup",
    "FSGroupChangePolicy": "fsGroupChangePolicy",
    "SELinuxOptions": "seLinuxOptions",
    "SELinuxChangePolicy": "seLinuxChangePolicy",
}
_HOST_FIELDS = {"HostNetwork": "hostNetwork", "HostPID": "hostPID", "HostIPC": "hostIPC"}


def pod_change_errors(old: Object, new: Object) -> list[FieldError]:
    """What is wrong with replacing a pod's spec.

    Args:
        old: The pod as stored.
        new: The pod as wanted, complete.
    """
    before, after = old["spec"], new["spec"]
    if before == after:
        return []
    errors = [*_toleration_errors(before, after), *_gate_errors(before, after)]
    if len(before["containers"]) != len(after.get("containers") or ()):
        detail = "pod updates may not add or remove containers"
        return [*errors, forbidden_field("spec.containers", detail)]
    if found := _deadline_errors(before, after):
        return [*errors, *found]
    allowed = _with_changeable(after, before)
    if allowed != before:
        detail = f"{_ADVICE}\n{_difference(before, allowed)}"
        errors.append(forbidden_field("spec", detail))
    return errors


def _toleration_errors(before: Object, after: Object) -> list[FieldError]:
    held, wanted = before.get("tolerations") or [], after.get("tolerations") or []
    if all(_is_kept(toleration, wanted) for toleration in held):
        return []
    detail = "existing toleration can not be modified except its tolerationSeconds"
    return [forbidden_field("spec.tolerations", detail)]


def _gate_errors(before: Object, after: Object) -> list[FieldError]:
    held = [gate["name"] for gate in before.get("schedulingGates") or ()]
    added = [g["name"] for g in after.get("schedulingGates") or () if g["name"] not in held]
    if not added:
        return []
    detail = f"only deletion is allowed, but found new scheduling gate '{min(added)}'"
    return [forbidden_field("spec.schedulingGates", detail)]


def _deadline_errors(before: Object, after: Object) -> list[FieldError]:
    held, wanted = before.get("activeDeadlineSeconds"), after.get("activeDeadlineSeconds")
    if held is None or (wanted is not None and wanted <= held):
        return []
    detail = "must be less than or equal to previous value"
    if wanted is None:
        detail = "must not update from a positive integer to nil value"
    return [invalid_value("spec.activeDeadlineSeconds", wanted, detail)]


def _is_kept(toleration: Object, wanted: list[Object]) -> bool:
    def plain(each: Object) -> Object:
        return {key: value for key, value in each.items() if key != "tolerationSeconds"}

    return any(plain(toleration) == plain(each) for each in wanted)


def _with_changeable(spec: Object, old: Object) -> Object:
    """The wanted spec with all that may be changed set back to what it was."""
    result = dict(spec)
    for field in ("containers", "initContainers"):
        if field in spec and len(spec[field]) == len(old.get(field) or ()):
            pairs = zip(spec[field], old[field], strict=True)
            result[field] = [{**new, "image": was.get("image", "")} for new, was in pairs]
    for field in ("activeDeadlineSeconds", "tolerations", "schedulingGates"):
        result.pop(field, None)
        if field in old:
            result[field] = old[field]
    if old.get("schedulingGates"):
        # A pod that is held back may still be narrowed in where it goes.
        for field in ("nodeSelector", "affinity"):
            result.pop(field, None)
            if field in old:
                result[field] = old[field]
    return result


def _difference(before: Object, after: Object) -> str:
    held = internal_spec(before).splitlines(keepends=True)
    wanted = internal_spec(after).splitlines(keepends=True)
    found = list(difflib.unified_diff(held, wanted))
    return "".join(found[2:])


def internal_spec(spec: Object) -> str:
    """A pod's spec as upstream's internal type prints, one field a line."""
    text = msgspec.json.encode(_shaped(spec, _SPEC, is_pod=True))
    return msgspec.json.format(text, indent=1).decode() + "\n"


def _shaped(value: Object, shape: str, *, is_pod: bool = False) -> Object:
    result: Object = {}
    for mark in shape.split():
        name = mark.rstrip("=#?{}")
        given = value.get(_json_name(name))
        if is_pod and name == "SecurityContext":
            hosts = {_json_name(k): value.get(v, False) for k, v in _HOST_FIELDS.items()}
            given = {**(given or {}), **hosts}
        result[name] = _zero(mark) if given is None else _inner(name, given)
    return result


def _zero(mark: str) -> Any:
    for ending, zero in (("=", ""), ("#", 0), ("?", False)):
        if mark.endswith(ending):
            return zero
    return _shaped({}, _SHAPES[mark[:-2]]) if mark.endswith("{}") else None


def _inner(name: str, value: Any) -> Any:
    shape = _SHAPES.get(name)
    if shape and isinstance(value, list):
        return [_shaped(each, shape) for each in value]
    if shape and isinstance(value, dict):
        return _shaped(value, shape)
    return value


def _json_name(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    return name[0].lower() + name[1:]
