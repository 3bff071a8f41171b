"""Kubernetes quantities, and the amounts that a pod asks for.

Amounts are integers in the units in which Kubernetes counts: millicores for cpu, whole units
(bytes, pods, devices) for everything else, rounded up as the API server does.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context, Decimal
from functools import lru_cache
from typing import Final, Protocol

_SUFFIXES: Final[Mapping[str, Decimal]] = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<exponent>[+-]?[0-9]{1,4}))?"
)
_MAX_CHARS: Final = 100
"""Nobody writes longer ones; without a limit, texts from outside would fill the caches."""
_ROUND_UP: Final = Context(prec=60, rounding=ROUND_CEILING)
"""More digits than any amount has, so that only what is rounded up anyway is lost."""
_MAX_AMOUNT: Final = 2**63 - 1
"""What an int64 holds; larger values are clamped to it, as the API server does."""

CPU: Final = "cpu"
MEMORY: Final = "memory"


class QuantityError(ValueError):
    """The text is no Kubernetes quantity."""


@lru_cache(maxsize=16_384)
def parse_quantity(text: str) -> Decimal:
    """Read a quantity such as ``100m``, ``1.5Gi`` or ``2e3``; digits beyond the 60th round it up.

    Raises:
        QuantityError: The text is no quantity.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if match is None:
        raise QuantityError(f"{text[:64]!r} is not a quantity")
    number = Decimal(match["number"])
    if match["exponent"] is not None:
        return number.scaleb(int(match["exponent"]), _ROUND_UP)
    return _ROUND_UP.multiply(number, _SUFFIXES[match["suffix"] or ""])


def _ceil(amount: Decimal) -> int:
    within = max(Decimal(-_MAX_AMOUNT), min(Decimal(_MAX_AMOUNT), amount))
    return int(within.to_integral_value(rounding=ROUND_CEILING))


@lru_cache(maxsize=16_384)
def parse_milli(text: str) -> int:
    """Read a quantity in thousandths (cpu in millicores), rounded up.

    Raises:
        QuantityError: The text is no quantity.
    """
    return _ceil(_ROUND_UP.multiply(parse_quantity(text), Decimal(1000)))


@lru_cache(maxsize=16_384)
def parse_whole(text: str) -> int:
    """Read a quantity in whole units (memory in bytes), rounded up.

    Raises:
        QuantityError: The text is no quantity.
    """
    return _ceil(parse_quantity(text))


def parse_amount(resource: str, text: str) -> int:
    """Read an amount of *resource* in the unit in which that resource is counted.

    Raises:
        QuantityError: The text is no quantity.
    """
    return parse_milli(text) if resource == CPU else parse_whole(text)


def parse_amounts(quantities: Mapping[str, str]) -> dict[str, int]:
    """Read a resource list: millicores for cpu, whole units for the rest.

    Raises:
        QuantityError: A value is no quantity.
    """
    return {name: parse_amount(name, text) for name, text in quantities.items()}


class ContainerLike(Protocol):
    """What counting a container's request needs of it."""

    @property
    def requests(self) -> Mapping[str, int]:
        """Amounts by resource name."""

    @property
    def is_sidecar(self) -> bool:
        """Whether it is an init container that keeps running (restartPolicy Always)."""


def effective_requests(
    containers: Sequence[ContainerLike],
    *,
    init_containers: Sequence[ContainerLike] = (),
    pod_level: Mapping[str, int] | None = None,
    overhead: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Sum up what a pod needs at once, as kube-scheduler counts it.

    Ordinary init containers run one after the other, beside the sidecars started before them;
    the pod needs the larger of that peak and of what all long-running containers need together.
    Source: ``k8s.io/component-helpers/resource/helpers.go`` (``PodRequests``).

    Args:
        containers: The app containers.
        init_containers: In the order in which they start.
        pod_level: ``spec.resources.requests``; replaces the sum for cpu, memory and huge pages.
        overhead: ``spec.overhead``, added at the end.

    Returns:
        Amounts by resource name: millicores for cpu, whole units for the rest.
    """
    total: dict[str, int] = {}
    for container in containers:
        _add(total, container.requests)
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in init_containers:
        if container.is_sidecar:
            _add(total, container.requests)
            _add(sidecars, container.requests)
            candidate = sidecars
        else:
            candidate = dict(sidecars)
            _add(candidate, container.requests)
        for name, amount in candidate.items():
            peak[name] = max(peak.get(name, 0), amount)
    for name, amount in peak.items():
        total[name] = max(total.get(name, 0), amount)
    total.update({n: a for n, a in (pod_level or {}).items() if _is_pod_level(n)})
    _add(total, overhead or {})
    return total


def _is_pod_level(resource: str) -> bool:
    return resource in (CPU, MEMORY) or resource.startswith("hugepages-")


def _add(total: dict[str, int], amounts: Mapping[str, int]) -> None:
    for name, amount in amounts.items():
        total[name] = total.get(name, 0) + amount
