"""Which container has which row of the columns."""

from dataclasses import replace

from scheduler.simulator.chance import key_of
from scheduler.simulator.columns import ContainerColumns, cpu_weight
from scheduler.simulator.parameters import CpuPhysics
from scheduler.simulator.physics import memory_growth, oom_score_adj
from scheduler.simulator.runs import ContainerRun, ContainerSpec, PodRun
from scheduler.simulator.usage import UsageProfile


class Rows:
    """Gives rows to containers and takes them back.

    Args:
        columns: Whose rows.
        seed: Part of every container's luck.
        law: Constants.
    """

    def __init__(self, columns: ContainerColumns, *, seed: int, law: CpuPhysics) -> None:
        self.runs: list[ContainerRun | None] = []
        """By row; None where a row is free."""
        self.names: list[tuple[str, str]] = []
        """By row: the pod's uid and the container's name."""
        self._columns = columns
        self._seed = seed
        self._law = law
        self._free_rows: list[int] = []

    def add(self, spec: ContainerSpec, *, pod: PodRun) -> ContainerRun:
        """Begin a container's course, in a row that says what it wants."""
        run = ContainerRun(spec, pod, self._free_row())
        self._fill(run)
        return run

    def drop(self, run: ContainerRun) -> None:
        """Free a container's row."""
        self._columns.is_running[run.row] = False
        self.runs[run.row] = None
        self._free_rows.append(run.row)

    def begin(self, run: ContainerRun, *, now_s: float) -> None:
        """Set a container's row running, as one that has just started."""
        columns, row = self._columns, run.row
        columns.is_running[row] = True
        columns.started_at_s[row] = columns.grows_since_s[row] = now_s
        columns.work_left_s[row] = run.spec.profile.run_s
        for zero in (
            columns.grown_before_bytes,
            columns.cpu_milli,
            columns.memory_bytes,
            columns.throttled_ratio,
            columns.lacking_ratio,
            columns.lacking_core_s,
            columns.cpu_core_s,
            columns.cfs_periods,
            columns.cfs_throttled_periods,
        ):
            zero[row] = 0.0
        self.follow_series(run, now_s=now_s)

    def set_profile(self, run: ContainerRun, profile: UsageProfile, *, now_s: float) -> None:
        """Have a container use something else from now on; what its memory has grown by stays."""
        columns, row = self._columns, run.row
        columns.grown_before_bytes[row] = memory_growth(
            before_bytes=columns.grown_before_bytes[row],
            per_s=columns.memory_growth_bytes_per_s[row],
            passed_s=now_s - columns.grows_since_s[row],
            limit_bytes=columns.memory_growth_limit_bytes[row],
        )
        columns.grows_since_s[row] = now_s
        run.spec = replace(run.spec, profile=profile)
        self._fill_usage(run)
        self.follow_series(run, now_s=now_s)

    def follow_series(self, run: ContainerRun, *, now_s: float) -> None:
        """Bring what a container's recorded usage says up to date."""
        series = run.spec.profile.series
        if series is not None:
            columns, row = self._columns, run.row
            columns.series_cpu_ratio[row], columns.series_memory_ratio[row] = series.at(now_s)

    def _free_row(self) -> int:
        if self._free_rows:
            return self._free_rows.pop()
        row = len(self.runs)
        self.runs.append(None)
        self.names.append(("", ""))
        self._columns.grow(row + 1)
        return row

    def _fill(self, run: ContainerRun) -> None:
        columns, row, spec, pod = self._columns, run.row, run.spec, run.pod
        self.runs[row] = run
        self.names[row] = (pod.spec.uid, spec.name)
        columns.is_running[row] = False
        columns.node[row] = pod.node.row
        columns.key[row] = key_of("container", self._seed, pod.spec.name, spec.name)
        columns.cpu_weight[row] = cpu_weight(spec.cpu_request_milli, law=self._law)
        columns.cpu_limit_milli[row] = _limit(spec.cpu_limit_milli)
        columns.memory_limit_bytes[row] = _limit(spec.memory_limit_bytes)
        columns.oom_score_adj[row] = _oom_score_adj(spec, pod=pod)
        self._fill_usage(run)

    def _fill_usage(self, run: ContainerRun) -> None:
        columns, row, profile = self._columns, run.row, run.spec.profile
        columns.cpu_mean_milli[row] = profile.cpu_milli
        columns.diurnal_amplitude[row] = profile.diurnal_amplitude
        columns.diurnal_phase_s[row] = profile.diurnal_phase_s
        columns.burst_ratio[row] = profile.burst_ratio
        columns.burst_factor[row] = profile.burst_factor
        columns.memory_base_bytes[row] = profile.memory_bytes
        columns.memory_growth_bytes_per_s[row] = profile.memory_growth_bytes_per_h / 3600.0
        columns.memory_growth_limit_bytes[row] = profile.memory_growth_limit_bytes
        columns.crash_per_s[row] = profile.crash_per_hour / 3600.0
        columns.cache_hunger[row] = profile.cache_hunger
        columns.has_series[row] = profile.series is not None
        columns.series_cpu_ratio[row] = columns.series_memory_ratio[row] = 1.0


def _limit(amount: int | None) -> float:
    return float("inf") if amount is None else float(amount)


def _oom_score_adj(spec: ContainerSpec, *, pod: PodRun) -> int:
    return oom_score_adj(
        qos=pod.spec.qos,
        is_critical=pod.spec.is_critical,
        memory_request_bytes=spec.memory_request_bytes,
        capacity_bytes=pod.node.spec.memory_bytes,
    )
