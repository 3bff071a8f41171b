"""From recorded pods to what a scenario says of its services and jobs.

What ended by itself, or would have, becomes jobs: one for each size, with how much comes in an
hour, in which hours of the day, how much at once, and how long it takes. What is replaced when it
fails becomes services: so many replicas at a time, and rollouts as often as all were new.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator.traces.arrivals import Window, burst_sizes, busy_window, hours_of_day
from scheduler.simulator.traces.durations import Quantiles, mean_of, quantiles_of
from scheduler.simulator.traces.rows import PodRow
from scheduler.simulator.traces.shapes import group_by_size

Group: TypeAlias = dict[str, Any]
"""A service or a job, as a scenario file writes it."""

MAX_JOBS: Final = 60
MAX_SERVICES: Final = 40
"""Groups of like size; more make files that nobody reads."""
_LEAST_DURATIONS: Final = 30
"""With fewer of its own, a group takes as long as all work does."""
_MAX_KINDS: Final = 50
_MIB: Final = 2**20
_FULL_RATIO: Final = 0.7
"""How much of nodes that nobody described is requested on average."""


class NothingToFitError(Exception):
    """The pods do not tell what would have to be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was fitted."""

    services: tuple[Group, ...]
    jobs: tuple[Group, ...]
    cpu_milli: float
    """Requested by all of it on average; so is the next."""
    memory_bytes: float
    largest_cpu_milli: int
    """Request of one pod; so is the next."""
    largest_memory_bytes: int
    notes: tuple[str, ...]
    """What of the pods is not in it."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Pods that end by themselves, by column."""

    rows: list[PodRow]
    at_s: NDArray[np.float64]
    took_s: NDArray[np.float64]
    """``nan``: nobody knows."""
    is_cut_off: NDArray[np.bool_]

    def those(self, chosen: NDArray[np.bool_]) -> "_Work":
        """Take some of them."""
        rows = [row for row, is_chosen in zip(self.rows, chosen, strict=True) if is_chosen]
        return _Work(rows, self.at_s[chosen], self.took_s[chosen], self.is_cut_off[chosen])

    def durations(self) -> Quantiles | None:
        """Estimate how long they take; ``None`` if too few tell."""
        known = np.isfinite(self.took_s)
        if (known & ~self.is_cut_off).sum() < _LEAST_DURATIONS:
            return None
        return quantiles_of(self.took_s[known], is_cut_off=self.is_cut_off[known])


def fit_pods(pods: Sequence[PodRow], *, compress: float = 1.0) -> Fit:
    """Fit services and jobs.

    Args:
        pods: At least one, in order of their creation.
        compress: So many times as much work comes as was recorded; it takes as long as it took, and
            the day keeps its shape.

    Raises:
        NothingToFitError: All came at one instant, or no work tells how long it took.
    """
    last_s = max(_last_s(pod) for pod in pods)
    work = _work([pod for pod in pods if not pod.is_replaced], last_s=last_s)
    replaced = [pod for pod in pods if pod.is_replaced]
    if len(work.rows):
        window = busy_window(work.at_s)
        if not window.span_s:
            raise NothingToFitError("all work came at one instant, so there is no rate")
    else:
        window = Window(min(pod.created_at_s for pod in replaced), last_s)
        if not window.span_s:
            raise NothingToFitError("all pods came at one instant, and none ended later")
    jobs = _jobs(work, window=window, compress=compress) if len(work.rows) else []
    services, n_brief = _services(replaced, window=window)
    cpu_milli, memory_bytes = _mean_requests(services, jobs)
    return Fit(
        services=tuple(services),
        jobs=tuple(jobs),
        cpu_milli=cpu_milli,
        memory_bytes=memory_bytes,
        largest_cpu_milli=max(pod.cpu_request_milli for pod in pods),
        largest_memory_bytes=max(pod.memory_request_bytes for pod in pods),
        notes=tuple(_notes(pods, work, n_brief=n_brief)),
    )


def _last_s(pod: PodRow) -> float:
    """Tell the last instant that a pod tells of."""
    began_s = pod.created_at_s if pod.placed_at_s is None else pod.placed_at_s
    return max(began_s + (pod.run_s or 0.0), pod.ended_at_s or 0.0)


def _work(rows: list[PodRow], *, last_s: float) -> _Work:
    took = [_took_s(row, last_s=last_s) for row in rows]
    return _Work(
        rows,
        np.array([row.created_at_s for row in rows], dtype=np.float64),
        np.array([seconds for seconds, _ in took], dtype=np.float64),
        np.array([is_cut_off for _, is_cut_off in took], dtype=np.bool_),
    )


