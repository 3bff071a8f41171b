"""Shows what the engine decided: in the log, in the metrics, and to those who ask why."""

import logging
import time

from kube.edge.logs import facts
from scheduler.cluster.decisions import DecisionLog
from scheduler.cluster.metrics import Metrics
from scheduler.decision import Decision
from scheduler.engine import Engine
from scheduler.events import (
    Bind,
    BindFailed,
    BindSucceeded,
    Event,
    Evict,
    PodGone,
    ReportFailure,
    ReportScheduled,
)
from scheduler.framework.status import Code
from scheduler.model import PodFacts
from scheduler.queue import Pool

log = logging.getLogger(__name__)


class Recorder:
    """Views of decisions; used by the engine's thread alone.

    Args:
        decisions: Where decisions are kept.
        metrics: What is counted.
    """

    def __init__(self, *, decisions: DecisionLog, metrics: Metrics) -> None:
        self._decisions = decisions
        self._metrics = metrics
        self._binding: dict[str, tuple[str, float]] = {}
        self._handed_over_s: dict[str, float] = {}

    def record(self, decision: Decision, *, took_s: float) -> None:
        """Take in a decision that took *took_s* seconds."""
        self._decisions.add(decision)
        self._metrics.algorithm_duration.observe(took_s)
        self._metrics.predictor_decisions.labels(decision.prediction.use).inc()
        if decision.victims:
            self._metrics.preemption_victims.observe(len(decision.victims))
        if decision.node is None:
            result, profile = "unschedulable", decision.profile
            self._metrics.observe_attempt(result=result, profile=profile, took_s=took_s)
            log.info(
                "pod unschedulable",
                extra=facts(pod=decision.key, attempt=decision.attempt, why=decision.message),
            )
            return
        self._binding[decision.uid] = (decision.profile, time.perf_counter() - took_s)
        log.info(
            "pod assigned",
            extra=facts(
                pod=decision.key,
                node=decision.node,
                score=decision.score,
                runner_up=decision.runner_up,
                margin=decision.margin,
                n_feasible=decision.n_feasible,
                attempt=decision.attempt,
                prediction=decision.prediction.words,
            ),
        )

    def hand_over(self, bind: Bind) -> None:
        """Take in that a pod's binding begins to be written."""
        self._handed_over_s[bind.pod.uid] = time.perf_counter()

    def taken_in(self, event: Event, *, took_s: float) -> None:
        """Take in how long the engine took to learn of *event*."""
        self._metrics.event_handling.observe(took_s, type(event).__name__)

    def note(self, event: Event) -> None:
        """Take in how a binding ended, also where ``report`` will not be told of it."""
        if isinstance(event, BindSucceeded | BindFailed):
            self._end_binding(event)
        match event:
            case BindFailed(uid, is_lost_race=True):
                profile, started_s = self._binding.pop(uid, ("", 0.0))
                if profile:
                    self._observe("error", profile=profile, started_s=started_s)
            case PodGone(_, uid):
                self._binding.pop(uid, None)
                self._handed_over_s.pop(uid, None)
            case _:
                pass

    def report(self, report: ReportScheduled | ReportFailure) -> None:
        """Count a pod that is bound, and an attempt that an error ended."""
        if isinstance(report, ReportFailure):
            if report.reason == "SchedulerError":
                self._end_attempt(report.pod, result="error")
                log.warning("attempt failed", extra=facts(pod=report.pod.key, why=report.message))
            return
        self._end_attempt(report.pod, result="scheduled")
        attempts = str(min(report.attempts, 16))
        self._metrics.sli_duration.observe(report.pending_s, attempts)
        self._metrics.pod_attempts.observe(report.attempts)

    def report_eviction(self, action: Evict) -> None:
        """Log a pod that is asked to go."""
        victim = action.victim
        log.info(
            "pod evicted",
            extra=facts(pod=victim.key, priority=victim.priority, why=action.note),
        )

    def show(self, engine: Engine) -> None:
        """Show how much the engine holds."""
        for pool in Pool:
            self._metrics.pending.labels(pool.value).set(engine.n_pending(pool))
        for kind, n in engine.cache_sizes.items():
            self._metrics.cache_size.labels(kind).set(n)
        self._metrics.binding.set(engine.n_binding)
        self._metrics.incoming.show(engine.incoming.items())
        self._metrics.unschedulable.show(engine.refusals.items())

    def _end_binding(self, event: BindSucceeded | BindFailed) -> None:
        since_s = self._handed_over_s.pop(event.uid, None)
        profile, _ = self._binding.get(event.uid, ("", 0.0))
        if since_s is not None and profile:
            word = Code.SUCCESS.word if isinstance(event, BindSucceeded) else Code.ERROR.word
            self._metrics.meter.passed("Bind", profile=profile, status=word, since_s=since_s)

    def _end_attempt(self, pod: PodFacts, *, result: str) -> None:
        now_s = time.perf_counter()
        _, started_s = self._binding.pop(pod.uid, ("", now_s))
        self._observe(result, profile=pod.scheduler_name, started_s=started_s)

    def _observe(self, result: str, *, profile: str, started_s: float) -> None:
        took_s = time.perf_counter() - started_s
        self._metrics.observe_attempt(result=result, profile=profile, took_s=took_s)
