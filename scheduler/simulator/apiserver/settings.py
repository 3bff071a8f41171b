"""What an operator, or a test, can turn about the simulated API server."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from scheduler.simulator.apiserver.faults import NO_FAULTS, Faults
from scheduler.simulator.resources import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerSettings:
    """What the server needs to know besides its objects."""

    tokens: frozenset[str] = frozenset()
    """Bearer tokens that are let in; when there are none, everybody is."""
    advertised_address: str = "127.0.0.1:6443"
    """What discovery tells clients to call."""
    max_body_bytes: int = 3 * 1024 * 1024
    watch_queue_size: int = 10_000
    """Events that may wait for a slow watcher before it is cut off."""
    clears_namespaces: bool = True
    """Delete what a terminating namespace holds, as the namespace controller does."""
    faults: Faults = NO_FAULTS
    """How it misbehaves at first; see ``faults`` for how that is changed while it runs."""


class MetricsSource(Protocol):
    """Where ``metrics.k8s.io`` gets its numbers from."""

    def node_metrics(self) -> Sequence[Object]:
        """``NodeMetrics`` objects of ``metrics.k8s.io/v1beta1``."""

    def pod_metrics(self) -> Sequence[Object]:
        """``PodMetrics`` objects of ``metrics.k8s.io/v1beta1``."""

    def exposition(self) -> Iterator[str]:
        """What kubelets expose to Prometheus, of all nodes at once, bit by bit."""


class NoMetrics:
    """A metrics source that has seen nothing yet."""

    def node_metrics(self) -> Sequence[Object]:
        """Nothing."""
        return ()

    def pod_metrics(self) -> Sequence[Object]:
        """Nothing."""
        return ()

    def exposition(self) -> Iterator[str]:
        """Nothing."""
        return iter(())
