"""What a served simulation counts about itself, for Prometheus."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from scheduler.simulator import changes as ch
from scheduler.simulator.clock import VirtualClock
from scheduler.simulator.cluster import Cluster

_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class SimulationMetrics:
    """How a simulation goes: its time, its pace, its troubles.

    Args:
        registry: Where they are registered.
        cluster: What is simulated.
        clock: Its clock.
    """

    def __init__(
        self, registry: CollectorRegistry, *, cluster: Cluster, clock: VirtualClock
    ) -> None:
        now = Gauge(
            "simulator_time_seconds",
            "The cluster's time, Unix seconds; how fast it grows is the speed that was reached.",
            registry=registry,
        )
        now.set_function(clock.now_s)
        Gauge(
            "simulator_speed_ratio",
            "Virtual seconds that are to pass in a second.",
            registry=registry,
        ).set(clock.speed)
        self._steps = Histogram(
            "simulator_step_duration_seconds",
            "Real time that a step of the world took.",
            buckets=_BUCKETS,
            registry=registry,
        )
        self.lost = Counter(
            "simulator_lost_seconds",
            "Real time that the simulation could not make up for: too slow for its speed.",
            registry=registry,
        )
        self._events = Counter(
            "simulator_world_events",
            "What happened in the world, by kind.",
            ("event",),
            registry=registry,
        )
        self._exits = Counter(
            "simulator_container_exits",
            "Containers that ended, by cause (limit, node_memory: killed for lack of memory).",
            ("cause",),
            registry=registry,
        )
        self._by_kind = {
            kind: self._events.labels(kind.__name__)
            for kind in (*get_args(ch.PodChange), *get_args(ch.NodeChange))
        }
        self._by_cause = {cause: self._exits.labels(cause) for cause in get_args(ch.ExitCause)}
        registry.register(
            _Counted(
                "simulator_lacking_cpu_seconds",
                "Core-seconds that containers wished for and did not get: over a limit, or beside"
                " too many others.",
                lambda: cluster.world.lacking_core_s,
            )
        )
        ProcessCollector(registry=registry)
        cluster.on_world_change(self._witness)

    @contextmanager
    def timing_step(self) -> Iterator[None]:
        """Measure one step of the world."""
        began_s = time.perf_counter()
        yield
        self._steps.observe(time.perf_counter() - began_s)

    def _witness(self, change: ch.Change) -> None:
        self._by_kind[type(change)].inc()
        if isinstance(change, ch.ContainerExited):
            self._by_cause[change.cause].inc()


class _Counted(Collector):
    """A counter that somebody else keeps."""

    def __init__(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        self._name, self._documentation, self._value = name, documentation, value

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._documentation, value=self._value())
