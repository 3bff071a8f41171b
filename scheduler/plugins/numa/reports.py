"""What the agent on a node says of its NUMA zones, read once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kube.custom import NodeResourceTopology, Zone
from kube.quantity import QuantityError, parse_amount
from scheduler.model import MAX_AMOUNT

NOT_REPORTED: Final = -1
"""Stands for the amount of a resource of which a zone says nothing."""
UNKNOWN_COST: Final = 255
"""The distance of zones between which none is known, as in tables of firmware (SLIT)."""

_SINGLE: Final = "single-numa-node"
_POLICIES: Final = frozenset({"none", "best-effort", "restricted", _SINGLE})
_SCOPES: Final = frozenset({"container", "pod"})
_OLD_POLICIES: Final[Mapping[str, tuple[str, str]]] = {
    f"{old}{level}Level": (policy, level.lower())
    for old, policy in (
        ("SingleNUMANode", _SINGLE),
        ("BestEffort", "best-effort"),
        ("Restricted", "restricted"),
    )
    for level in ("Container", "Pod")
}
"""Policy and scope by what ``topologyPolicies`` calls the two."""
_DEFAULT_MAX_ZONES: Final = 8
_LIMIT_MAX_ZONES: Final = 1024
_MAX_DIGITS: Final = 9
_MAX_IDS: Final = 64
"""Zones are ``node-0`` to ``node-63``."""

_FINGERPRINT: Final = "nodeTopologyPodsFingerprint"
_FINGERPRINT_METHOD: Final = "nodeTopologyPodsFingerprintMethod"
_OLD_FINGERPRINT: Final = "topology.node.k8s.io/fingerprint"
"""An annotation."""
_EXCLUSIVE: Final = "with-exclusive-resources"


class _MalformedError(ValueError):
    """A zone's name or amount is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A ``NodeResourceTopology``, as far as placing pods goes."""

    is_single: bool
    """Whether the kubelet takes only what fits one zone (``single-numa-node``)."""
    is_pod_scope: bool
    """Whether it places pods as a whole; else container by container."""
    max_zones: int
    """How many zones it copes with."""
    fingerprint: str
    """Of the pods that the report takes into account; empty if it does not say."""
    counts_exclusive: bool
    """Whether that is of pods with exclusive resources alone."""
    is_valid: bool = True
    """Whether the zones could be read; if not there are none."""
    n_zones: int = 0
    available: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By resource and zone, in the order of their numbers; see ``NOT_REPORTED``."""
    costs: tuple[tuple[int, ...], ...] = ()
    """From zone to zone, 0 to ``UNKNOWN_COST``."""


def read_report(topology: NodeResourceTopology) -> Report:
    """Read what an agent says; zones that cannot be read make a report that is not valid."""
    attributes = {each.name: each.value for each in topology.attributes or ()}
    policy, scope = _policy_and_scope(topology.topology_policies or (), attributes=attributes)
    annotations = topology.metadata.annotations or {}
    told = attributes.get(_FINGERPRINT)
    is_valid = True
    try:
        zones = _zones_by_number(topology.zones or ())
        available = _available(zones)
    except (_MalformedError, QuantityError):
        is_valid, zones, available = False, {}, {}
    return Report(
        is_single=policy == _SINGLE,
        is_pod_scope=scope == "pod",
        max_zones=_max_zones(attributes.get("topologyManagerMaxNUMANodes", "")),
        fingerprint=annotations.get(_OLD_FINGERPRINT, "") if told is None else told,
        counts_exclusive=told is not None and attributes.get(_FINGERPRINT_METHOD) == _EXCLUSIVE,
        is_valid=is_valid,
        n_zones=len(zones),
        available=available,
        costs=_costs(zones),
    )


def says_the_same(one: NodeResourceTopology, other: NodeResourceTopology) -> bool:
    """Tell whether two reports differ in nothing that matters here."""

    def said(topology: NodeResourceTopology) -> tuple[object, ...]:
        annotations = topology.metadata.annotations or {}
        old_fingerprint = annotations.get(_OLD_FINGERPRINT)
        policies = topology.topology_policies
        return topology.zones, topology.attributes, policies, old_fingerprint

    return said(one) == said(other)


def _policy_and_scope(
    old_policies: Iterable[str], *, attributes: Mapping[str, str]
) -> tuple[str, str]:
    """Read the attributes, or what was in their place before there were any."""
    policy, scope = _OLD_POLICIES.get(next(iter(old_policies), ""), ("none", "container"))
    told_policy = attributes.get("topologyManagerPolicy", "")
    told_scope = attributes.get("topologyManagerScope", "")
    return (
        told_policy if told_policy in _POLICIES else policy,
        told_scope if told_scope in _SCOPES else scope,
    )


def _max_zones(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else 0
    return min(number, _LIMIT_MAX_ZONES) if number > 1 else _DEFAULT_MAX_ZONES


def _zones_by_number(zones: Iterable[Zone]) -> dict[int, Zone]:
    found = [(_number(zone.name), zone) for zone in zones if zone.type == "Node"]
    by_number = dict(sorted(found, key=lambda numbered: numbered[0]))
    if len(by_number) < len(found):
        raise _MalformedError("two zones have one name")
    return by_number


def _number(name: str) -> int:
    digits = name.removeprefix("node-")
    is_number = (
        digits != name and digits.isascii() and digits.isdigit() and len(digits) <= len("63")
    )
    if not is_number or int(digits) >= _MAX_IDS:
        raise _MalformedError(f"{name!r} is no name of a zone")
    return int(digits)


def _available(zones: Mapping[int, Zone]) -> dict[str, tuple[int, ...]]:
    amounts = [
        {
            each.name: max(0, min(MAX_AMOUNT, parse_amount(each.name, str(each.available))))
            for each in zone.resources or ()
        }
        for zone in zones.values()
    ]
    names = {name: None for zone in amounts for name in zone}
    return {name: tuple(zone.get(name, NOT_REPORTED) for zone in amounts) for name in names}


def _costs(zones: Mapping[int, Zone]) -> tuple[tuple[int, ...], ...]:
    names = [f"node-{number}" for number in zones]
    told = [{cost.name: cost.value for cost in zone.costs or ()} for zone in zones.values()]
    return tuple(
        tuple(max(0, min(UNKNOWN_COST, costs.get(name, UNKNOWN_COST))) for name in names)
        for costs in told
    )
