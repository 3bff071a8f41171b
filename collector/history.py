"""What the last seven days say of nodes and workloads: failure rates and usual usage.

Events are tallied by the hour. In a rate an hour weighs ``2^(-age / half_life)``, so that what
happened lately counts most. There are two paces: the failure rate remembers days, stability hours,
so that together they tell what has always been bad from what has become so. A rate is shrunk
towards the prior by pseudo-counts::

    rate = (Σ wᵢ · failuresᵢ + a · prior) / (Σ wᵢ · observationsᵢ + a)

so that one failure does not condemn a node, nor one success acquit it. The prior is the rate of the
whole cluster, shrunk in the same way towards the configured one. A subject never seen has the
prior.
"""

import heapq
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

HOUR_S: Final = 3600


class Subject(IntEnum):
    """Whose history it is; the values are stored."""

    NODE = 0
    WORKLOAD = 1
    POD = 2
    """Has samples, but no history."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What happened within one hour."""

    n_observations: int = 0
    """Placements whose outcome became known."""
    n_unstable: int = 0
    """Those that failed within their observation window."""
    n_failures: int = 0
    """Those, and successes that failed later."""
    n_restarts: int = 0
    n_oom_kills: int = 0
    n_evictions: int = 0
    n_samples: int = 0
    cpu_milli_sum: float = 0.0
    memory_bytes_sum: float = 0.0

    def add(self, other: "Tally") -> None:
        """Count what *other* counted, too."""
        self.n_observations += other.n_observations
        self.n_unstable += other.n_unstable
        self.n_failures += other.n_failures
        self.n_restarts += other.n_restarts
        self.n_oom_kills += other.n_oom_kills
        self.n_evictions += other.n_evictions
        self.n_samples += other.n_samples
        self.cpu_milli_sum += other.cpu_milli_sum
        self.memory_bytes_sum += other.memory_bytes_sum


@dataclass(slots=True)
class Decayed:
    """Weighted sums at one instant, and the plain totals."""

    total: Tally
    observations: float = 0.0
    recent: float = 0.0
    """Observations at the pace of stability; so is ``unstable``."""
    unstable: float = 0.0
    failures: float = 0.0
    samples: float = 0.0
    cpu_milli: float = 0.0
    memory_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What a subject's history comes to."""

    failure_rate: float
    stability: float
    total: Tally
    usual_cpu_milli: int | None
    usual_memory_bytes: int | None


@dataclass(slots=True)
class _Record:
    tallies: dict[int, Tally] = field(default_factory=dict)
    decayed: Decayed | None = None
    decayed_hour: int = 0
    last_hour: int = 0


