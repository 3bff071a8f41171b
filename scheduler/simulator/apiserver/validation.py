"""What is wrong with an object, field by field, in upstream's words."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from scheduler.simulator import resources as r
from scheduler.simulator.apiserver.affinity_validation import label_selector_errors
from scheduler.simulator.apiserver.container_validation import NOT_NEGATIVE
from scheduler.simulator.apiserver.custom_schema import custom_errors
from scheduler.simulator.apiserver.definition_validation import definition_errors
from scheduler.simulator.apiserver.errors import (
    FieldError,
    InvalidError,
    forbidden_field,
    invalid_value,
    required,
    unsupported,
)
from scheduler.simulator.apiserver.label_selectors import from_label_selector, matches_all
from scheduler.simulator.apiserver.names import (
    label_1035_problems,
    label_key_problems,
    label_problems,
    path_segment_problems,
    subdomain_problems,
)
from scheduler.simulator.apiserver.node_validation import node_change_errors, node_errors
from scheduler.simulator.apiserver.pod_changes import pod_change_errors
from scheduler.simulator.apiserver.pod_validation import label_errors, pod_spec_errors
from scheduler.simulator.apiserver.storage_validation import (
    claim_change_errors,
    claim_errors,
    class_change_errors,
    class_errors,
    volume_change_errors,
    volume_errors,
)
from scheduler.simulator.defaults import SYSTEM_PRIORITIES
from scheduler.simulator.resources import Object, Resource

_MAX_USER_PRIORITY = 1_000_000_000
_MAX_ANNOTATIONS_BYTES = 256 * 1024
_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_PERCENT = re.compile(r"[0-9]+%")
_PERCENT_TEXT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)
_NAME_RULES: Mapping[str, Callable[[str], list[str]]] = {
    r.NAMESPACES.table: label_problems,
    r.SERVICES.table: label_1035_problems,
    r.CUSTOM_RESOURCE_DEFINITIONS.table: subdomain_problems,
    r.EVENTS.table: subdomain_problems,
}


def check_new(resource: Resource, obj: Object) -> None:
    """Refuse an object that may not be created.

    Args:
        resource: What it is.
        obj: Complete, with its final name.

    Raises:
        InvalidError: 422, naming every wrong field.
    """
    refuse_if_wrong(resource, obj, [*_metadata_errors(resource, obj), *_body_errors(resource, obj)])


def check_changed(resource: Resource, *, old: Object, new: Object) -> None:
    """Refuse a change that may not be made.

    Raises:
        InvalidError: 422, naming every wrong field.
    """
    errors = [*_metadata_errors(resource, new)]
    if not _keeps_body(resource, old=old, new=new):
        errors += _body_errors(resource, new)
    refuse_if_wrong(resource, new, [*errors, *_change_errors(resource, old, new)])


def _keeps_body(resource: Resource, *, old: Object, new: Object) -> bool:
    """Tell whether what was let in once is left as it is."""
    if resource is r.PODS:
        return bool(old["spec"] == new["spec"])
    return resource.is_custom and {**old, "metadata": None} == {**new, "metadata": None}


def refuse_if_wrong(resource: Resource, obj: Object, errors: list[FieldError]) -> None:
    """Raise what *errors* amount to, if there are any.

    Raises:
        InvalidError: 422, naming every wrong field.
    """
    if errors:
        raise InvalidError(resource.kind, resource.group, obj["metadata"]["name"], errors)


def name_problems(resource: Resource, name: str) -> list[str]:
    """What keeps *name* from naming an object of the resource."""
    rule = _NAME_RULES.get(resource.table, subdomain_problems)
    return path_segment_problems(name) or rule(name)


def _metadata_errors(resource: Resource, obj: Object) -> Iterator[FieldError]:
    meta = obj["metadata"]
    prefix = meta.get("generateName", "")
    if prefix:
        # What is to be appended makes a trailing dash or dot good.
        for problem in name_problems(resource, prefix.rstrip("-.") + "a"):
            yield invalid_value("metadata.generateName", prefix, problem)
    name = meta.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        for problem in name_problems(resource, name):
            yield invalid_value("metadata.name", name, problem)
    yield from label_errors(meta.get("labels"), "metadata.labels")
    yield from _annotation_errors(meta.get("annotations") or {})
    yield from _owner_errors(meta.get("ownerReferences") or ())
    for i, finalizer in enumerate(meta.get("finalizers") or ()):
        yield from _finalizer_errors(finalizer, f"metadata.finalizers[{i}]")


def _annotation_errors(annotations: Object) -> Iterator[FieldError]:
    for key in annotations:
        for problem in label_key_problems(key.lower()):
            yield invalid_value("metadata.annotations", key, problem)
    size = sum(len(key) + len(value) for key, value in annotations.items())
    if size > _MAX_ANNOTATIONS_BYTES:
        text = f"Too long: may not be more than {_MAX_ANNOTATIONS_BYTES} bytes"
        yield FieldError("metadata.annotations", "FieldValueTooLong", text)


def _owner_errors(owners: Iterable[Object]) -> Iterator[FieldError]:
    for i, owner in enumerate(owners):
        here = f"metadata.ownerReferences[{i}]"
        version = owner.get("apiVersion", "")
        if not version.rpartition("/")[2]:
            yield invalid_value(f"{here}.apiVersion", version, "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                yield invalid_value(f"{here}.{field}", "", "must not be empty")


def _finalizer_errors(finalizer: str, at: str) -> Iterator[FieldError]:
    problems = label_key_problems(finalizer)
    for problem in problems:
        yield invalid_value(at, finalizer, problem)
    if not problems and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        detail = "name is neither a standard finalizer name nor is it fully qualified"
        yield invalid_value(at, finalizer, detail)


def _body_errors(resource: Resource, obj: Object) -> Iterator[FieldError]:
    check = _BODY_CHECKS.get(resource.table)
    if check is not None:
        yield from check(obj)
    elif resource.schema is not None:
        yield from custom_errors(obj, resource.schema)


def _pod_errors(pod: Object) -> Iterator[FieldError]:
    yield from pod_spec_errors(pod["spec"], "spec")
    if pod["spec"].get("nodeName") and pod["spec"].get("schedulingGates"):
        detail = "cannot be set until all schedulingGates have been cleared"
        yield forbidden_field("spec.nodeName", detail)


def _lease_errors(lease: Object) -> Iterator[FieldError]:
    spec = lease.get("spec") or {}
    if spec.get("leaseDurationSeconds", 1) <= 0:
        value = spec["leaseDurationSeconds"]
        yield invalid_value("spec.leaseDurationSeconds", value, "must be greater than 0")
    if spec.get("leaseTransitions", 0) < 0:
        yield invalid_value("spec.leaseTransitions", spec["leaseTransitions"], NOT_NEGATIVE)
    if spec.get("holderIdentity") == "":
        yield required("spec.holderIdentity", "must not be empty")
    if spec.get("preferredHolder") and not spec.get("strategy"):
        detail = "may only be specified when `strategy` is defined"
        yield forbidden_field("spec.preferredHolder", detail)


def _budget_errors(budget: Object) -> Iterator[FieldError]:
    spec = budget["spec"]
    if "minAvailable" in spec and "maxUnavailable" in spec:
        detail = "minAvailable and maxUnavailable cannot be both set"
        yield invalid_value("spec", spec, detail)
    for field in ("minAvailable", "maxUnavailable"):
        if field in spec:
            yield from _portion_errors(spec[field], f"spec.{field}")
    yield from label_selector_errors(spec.get("selector") or {}, "spec.selector")


def _portion_errors(value: object, at: str) -> Iterator[FieldError]:
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            yield invalid_value(at, value, _PERCENT_TEXT)
        elif int(value[:-1]) > 100:
            yield invalid_value(at, value, "must not be greater than 100%")
    elif isinstance(value, int) and value < 0:
        yield invalid_value(at, value, NOT_NEGATIVE)


def _priority_class_errors(priority_class: Object) -> Iterator[FieldError]:
    name, value = priority_class["metadata"]["name"], priority_class.get("value", 0)
    if name.startswith("system-"):
        if SYSTEM_PRIORITIES.get(name) != value:
            detail = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
            )
            yield forbidden_field("metadata.name", detail)
    elif value > _MAX_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {_MAX_USER_PRIORITY}"
        yield forbidden_field("value", detail)
    policy = priority_class.get("preemptionPolicy")
    if policy not in ("PreemptLowerPriority", "Never"):
        yield unsupported("preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))


def _workload_errors(owner: Object) -> Iterator[FieldError]:
    spec = owner.get("spec") or {}
    if spec.get("replicas", 0) < 0:
        yield invalid_value("spec.replicas", spec["replicas"], NOT_NEGATIVE)
    selector = spec.get("selector")
    labels = spec["template"].get("metadata", {}).get("labels") or {}
    if selector is None:
        yield required("spec.selector")
    else:
        problems = list(label_selector_errors(selector, "spec.selector"))
        yield from problems
        if not selector:
            detail = "empty selector is invalid for deployment"
            yield invalid_value("spec.selector", selector, detail)
        if not problems and not matches_all(from_label_selector(selector), labels):
            detail = "`selector` does not match template `labels`"
            yield invalid_value("spec.template.metadata.labels", labels, detail)
    yield from label_errors(labels, "spec.template.metadata.labels")
    yield from pod_spec_errors(spec["template"]["spec"], "spec.template.spec", always_restarts=True)


def _service_errors(service: Object) -> Iterator[FieldError]:
    spec = service["spec"]
    ports = spec.get("ports") or ()
    if not ports and spec.get("clusterIP") != "None" and spec["type"] != "ExternalName":
        yield required("spec.ports")
    for i, port in enumerate(ports):
        if not 0 < port.get("port", 0) < 65536:
            detail = "must be between 1 and 65535, inclusive"
            yield invalid_value(f"spec.ports[{i}].port", port.get("port", 0), detail)
        if len(ports) > 1 and not port.get("name"):
            yield required(f"spec.ports[{i}].name")
    yield from label_errors(spec.get("selector"), "spec.selector")


def _event_errors(event: Object) -> Iterator[FieldError]:
    if event.get("eventTime") is None:
        return
    for field in ("reportingController", "reportingInstance", "action", "reason"):
        if not event.get(field):
            yield required(field)
    if event.get("type") not in ("Normal", "Warning"):
        yield invalid_value("type", event.get("type", ""), "")


_BODY_CHECKS: Mapping[str, Callable[[Object], Iterator[FieldError]]] = {
    r.PODS.table: _pod_errors,
    r.NODES.table: node_errors,
    r.LEASES.table: _lease_errors,
    r.PDBS.table: _budget_errors,
    r.PRIORITY_CLASSES.table: _priority_class_errors,
    r.DEPLOYMENTS.table: _workload_errors,
    r.REPLICASETS.table: _workload_errors,
    r.SERVICES.table: _service_errors,
    r.EVENTS.table: _event_errors,
    r.CUSTOM_RESOURCE_DEFINITIONS.table: definition_errors,
    r.PVS.table: volume_errors,
    r.PVCS.table: claim_errors,
    r.STORAGE_CLASSES.table: class_errors,
}


def _change_errors(resource: Resource, old: Object, new: Object) -> Iterator[FieldError]:
    check = _CHANGE_CHECKS.get(resource.table)
    if check is not None:
        yield from check(old, new)


def _selector_change_errors(old: Object, new: Object) -> Iterator[FieldError]:
    selector = new["spec"].get("selector")
    if selector != old["spec"].get("selector"):
        yield invalid_value("spec.selector", selector, "field is immutable")


def _priority_class_change_errors(old: Object, new: Object) -> Iterator[FieldError]:
    if new.get("value", 0) != old.get("value", 0):
        yield forbidden_field("value", "may not be changed in an update.")
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        policy = new.get("preemptionPolicy")
        yield invalid_value("preemptionPolicy", policy, "field is immutable")


_CHANGE_CHECKS: Mapping[str, Callable[[Object, Object], Iterable[FieldError]]] = {
    r.NODES.table: node_change_errors,
    r.PODS.table: pod_change_errors,
    r.DEPLOYMENTS.table: _selector_change_errors,
    r.REPLICASETS.table: _selector_change_errors,
    r.PRIORITY_CLASSES.table: _priority_class_change_errors,
    r.PVS.table: volume_change_errors,
    r.PVCS.table: claim_change_errors,
    r.STORAGE_CLASSES.table: class_change_errors,
}
