"""What is wrong with volumes, claims and storage classes, field by field, in upstream's words."""

from collections.abc import Iterator, Sequence

from scheduler.simulator.apiserver.affinity_validation import (
    label_selector_errors,
    node_selector_errors,
)
from scheduler.simulator.apiserver.container_validation import amount_errors
from scheduler.simulator.apiserver.errors import (
    FieldError,
    forbidden_field,
    invalid_value,
    required,
    unsupported,
)
from scheduler.simulator.resources import Object

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_POLICIES = ("Delete", "Recycle", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_VOLUME_MODES = ("Block", "Filesystem")
_NO_SOURCES = frozenset(
    (
        *("accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity"),
        *("persistentVolumeReclaimPolicy", "storageClassName", "volumeAttributesClassName"),
        "volumeMode",
    )
)
_MAY_CHANGE = ("resources", "volumeAttributesClassName")


def volume_errors(volume: Object) -> Iterator[FieldError]:
    """Everything wrong with a complete PersistentVolume."""
    spec = volume["spec"]
    yield from _mode_errors(spec.get("accessModes") or ())
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield required("spec.capacity")
    elif set(capacity) != {"storage"}:
        yield unsupported("spec.capacity", ",".join(sorted(capacity)), ("storage",))
    for name, amount in capacity.items():
        yield from amount_errors(name, amount, f"spec.capacity[{name}]")
    policy = spec["persistentVolumeReclaimPolicy"]
    if policy not in _POLICIES:
        yield unsupported("spec.persistentVolumeReclaimPolicy", policy, _POLICIES)
    selector = (spec.get("nodeAffinity") or {}).get("required")
    if selector is not None:
        yield from node_selector_errors(selector, "spec.nodeAffinity.required")
    if not set(spec) - _NO_SOURCES:
        yield required("spec", "must specify a volume type")
    yield from _volume_mode_errors(spec)


def claim_errors(claim: Object) -> Iterator[FieldError]:
    """Everything wrong with a complete PersistentVolumeClaim."""
    spec = claim["spec"]
    modes = spec.get("accessModes") or ()
    if not modes:
        yield required("spec.accessModes", "at least 1 access mode is required")
    else:
        yield from _mode_errors(modes)
    if spec.get("selector"):
        yield from label_selector_errors(spec["selector"], "spec.selector")
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        yield required("spec.resources[storage]")
    for name, amount in requests.items():
        yield from amount_errors(name, amount, f"spec.resources.requests[{name}]")
    yield from _volume_mode_errors(spec)


def class_errors(storage_class: Object) -> Iterator[FieldError]:
    """Everything wrong with a complete StorageClass."""
    if not storage_class.get("provisioner"):
        yield required("provisioner")
    policy, mode = storage_class["reclaimPolicy"], storage_class["volumeBindingMode"]
    if policy not in ("Delete", "Retain"):
        yield unsupported("reclaimPolicy", policy, ("Delete", "Retain"))
    if mode not in _BINDING_MODES:
        yield unsupported("volumeBindingMode", mode, _BINDING_MODES)


def volume_change_errors(old: Object, new: Object) -> Iterator[FieldError]:
    """What may not be changed about a volume: what holds the data, and its mode."""
    for field in sorted(set(old["spec"]) | set(new["spec"])):
        is_fixed = field not in _NO_SOURCES or field == "volumeMode"
        if is_fixed and old["spec"].get(field) != new["spec"].get(field):
            where = "spec.volumeMode" if field == "volumeMode" else "spec.persistentvolumesource"
            detail = "field is immutable"
            if field != "volumeMode":
                detail = "spec.persistentvolumesource is immutable after creation"
            yield forbidden_field(where, detail)


def claim_change_errors(old: Object, new: Object) -> Iterator[FieldError]:
    """What may not be changed about a claim: all but its size, and once its volume and class."""
    before, after = dict(old["spec"]), dict(new["spec"])
    once = ("volumeName", "storageClassName")
    for field in (*_MAY_CHANGE, *(name for name in once if not before.get(name))):
        before.pop(field, None)
        after.pop(field, None)
    if before != after:
        detail = (
            "spec is immutable after creation except resources.requests "
            "and volumeAttributesClassName for bound claims"
        )
        yield forbidden_field("spec", detail)


def class_change_errors(old: Object, new: Object) -> Iterator[FieldError]:
    """What may not be changed about a storage class."""
    for field in ("parameters", "provisioner", "reclaimPolicy"):
        if old.get(field) != new.get(field):
            yield forbidden_field(field, f"updates to {field} are forbidden.")
    if old["volumeBindingMode"] != new["volumeBindingMode"]:
        yield invalid_value("volumeBindingMode", new["volumeBindingMode"], "field is immutable")


def _mode_errors(modes: Sequence[str]) -> Iterator[FieldError]:
    if not modes:
        yield required("spec.accessModes")
    for mode in modes:
        if mode not in _MODES:
            yield unsupported("spec.accessModes", mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        yield forbidden_field("spec.accessModes", detail)


def _volume_mode_errors(spec: Object) -> Iterator[FieldError]:
    if spec["volumeMode"] not in _VOLUME_MODES:
        yield unsupported("spec.volumeMode", spec["volumeMode"], _VOLUME_MODES)