def _took_s(row: PodRow, *, last_s: float) -> tuple[float, bool]:
    """Tell how long a pod worked, and whether it would have gone on."""
    if row.run_s is not None:
        return row.run_s, False
    if row.placed_at_s is None:
        if row.ended_at_s is None:
            return math.nan, True  # it never began, as far as anybody knows
        return max(1.0, row.ended_at_s - row.created_at_s), False
    end_s = last_s if row.ended_at_s is None else row.ended_at_s
    return max(1.0, end_s - row.placed_at_s), True


# --- jobs


def _jobs(work: _Work, *, window: Window, compress: float) -> list[Group]:
    pooled = work.durations()
    if pooled is None:
        known = np.isfinite(work.took_s)
        if not known.any():
            raise NothingToFitError("no pod tells how long it took (run_s, or ended_at_s)")
        pooled = quantiles_of(work.took_s[known], is_cut_off=work.is_cut_off[known])
    inside = work.those(window.holds(work.at_s))
    hourly = hours_of_day(inside.at_s, window=window)
    jobs: list[Group] = []
    for members in _alike(inside):
        jobs.append(
            {
                "name": f"job-{len(jobs) + 1}",
                "kinds": min(_MAX_KINDS, len({(r.namespace, r.owner) for r in members.rows})),
                "per_hour": _round(compress * len(members.rows) / window.span_s * 3600.0),
                **({} if hourly is None else {"hourly": list(hourly)}),
                **_burst(members.at_s),
                "run_s": {"quantiles": [list(pair) for pair in members.durations() or pooled]},
                **_sizes(members.rows),
            }
        )
    return jobs


def _alike(work: _Work) -> Iterable[_Work]:
    """Part work by priority, and by size."""
    priorities = np.array([row.priority for row in work.rows])
    for priority in np.unique(priorities):
        some = work.those(priorities == priority)
        share = len(some.rows) / len(work.rows)
        group = group_by_size(
            np.array([row.cpu_request_milli for row in some.rows], dtype=np.float64),
            np.array([row.memory_request_bytes / _MIB for row in some.rows]),
            max_groups=max(1, round(MAX_JOBS * share)),
        )
        for number in range(int(group.max()) + 1):
            yield some.those(group == number)


def _burst(at_s: NDArray[np.float64]) -> Group:
    sizes = burst_sizes(at_s)
    if [size for size, _ in sizes] == [1]:
        return {}
    choice = {"choice": [size for size, _ in sizes], "weights": [n for _, n in sizes]}
    return {"burst": choice}


def _sizes(rows: Sequence[PodRow]) -> Group:
    """Say what pods of like size request, may use at most, and how much they matter."""
    cpu_milli = float(np.median([row.cpu_request_milli for row in rows]))
    memory_bytes = float(np.median([row.memory_request_bytes for row in rows]))
    group: Group = {
        "cpu_request_milli": _round(cpu_milli),
        "memory_request_mib": _round(memory_bytes / _MIB),
        "priority": max(-1_000_000, min(1_000_000, rows[0].priority)),
    }
    cpu = [(row.cpu_limit_milli, row.cpu_request_milli) for row in rows]
    memory = [(row.memory_limit_bytes, row.memory_request_bytes) for row in rows]
    for name, pairs in (("cpu_limit_ratio", cpu), ("memory_limit_ratio", memory)):
        ratios = [limit / request for limit, request in pairs if limit and request]
        if 2 * len(ratios) >= len(rows):
            group[name] = _round(float(np.median(ratios)))
    return group if group["priority"] else {k: v for k, v in group.items() if k != "priority"}


# --- services


@dataclass(frozen=True, slots=True)
class _Replicas:
    """Pods of one workload."""

    rows: list[PodRow]
    n_replicas: int
    n_rollouts: float


def _services(rows: Iterable[PodRow], *, window: Window) -> tuple[list[Group], int]:
    """Describe services; tell, too, how many workloads were there too briefly."""
    by_workload: dict[tuple[str, str, str], list[PodRow]] = defaultdict(list)
    for row in rows:
        by_workload[row.namespace, row.kind, row.owner].append(row)
    workloads = [_replicas(members, window=window) for members in by_workload.values()]
    lasting = [each for each in workloads if each.n_replicas]
    if not lasting:
        return [], len(workloads)
    group = group_by_size(
        np.array([_median_request(each.rows)[0] for each in lasting]),
        np.array([_median_request(each.rows)[1] / _MIB for each in lasting]),
        max_groups=MAX_SERVICES,
    )
    services = [
        _service(
            [each for each, place in zip(lasting, group, strict=True) if place == number],
            name=f"service-{number + 1}",
            window=window,
        )
        for number in range(int(group.max()) + 1)
    ]
    return services, len(workloads) - len(lasting)


