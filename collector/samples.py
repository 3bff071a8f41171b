"""Usage samples: what ``metrics.k8s.io`` or Prometheus says, parsed once into integers."""

import math
from dataclasses import dataclass
from typing import Final

from kube.objects import NodeMetrics, PodMetrics
from kube.quantity import CPU, MEMORY, parse_milli, parse_whole

MAX_AMOUNT: Final = 2**53
"""No node uses more; a larger figure is a fault of whoever measured."""


class SampleError(ValueError):
    """The figures are no usage: skip the sample."""


@dataclass(frozen=True, slots=True)
class NodeSample:
    """What a node used, as measured at an instant of the cluster's clock."""

    node: str
    at_s: float
    cpu_milli: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PodSample:
    """What a pod used, as measured at an instant of the cluster's clock."""

    namespace: str
    name: str
    at_s: float
    cpu_milli: int
    memory_bytes: int
    containers_cpu_milli: tuple[tuple[str, int], ...]
    """By container."""
    throttled_ratio: float | None = None
    """Share of CFS periods in which it was throttled; ``None``: the source does not say."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One look at a source of metrics."""

    nodes: tuple[NodeSample, ...] = ()
    pods: tuple[PodSample, ...] = ()
    n_malformed: int = 0


def node_sample(metrics: NodeMetrics) -> NodeSample:
    """Read a node's metrics.

    Raises:
        SampleError: An amount is missing, malformed or absurd.
    """
    cpu_milli, memory_bytes = _amounts(metrics.usage)
    return NodeSample(metrics.metadata.name, metrics.timestamp.timestamp(), cpu_milli, memory_bytes)


def pod_sample(metrics: PodMetrics) -> PodSample:
    """Read a pod's metrics.

    Raises:
        SampleError: An amount is missing, malformed or absurd.
    """
    amounts = [(c.name, *_amounts(c.usage)) for c in metrics.containers or []]
    if not amounts:
        raise SampleError("no containers")
    return PodSample(
        namespace=metrics.metadata.namespace,
        name=metrics.metadata.name,
        at_s=metrics.timestamp.timestamp(),
        cpu_milli=sum(cpu for _, cpu, _ in amounts),
        memory_bytes=sum(memory for _, _, memory in amounts),
        containers_cpu_milli=tuple((name, cpu) for name, cpu, _ in amounts),
    )


def number_of(text: str) -> float:
    """Read a float as Prometheus writes it.

    Raises:
        SampleError: It is no amount: negative, infinite or no number.
    """
    try:
        value = float(text)
    except ValueError as error:
        raise SampleError(f"malformed number: {text}") from error
    if not 0.0 <= value < math.inf:
        raise SampleError(f"no amount: {text}")
    return value


def milli_of_cores(text: str) -> int:
    """Read cores as millicores.

    Raises:
        SampleError: It is no amount, or absurd.
    """
    return _bounded(1000.0 * number_of(text))


def bytes_of(text: str) -> int:
    """Read bytes.

    Raises:
        SampleError: It is no amount, or absurd.
    """
    return _bounded(number_of(text))


def _bounded(amount: float) -> int:
    if amount > MAX_AMOUNT:
        raise SampleError("absurd usage")
    return round(amount)


def _amounts(usage: dict[str, str]) -> tuple[int, int]:
    try:
        cpu_milli, memory_bytes = parse_milli(usage[CPU]), parse_whole(usage[MEMORY])
    except (KeyError, ValueError) as error:
        raise SampleError(f"malformed usage: {error}") from error
    if not (0 <= cpu_milli <= MAX_AMOUNT and 0 <= memory_bytes <= MAX_AMOUNT):
        raise SampleError("absurd usage")
    return cpu_milli, memory_bytes
