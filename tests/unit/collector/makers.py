"""Builders of the collector's own facts; what a test does not name has sane values."""

from typing import Any

from collector.cluster_view import ClusterView
from collector.facts import NodeFacts, PodFacts
from collector.history import History
from collector.samples import NodeSample, PodSample
from collector.tracking import Tracker
from tests.builders import EPOCH_S

WEB = "default/Deployment/web"
WINDOW_S = 600.0
GIB = 2**30


def make_facts(name: str = "web-1", **changes: Any) -> PodFacts:
    fields: dict[str, Any] = {
        "uid": f"uid-of-{name}",
        "namespace": "default",
        "name": name,
        "workload": WEB,
        "node": "",
        "cpu_milli": 500,
        "memory_bytes": GIB,
        "cpu_limits_milli": (),
        "phase": "Pending",
        "scheduled_at_s": None,
        "ready_at_s": None,
        "started_at_s": None,
        "n_restarts": 0,
        "last_oom_at_s": None,
        "failure": None,
        "ended_at_s": None,
        "disruption": None,
        "is_deleting": False,
    }
    return PodFacts(**{**fields, **changes})


def make_running(name: str = "web-1", *, since_s: float = 0.0, **changes: Any) -> PodFacts:
    """Make a pod that was placed, started and Ready *since_s* after the epoch."""
    at_s = EPOCH_S + since_s
    fields = {
        "node": "n1",
        "phase": "Running",
        "scheduled_at_s": at_s,
        "started_at_s": at_s,
        "ready_at_s": at_s,
    }
    return make_facts(name, **{**fields, **changes})


def make_node_facts(name: str = "n1", **changes: Any) -> NodeFacts:
    fields: dict[str, Any] = {
        "is_ready": True,
        "is_schedulable": True,
        "taints": (),
        "pressures": (),
        "allocatable_cpu_milli": 4000,
        "allocatable_memory_bytes": 8 * GIB,
        "allocatable_pods": 110,
    }
    return NodeFacts(name=name, **{**fields, **changes})


def make_node_sample(node: str = "n1", *, at_s: float = 0.0, cpu_milli: int = 1000) -> NodeSample:
    return NodeSample(node, EPOCH_S + at_s, cpu_milli, GIB)


def make_pod_sample(name: str = "web-1", *, at_s: float = 0.0, cpu_milli: int = 100) -> PodSample:
    return PodSample("default", name, EPOCH_S + at_s, cpu_milli, GIB // 2, (("app", cpu_milli),))


def make_history() -> History:
    return History(
        half_life_s=48 * 3600.0,
        stability_half_life_s=12 * 3600.0,
        keep_s=168 * 3600.0,
        prior_failure_rate=0.05,
        prior_weight=5.0,
    )


def make_view(*nodes: str) -> ClusterView:
    view = ClusterView(make_history(), version=0)
    for name in nodes:
        view.put_node(make_node_facts(name))
    return view


def make_tracker(*nodes: str, synced: bool = True) -> Tracker:
    history = make_history()
    view = ClusterView(history, version=0)
    tracker = Tracker(view, history=history, window_s=WINDOW_S, max_lag_s=30.0)
    for name in nodes or ("n1",):
        tracker.see_node(make_node_facts(name))
    if synced:
        tracker.synced()
    return tracker
