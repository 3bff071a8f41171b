"""From what happens in the world to what is counted."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from scheduler.simulator import changes as ch
from scheduler.simulator.experiments.tally import Tally
from scheduler.simulator.resources import NODES, PODS
from scheduler.simulator.store import Change
from tests.simulator_world import make_sim_node

BEGAN_S = 1_000_000.0
WINDOW_S = 600.0


@dataclass
class FakeWorld:
    """What its kubelets measured, set by the test."""

    lacking_core_s: float = 500.0
    lacking: dict[str, float] = field(default_factory=dict)
    """Of each pod's one container."""
    node_cpu_milli: tuple[float, ...] = (0.0, 0.0)
    node_memory_bytes: tuple[float, ...] = (0.0, 0.0)
    nodes: tuple[str, ...] = ("n1", "n2")

    def sample(self):
        return SimpleNamespace(
            nodes=self.nodes,
            node_cpu_milli=np.array(self.node_cpu_milli),
            node_memory_bytes=np.array(self.node_memory_bytes),
            containers=tuple((uid, "app") for uid in self.lacking),
            container_lacking_ratio=np.array(list(self.lacking.values())),
        )


class FakeCluster:
    """Two nodes of 4 cores and 8 GiB."""

    def __init__(self):
        self.world = FakeWorld()
        self.node_specs = {name: make_sim_node(name) for name in ("n1", "n2")}
        self.tell = None

    def on_world_change(self, witness):
        self.tell = witness


def pod(uid, *, node=None, containers=("app",), phase="Pending", **meta):
    spec = {"containers": [{"name": name} for name in containers]}
    if node is not None:
        spec["nodeName"] = node
    meta = {"uid": uid, "name": uid, "namespace": "default", **meta}
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


class Story:
    """Pods that come, are bound and fare somehow; times are seconds since the beginning."""

    def __init__(self, *, pods=()):
        self.cluster = FakeCluster()
        self.tally = Tally(self.cluster, window_s=WINDOW_S, now_s=BEGAN_S, pods=pods)
        self._pods = {each["metadata"]["uid"]: each for each in pods}

    def write(self, at_s, obj, *, type_="MODIFIED"):
        uid = obj["metadata"]["uid"]
        old = self._pods.get(uid)
        self._pods[uid] = obj
        kind = "ADDED" if old is None else type_
        self.tally.see(Change(PODS, kind, old, obj), now_s=BEGAN_S + at_s)

    def create(self, at_s=0.0, uid="a", **fields):
        self.write(at_s, pod(uid, **fields))

    def bind(self, at_s=0.0, uid="a", *, node="n1", **fields):
        self.write(at_s, pod(uid, node=node, **fields))

    def placed(self, uid="a", *, at_s=0.0, ready_at_s=10.0, node="n1"):
        self.create(at_s, uid)
        self.bind(at_s, uid, node=node)
        self.ready(ready_at_s, uid)

    def delete(self, at_s, uid="a"):
        self.write(at_s, self._pods[uid], type_="DELETED")

    def ready(self, at_s, uid="a", *, container="app"):
        self.cluster.tell(ch.ContainerReady(at_s=BEGAN_S + at_s, pod=uid, container=container))

    def exit(self, at_s, uid="a", *, code=1, cause="crashed"):
        self.cluster.tell(
            ch.ContainerExited(
                at_s=BEGAN_S + at_s, pod=uid, container="app", exit_code=code, cause=cause
            )
        )

    def evict(self, at_s, uid="a"):
        self.cluster.tell(
            ch.PodEvicted(
                at_s=BEGAN_S + at_s,
                pod=uid,
                node="n1",
                available_bytes=0,
                container="app",
                used_bytes=2,
                requested_bytes=1,
            )
        )

    def finish(self, at_s, uid="a", *, has_succeeded=True):
        self.cluster.tell(ch.PodFinished(at_s=BEGAN_S + at_s, pod=uid, has_succeeded=has_succeeded))

    def fail_node(self, at_s, node="n1"):
        self.cluster.tell(ch.NodeFailed(at_s=BEGAN_S + at_s, node=node))

    def look(self, at_s):
        self.tally.look(BEGAN_S + at_s)

    def result(self, at_s=3600.0):
        self.look(at_s)
        return self.tally.result(
            policy="p", seed=0, now_s=BEGAN_S + at_s, model=None, trainings={}, cpu_s=0.0
        )


def test_a_placement_that_gets_ready_and_stays_so_has_not_failed():
    story = Story()
    story.placed()
    result = story.result()

    assert (result.n_placements, result.n_failed_placements) == (1, 0)
    assert result.failed_by_cause == {}