def _median_request(rows: list[PodRow]) -> tuple[float, float]:
    cpu_milli = float(np.median([row.cpu_request_milli for row in rows]))
    return cpu_milli, float(np.median([row.memory_request_bytes for row in rows]))


def _replicas(rows: list[PodRow], *, window: Window) -> _Replicas:
    lived_s = sum(_within_s(row, window) for row in rows)
    n_replicas = round(lived_s / window.span_s)
    n_new = sum(window.start_s < row.created_at_s <= window.end_s for row in rows)
    return _Replicas(rows, n_replicas, max(0.0, n_new / n_replicas) if n_replicas else 0.0)


def _within_s(row: PodRow, window: Window) -> float:
    end_s = window.end_s if row.ended_at_s is None else min(row.ended_at_s, window.end_s)
    return max(0.0, end_s - max(row.created_at_s, window.start_s))


def _service(members: list[_Replicas], *, name: str, window: Window) -> Group:
    numbers, counts = np.unique([each.n_replicas for each in members], return_counts=True)
    replicas: Any = int(numbers[0])
    if len(numbers) > 1:
        replicas = {"choice": numbers.tolist(), "weights": counts.tolist()}
    service: Group = {"name": name, "kinds": min(1000, len(members)), "replicas": replicas}
    rollouts = sum(each.n_rollouts for each in members) / len(members)
    if rollouts >= 1.0:
        service["rollout_every"] = f"{round(window.span_s / rollouts)}s"
    return {**service, **_sizes([row for each in members for row in each.rows])}


# --- the whole


def _mean_requests(services: Sequence[Group], jobs: Sequence[Group]) -> tuple[float, float]:
    """Reckon what is requested at a time, by Little's law."""
    cpu_milli = memory_mib = 0.0
    for group in (*services, *jobs):
        if "per_hour" in group:
            n_pods = group["per_hour"] / 3600.0 * mean_of(group["run_s"]["quantiles"])
        else:
            n_pods = group["kinds"] * _mean_replicas(group["replicas"])
        cpu_milli += n_pods * group["cpu_request_milli"]
        memory_mib += n_pods * group["memory_request_mib"]
    return cpu_milli, memory_mib * _MIB


def _mean_replicas(replicas: Any) -> float:
    if isinstance(replicas, dict):
        return float(np.average(replicas["choice"], weights=replicas["weights"]))
    return float(replicas)


def nodes_for(fit: Fit) -> Group:
    """Describe nodes on which it fits: each for several of the largest pods."""
    cpu_milli = _power_of_two(max(4.0, 4 * fit.largest_cpu_milli / 1000)) * 1000
    memory_bytes = _power_of_two(max(8.0, 4 * fit.largest_memory_bytes / 2**30)) * 2**30
    n_nodes = max(fit.cpu_milli / cpu_milli, fit.memory_bytes / memory_bytes) / _FULL_RATIO
    return {
        "name": "node",
        "count": min(10_000, max(2, math.ceil(n_nodes))),
        "cpu": str(cpu_milli // 1000),
        "memory": f"{memory_bytes // 2**30}Gi",
    }


def _power_of_two(least: float) -> int:
    return int(2 ** math.ceil(math.log2(least)))


def _notes(pods: Sequence[PodRow], work: _Work, *, n_brief: int) -> Iterable[str]:
    n_cut_off = int((work.is_cut_off & np.isfinite(work.took_s)).sum())
    if n_cut_off:
        yield f"{n_cut_off} pods were still working, or stopped: they count as taking longer"
    n_unknown = int(np.isnan(work.took_s).sum())
    if n_unknown:
        yield f"of {n_unknown} pods it is not known how long they took, or whether they began"
    n_constrained = sum(bool(pod.constraints) for pod in pods)
    if n_constrained:
        yield f"{n_constrained} pods may not run everywhere, which is not fitted"
    if n_brief:
        yield f"{n_brief} workloads were there too briefly to count as one replica"


def _round(number: float) -> float:
    """Keep four digits, and no more of a whole number than it has."""
    rounded = float(f"{number:.4g}") if number < 1e4 else round(number)
    return int(rounded) if float(rounded).is_integer() else rounded
