"""What the server counts about itself, under upstream's names, for Prometheus."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scheduler.simulator.apiserver.requests import Response, Stream
from scheduler.simulator.store import Store

_EXPOSITION_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """Counters of one server; two servers in one process count apart.

    Args:
        registry: Where they are registered.
        store: What the server serves.
        n_watches: Tells how many are open.
    """

    def __init__(
        self, registry: CollectorRegistry, *, store: Store, n_watches: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._requests = Counter(
            "apiserver_request_total",
            "Requests answered.",
            ("verb", "resource", "code"),
            registry=registry,
        )
        self._durations = Histogram(
            "apiserver_request_duration_seconds",
            "Time until the answer was ready.",
            ("verb",),
            buckets=_BUCKETS,
            registry=registry,
        )
        watches = Gauge(
            "apiserver_registered_watchers", "Watches that are open.", registry=registry
        )
        watches.set_function(n_watches)
        self._faults = Counter(
            "apiserver_injected_faults_total",
            "Failures made on purpose.",
            ("kind",),
            registry=registry,
        )
        version = Gauge(
            "apiserver_resource_version", "Number of the last write.", registry=registry
        )
        version.set_function(lambda: store.version)
        registry.register(_StoredObjects(store))

    def answered(self, verb: str, resource: str, *, code: int, took_s: float) -> None:
        """Count an answer."""
        self._requests.labels(verb, resource, str(code)).inc()
        self._durations.labels(verb).observe(took_s)

    def failed_on_purpose(self, kind: str) -> None:
        """Count an injected fault."""
        self._faults.labels(kind).inc()

    def exposition(self) -> Response:
        """``/metrics``."""
        return Response(body=generate_latest(self._registry), content_type=_EXPOSITION_TYPE)


def exposition_stream(parts: AsyncIterator[bytes]) -> Stream:
    """Answer a scrape that is too long to be written at once."""
    return Stream(parts=parts, close=lambda: None, content_type=_EXPOSITION_TYPE, verb="GET")


class _StoredObjects(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "apiserver_storage_objects", "Objects in the store, by resource.", labels=("resource",)
        )
        for table, n in self._store.sizes().items():
            family.add_metric((table,), n)
        yield family
