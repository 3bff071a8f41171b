"""What the server counts about itself, under upstream's names, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from scheduler.simulator.apiserver.requests import Response

EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Telemetry:
    """Counters of one server; two servers in one process count apart."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "apiserver_request_total",
            "Requests answered.",
            ("verb", "resource", "code"),
            registry=self._registry,
        )
        self._durations = Histogram(
            "apiserver_request_duration_seconds",
            "Time until the answer was ready.",
            ("verb",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._watches = Gauge(
            "apiserver_registered_watchers", "Watches that are open.", registry=self._registry
        )
        self._faults = Counter(
            "apiserver_injected_faults_total",
            "Failures made on purpose.",
            ("kind",),
            registry=self._registry,
        )
        self._version = Gauge(
            "apiserver_resource_version", "Number of the last write.", registry=self._registry
        )

    def answered(self, verb: str, resource: str, *, code: int, took_s: float) -> None:
        """Count an answer."""
        self._requests.labels(verb, resource, str(code)).inc()
        self._durations.labels(verb).observe(took_s)

    def failed_on_purpose(self, kind: str) -> None:
        """Count an injected fault."""
        self._faults.labels(kind).inc()

    def exposition(self, *, n_watches: int, version: int) -> Response:
        """``/metrics``."""
        self._watches.set(n_watches)
        self._version.set(version)
        return Response(
            body=generate_latest(self._registry),
            content_type=EXPOSITION_TYPE,
        )
