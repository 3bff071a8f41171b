"""What one run of one policy came to."""

import msgspec


class ModelQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How well predictions told what would happen, on placements made after each was trained."""

    n_rows: int
    """Placements predicted by a served model whose outcome is known."""
    base_rate: float
    """The share of them that stayed healthy."""
    auc: float | None
    """Area under the ROC curve; ``None`` if all ended alike, as for ``enhanced_auc``."""
    brier: float
    """Mean squared error of the served probability."""
    base_rate_brier: float
    """Of always saying what was healthy before: the first baseline."""
    enhanced_auc: float | None
    """Of enhanced scoring read as a probability: the second baseline."""
    enhanced_brier: float


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went whose scheduler was a program of its own; in real time, not virtual."""

    wall_s: float
    """What the run took, the start of the program and its end included."""
    n_waits: int
    """How often virtual time stood still for pods to be answered for."""
    waited_s: float
    n_timeouts: int
    """How often the program was silent for longer than our patience, and time went on without."""
    scheduler_cpu_s: float
    """What the program took of a processor."""


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """How full nodes were over time."""

    nodes: list[str]
    """One a row; in large clusters, the first of some that share it."""
    cpu_percent: list[list[int]]
    """Of the row's cpu, by row and then by bin."""


class Timelines(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went: means over equal parts of the measured time, and over placements."""

    bin_h: float
    """How long a part is; the last may be shorter."""
    cpu_used_ratio: list[float]
    """Of all the cluster's cpu."""
    cpu_requested_ratio: list[float]
    n_pending: list[float]
    """Pods without a node."""
    troubles_per_h: list[float]
    pending_quantiles_s: list[float]
    """From the smallest to the largest in steps of 1 %; empty if there was none, as for the other.
    Pods that were never bound count to the end of the run."""
    lacking_quantiles_ratio: list[float]
    """What share of the cpu that it wanted a placement lacked while it was watched."""
    heat: HeatMap


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one seed, over the measured days."""

    policy: str
    seed: int
    measured_h: float
    n_placements: int
    """Bindings made."""
    n_failed_placements: int
    """Of those, how many did not get ready and stay healthy for the observation window, by the
    world's own account: killed, evicted, crashed, lost with their node, rejected, starved, never
    ready."""
    failed_by_cause: dict[str, int] = {}
    """The same, by ``crashed``, ``evicted``, ``node_lost``, ``oom_killed``, ``rejected`` (by the
    kubelet), ``starved`` and ``start_failed``."""
    n_oom_kills: int
    """Containers killed for memory, by their limit or by their node."""
    n_evictions: int
    """Pods evicted by a kubelet for lack of memory."""
    throttled_core_h: float
    """Core-hours of cpu that containers wanted and did not get, by limit or by contention."""
    pending_p50_s: float
    """From a pod's creation to its binding; of those never bound, to the end of the run."""
    pending_p99_s: float
    pending_p99_s_by_namespace: dict[str, float] = {}
    n_never_bound: int
    cpu_spread_ratio: float
    """Standard deviation over nodes of cpu utilisation, 0-1, averaged over time."""
    memory_spread_ratio: float
    n_nodes: int
    idle_nodes: float
    """Nodes without any pod, averaged over time: they could be turned off."""
    network_cost: float | None = None
    """What it costs a running pod to reach those that it depends on, by the NetworkTopology: a mean
    over pods and time; ``None`` where nobody says who depends on whom."""
    services_down_h: float | None = None
    """Service-hours in which no pod of a service was ready, once one had been; ``None`` where there
    are no services."""
    cost: float = 0.0
    """By the scenario's ``reward``: the return of the run, with a minus sign."""
    cost_terms: dict[str, float] = {}
    """What it is the weighted sum of, each in its unit."""
    model: ModelQuality | None = None
    """``None`` where no model served."""
    trainings: dict[str, int] = {}
    """How trainings ended, by result."""
    cpu_s: float = 0.0
    """What the run took of our processor."""
    timelines: Timelines | None = None
    pace: Pace | None = None
    """``None`` for policies that are run in our own process."""

    @property
    def n_troubles(self) -> int:
        """Failed placements, OOM kills and evictions together."""
        return self.n_failed_placements + self.n_oom_kills + self.n_evictions
