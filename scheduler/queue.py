"""Where pending pods wait: active, backoff, unschedulable, gated.

A mirror of the cluster's pending pods, so it is as large as they are many and no larger. As in
kube-scheduler, except that backoff is always waited for: an idle scheduler does not pop from it.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kube.quantity import CPU, MEMORY
from scheduler.framework.interface import Change, ClusterEvent, SortKey
from scheduler.model import PodFacts, QueueState, Shape

Gate = Callable[[PodFacts], str | None]
Hint = Callable[["QueuedPod", Change], bool]
Rank = Callable[["QueuedPod"], SortKey]

_STALE_SLACK: Final = 64

# What brings pods into a pool, besides changes of the cluster; in kube-scheduler's words.
_ADDED: Final = "PodAdd"
_UPDATED: Final = "PodUpdate"
_FAILED: Final = "ScheduleAttemptFailure"
_BACKED_OFF: Final = "BackoffComplete"
_TIMED_OUT: Final = "UnschedulableTimeout"
_WORDS: Final[dict[ClusterEvent, str]] = {
    event: "".join([part.capitalize() for part in str(event.name).split("_")])
    for event in ClusterEvent
}


class Pool(StrEnum):
    """Where a pod waits; the label ``queue`` of ``scheduler_pending_pods``."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    GATED = "gated"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How long pods wait, in seconds."""

    initial_backoff_s: float = 1.0
    max_backoff_s: float = 10.0
    max_unschedulable_s: float = 300.0
    """After this long a refused pod is tried again, whatever happened."""


@dataclass(slots=True, kw_only=True)
class QueuedPod:
    """A pending pod and its story so far. Only the queue changes it."""

    pod: PodFacts
    first_queued_at_s: float
    queued_at_s: float
    """Among equals the earliest goes first; set anew whenever the pod comes back."""
    pool: Pool = Pool.ACTIVE
    attempts: int = 0
    n_unschedulable: int = 0
    """Refusals so far; each doubles the back-off."""
    n_errors: int = 0
    """Errors in a row."""
    gated_by: str = ""
    """The PreEnqueue plugin that keeps the pod away."""
    wakes_on: ClusterEvent = field(default=ClusterEvent(0))
    rejectors: frozenset[str] = frozenset()
    """The plugins that refused it; their hints say which changes may help."""
    refused_at_s: float = 0.0
    backoff_until_s: float = 0.0
    retry_at_s: float = math.inf
    """Then time alone may have helped it."""
    serial: int = 0
    """Tells a heap entry from those it has replaced."""


class _LazyHeap:
    """A heap that drops an entry only when it surfaces and is no longer current.

    Args:
        pods: All queued pods; an entry is current while it has its pod's serial number.
    """

    def __init__(self, pods: dict[str, QueuedPod]) -> None:
        self._pods = pods
        self._entries: list[tuple[SortKey, int, str]] = []
        self._limit = _STALE_SLACK

    def push(self, queued: QueuedPod, *, order: SortKey) -> None:
        heapq.heappush(self._entries, (order, queued.serial, queued.pod.key))
        if len(self._entries) > self._limit:
            # Frequent re-ordering must not let stale entries pile up.
            self._entries = [e for e in self._entries if self._current(e) is not None]
            heapq.heapify(self._entries)
            self._limit = 2 * len(self._entries) + _STALE_SLACK

    def first(self) -> QueuedPod | None:
        while self._entries:
            queued = self._current(self._entries[0])
            if queued is not None:
                return queued
            heapq.heappop(self._entries)
        return None

    def _current(self, entry: tuple[SortKey, int, str]) -> QueuedPod | None:
        _, serial, key = entry
        queued = self._pods.get(key)
        return queued if queued is not None and queued.serial == serial else None


