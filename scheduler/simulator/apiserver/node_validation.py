"""What is wrong with a node, field by field, in upstream's words."""

from collections.abc import Iterable, Iterator

from scheduler.simulator.apiserver.container_validation import amount_errors
from scheduler.simulator.apiserver.errors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
)
from scheduler.simulator.apiserver.names import label_key_problems, label_value_problems
from scheduler.simulator.apiserver.pod_validation import taint_effect_errors
from scheduler.simulator.resources import Object


def node_errors(node: Object) -> Iterator[FieldError]:
    """Everything wrong with a complete node."""
    # Upstream looks for taints below the metadata, too.
    yield from _taint_errors(node["spec"].get("taints") or (), "metadata.taints")
    for field in ("capacity", "allocatable"):
        for name, amount in (node["status"].get(field) or {}).items():
            yield from amount_errors(name, amount, f"status.{field}.{name}")


def node_change_errors(old: Object, new: Object) -> Iterator[FieldError]:
    """What may not be changed about a node."""
    seen: list[Object] = []
    for i, address in enumerate(new["status"].get("addresses") or ()):
        if address in seen:
            shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
            yield duplicate(f"status.addresses[{i}]", shown)
        seen.append(address)
    for field, name in (("podCIDRs", "podCIDR"), ("providerID", "providerID")):
        held = old["spec"].get(field)
        if held and new["spec"].get(field) != held:
            detail = f'node updates may not change {name} except from "" to valid'
            yield forbidden_field(f"spec.{field}", detail)


def _taint_errors(taints: Iterable[Object], at: str) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        here = f"{at}[{i}]"
        key, value = taint.get("key", ""), taint.get("value", "")
        effect = taint.get("effect", "")
        for problem in label_key_problems(key):
            yield invalid_value(f"{here}.key", key, problem)
        if problems := label_value_problems(value):
            yield invalid_value(f"{here}.value", value, ";".join(problems))
        yield from taint_effect_errors(effect, f"{here}.effect")
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect}
            shown["TimeAdded"] = taint.get("timeAdded")
            yield duplicate(here, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))
