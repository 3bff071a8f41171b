"""Runs the engine on a real cluster: news in, actions out, one thread between them."""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from kube.client import Client
from kube.informer import Informer
from kube.objects import Node, Pod
from scheduler.cluster.binder import Binder
from scheduler.cluster.clock import EngineClock
from scheduler.cluster.decisions import DecisionLog
from scheduler.cluster.evictor import Evictor
from scheduler.cluster.feedback import FeedbackSender
from scheduler.cluster.inbox import Inbox
from scheduler.cluster.measuring import Gauge
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.news import News
from scheduler.cluster.outcomes import OutcomeTracker
from scheduler.cluster.predictions import PredictionAsker
from scheduler.cluster.questions import NoAnswerError, Question, Questions
from scheduler.cluster.quota_status import quota_usage
from scheduler.cluster.records import Recorder
from scheduler.cluster.reporter import Reporter
from scheduler.cluster.statuses import StatusKeeper
from scheduler.cluster.surprises import Surprises
from scheduler.cluster.timekeeper import Timekeeper
from scheduler.cluster.usage.choice import chosen, make_source
from scheduler.cluster.usage.measures import MeasureSource
from scheduler.cluster.watches import is_optional, watched
from scheduler.cluster.workers import Workers
from scheduler.engine import Engine, EngineSettings
from scheduler.events import (
    Action,
    AskPrediction,
    Bind,
    BindFailed,
    BindSucceeded,
    Event,
    Evict,
    NodesMeasured,
    Predicted,
    Record,
    ReportFailure,
    ReportScheduled,
    Tick,
    UtilizationMeasured,
    WriteFirst,
)
from scheduler.model import UsageWindow
from scheduler.queue import Pool
from scheduler.settings import SchedulerSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

_IDLE_S: Final = 0.25
"""How often back-offs are looked at when nothing happens."""
_STOP_TIMEOUT_S: Final = 5.0
_MAX_QUESTIONS: Final = 32
_GIVE_UP_S: Final = 3.0
"""A prediction that comes after the decision, but within this, serves the next ones."""


