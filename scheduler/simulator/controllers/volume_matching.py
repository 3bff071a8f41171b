"""Which volume suits a claim best."""

from collections.abc import Iterable
from decimal import Decimal

from kube.quantity import parse_quantity
from scheduler.simulator.apiserver.label_selectors import from_label_selector, matches_all
from scheduler.simulator.claims import class_name
from scheduler.simulator.resources import Object


def is_bound_to(volume: Object, claim: Object) -> bool:
    """Tell whether the volume is set aside for the claim, by its uid if that is known."""
    ref, meta = volume["spec"].get("claimRef"), claim["metadata"]
    if not ref or (ref.get("namespace"), ref.get("name")) != (meta["namespace"], meta["name"]):
        return False
    return ref.get("uid") in (None, "", meta["uid"])


def holds(volume: Object, claim: Object) -> bool:
    """Tell whether the volume is large enough and of the kind that is asked for."""
    volume_spec, claim_spec = volume["spec"], claim["spec"]
    return (
        "deletionTimestamp" not in volume["metadata"]
        and capacity_of(volume) >= requested(claim)
        and volume_spec.get("volumeMode") == claim_spec.get("volumeMode")
        and (volume_spec.get("volumeAttributesClassName") or "")
        == (claim_spec.get("volumeAttributesClassName") or "")
    )


def best_match(claim: Object, volumes: Iterable[Object]) -> Object | None:
    """The smallest available volume that suits the claim; of equals, the first by name."""
    suitable = [each for each in volumes if _is_available(each) and _suits(each, claim)]
    return min(
        suitable, key=lambda each: (capacity_of(each), each["metadata"]["name"]), default=None
    )


def capacity_of(volume: Object) -> Decimal:
    """Size of the volume, in bytes."""
    return parse_quantity(str((volume["spec"].get("capacity") or {}).get("storage", "0")))


def requested(claim: Object) -> Decimal:
    """Size that is asked for, in bytes."""
    requests = (claim["spec"].get("resources") or {}).get("requests") or {}
    return parse_quantity(str(requests.get("storage", "0")))


def _is_available(volume: Object) -> bool:
    is_free = not volume["spec"].get("claimRef")
    return is_free and volume["status"].get("phase") == "Available"


def _suits(volume: Object, claim: Object) -> bool:
    if class_name(volume) != class_name(claim) or not holds(volume, claim):
        return False
    offered = set(volume["spec"].get("accessModes") or ())
    if not offered >= set(claim["spec"].get("accessModes") or ()):
        return False
    selector = claim["spec"].get("selector")
    if selector is None:
        return True
    return matches_all(from_label_selector(selector), volume["metadata"].get("labels"))
