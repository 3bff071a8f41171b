"""The collector's own metrics. Labels have few values: nothing is counted per pod or node."""

from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from kube.edge.serve import request_durations
from kube.health import FailureReason

_POLL_BUCKETS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Telemetry:
    """All metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.request_duration = request_durations("collector", registry=self.registry)
        self.samples = Counter(
            "collector_samples_total", "Samples taken in.", ["subject"], registry=self.registry
        )
        self.skipped_samples = Counter(
            "collector_skipped_samples_total",
            "Samples not taken in: stale (known already, or of an unknown object) or malformed.",
            ["reason"],
            registry=self.registry,
        )
        self.polls = Counter(
            "collector_polls_total",
            "Looks at the metrics source, by result.",
            ["result"],
            registry=self.registry,
        )
        self.poll_duration = Histogram(
            "collector_poll_duration_seconds",
            "How long a look at the metrics source took, storing included.",
            buckets=_POLL_BUCKETS,
            registry=self.registry,
        )
        self.backfilled = Counter(
            "collector_backfilled_windows_total",
            "Windows of five minutes that were filled from Prometheus' memory.",
            registry=self.registry,
        )
        self.last_sample = Gauge(
            "collector_last_sample_timestamp_seconds",
            "When the newest sample was measured (the cluster's clock).",
            registry=self.registry,
        )
        self.watch_events = Counter(
            "collector_watch_events_total",
            "Changes told by the API server.",
            ["resource", "type"],
            registry=self.registry,
        )
        self.watch_silence = Gauge(
            "collector_watch_silence_seconds",
            "How long ago the API server last said anything about a resource.",
            ["resource"],
            registry=self.registry,
        )
        self.placements = Counter(
            "collector_placements_total",
            "Placements since the start: recorded, or skipped because they were seen too late.",
            ["result"],
            registry=self.registry,
        )
        self.outcomes = Counter(
            "collector_outcomes_total",
            "Outcomes judged since the start, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.open_placements = Gauge(
            "collector_open_placements",
            "Placements whose outcome is not known yet.",
            registry=self.registry,
        )
        self.store_errors = Counter(
            "collector_store_errors_total",
            "Times that the database could not be read or written.",
            registry=self.registry,
        )
        self.store_dropped = Counter(
            "collector_store_dropped_total",
            "Ticks and rows let go of because the database could not be written for too long.",
            registry=self.registry,
        )
        self.store_pending = Gauge(
            "collector_store_pending",
            "Ticks and rows that wait for the database.",
            registry=self.registry,
        )
        self.expired_rows = Counter(
            "collector_expired_rows_total", "Rows deleted for their age.", registry=self.registry
        )
        self.snapshot_version = Gauge(
            "collector_snapshot_version", "Grows with every change.", registry=self.registry
        )
        for counter, values in (
            (self.samples, ("node", "pod")),
            (self.skipped_samples, ("stale", "malformed")),
            (self.polls, ("ok", "failed")),
            (self.placements, ("recorded", "late")),
            (self.outcomes, ("healthy", *get_args(FailureReason))),
        ):
            for value in values:
                counter.labels(value)  # zero is news, too: without it no rate would show the first