class SchedulingQueue:
    """Pending pods, the active ones in order.

    Args:
        rank: Gives what the active queue is sorted by.
        gate: Names the PreEnqueue plugin that keeps a pod away; ``None`` admits it.
        hint: Says whether a change, of a kind that the pod waits for, may help it.
        settings: Waiting times.
    """

    def __init__(self, *, rank: Rank, gate: Gate, hint: Hint, settings: QueueSettings) -> None:
        self._rank = rank
        self._gate = gate
        self._hint = hint
        self._settings = settings
        self._pods: dict[str, QueuedPod] = {}
        self._active = _LazyHeap(self._pods)
        self._backoff = _LazyHeap(self._pods)
        self._timed = _LazyHeap(self._pods)
        self._refused: dict[ClusterEvent, dict[str, None]] = {}
        self._shapes: Counter[Shape] = Counter()
        self._sizes: Counter[Pool] = Counter()
        self._cpu_milli = self._memory_bytes = 0
        self._serial = 0
        self._incoming: Counter[tuple[Pool, str]] = Counter()
        self._refusals: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._pods)

    def __contains__(self, key: str) -> bool:
        return key in self._pods

    def size(self, pool: Pool) -> int:
        """Tell how many pods wait in *pool*."""
        return self._sizes[pool]

    @property
    def waiting(self) -> QueueState:
        """All pods in the queue together, whatever they wait for."""
        return QueueState(len(self._pods), self._cpu_milli, self._memory_bytes)

    @property
    def incoming(self) -> Mapping[tuple[Pool, str], int]:
        """How often pods came into each pool since the beginning, by what brought them there."""
        return self._incoming

    @property
    def refusals(self) -> Mapping[tuple[str, str], int]:
        """How many of the pods that wait were refused the last time, by plugin and scheduler."""
        return self._refusals

    def active_shapes(self) -> Iterator[Shape]:
        """Tell what the active pods ask for, each shape once."""
        return iter(self._shapes)

    def put(self, pod: PodFacts, *, now_s: float) -> None:
        """Add a pod, or take in that it changed.

        A changed priority re-orders the queue at once; a change also gives a refused pod another
        try, and one whose gates are gone its first.
        """
        queued = self._pods.get(pod.key)
        if queued is None or queued.pod.uid != pod.uid:
            self.remove(pod.key)
            queued = QueuedPod(pod=pod, first_queued_at_s=now_s, queued_at_s=now_s)
            self._pods[pod.key] = queued
            self._count(queued, sign=1)
            self._admit(queued, event=_ADDED, now_s=now_s)
            return
        if queued.pod == pod:
            return
        self._leave_pool(queued)
        self._count(queued, sign=-1)
        queued.pod = pod
        self._count(queued, sign=1)
        if queued.pool is Pool.UNSCHEDULABLE:
            self._wake(queued, event=_UPDATED, now_s=now_s)
        elif queued.pool is Pool.GATED:
            self._admit(queued, event=_UPDATED, now_s=now_s)
        else:
            self._enter(queued, queued.pool)

    def put_back(
        self,
        queued: QueuedPod,
        *,
        wakes_on: ClusterEvent,
        rejectors: frozenset[str] = frozenset(),
        rests_until_s: float = 0.0,
        retry_at_s: float = math.inf,
        now_s: float,
    ) -> None:
        """Keep a pod that no node would take until something of *wakes_on* happens.

        Args:
            queued: The pod.
            wakes_on: What may help.
            rejectors: Who refused it.
            rests_until_s: It is not tried before, whatever happens.
            retry_at_s: It is tried then, if nothing happens before.
            now_s: When it was refused.
        """
        queued.n_unschedulable += 1
        queued.n_errors = 0
        queued.wakes_on = wakes_on | ClusterEvent.POD_UPDATE
        queued.rejectors = rejectors
        queued.refused_at_s = now_s
        queued.retry_at_s = retry_at_s
        backoff_until_s = now_s + self._backoff_s(queued.n_unschedulable)
        queued.backoff_until_s = max(backoff_until_s, rests_until_s)
        self._insert(queued, Pool.UNSCHEDULABLE)

    def retry(self, queued: QueuedPod, *, now_s: float) -> None:
        """Try a pod again after back-off: its binding failed for a reason that may pass."""
        queued.n_errors += 1
        queued.rejectors = frozenset()
        queued.backoff_until_s = now_s + self._backoff_s(queued.n_errors)
        queued.queued_at_s = now_s
        self._insert(queued, Pool.BACKOFF)

    def rest(self, queued: QueuedPod, *, until_s: float) -> None:
        """Try a pod that was taken out too early again at *until_s*."""
        queued.attempts -= 1
        queued.backoff_until_s = until_s
        self._insert(queued, Pool.BACKOFF)

    def remove(self, key: str) -> None:
        """Forget a pod; one that is not here is no error."""
        queued = self._pods.pop(key, None)
        if queued is not None:
            self._leave_pool(queued)
            self._count(queued, sign=-1)

    def peek(self) -> QueuedPod | None:
        """Return the pod that is next, if any is active."""
        return self._active.first()

    def pop(self) -> QueuedPod | None:
        """Take the next pod out of the queue for an attempt."""
        queued = self.peek()
        if queued is None:
            return None
        self.remove(queued.pod.key)
        queued.attempts += 1
        return queued

    def take(self, keys: Iterable[str]) -> list[QueuedPod]:
        """Take pods out for an attempt together, wherever they wait; gated ones stay."""
        taken = []
        for key in keys:
            queued = self._pods.get(key)
            if queued is not None and queued.pool is not Pool.GATED:
                self.remove(key)
                queued.attempts += 1
                taken.append(queued)
        return taken

    def reconsider(self, keys: Iterable[str], *, now_s: float) -> None:
        """Look anew at pods whose rank, or whose gate, may have changed with that of others."""
        for key in keys:
            queued = self._pods.get(key)
            if queued is None:
                continue
            if queued.pool is Pool.GATED:
                self._leave_pool(queued)
                self._admit(queued, event=_UPDATED, now_s=now_s)
            elif queued.pool is Pool.ACTIVE:
                self._leave_pool(queued)
                self._enter(queued, Pool.ACTIVE)
            elif queued.pool is Pool.UNSCHEDULABLE:
                # Perhaps it was refused for want of others, who are no longer needed.
                self._leave_pool(queued)
                self._wake(queued, event=_UPDATED, now_s=now_s)

    def sort(self) -> None:
        """Sort the active pods anew: what they are sorted by has changed."""
        for queued in self._pods.values():
            if queued.pool is Pool.ACTIVE:
                self._leave_pool(queued)
                self._enter(queued, Pool.ACTIVE)

    def wake(self, change: Change, *, now_s: float) -> None:
        """Give every pod another try that was refused by a plugin which *change* may sway."""
        for mask in [mask for mask in self._refused if mask & change.event]:
            for key in list(self._refused[mask]):
                queued = self._pods[key]
                if self._hint(queued, change):
                    self._leave_pool(queued)
                    self._wake(queued, event=_word(change.event), now_s=now_s)

    def flush(self, *, now_s: float) -> None:
        """Activate pods whose back-off is over, and wake those refused too long ago."""
        while (queued := self._backoff.first()) and queued.backoff_until_s <= now_s:
            self._leave_pool(queued)
            self._admit(queued, event=_BACKED_OFF, now_s=now_s)
        while (queued := self._timed.first()) and queued.retry_at_s <= now_s:
            self._leave_pool(queued)
            self._wake(queued, event=_TIMED_OUT, now_s=now_s)
        for queued in [q for q in self._longest_refused() if self._flush_at_s(q) <= now_s]:
            for key in list(self._refused[queued.wakes_on]):
                if self._flush_at_s(self._pods[key]) > now_s:
                    break
                self._leave_pool(self._pods[key])
                self._wake(self._pods[key], event=_TIMED_OUT, now_s=now_s)

    def _longest_refused(self) -> list[QueuedPod]:
        """Return the first pod of each group; a group is in the order of refusal."""
        return [self._pods[next(iter(keys))] for keys in self._refused.values()]

    def _flush_at_s(self, queued: QueuedPod) -> float:
        return queued.refused_at_s + self._settings.max_unschedulable_s

    def _backoff_s(self, n: int) -> float:
        doublings = min(n - 1, 30)
        return min(self._settings.max_backoff_s, self._settings.initial_backoff_s * 2.0**doublings)

    def _insert(self, queued: QueuedPod, pool: Pool) -> None:
        self._pods[queued.pod.key] = queued
        self._count(queued, sign=1)
        self._enter(queued, pool, event=_FAILED)

    def _count(self, queued: QueuedPod, *, sign: int) -> None:
        self._sizes[queued.pool] += sign
        self._cpu_milli += sign * queued.pod.requests.get(CPU, 0)
        self._memory_bytes += sign * queued.pod.requests.get(MEMORY, 0)
        for plugin in queued.rejectors:
            self._refusals[plugin, queued.pod.scheduler_name] += sign

    def _admit(self, queued: QueuedPod, *, event: str, now_s: float) -> None:
        """Let a pod into the active queue, unless a PreEnqueue plugin keeps it away."""
        queued.gated_by = self._gate(queued.pod) or ""
        if queued.gated_by:
            # One that stays where it is does not come in.
            self._enter(queued, Pool.GATED, event="" if queued.pool is Pool.GATED else event)
            return
        if queued.pool is not Pool.ACTIVE:
            queued.queued_at_s = now_s
        self._enter(queued, Pool.ACTIVE, event=event)

    def _wake(self, queued: QueuedPod, *, event: str, now_s: float) -> None:
        if queued.backoff_until_s > now_s:
            self._enter(queued, Pool.BACKOFF, event=event)
        else:
            self._admit(queued, event=event, now_s=now_s)

    def _enter(self, queued: QueuedPod, pool: Pool, *, event: str = "") -> None:
        """Put a pod into a pool; without an event it only takes another place there."""
        if event:
            self._incoming[pool, event] += 1
        self._sizes[queued.pool] -= 1
        self._sizes[pool] += 1
        queued.pool = pool
        self._serial += 1
        queued.serial = self._serial
        if pool is Pool.ACTIVE:
            self._active.push(queued, order=self._rank(queued))
            self._shapes[queued.pod.shape] += 1
        elif pool is Pool.BACKOFF:
            self._backoff.push(queued, order=(queued.backoff_until_s,))
        elif pool is Pool.UNSCHEDULABLE:
            self._refused.setdefault(queued.wakes_on, {})[queued.pod.key] = None
            if queued.retry_at_s < math.inf:
                self._timed.push(queued, order=(queued.retry_at_s,))

    def _leave_pool(self, queued: QueuedPod) -> None:
        """Take a pod out of its pool's structures; entries in a heap are left to go stale."""
        queued.serial = 0
        if queued.pool is Pool.ACTIVE:
            shape = queued.pod.shape
            self._shapes[shape] -= 1
            if self._shapes[shape] == 0:
                del self._shapes[shape]
        elif queued.pool is Pool.UNSCHEDULABLE:
            keys = self._refused[queued.wakes_on]
            del keys[queued.pod.key]
            if not keys:
                del self._refused[queued.wakes_on]


def _word(event: ClusterEvent) -> str:
    """Name what happened; of several things at once, the first."""
    word = _WORDS.get(event)
    return _WORDS[next(iter(event))] if word is None else word
