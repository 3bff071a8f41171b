"""Made-up results of runs."""

from scheduler.simulator.experiments.report import ReportAbout
from scheduler.simulator.experiments.results import HeatMap, ModelQuality, RunResult, Timelines


def make_run(policy="kube-default", *, seed=0, troubles=10, throttled=5.0, **fields):
    defaults = {
        "measured_h": 48.0,
        "n_placements": 1000,
        "n_failed_placements": troubles,
        "n_oom_kills": 0,
        "n_evictions": 0,
        "pending_p50_s": 1.0,
        "pending_p99_s": 20.0,
        "n_never_bound": 0,
        "cpu_spread_ratio": 0.1,
        "memory_spread_ratio": 0.2,
        "n_nodes": 50,
        "idle_nodes": 5.0,
        "cpu_s": 36.0,
    }
    return RunResult(policy=policy, seed=seed, throttled_core_h=throttled, **{**defaults, **fields})


def make_quality(**fields):
    defaults = {
        "n_rows": 900,
        "base_rate": 0.9,
        "auc": 0.8,
        "brier": 0.05,
        "base_rate_brier": 0.09,
        "enhanced_auc": 0.6,
        "enhanced_brier": 0.12,
    }
    return ModelQuality(**{**defaults, **fields})


def make_timelines(*, n_bins=6, **fields):
    defaults = {
        "bin_h": 0.5,
        "cpu_used_ratio": [0.25] * n_bins,
        "cpu_requested_ratio": [0.5] * n_bins,
        "n_pending": [1.0] * n_bins,
        "troubles_per_h": [0.0] * n_bins,
        "pending_quantiles_s": [float(i) for i in range(101)],
        "lacking_quantiles_ratio": [],
        "heat": HeatMap(nodes=["n1", "n2"], cpu_percent=[[20] * n_bins, [30] * n_bins]),
    }
    return Timelines(**{**defaults, **fields})


def make_runs(policy="kube-default", *, troubles=(10, 20, 30), **fields):
    """One run a seed, from 0."""
    return [make_run(policy, seed=i, troubles=n, **fields) for i, n in enumerate(troubles)]


def make_about(**fields):
    defaults = {
        "scenario_name": "mixed-week",
        "description": "Workloads that ask for too much, and for too little.",
        "scenario_text": "name: mixed-week\n",
        "command": "python -m scheduler.simulator evaluate --seeds 3",
    }
    return ReportAbout(**{**defaults, **fields})