def crash(story):
    story.exit(100.0)


def oom_by_limit(story):
    story.exit(100.0, code=137, cause="limit")


def oom_by_node(story):
    story.exit(100.0, code=137, cause="node_memory")


def eviction(story):
    story.evict(100.0)


def end_with_the_node(story):
    story.exit(100.0, code=137, cause="node_failed")


def node_failure(story):
    story.fail_node(100.0)


def starvation(story):
    for at_s in range(60, 660, 60):
        story.cluster.world.lacking = {"a": 0.3}
        story.look(float(at_s))


@pytest.mark.parametrize(
    ("happens", "cause", "n_oom_kills", "n_evictions"),
    [
        (crash, "crashed", 0, 0),
        (oom_by_limit, "oom_killed", 1, 0),
        (oom_by_node, "oom_killed", 1, 0),
        (eviction, "evicted", 0, 1),
        (end_with_the_node, "node_lost", 0, 0),
        (node_failure, "node_lost", 0, 0),
        (starvation, "starved", 0, 0),
    ],
)
def test_a_placement_fails_by_what_happens_within_its_window(
    happens, cause, n_oom_kills, n_evictions
):
    story = Story()
    story.placed()
    happens(story)
    result = story.result()

    assert result.failed_by_cause == {cause: 1}
    assert (result.n_placements, result.n_failed_placements) == (1, 1)
    assert (result.n_oom_kills, result.n_evictions) == (n_oom_kills, n_evictions)


@pytest.mark.parametrize("has_looked", [True, False])
@pytest.mark.parametrize(
    ("at_s", "n_failed"),
    [pytest.param(609.0, 1, id="just within"), pytest.param(611.0, 0, id="just after")],
)
def test_the_window_runs_from_when_the_pod_got_ready(at_s, n_failed, has_looked):
    story = Story()
    story.placed(ready_at_s=10.0)
    if has_looked:
        story.look(at_s - 1.0)
    story.exit(at_s)

    assert story.result().n_failed_placements == n_failed


def test_kills_and_evictions_count_even_after_the_window():
    story = Story()
    story.placed()
    story.look(700.0)
    story.exit(800.0, code=137, cause="limit")
    story.evict(900.0)
    result = story.result()

    assert (result.n_oom_kills, result.n_evictions, result.n_failed_placements) == (1, 1, 0)
    assert result.n_troubles == 2


def test_a_pod_that_never_gets_ready_failed_to_start():
    story = Story()
    story.create()
    story.bind(containers=("app", "beside"))
    story.ready(20.0)  # one of two
    story.look(599.0)
    assert story.result(599.5).n_failed_placements == 0

    assert story.result().failed_by_cause == {"start_failed": 1}


def test_a_pod_that_its_kubelet_rejects_has_failed_though_it_is_soon_gone():
    story = Story()
    story.create()
    story.bind()
    story.bind(1.0, phase="Failed")
    story.delete(599.0)

    assert story.result().failed_by_cause == {"rejected": 1}


def test_a_pod_is_ready_when_all_its_containers_have_been():
    story = Story()
    story.create()
    story.bind(containers=("app", "beside"))
    story.ready(20.0)
    story.ready(500.0, container="beside")
    story.look(650.0)
    story.exit(1050.0)

    assert story.result().failed_by_cause == {"crashed": 1}


def test_a_crash_before_the_pod_is_ready_counts():
    story = Story()
    story.create()
    story.bind()
    story.exit(5.0)

    assert story.result().failed_by_cause == {"crashed": 1}


def test_one_placement_fails_once_whatever_else_befalls_it():
    story = Story()
    story.placed()
    story.exit(100.0, code=137, cause="limit")
    story.exit(200.0)
    story.evict(300.0)
    story.fail_node(400.0)

    assert story.result().failed_by_cause == {"oom_killed": 1}


def test_an_exit_with_success_is_no_failure():
    story = Story()
    story.placed()
    story.exit(100.0, code=0, cause="completed")
    story.finish(100.0)
    story.fail_node(200.0)

    assert story.result().n_failed_placements == 0


@pytest.mark.parametrize("how", ["asked to go", "gone"])
def test_a_pod_that_is_deleted_early_is_not_judged(how):
    story = Story()
    story.placed()
    if how == "gone":
        story.delete(60.0)
    else:
        story.bind(60.0, deletionTimestamp="2026-03-02T00:00:00Z")
    story.exit(61.0)
    result = story.result()

    assert (result.n_placements, result.n_failed_placements) == (1, 0)


