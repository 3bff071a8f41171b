"""The shell: ties watches, poller and database to the pure parts, and guards them with one lock.

Nodes are listed before pods, so that every pod finds its node. Facts are dated by the cluster's
clock; jobs here run by ours.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import msgspec
from apscheduler.schedulers.background import BackgroundScheduler

from collector.archive import Archive
from collector.cluster_view import ClusterView
from collector.database import StoreError
from collector.facts import node_facts, pod_facts
from collector.history import History, Subject, Tally
from collector.journal import Journal
from collector.settings import CollectorSettings
from collector.snapshots import snapshot_of
from collector.sources import MetricsSource, SourceError
from collector.store import Store
from collector.telemetry import Telemetry
from collector.tracking import Tracker
from kube.client import Client
from kube.edge.logs import facts
from kube.informer import Added, Deleted, Event, Informer, Modified, Synced
from kube.objects import Node, Pod

log = logging.getLogger(__name__)

_TEND_S: Final = 1.0
"""How often placements are judged and news is written: what a kill may cost, beside samples."""
_MAINTENANCE_S: Final = 60.0
_QUIET_S: Final = 95.0
"""API servers say something on every watch about once a minute; after 90 s of silence the informer
looks for itself."""
_PATIENCE_S: Final = 0.01
"""How long to wait for a newer snapshot, where there is one to give."""


@dataclass(frozen=True, slots=True)
class EncodedSnapshot:
    """A ``Snapshot`` as JSON, made once for all who ask."""

    version: int
    body: bytes


class Collector:
    """Watches, polls, judges and stores until stopped; a context manager.

    Args:
        client: The cluster.
        source: Where samples come from.
        store: What earlier runs left, and where to write.
        archive: Rollups and retention.
        settings: See ``collector.settings``.
    """

    def __init__(
        self,
        client: Client,
        *,
        source: MetricsSource,
        store: Store,
        archive: Archive,
        settings: CollectorSettings,
    ) -> None:
        scoring = settings.scoring
        self.telemetry = Telemetry()
        self.store = store
        self.archive = archive
        self.journal = Journal(store, telemetry=self.telemetry)
        self._client = client
        self._source = source
        self._metrics = settings.metrics
        self._lock = threading.RLock()
        history = History(
            half_life_s=scoring.half_life,
            stability_half_life_s=scoring.stability_half_life,
            keep_s=settings.metrics.cache_duration,
            prior_failure_rate=scoring.prior_failure_rate,
            prior_weight=scoring.prior_weight,
        )
        # Milliseconds since 1970 grow faster than any cluster changes, so over restarts, too.
        view = ClusterView(history, version=time.time_ns() // 1_000_000)
        self._tracker = Tracker(
            view,
            history=history,
            window_s=scoring.observation_window,
            max_lag_s=scoring.placement_max_lag,
        )
        self._changed_at_s = 0.0
        self._changed_version = view.version
        self._snapshot: EncodedSnapshot | None = None
        self._poll_error = "no samples yet"
        self._is_cut_off = False
        self._has_started_pods = False
        self._is_listed = False
        self._flushing = threading.Lock()
        self._published: dict[str, int] = {}
        self._stop = threading.Event()
        rng = random.Random()
        self._nodes = Informer(
            client, "/api/v1/nodes", Node, on_event=self._on_node, stop=self._stop, rng=rng
        )
        self._pods = Informer(
            client, "/api/v1/pods", Pod, on_event=self._on_pod, stop=self._stop, rng=rng
        )
        self._jobs = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )

    def __enter__(self) -> Self:
        """Take up what earlier runs left, and start.

        Raises:
            StoreError: The database does not answer.
        """
        self._restore()
        poll_s = float(self._metrics.collection_interval)
        self._jobs.add_job(self._tend, "interval", seconds=_TEND_S)
        self._jobs.add_job(self._maintain, "interval", seconds=_MAINTENANCE_S)
        self._jobs.add_job(self._poll, "interval", seconds=poll_s, id="poll")
        self._jobs.start()
        self._nodes.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and write what is pending."""
        self._stop.set()
        # Nodes first: their informer may be just about to start the other.
        for informer in (self._nodes, self._pods):
            if informer.is_alive:
                informer.join()
        self._jobs.shutdown(wait=True)
        self._flush()

    @contextmanager
    def looking(self) -> Iterator[tuple[ClusterView, History]]:
        """Look at the present while nothing changes; be quick."""
        with self._lock:
            yield self._tracker.view, self._tracker.history

    @property
    def failure(self) -> Exception | None:
        """What ended a watch for good, if anything did: without it we would be wrong silently."""
        return self._nodes.failure or self._pods.failure

    def now_s(self) -> float:
        """Tell the cluster's time (Unix time, in seconds)."""
        return self._client.now_s()

    @property
    def is_synced(self) -> bool:
        """Whether the cluster has been listed once."""
        return self._is_listed

    @property
    def silence_s(self) -> float:
        """How long ago the API server said anything, in seconds; infinite if it never did."""
        return max(self._nodes.last_contact_s, self._pods.last_contact_s)

    @property
    def changed_at_s(self) -> float:
        """When anything changed last, by the cluster's clock."""
        return self._changed_at_s

    @property
    def n_open(self) -> int:
        """How many placements have no outcome yet."""
        return self._tracker.n_open

    def ailments(self) -> list[str]:
        """Say what keeps the collector from knowing all; nothing if it does."""
        ailments = []
        if self.silence_s == float("inf"):
            ailments.append("the API server has not answered yet")
        elif self.silence_s > _QUIET_S:
            ailments.append(f"the API server has not been heard of for {self.silence_s:.0f} s")
        if self._poll_error:
            ailments.append(f"no samples: {self._poll_error}")
        if self.journal.error:
            ailments.append(self.journal.error)
        if self.failure is not None:
            ailments.append(f"a watch has failed: {self.failure!r}")
        return ailments

    def snapshot(self) -> EncodedSnapshot:
        """Give the present as the predictor needs it, made anew if anything changed.

        While a round of samples is being taken in, the one from before it is given.
        """
        last = self._snapshot
        is_free = self._lock.acquire(timeout=-1.0 if last is None else _PATIENCE_S)
        if last is not None and not is_free:
            return last
        try:
            return self._newest_snapshot()
        finally:
            self._lock.release()

    def count_past_usage(self, usage: Mapping[str, Tally], *, at_s: float) -> None:
        """Count what workloads used when nobody looked, as another remembers it.

        Args:
            usage: Samples by workload.
            at_s: When that was.
        """
        with self._changing() as tracker:
            for workload, tally in usage.items():
                tracker.history.add_usage(workload, at_s=at_s, usage=tally)
            tracker.view.touch_all()

    def _newest_snapshot(self) -> EncodedSnapshot:
        with self._lock:
            view, history = self._tracker.view, self._tracker.history
            if self._snapshot is not None and self._snapshot.version == view.version:
                return self._snapshot
            snapshot = snapshot_of(view, history, at_s=self._changed_at_s, now_s=self.now_s())
            self._snapshot = EncodedSnapshot(snapshot.version, msgspec.json.encode(snapshot))
            return self._snapshot

    def _restore(self) -> None:
        tracker, store = self._tracker, self.store
        for subject, name, hour, tally in store.tallies():
            tracker.history.load(subject, name, hour=hour, tally=tally)
        tracker.load_marks(store.marks())
        pending = store.open_placements()
        if pending:
            samples = store.pod_samples(since_s=min(row.placed_at_s for row in pending))
            for row in pending:
                tracker.load_open(row, samples=samples.get(row.pod_uid, ()))

    @contextmanager
    def _changing(self) -> Iterator[Tracker]:
        with self._lock:
            yield self._tracker
            version = self._tracker.view.version
            if version != self._changed_version:
                self._changed_version, self._changed_at_s = version, self.now_s()
                self.telemetry.snapshot_version.set(version)

    def _on_node(self, event: Event[Node]) -> None:
        self._count_event("nodes", event)
        with self._changing() as tracker:
            match event:
                case Added(node) | Modified(new=node):
                    tracker.see_node(node_facts(node))
                case Deleted(node):
                    tracker.lose_node(node.metadata.name)
                case Synced():
                    log.info("nodes listed", extra=facts(n_nodes=tracker.view.n_nodes))
        if isinstance(event, Synced) and not self._has_started_pods:
            self._has_started_pods = True
            self._pods.start()

    def _on_pod(self, event: Event[Pod]) -> None:
        self._count_event("pods", event)
        is_first_list = isinstance(event, Synced) and not self._is_listed
        with self._changing() as tracker:
            match event:
                case Added(pod) | Modified(new=pod):
                    tracker.see_pod(pod_facts(pod), now_s=self.now_s())
                case Deleted(pod):
                    tracker.lose_pod(pod_facts(pod), now_s=self.now_s())
                case Synced():
                    tracker.synced()
                    log.info("pods listed", extra=facts(n_pods=len(tracker.view.pods)))
        if is_first_list:
            self._is_listed = True
            # Samples of unknown pods are of no use, so the first look had to wait until now.
            self._jobs.modify_job("poll", next_run_time=datetime.now(UTC))

    def _count_event(self, resource: str, event: Event[Node] | Event[Pod]) -> None:
        self.telemetry.watch_events.labels(resource, type(event).__name__.lower()).inc()

    def _poll(self) -> None:
        if not self.is_synced:
            return
        with self.telemetry.poll_duration.time():
            self._look()
            # A round changes every node: whoever asks next should not have to wait for that.
            self._newest_snapshot()
            self._flush()

    def _look(self) -> None:
        try:
            usage = self._source.fetch()
        except SourceError as error:
            self.telemetry.polls.labels("failed").inc()
            if not self._poll_error:
                log.warning("no samples", extra=facts(reason=str(error)))
            self._poll_error, self._is_cut_off = str(error), error.is_outage
            return
        self.telemetry.polls.labels("ok").inc()
        if self._poll_error:
            log.info("sampling", extra=facts(n_nodes=len(usage.nodes), n_pods=len(usage.pods)))
        self._poll_error, self._is_cut_off = "", False
        with self._changing() as tracker:
            tick = tracker.take(usage, now_s=self.now_s())
            newest_s = tracker.view.newest_sample_s
        self.telemetry.samples.labels("node").inc(len(tick.nodes))
        self.telemetry.samples.labels("pod").inc(len(tick.pods))
        self.telemetry.skipped_samples.labels("stale").inc(tick.n_skipped)
        self.telemetry.skipped_samples.labels("malformed").inc(usage.n_malformed)
        if newest_s is not None:
            self.telemetry.last_sample.set(newest_s)

    def _tend(self) -> None:
        # Cut off, a window may seem to end well only because nobody could tell us otherwise.
        if self.is_synced and not self._is_cut_off:
            with self._changing() as tracker:
                tracker.judge_all(now_s=self.now_s())
        self._flush()
        self._publish()

    def _flush(self) -> None:
        # One at a time from drain to write, lest older news overtake newer.
        with self._flushing:
            with self._lock:
                news = self._tracker.drain()
            self.journal.write(news)

    def _publish(self) -> None:
        tracker, telemetry = self._tracker, self.telemetry
        with self._lock:
            outcomes, placements = dict(tracker.n_outcomes), dict(tracker.n_placements)
            telemetry.open_placements.set(tracker.n_open)
        for counter, counts in ((telemetry.outcomes, outcomes), (telemetry.placements, placements)):
            for name, n in counts.items():
                counter.labels(name).inc(n - self._published.get(name, 0))
        self._published = {**outcomes, **placements}
        for resource, informer in (("nodes", self._nodes), ("pods", self._pods)):
            telemetry.watch_silence.labels(resource).set(informer.last_contact_s)

    def _maintain(self) -> None:
        if not self.is_synced:
            # The cluster's clock is not known yet, and by ours everything may seem to be too old.
            return
        now_s = self.now_s()
        with self._lock:
            self._tracker.history.forget(now_s)
        self._try(lambda: self.archive.roll_up(now_s=now_s))
        self._try(lambda: self._expire(now_s))

    def _expire(self, now_s: float) -> None:
        self.telemetry.expired_rows.inc(self.archive.expire(now_s=now_s))
        hour_s = 3600.0
        raw_from_s = now_s - self._metrics.raw_duration - hour_s
        keep_from_s = now_s - self._metrics.cache_duration - hour_s
        self.store.forget_series(Subject.POD, before_s=raw_from_s)
        self.store.forget_series(Subject.NODE, before_s=keep_from_s)
        self.store.forget_series(Subject.WORKLOAD, before_s=keep_from_s)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except StoreError as error:
            self.telemetry.store_errors.inc()
            log.warning("maintenance failed; will try again", extra=facts(reason=str(error)))
