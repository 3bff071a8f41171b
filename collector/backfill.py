"""The past as Prometheus remembers it, for when nobody collected.

Only what Prometheus knows comes back: what nodes and the pods that are there now have used. What
became of pods, and in which state they were placed, is not in there, so failure rates and
placements begin with us.

What is missing is told by the database alone: five-minute windows without any rollup. A window is
written whole or not at all, newest first, so a restart goes on where the last run ended, and
nothing comes twice.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, Self, TypeVar

from collector.collecting import Collector
from collector.database import StoreError
from collector.history import Subject, Tally
from collector.prometheus_past import Amounts, PrometheusPast
from collector.records import Past
from collector.settings import MetricsSettings
from collector.windows import ROLLUP_S, Rollup
from kube.backoff import Backoff
from kube.edge.logs import facts
from kube.edge.prometheus import PrometheusError

log = logging.getLogger(__name__)

_WINDOWS_A_CHUNK: Final = 6
"""So many are asked for at once: of 30,000 pods they are some 10 MB an answer."""
_GRACE_S: Final = 120.0
"""What ended less than this ago is left to the live samples, in seconds."""
_LOOK_S: Final = 0.2
_MAX_WAIT_S: Final = 300.0

T = TypeVar("T")


class Backfill:
    """Fills the gaps of the past in a thread of its own; a context manager.

    Args:
        past: Whom to ask.
        settings: How far back, and how often samples are taken now.
        collector: Whose past it is; running.
    """

    def __init__(
        self, past: PrometheusPast, *, settings: MetricsSettings, collector: Collector
    ) -> None:
        self._past = past
        self._keep_s = settings.cache_duration
        self._collector = collector
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backfill")
        self._backoff = Backoff(random.Random(), base_s=1.0, max_s=_MAX_WAIT_S)
        # A value of Prometheus stands for all the samples that we would have taken meanwhile.
        self._n_samples = max(1, round(ROLLUP_S / settings.collection_interval))

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; what is left is filled by the next run."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        # The cluster's clock is known by the watch, and so is which workload a pod belongs to.
        while not self._collector.is_synced:
            if self._stop.wait(_LOOK_S):
                return
        gaps = self._persist(self._gaps) or []
        n_filled = 0
        for start_s, end_s in chunks(gaps):
            began_s = time.monotonic()
            n_filled += self._persist(partial(self._fill, start_s, end_s=end_s)) or 0
            # Half of the time belongs to others: the live rounds, those who ask, and Prometheus.
            if self._stop.wait(time.monotonic() - began_s):
                return
        if gaps:
            counts = facts(n_missing=len(gaps), n_filled=n_filled)
            log.info("filled the past from Prometheus", extra=counts)

    def _persist(self, act: Callable[[], T]) -> T | None:
        """Do something until it works; ``None`` if we are stopped, or if it never will."""
        self._backoff.reset()
        while not self._stop.is_set():
            try:
                return act()
            except PrometheusError as error:
                if error.is_refusal:
                    log.warning("a part of the past is left out", extra=facts(reason=str(error)))
                    return None
                reason = str(error)
            except StoreError as error:
                reason = str(error)
            delay_s = self._backoff.next_delay_s()
            log.warning("the past has to wait", extra=facts(reason=reason, delay_s=delay_s))
            self._stop.wait(delay_s)
        return None

    def _gaps(self) -> list[int]:
        now_s = self._collector.now_s()
        return self._collector.archive.gaps(start_s=now_s - self._keep_s, end_s=now_s - _GRACE_S)

    def _fill(self, start_s: int, *, end_s: int) -> int:
        """Fill the windows from *start_s* to *end_s*; tell of how many anything was known."""
        nodes = self._past.nodes(start_s=start_s, end_s=end_s)
        pods = self._past.pods(start_s=start_s, end_s=end_s)
        with self._collector.looking() as (view, _):
            workload_of = {pod.key: pod.workload for pod in view.pods.values()}
        known = sorted(nodes.keys() | pods.keys(), reverse=True)
        for window_s in known:
            past, usage = Past(), dict[str, Tally]()
            for name, amounts in nodes.get(window_s, {}).items():
                _roll_up(past, Subject.NODE, name=name, start_s=window_s, amounts=amounts)
            for key, amounts in pods.get(window_s, {}).items():
                workload = workload_of.get(key)
                if workload is None:
                    continue  # Long gone: whose replica it was, nobody can tell any more.
                _roll_up(past, Subject.WORKLOAD, name=workload, start_s=window_s, amounts=amounts)
                usage.setdefault(workload, Tally()).add(self._tally(amounts))
            self._collector.store.add_past([past])
            self._collector.count_past_usage(usage, at_s=window_s)
            self._collector.telemetry.backfilled.inc()
        return len(known)

    def _tally(self, amounts: Amounts) -> Tally:
        n = self._n_samples
        return Tally(n_samples=n, cpu_milli_sum=n * amounts[0], memory_bytes_sum=n * amounts[1])


def chunks(windows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Split windows, given oldest first, into short spans without holes; newest first."""
    end_s = start_s = None
    for window_s in reversed(windows):
        is_next = start_s is not None and window_s == start_s - ROLLUP_S
        if start_s is None or end_s is None:
            start_s, end_s = window_s, window_s + ROLLUP_S
        elif is_next and end_s - start_s < _WINDOWS_A_CHUNK * ROLLUP_S:
            start_s = window_s
        else:
            yield start_s, end_s
            start_s, end_s = window_s, window_s + ROLLUP_S
    if start_s is not None and end_s is not None:
        yield start_s, end_s


def _roll_up(past: Past, subject: Subject, *, name: str, start_s: int, amounts: Amounts) -> None:
    window = past.rollups.setdefault((subject, name, start_s), (Rollup(), Rollup()))
    for rollup, amount in zip(window, amounts, strict=True):
        rollup.add(amount)