def test_a_node_takes_only_its_own_pods_along():
    story = Story()
    story.placed("a", node="n1")
    story.placed("b", node="n2")
    story.placed("c", node="n1")
    story.bind(50.0, "c", node="n1", phase="Succeeded")
    story.fail_node(100.0, "n1")

    assert story.result().failed_by_cause == {"node_lost": 1}


def test_lacking_a_little_or_only_for_a_while_is_not_starving():
    story = Story()
    story.placed("a")
    story.placed("b")
    for minute in range(1, 11):
        story.cluster.world.lacking = {"a": 0.04, "b": 0.9 if minute <= 2 else 0.0}
        story.look(60.0 * minute)

    assert story.result().n_failed_placements == 0


def test_what_was_there_before_is_not_judged_but_fills_its_node():
    before = pod("old", node="n1", phase="Running")
    waiting = pod("waiting")
    story = Story(pods=[before, waiting])
    story.exit(10.0, "old")
    story.bind(20.0, "waiting", node="n1")
    story.exit(30.0, "waiting")
    result = story.result()

    assert (result.n_placements, result.n_failed_placements) == (0, 0)
    assert result.idle_nodes == 1.0


def test_waiting_is_counted_from_creation_to_binding_and_to_the_end_of_those_never_bound():
    story = Story()
    for number, (created_s, bound_s) in enumerate([(0, 0), (10, 12), (20, 30), (30, 90)]):
        story.create(created_s, f"p{number}")
        story.bind(bound_s, f"p{number}")
    story.create(3000.0, "never")
    story.create(100.0, "given up")
    story.delete(200.0, "given up")
    result = story.result(3600.0)

    assert result.n_placements == 4
    assert result.n_never_bound == 1
    assert result.pending_p50_s == pytest.approx(10.0)  # of 0, 2, 10, 60 and 600
    assert result.pending_p99_s == pytest.approx(60.0 + 0.96 * 540.0)


def test_waiting_is_told_by_namespace_too():
    story = Story()
    story.create(0.0, "a", namespace="one")
    story.bind(50.0, "a", namespace="one")
    story.create(0.0, "b", namespace="two")
    story.create(0.0, "gone", namespace="three")
    story.delete(10.0, "gone")

    waited = story.result(3600.0).pending_p99_s_by_namespace

    assert waited == {"one": 50.0, "two": 3600.0}


def test_without_pods_nobody_waited():
    result = Story().result()

    assert (result.n_placements, result.pending_p50_s, result.pending_p99_s) == (0, 0.0, 0.0)


def test_idle_nodes_are_averaged_over_the_looks():
    story = Story()
    story.look(0.0)  # two idle
    story.placed("a", at_s=30.0, node="n1")
    story.look(60.0)  # one
    story.placed("b", at_s=70.0, node="n2")
    story.look(120.0)  # none
    story.delete(130.0, "b")
    result = story.result(180.0)  # one

    assert result.idle_nodes == pytest.approx(1.0)
    assert result.n_nodes == 2


def test_the_spread_of_usage_is_averaged_over_the_looks():
    story = Story()
    world = story.cluster.world
    world.node_cpu_milli, world.node_memory_bytes = (1000.0, 3000.0), (0.0, 4.0 * 2**30)
    story.look(0.0)
    world.node_cpu_milli = (2000.0, 2000.0)
    result = story.result(60.0)

    assert result.cpu_spread_ratio == pytest.approx((0.25 + 0.0) / 2)
    assert result.memory_spread_ratio == pytest.approx(0.25)


def test_nodes_that_are_all_down_have_no_spread_but_count_as_looked_at():
    story = Story()
    story.look(0.0)
    world = story.cluster.world
    world.nodes, world.node_cpu_milli, world.node_memory_bytes = (), (), ()
    story.look(60.0)

    assert story.result(120.0).cpu_spread_ratio == 0.0


def test_throttling_is_what_was_lacked_since_measuring_began():
    story = Story()
    story.cluster.world.lacking_core_s = 500.0 + 7200.0
    result = story.result(1800.0)

    assert result.throttled_core_h == pytest.approx(2.0)
    assert result.measured_h == pytest.approx(0.5)


def test_what_is_written_about_others_than_pods_is_passed_over():
    story = Story()
    node = {"metadata": {"name": "n1", "uid": "x"}, "spec": {}}
    story.tally.see(Change(NODES, "ADDED", None, node), now_s=BEGAN_S)

    assert story.result().n_placements == 0
