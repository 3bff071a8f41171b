"""Which volume suits a claim best."""

from bisect import bisect_left, insort
from decimal import Decimal
from itertools import islice

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


class FreeVolumes:
    """The available volumes of each class, smallest first."""

    def __init__(self) -> None:
        self._volumes: dict[str, Object] = {}
        self._by_class: dict[str, list[tuple[Decimal, str]]] = {}

    def put(self, volume: Object) -> None:
        """Take in the present state of a volume."""
        name = volume["metadata"]["name"]
        self.drop(name)
        if _is_available(volume):
            self._volumes[name] = volume
            insort(self._by_class.setdefault(class_name(volume), []), (capacity_of(volume), name))

    def drop(self, name: str) -> None:
        """Forget a volume, if it was free."""
        volume = self._volumes.pop(name, None)
        if volume is not None:
            free = self._by_class[class_name(volume)]
            del free[bisect_left(free, (capacity_of(volume), name))]

    def best_match(self, claim: Object) -> Object | None:
        """The smallest volume that suits the claim; of equals, the first by name."""
        free = self._by_class.get(class_name(claim), [])
        for _, name in islice(free, bisect_left(free, (requested(claim), "")), None):
            if _suits(self._volumes[name], claim):
                return self._volumes[name]
        return None


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
    if not holds(volume, claim):
        return False
    offered = set(volume["spec"].get("accessModes") or ())
    if not offered >= set(claim["spec"].get("accessModes") or ()):
        return False
    selector = claim["spec"].get("selector")
    if selector is None:
        return True
    return matches_all(from_label_selector(selector), volume["metadata"].get("labels"))