class ClusterShell:
    """A running scheduler; a context manager that stops it.

    Args:
        client: The API server.
        engine: Decides.
        settings: How to work.
        metrics: What is counted.
        rng: Jitter.
        decisions: Where decisions are kept.
        is_leader: Whether we may decide, and bind, at this moment. Who may not watches, so as to be
            ready.
    """

    def __init__(  # noqa: PLR0913 (each is a thing of its own, and the last two are for a few)
        self,
        client: Client,
        *,
        engine: Engine,
        settings: SchedulerSettings,
        metrics: Metrics,
        rng: random.Random,
        decisions: DecisionLog | None = None,
        is_leader: Callable[[], bool] = lambda: True,
    ) -> None:
        self.decisions = DecisionLog(settings.decisions.keep) if decisions is None else decisions
        self.failed = threading.Event()
        """Set when the program cannot go on and should be started anew."""
        self.may_still_write = True
        """Whether a binding may still be under way; known to be false only once it has stopped."""
        self._is_leader = is_leader
        self._metrics = metrics
        self._engine = engine
        self._clock = EngineClock(client.now_s)
        self._stop = threading.Event()
        self._inbox = Inbox()
        self._questions = Questions(max_waiting=_MAX_QUESTIONS, wake=self._inbox.nudge)
        self._recorder = Recorder(decisions=self.decisions, metrics=metrics)
        self._reports_outcomes = False
        self._has_more = False
        self._feedback = FeedbackSender(
            settings.predictor.url,
            tracker=OutcomeTracker(
                engine.scheduler_names, window_s=settings.feedback.observation_window
            ),
            now_s=client.now_s,
            interval_s=settings.feedback.interval,
            on_result=lambda result: metrics.feedback.labels(result).inc(),
            rng=rng,
        )
        self._timekeeper = Timekeeper(
            client, interval_s=settings.feedback.interval, is_needed=self._waits_for_time
        )
        gauge = partial(
            Gauge,
            interval_s=settings.usage.interval,
            deliver=self._inbox.put_result,
            on_looked=lambda result: metrics.usage_requests.labels(result).inc(),
            now_s=client.now_s,
            rng=rng,
        )
        self._gauges: list[Gauge[Any]] = []
        if engine.reads_usage:
            # A token in a plugin's arguments is for whom they name, not for other measures.
            usage = chosen(settings.usage, profiles=engine.profiles)
            source = make_source(usage, client=client)
            self._gauges.append(gauge(source))
        for measure in engine.measures:
            asked = MeasureSource(measure, settings=settings.usage.prometheus, now_s=client.now_s)
            self._gauges.append(gauge(asked))
        self._keeper = StatusKeeper(
            client,
            objects=lambda kind: list(self._informers[_plural(kind.collection)].store.values()),
            kinds=engine.keeps,
            is_leader=is_leader,
            rng=rng,
        )
        news = News(inbox=self._inbox, followers=(self._feedback.see, self._keeper.see))
        self._pods = Informer(
            client, "/api/v1/pods", Pod, on_event=news.on_pod, stop=self._stop, rng=rng
        )
        self._nodes = Informer(
            client, "/api/v1/nodes", Node, on_event=news.on_node, stop=self._stop, rng=rng
        )
        watch = partial(Informer, client, on_event=news.on_object, stop=self._stop, rng=rng)
        self._informers: dict[str, Informer[Any]] = {
            "nodes": self._nodes,
            "pods": self._pods,
            **{
                _plural(path): watch(path, kind, is_optional=is_optional(kind))
                for kind, path in watched(engine.reads).items()
            },
        }
        self.surprises = Surprises(
            shown=self._pods.store.get,
            on_surprise=lambda kind: metrics.surprises.labels(kind).inc(),
            monotonic=time.monotonic,
        )
        self._binder = Binder(
            client,
            deliver=self._inbox.put_result,
            is_leader=is_leader,
            stop=self._stop,
            rng=rng,
        )
        self._evictor = Evictor(
            client,
            deliver=self._inbox.put_result,
            is_leader=is_leader,
            stop=self._stop,
            rng=rng,
        )
        self._reporter = Reporter(client, pod=self._pods.store.get, stop=self._stop, rng=rng)
        self._asker = PredictionAsker(
            settings.predictor.url,
            timeout_s=settings.predictor.timeout,
            give_up_s=_GIVE_UP_S,
            deliver=self._inbox.put_result,
            on_asked=metrics.observe_question,
            rng=rng,
        )
        # Never full: the engine has no more bindings and evictions under way at once.
        self._bind_workers = Workers(
            "bind",
            n_threads=settings.binding.threads,
            max_waiting=settings.binding.max_in_flight + 2 * EngineSettings().max_evicting,
        )
        self._report_workers = Workers(
            "report", n_threads=4, max_waiting=10_000, on_dropped=metrics.reports_dropped.inc
        )
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> "ClusterShell":
        """Start to watch; scheduling begins when everything has been listed."""
        for informer in self._informers.values():
            informer.start()
        self._timekeeper.start()
        for gauge in self._gauges:
            gauge.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop: finish the bindings that are being written, begin no more."""
        self._stop.set()
        self._inbox.close()
        self._questions.close()
        self._thread.join(_STOP_TIMEOUT_S)
        self.may_still_write = not self._bind_workers.stop(timeout_s=_STOP_TIMEOUT_S)
        self._report_workers.stop(timeout_s=_STOP_TIMEOUT_S)
        self._asker.stop()
        self._feedback.stop()
        self._keeper.stop()
        self._timekeeper.stop()
        for gauge in self._gauges:
            gauge.stop()
        for informer in self._informers.values():
            informer.join()

    def not_ready(self) -> str:
        """Say why nothing can be scheduled yet; empty when it can."""
        if self.failed.is_set():
            return "stopped by a failure; see the log"
        waiting = [name for name, informer in self._informers.items() if not informer.is_synced]
        return f"waiting for the list of {' and '.join(waiting)}" if waiting else ""

    def ask(self, question: Question[T], *, timeout_s: float) -> T:
        """Have the engine's thread answer a question.

        Raises:
            NoAnswerError: It did not within *timeout_s* seconds, or cannot yet.
        """
        why = self.not_ready()
        if why:
            raise NoAnswerError(why)
        return self._questions.ask(question, timeout_s=timeout_s)

    def bind(self, action: Bind, *, timeout_s: float) -> str:
        """Bind a pod that someone else decided on, as one of ours; any thread may ask.

        Args:
            action: What to bind where.
            timeout_s: No attempt begins later than this, in seconds.

        Returns:
            Why it is not bound; empty if it is.
        """
        result = self._binder.settle(action, patience_s=timeout_s)
        match result:
            case BindSucceeded():
                return ""
            case BindFailed(_, message):
                return message
            case None:
                return "the scheduler is stopping"

    def _waits_for_time(self) -> bool:
        n_waiting = self._engine.n_pending(Pool.BACKOFF) + self._engine.n_pending(
            Pool.UNSCHEDULABLE
        )
        return n_waiting + self._feedback.n_open > 0

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
        except Exception:  # a bug: what the engine believes is in doubt, the API server is not
            log.exception("the engine failed")
            self.failed.set()

    def _turn(self) -> None:
        """Take in all news, then decide: news may say that a more urgent pod has come."""
        for event in self._inbox.take(timeout_s=self._patience_s()):
            self._recorder.note(event)
            if isinstance(event, BindFailed) and event.is_lost_race:
                self.surprises.note_lost_race(event.uid)
            now_s = self._clock.now_s()
            started_s = time.perf_counter()
            actions = self._engine.handle(self._in_engine_time(event), now_s=now_s)
            self._recorder.taken_in(event, took_s=time.perf_counter() - started_s)
            self._perform(actions)
        self._perform(self._questions.answer(self._engine, now_s=self._clock.now_s()))
        is_synced = all(informer.is_synced for informer in self._informers.values())
        self._has_more = is_synced and self._is_leader() and self._decide()
        self.surprises.look()
        if self._keeper.wants_usage:
            self._keeper.take_usage(quota_usage(self._engine.snapshot))
        self._recorder.show(self._engine)
        self._metrics.predictor_resting.set(self._asker.is_resting)
        self._metrics.open_outcomes.set(self._feedback.n_open)
        self._check_hands()

    def _check_hands(self) -> None:
        """Set the last hand to work once we lead, and notice if one has stopped working."""
        if not self._reports_outcomes and self._is_leader():
            # Whoever is not leader leaves the outcomes to the one that is.
            self._feedback.start()
            self._keeper.start()
            self._reports_outcomes = True
        hands: list[Informer[Any] | PredictionAsker | Timekeeper | Gauge[Any]]
        hands = [*self._informers.values(), self._asker, self._timekeeper, *self._gauges]
        are_alive = all(hand.is_alive for hand in hands)
        if self._reports_outcomes:
            are_alive &= self._feedback.is_alive and self._keeper.is_alive
        if not (are_alive or self._stop.is_set()):
            log.error("a thread has ended")
            self.failed.set()

    def _in_engine_time(self, event: Event) -> Event:
        # By the cluster's clock a snapshot would seem old for ever once that has been set back.
        match event:
            case Predicted(answer):
                at_s = self._clock.of_cluster(answer.snapshot_at_s)
                return Predicted(replace(answer, snapshot_at_s=at_s))
            case NodesMeasured(usage, windows):
                return NodesMeasured(usage, {n: self._shifted(w) for n, w in windows.items()})
            case UtilizationMeasured(_, _, start_s, end_s):
                start_s, end_s = map(self._clock.of_cluster, (start_s, end_s))
                return replace(event, start_s=start_s, end_s=end_s)
            case _:
                return event

    def _shifted(self, window: UsageWindow) -> UsageWindow:
        start_s, end_s = map(self._clock.of_cluster, (window.start_s, window.end_s))
        return UsageWindow(window.mean, window.std, start_s, end_s)

    def _patience_s(self) -> float:
        """Tell how long to wait for news."""
        left_s = self._asker.enforce_budget()
        if self._has_more:
            return 0.0
        return _IDLE_S if left_s is None else min(_IDLE_S, left_s)

    def _decide(self) -> bool:
        """Run some scheduling cycles; tell whether there may be more to do."""
        started_s = time.perf_counter()
        actions = self._engine.handle(Tick(), now_s=self._clock.now_s())
        decisions = [action.decision for action in actions if isinstance(action, Record)]
        took_s = (time.perf_counter() - started_s) / max(1, len(decisions))
        for decision in decisions:
            at_s = self._clock.to_cluster(decision.decided_at_s)
            self._recorder.record(replace(decision, decided_at_s=at_s), took_s=took_s)
        self._perform(actions)
        return bool(decisions)

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case AskPrediction(shapes):
                    self._asker.ask(shapes)
                case Bind():
                    self._recorder.hand_over(action)
                    self._bind_workers.submit(partial(self._binder.bind, action))
                case WriteFirst():
                    self._bind_workers.submit(partial(self._evictor.write_first, action))
                case Evict():
                    self._evict(action)
                case ReportScheduled() | ReportFailure():
                    self._report(action)
                case Record():
                    pass  # taken in where it was made, with the time it took

    def _report(self, report: ReportScheduled | ReportFailure) -> None:
        self._recorder.report(report)
        write = (
            partial(self._reporter.report_scheduled, report)
            if isinstance(report, ReportScheduled)
            else partial(self._reporter.report_failure, report)
        )
        self._report_workers.submit(write)

    def _evict(self, action: Evict) -> None:
        self._recorder.report_eviction(action)
        # Not among the reports, which may be dropped when there are too many.
        self._bind_workers.submit(partial(self._evictor.evict, action))
        self._report_workers.submit(partial(self._reporter.report_eviction, action))


def _plural(path: str) -> str:
    return path.rsplit("/", 1)[1]
