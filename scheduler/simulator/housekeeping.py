"""At every tick, on all nodes at once: usage, kills, evictions, crashes, work done."""

import numpy as np
from numpy.typing import NDArray

from scheduler.simulator import changes as ch
from scheduler.simulator import physics
from scheduler.simulator.chance import Luck
from scheduler.simulator.columns import ContainerColumns, NodeColumns
from scheduler.simulator.lifecycle import Lifecycle
from scheduler.simulator.parameters import Physics
from scheduler.simulator.physics import Floats, Indices
from scheduler.simulator.runs import ContainerRun, NodeRun, PodRun
from scheduler.simulator.usage import SERIES_SLOT_S

_CRASH, _SYSTEM_CPU, _SYSTEM_MEMORY = 11, 12, 13


class Housekeeping:
    """Applies the physics to the columns and tells the lifecycle who must go.

    Args:
        lifecycle: Owner of the pods.
        containers: Its columns.
        nodes: The nodes' columns.
        runs: The nodes, by row.
        physics: The constants.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        *,
        containers: ContainerColumns,
        nodes: NodeColumns,
        runs: list[NodeRun],
        physics: Physics,
    ) -> None:
        self.lacking_core_s = 0.0
        """Cpu that containers wished for and did not get, all of them, since the beginning."""
        self._law = physics
        self._luck, self._system_luck = Luck(), Luck()
        self._series_slot = -1
        self._lifecycle = lifecycle
        self._columns = containers
        self._nodes = nodes
        self._node_runs = runs

    def tick(self, now_s: float) -> None:
        """Bring everything up to *now_s*, a tick after the last time."""
        rows = np.flatnonzero(self._columns.is_running)
        self._luck.of(self._columns.key[rows])
        self._follow_series(rows, now_s=now_s)
        system_cpu, system_memory = self._system_usage(now_s)
        memory = self._use_memory(rows, now_s=now_s)
        lacking = self._use_cpu(rows, now_s=now_s, system_milli=system_cpu)
        self._kill_over_limit(rows, memory=memory, now_s=now_s)
        self._use_node_memory(system_memory)
        self._kill_for_nodes(now_s)
        self._watch_memory(now_s)
        self._crash(rows, lacking=lacking, now_s=now_s)
        self._work(rows, now_s=now_s)

    def _follow_series(self, rows: Indices, *, now_s: float) -> None:
        slot = int(now_s // SERIES_SLOT_S)
        if slot == self._series_slot:
            return
        self._series_slot = slot
        for row in rows[self._columns.has_series[rows]]:
            run = self._lifecycle.rows.runs[row]
            if run is not None:
                self._lifecycle.rows.follow_series(run, now_s=now_s)

    def _system_usage(self, now_s: float) -> tuple[Floats, Floats]:
        n, nodes = len(self._node_runs), self._nodes
        law = self._law.system
        window, luck = int(now_s // law.window_s), self._system_luck.of(nodes.key[:n])
        swing = nodes.system_swing_ratio[:n]
        cpu = nodes.system_cpu_milli[:n] * (
            1.0 + swing * luck.triangular(index=window, salt=_SYSTEM_CPU)
        )
        memory = nodes.system_memory_bytes[:n] * (
            1.0 + swing * luck.triangular(index=window, salt=_SYSTEM_MEMORY)
        )
        is_up = nodes.is_up[:n].astype(np.float64)
        return (
            is_up * np.minimum(cpu, law.max_ratio * nodes.cpu_capacity_milli[:n]),
            is_up * np.minimum(memory, law.max_ratio * nodes.memory_capacity_bytes[:n]),
        )

    def _use_memory(self, rows: Indices, *, now_s: float) -> Floats:
        c = self._columns
        grown = physics.memory_growth(
            before_bytes=c.grown_before_bytes[rows],
            per_s=c.memory_growth_bytes_per_s[rows],
            passed_s=now_s - c.grows_since_s[rows],
            limit_bytes=c.memory_growth_limit_bytes[rows],
        )
        memory = physics.memory_demand(
            now_s=now_s,
            age_s=now_s - c.started_at_s[rows],
            base_bytes=c.memory_base_bytes[rows] * c.series_memory_ratio[rows],
            grown_bytes=grown,
            luck=self._luck,
            law=self._law.memory,
        )
        c.memory_bytes[rows] = np.minimum(memory, c.memory_limit_bytes[rows])
        return memory

    def _use_cpu(self, rows: Indices, *, now_s: float, system_milli: Floats) -> Floats:
        """Share out cpu; tell how much of its wish each container lacked, as a ratio."""
        c, nodes, n = self._columns, self._nodes, len(self._node_runs)
        node = c.node[rows]
        wish = physics.cpu_demand(
            now_s=now_s,
            mean_milli=c.cpu_mean_milli[rows] * c.series_cpu_ratio[rows],
            swing=(c.diurnal_amplitude[rows], c.diurnal_phase_s[rows]),
            bursts=(c.burst_ratio[rows], c.burst_factor[rows]),
            luck=self._luck,
            law=self._law.cpu,
        )
        wish /= nodes.speed[node]  # a slow node needs longer for the same work
        demand = np.minimum(wish, c.cpu_limit_milli[rows])
        capacity = nodes.cpu_capacity_milli[:n]
        granted = physics.share_cpu(
            demand, weight=c.cpu_weight[rows], node=node, free=capacity - system_milli
        )
        passed_s = np.minimum(self._law.tick_s, now_s - c.started_at_s[rows])
        throttled = 1.0 - np.divide(demand, wish, out=np.ones_like(wish), where=wish > 0)
        periods = np.isfinite(c.cpu_limit_milli[rows]) * passed_s * self._law.cpu.cfs_periods_per_s
        c.cpu_milli[rows] = granted
        c.throttled_ratio[rows] = throttled
        c.cpu_core_s[rows] += granted * passed_s / 1000.0
        c.cfs_periods[rows] += periods
        c.cfs_throttled_periods[rows] += periods * throttled
        used = np.minimum(capacity, system_milli + np.bincount(node, granted, minlength=n))
        nodes.cpu_milli[:n] = used
        nodes.cpu_core_s[:n] += used * self._law.tick_s / 1000.0
        nodes.hunger[:n] = np.bincount(node, granted * c.cache_hunger[rows], minlength=n) / capacity
        lacking = 1.0 - np.divide(granted, wish, out=np.ones_like(wish), where=wish > 0)
        lacking_core_s = np.maximum(0.0, wish - granted) * passed_s / 1000.0
        c.lacking_ratio[rows] = lacking
        c.lacking_core_s[rows] += lacking_core_s
        self.lacking_core_s += float(lacking_core_s.sum())
        return lacking

    def _kill_over_limit(self, rows: Indices, *, memory: Floats, now_s: float) -> None:
        for row in rows[memory > self._columns.memory_limit_bytes[rows]]:
            self._exit(int(row), code=137, cause="limit", now_s=now_s)

    def _use_node_memory(self, system_bytes: Floats) -> None:
        c, n = self._columns, len(self._node_runs)
        rows = np.flatnonzero(c.is_running)
        pods = np.bincount(c.node[rows], c.memory_bytes[rows], minlength=n)
        self._nodes.memory_bytes[:n] = system_bytes + pods

    def _kill_for_nodes(self, now_s: float) -> None:
        """Let the kernel kill on nodes whose memory ran out between two looks of the kubelet."""
        c, nodes, n = self._columns, self._nodes, len(self._node_runs)
        for row in np.flatnonzero(nodes.memory_bytes[:n] > nodes.memory_capacity_bytes[:n]):
            capacity = float(nodes.memory_capacity_bytes[row])
            running = self._running_on(self._node_runs[row])
            rows = np.array([run.row for run in running], dtype=np.intp)
            memory = c.memory_bytes[rows]
            bad = physics.badness(
                memory, capacity_bytes=capacity, oom_score_adj=c.oom_score_adj[rows]
            )
            for index in np.lexsort((-memory, -bad)):
                if nodes.memory_bytes[row] <= capacity:
                    break
                nodes.memory_bytes[row] -= memory[index]
                self._exit(int(rows[index]), code=137, cause="node_memory", now_s=now_s)

    def _watch_memory(self, now_s: float) -> None:
        """Let the kubelets evict one pod where memory is short, and report pressure."""
        nodes, n = self._nodes, len(self._node_runs)
        available = nodes.memory_capacity_bytes[:n] - nodes.memory_bytes[:n]
        is_short = nodes.is_up[:n] & (available < nodes.eviction_hard_bytes[:n])
        for row in np.flatnonzero(is_short):
            run = self._node_runs[row]
            run.short_seen_at_s = now_s
            if not run.has_memory_pressure:
                self._set_pressure(run, has_memory_pressure=True, now_s=now_s)
            self._evict_one(run, now_s=now_s, available_bytes=float(available[row]))
        for run in self._node_runs:
            is_over = now_s - run.short_seen_at_s >= self._law.memory.pressure_transition_s
            if run.has_memory_pressure and run.is_up and is_over:
                self._set_pressure(run, has_memory_pressure=False, now_s=now_s)

    def _set_pressure(self, run: NodeRun, *, has_memory_pressure: bool, now_s: float) -> None:
        run.has_memory_pressure = has_memory_pressure
        self._lifecycle.emitted.append(
            ch.NodePressureChanged(
                at_s=now_s, node=run.spec.name, has_memory_pressure=has_memory_pressure
            )
        )

    def _evict_one(self, run: NodeRun, *, now_s: float, available_bytes: float) -> None:
        pods = [p for p in run.pods.values() if not p.spec.is_critical and not p.is_stopping]
        if not pods:
            return
        order = physics.eviction_order(
            used_bytes=np.array([self._memory_of(pod) for pod in pods]),
            requested_bytes=np.array([_requested_bytes(pod) for pod in pods]),
            priority=np.array([float(pod.spec.priority) for pod in pods]),
        )
        victim = pods[order[0]]
        self._nodes.memory_bytes[run.row] -= self._memory_of(victim)
        self._lifecycle.evict(victim, now_s=now_s, available_bytes=available_bytes)

    def _memory_of(self, pod: PodRun) -> float:
        c = self._columns
        return float(sum(c.memory_bytes[r.row] for r in pod.containers if c.is_running[r.row]))

    def _crash(self, rows: Indices, *, lacking: Floats, now_s: float) -> None:
        c = self._columns
        # Some may have been killed above; and a throttled container is slow, but not starved.
        alive = c.is_running[rows]
        starved = np.maximum(0.0, lacking - c.throttled_ratio[rows])
        hazard = c.crash_per_s[rows] + self._nodes.crash_per_s[c.node[rows]]
        tick_s, starved_per_s = self._law.tick_s, self._law.cpu.starved_crash_per_hour / 3600.0
        chance = physics.chance_of(hazard + starved_per_s * starved, passed_s=tick_s)
        strikes = self._luck.uniform(index=int(now_s // tick_s), salt=_CRASH) < chance
        for row in rows[alive & strikes]:
            self._exit(int(row), code=1, cause="crashed", now_s=now_s)

    def _work(self, rows: Indices, *, now_s: float) -> None:
        c = self._columns
        working = rows[c.is_running[rows] & np.isfinite(c.work_left_s[rows])]
        if not len(working):
            return
        rates = self._rates_of_work(working)
        passes_s = self._lifecycle.next_tick_s - now_s
        left_s = c.work_left_s[working]
        ends = left_s <= rates * passes_s
        goes_on = ~ends
        c.work_left_s[working[goes_on]] = left_s[goes_on] - rates[goes_on] * passes_s
        for row, rate in zip(working[ends].tolist(), rates[ends].tolist(), strict=True):
            run = self._lifecycle.rows.runs[row]
            if run is not None:
                self._lifecycle.plan_finish(run, now_s=now_s, rate=rate)

    def _rates_of_work(self, rows: NDArray[np.intp]) -> Floats:
        c, nodes = self._columns, self._nodes
        node = c.node[rows]
        slower = physics.slow_down(
            nodes.cpu_milli[node] / nodes.cpu_capacity_milli[node],
            hunger=c.cache_hunger[rows],
            neighbours=nodes.hunger[node],
            law=self._law.cpu,
        )
        # Beyond the queueing, a throttled container does its work in the time that it gets.
        least = self._law.cpu.min_work_ratio
        rates: Floats = nodes.speed[node] / slower * np.maximum(least, 1 - c.throttled_ratio[rows])
        return rates

    def _running_on(self, run: NodeRun) -> list[ContainerRun]:
        is_running = self._columns.is_running
        return [c for pod in run.pods.values() for c in pod.containers if is_running[c.row]]

    def _exit(self, row: int, *, code: int, cause: ch.ExitCause, now_s: float) -> None:
        run = self._lifecycle.rows.runs[row]
        if run is not None:
            self._lifecycle.exit(run, code=code, cause=cause, now_s=now_s)


def _requested_bytes(pod: PodRun) -> float:
    return float(sum(c.spec.memory_request_bytes for c in pod.containers if c.spec.role != "init"))