class History:
    """Tallies of all nodes and workloads; also remembers which of them await storing.

    Args:
        half_life_s: After how long an observation counts half, in seconds.
        stability_half_life_s: The same for stability.
        keep_s: After how long it no longer counts, in seconds.
        prior_failure_rate: What to expect when nothing is known, from 0 to 1.
        prior_weight: How many observations the prior is worth.
    """

    def __init__(
        self,
        *,
        half_life_s: float,
        stability_half_life_s: float,
        keep_s: float,
        prior_failure_rate: float,
        prior_weight: float,
    ) -> None:
        self._keep_hours = max(1, int(keep_s // HOUR_S))
        self._weights, self._recent_weights = (
            [0.5 ** (hour * HOUR_S / pace_s) for hour in range(self._keep_hours + 1)]
            for pace_s in (half_life_s, stability_half_life_s)
        )
        self._prior_failure_rate = prior_failure_rate
        self._prior_weight = prior_weight
        self._records: dict[tuple[Subject, str], _Record] = {}
        self._cluster = _Record()
        self._dirty: dict[tuple[Subject, str, int], Tally] = {}

    def load(self, subject: Subject, name: str, *, hour: int, tally: Tally) -> None:
        """Take in what was stored earlier."""
        self._take(self._record(subject, name), hour=hour, tally=tally)
        if subject is Subject.NODE:
            self._take(self._cluster, hour=hour, tally=tally)

    def count(
        self, tally: Tally, *, node: str, workload: str, at_s: float, of_node: Tally | None = None
    ) -> None:
        """Count events of a pod of *workload* on *node* at *at_s* (the cluster's clock).

        Args:
            tally: What happened.
            node: Where.
            workload: To what.
            at_s: When, Unix seconds.
            of_node: What of it tells of the node; if left out, all.
        """
        hour = int(at_s // HOUR_S)
        on_node = tally if of_node is None else of_node
        self._add(Subject.NODE, node, hour=hour, tally=on_node)
        self._add(Subject.WORKLOAD, workload, hour=hour, tally=tally)
        self._take(self._cluster, hour=hour, tally=on_node)

    def count_usage(self, workload: str, *, at_s: float, cpu_milli: int, memory_bytes: int) -> None:
        """Count one sample of one replica."""
        tally = Tally(n_samples=1, cpu_milli_sum=cpu_milli, memory_bytes_sum=memory_bytes)
        self.add_usage(workload, at_s=at_s, usage=tally)

    def add_usage(self, workload: str, *, at_s: float, usage: Tally) -> None:
        """Count samples of a workload's replicas; *usage* counts nothing else."""
        self._add(Subject.WORKLOAD, workload, hour=int(at_s // HOUR_S), tally=usage)

    def standing(self, subject: Subject, name: str, *, now_s: float) -> Standing:
        """Sum up a subject; one never seen has the prior."""
        record = self._records.get((subject, name))
        prior_failures, prior_unstable = self._priors(now_s)
        if record is None:
            return Standing(prior_failures, 1.0 - prior_unstable, Tally(), None, None)
        sums = self._decay(record, now_s)
        is_sampled = sums.samples > 0.0
        return Standing(
            failure_rate=self._shrink(sums.failures, sums.observations, prior=prior_failures),
            stability=1.0 - self._shrink(sums.unstable, sums.recent, prior=prior_unstable),
            total=sums.total,
            usual_cpu_milli=round(sums.cpu_milli / sums.samples) if is_sampled else None,
            usual_memory_bytes=round(sums.memory_bytes / sums.samples) if is_sampled else None,
        )

    def prior_failure_rate(self, now_s: float) -> float:
        """Tell what to expect of whom nothing is known."""
        return self._priors(now_s)[0]

    def latest(self, subject: Subject, *, limit: int) -> list[str]:
        """Name those heard of last, at most *limit* of them, sorted."""
        heard = [
            (record.last_hour, name)
            for (kind, name), record in self._records.items()
            if kind is subject
        ]
        return sorted(name for _, name in heapq.nlargest(limit, heard))

    def knows(self, subject: Subject, name: str) -> bool:
        """Tell whether anything is known of a subject."""
        return (subject, name) in self._records

    def drain(self) -> dict[tuple[Subject, str, int], Tally]:
        """Hand over the tallies that changed since the last call, by subject, name and hour."""
        dirty, self._dirty = self._dirty, {}
        return dirty

    def forget(self, now_s: float) -> None:
        """Drop what is too old to count."""
        oldest = int(now_s // HOUR_S) - self._keep_hours
        for key, record in list(self._records.items()):
            if not _expire(record, oldest):
                del self._records[key]
        _expire(self._cluster, oldest)

    def _add(self, subject: Subject, name: str, *, hour: int, tally: Tally) -> None:
        kept = self._take(self._record(subject, name), hour=hour, tally=tally)
        self._dirty[subject, name, hour] = kept

    def _take(self, record: _Record, *, hour: int, tally: Tally) -> Tally:
        """Add to an hour's tally, and to the sums, which would take far longer to make anew."""
        kept = record.tallies.get(hour)
        if kept is None:
            kept = record.tallies[hour] = Tally()
            record.last_hour = max(record.last_hour, hour)
        kept.add(tally)
        if record.decayed is not None:
            self._weigh(tally, sums=record.decayed, age=max(0, record.decayed_hour - hour))
        return kept

    def _weigh(self, tally: Tally, *, sums: Decayed, age: int) -> None:
        if age > self._keep_hours:
            return
        weight, recent_weight = self._weights[age], self._recent_weights[age]
        sums.total.add(tally)
        sums.observations += weight * tally.n_observations
        sums.recent += recent_weight * tally.n_observations
        sums.unstable += recent_weight * tally.n_unstable
        sums.failures += weight * tally.n_failures
        sums.samples += weight * tally.n_samples
        sums.cpu_milli += weight * tally.cpu_milli_sum
        sums.memory_bytes += weight * tally.memory_bytes_sum

    def _record(self, subject: Subject, name: str) -> _Record:
        return self._records.setdefault((subject, name), _Record())

    def _priors(self, now_s: float) -> tuple[float, float]:
        sums = self._decay(self._cluster, now_s)
        prior = self._prior_failure_rate
        return (
            self._shrink(sums.failures, sums.observations, prior=prior),
            self._shrink(sums.unstable, sums.recent, prior=prior),
        )

    def _shrink(self, failures: float, observations: float, *, prior: float) -> float:
        """Apply the formula above.

        A late failure may weigh more than its older placement, hence the upper bound.
        """
        weight = self._prior_weight
        return min(1.0, (failures + weight * prior) / (observations + weight))

    def _decay(self, record: _Record, now_s: float) -> Decayed:
        now_hour = int(now_s // HOUR_S)
        if record.decayed is not None and record.decayed_hour == now_hour:
            return record.decayed
        sums = Decayed(Tally())
        for hour, tally in record.tallies.items():
            self._weigh(tally, sums=sums, age=max(0, now_hour - hour))
        record.decayed, record.decayed_hour = sums, now_hour
        return sums


def _expire(record: _Record, oldest: int) -> bool:
    """Drop hours before *oldest*; tell whether any are left."""
    expired = [hour for hour in record.tallies if hour < oldest]
    for hour in expired:
        del record.tallies[hour]
    if expired:
        record.decayed = None
    return bool(record.tallies)
