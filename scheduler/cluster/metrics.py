"""What Prometheus sees; kube-scheduler's names where the meaning is the same."""

from collections.abc import Iterable
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from scheduler.cluster.counts import EngineCounts
from scheduler.cluster.feedback import Result
from scheduler.cluster.histograms import SwiftHistogram
from scheduler.cluster.measuring import Looked
from scheduler.cluster.meter import CycleMeter
from scheduler.cluster.surprises import Kind
from scheduler.decision import PredictionUse
from scheduler.predictions import Outage

_FAST_S: Final = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SLOW_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1800)


class Metrics:
    """All metrics of the program.

    Args:
        registry: Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        ProcessCollector(registry=registry)
        self.meter = CycleMeter(registry)
        self.attempts = Counter(
            "scheduler_schedule_attempts_total",
            "Attempts to schedule pods, by result (scheduled, unschedulable, error)",
            ["result", "profile"],
            registry=registry,
        )
        self.attempt_duration = SwiftHistogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "From taking a pod out of the queue until it is bound or refused",
            ["result", "profile"],
            buckets=_FAST_S,
            registry=registry,
        )
        self.algorithm_duration = SwiftHistogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Time the engine took to decide about a pod",
            buckets=_FAST_S,
            registry=registry,
        )
        self.sli_duration = SwiftHistogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "From a pod's first appearance until it is bound, by the cluster's clock",
            ["attempts"],
            buckets=_SLOW_S,
            registry=registry,
        )
        self.pod_attempts = SwiftHistogram(
            "scheduler_pod_scheduling_attempts",
            "Attempts that a bound pod took",
            buckets=(1, 2, 4, 8, 16),
            registry=registry,
        )
        self.preemption_victims = SwiftHistogram(
            "scheduler_preemption_victims",
            "Pods evicted to make room for one",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.pending = Gauge(
            "scheduler_pending_pods", "Pending pods by queue", ["queue"], registry=registry
        )
        self.incoming = EngineCounts(
            "scheduler_queue_incoming_pods",
            "Pods that came into a queue, by what brought them there",
            ["queue", "event"],
            type="counter",
            registry=registry,
        )
        self.unschedulable = EngineCounts(
            "scheduler_unschedulable_pods",
            "Pods that wait, by the plugins that refused them the last time",
            ["plugin", "profile"],
            type="gauge",
            registry=registry,
        )
        self.event_handling = SwiftHistogram(
            "scheduler_event_handling_duration_seconds",
            "Time the engine took to take in a piece of news",
            ["event"],
            buckets=_FAST_S,
            registry=registry,
        )
        self.cache_size = Gauge(
            "scheduler_cache_size", "Nodes, pods and assumed pods", ["type"], registry=registry
        )
        self.binding = Gauge(
            "scheduler_binding_pods", "Pods decided on and not bound yet", registry=registry
        )
        self.leader = Gauge(
            "leader_election_master_status",
            "1 while this scheduler holds the lease and decides, by the lease's name",
            ["name"],
            registry=registry,
        )
        self.surprises = Counter(
            "scheduler_surprises_total",
            "Times the API server contradicted what the watch says (refused again, unconfirmed)",
            ["kind"],
            registry=registry,
        )
        self.rebuilds = Counter(
            "scheduler_state_rebuilds_total",
            "Times all state was built anew from the API server after repeated surprises",
            registry=registry,
        )
        self.reports_dropped = Counter(
            "scheduler_reports_dropped_total",
            "Events and conditions not written because too many waited",
            registry=registry,
        )
        self.predictor_requests = Counter(
            "scheduler_predictor_requests_total",
            "Questions to the predictor (answered, late, timed out, unavailable)",
            ["result"],
            registry=registry,
        )
        self.predictor_duration = Histogram(
            "scheduler_predictor_request_duration_seconds",
            "Time the predictor took to answer",
            buckets=_FAST_S,
            registry=registry,
        )
        self.predictor_decisions = Counter(
            "scheduler_predictor_decisions_total",
            "Decisions by what part the prediction had (used, timed out, unavailable, ...)",
            ["use"],
            registry=registry,
        )
        self.predictor_resting = Gauge(
            "scheduler_predictor_resting",
            "1 while the predictor is not asked because it failed",
            registry=registry,
        )
        self.usage_requests = Counter(
            "scheduler_usage_requests_total",
            "Questions what nodes use or receive, for plugins that ask (answered, unavailable)",
            ["result"],
            registry=registry,
        )
        self.feedback = Counter(
            "scheduler_feedback_total",
            "Outcomes told to the predictor (sent, refused, dropped)",
            ["result"],
            registry=registry,
        )
        self.open_outcomes = Gauge(
            "scheduler_open_outcomes", "Bound pods with unknown outcome", registry=registry
        )
        for counter, values in (
            (self.surprises, get_args(Kind)),
            (self.predictor_requests, ("answered", "late", *get_args(Outage))),
            (self.predictor_decisions, get_args(PredictionUse)),
            (self.usage_requests, get_args(Looked)),
            (self.feedback, get_args(Result)),
        ):
            for value in values:
                counter.labels(value)  # zero is news, too: without it no rate would show the first

    def know_profiles(self, names: Iterable[str]) -> None:
        """Show zeros, instead of nothing, for what has not happened yet."""
        for name in names:
            self.meter.expect(name)
            for result in ("scheduled", "unschedulable", "error"):
                self.attempts.labels(result, name)
                self.attempt_duration.expect(result, name)
        self.sli_duration.expect("1")

    def observe_attempt(self, *, result: str, profile: str, took_s: float) -> None:
        """Count an attempt that has ended."""
        self.attempts.labels(result, profile).inc()
        self.attempt_duration.observe(took_s, result, profile)

    def observe_question(self, result: str, took_s: float) -> None:
        """Count a question to the predictor."""
        self.predictor_requests.labels(result).inc()
        self.predictor_duration.observe(took_s)
