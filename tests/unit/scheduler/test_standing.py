"""What is kept of plugins' answers is what they would answer now."""

import random
from dataclasses import replace

import numpy as np
import pytest

from kube.objects import (
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PreferredSchedulingTerm,
    Toleration,
)
from kube.quantity import CPU, MEMORY
from scheduler.errors import PluginError
from scheduler.framework.changes import NEVER, Changes
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import FilterPlugin, PluginArgs, ScorePlugin
from scheduler.framework.part import SnapshotPart
from scheduler.framework.runtime import FilterRun, run_scores
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.standing import Standings
from scheduler.framework.status import Code, Verdicts
from scheduler.model import PODS, HostPort, Taint
from tests.unit.scheduler.worlds import GI, make_facts, make_pending, make_profile

IN_A = NodeSelectorTerm(
    match_expressions=[NodeSelectorRequirement(key="zone", operator="In", values=["a"])]
)
RATHER_A = NodeAffinity(
    preferred_during_scheduling_ignored_during_execution=[
        PreferredSchedulingTerm(weight=7, preference=IN_A)
    ]
)
KINDS = (
    make_pending(),
    make_pending(cpu_milli=2500, memory_bytes=GI),
    make_pending(cpu_milli=0, memory_bytes=0),
    make_pending(node_selector={"zone": "a"}),
    make_pending(node_affinity=RATHER_A),
    make_pending(tolerations=(Toleration(operator="Exists"),)),
    make_pending(host_ports=frozenset({HostPort("0.0.0.0", "TCP", 80)})),
    make_pending(requests={"example.com/gpu": 1}),
)


class RandomWorld:
    """A snapshot to which everything happens that may."""

    def __init__(self, seed, *, n_nodes=60):
        self.rng = random.Random(seed)
        self.snapshot = Snapshot()
        self.placed = []
        self.n_made = 0
        for _ in range(n_nodes):
            self.set_node(self.new_name("n"))

    def new_name(self, prefix):
        self.n_made += 1
        return f"{prefix}{self.n_made}"

    def set_node(self, name):
        rng = self.rng
        taints = [Taint("k", "", effect) for effect in ("NoSchedule", "PreferNoSchedule")]
        facts = make_facts(
            name,
            cpu_milli=rng.choice((0, 2000, 4000)),
            labels={"zone": rng.choice("ab")},
            taints=tuple(rng.sample(taints, rng.choice((0, 0, 0, 1)))),
            is_unschedulable=rng.random() < 0.05,
            allocatable={"example.com/gpu": rng.choice((0, 2))},
        )
        self.snapshot.set_node(facts)

    def happen(self):
        rng, names = self.rng, self.snapshot.names
        what = rng.choice(("place", "place", "place", "place", "evict", "change", "join", "leave"))
        if what == "place":
            node = rng.choice(names)
            pod = replace(rng.choice(KINDS), uid=self.new_name("p"), node_name=node)
            self.snapshot.add_pod(pod, node=node)
            self.placed.append(pod)
        elif what == "evict" and self.placed:
            pod = self.placed.pop(rng.randrange(len(self.placed)))
            self.snapshot.remove_pod(pod, node=pod.node_name)
        elif what == "change":
            self.set_node(rng.choice(names))
        elif rng.random() < 0.3:
            self.come_or_go(what)

    def come_or_go(self, what):
        if what == "join":
            self.set_node(self.new_name("n"))
            return
        gone = self.rng.choice(self.snapshot.names)
        self.snapshot.remove_node(gone)
        self.placed = [pod for pod in self.placed if pod.node_name != gone]


def answer(profile, snapshot, pod, standing=None):
    """Everything that a cycle reads from the plugins."""
    state = CycleState()
    run = FilterRun(profile, state=state, pod=pod, snapshot=snapshot, standing=standing)
    found = run.run()
    told = {
        "codes": found.codes.tolist(),
        "counts": found.counts(),
        "statuses": found.statuses(snapshot.names, limit=1000),
        "rejectors": found.rejectors,
    }
    if found.feasible.any():
        result = run_scores(
            profile,
            state=state,
            pod=pod,
            snapshot=snapshot,
            feasible=found.feasible,
            standing=standing,
        )
        told["rows"] = result.rows.tolist()
        told["totals"] = result.totals.tolist()
        told["by_plugin"] = {name: each.tolist() for name, each in result.by_plugin.items()}
    return told


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_the_kept_answer_is_the_one_that_plugins_would_give_now(seed):
    world, profile = RandomWorld(seed), make_profile()
    standings = Standings(profile)
    for _ in range(150):
        for _ in range(world.rng.choice((0, 1, 1, 2, 20))):
            world.happen()
        pod = world.rng.choice(KINDS)

        standing = standings.of(pod, snapshot=world.snapshot)

        expected = answer(profile, world.snapshot, pod)
        assert answer(profile, world.snapshot, pod, standing) == expected


class Curious(FilterPlugin, ScorePlugin):
    """Remembers of how many nodes it was asked."""

    name = "Curious"

    def __init__(self, args):
        super().__init__(args)
        self.filtered, self.scored = [], []

    def sign_pod(self, pod):
        return pod.priority or None

    def filter(self, state, *, pod, snapshot):
        self.filtered.append(snapshot.n_nodes)
        full = snapshot.requested[PODS] >= 2
        return Verdicts.refuse(full, reason="full", code=Code.UNSCHEDULABLE) if full.any() else None

    def score(self, state, *, pod, snapshot):
        self.scored.append(snapshot.n_nodes)
        return snapshot.requested[PODS].copy()


class Indifferent(Curious):
    """The same, without an eye for pods."""

    reads_pods = False


def curious_world(plugin_type, *, n_nodes=30):
    plugin = plugin_type(PluginArgs())
    profile = replace(make_profile(), filter=(plugin,), score=(plugin,), pre_score=())
    profile = replace(profile, pre_filter=(), weights={plugin.name: 1})
    snapshot = Snapshot()
    for i in range(n_nodes):
        snapshot.set_node(make_facts(f"n{i}"))
    return plugin, profile, snapshot


def test_only_the_nodes_that_changed_are_asked_about():
    plugin, profile, snapshot = curious_world(Curious)
    standings, pod = Standings(profile), make_pending(priority=1)

    standings.of(pod, snapshot=snapshot)
    standings.of(make_pending("other", priority=1), snapshot=snapshot)
    snapshot.add_pod(pod, node="n7")
    standings.of(pod, snapshot=snapshot)

    assert plugin.filtered == plugin.scored == [30, 1]


def test_a_pod_of_another_signature_is_asked_about_anew():
    plugin, profile, snapshot = curious_world(Curious)
    standings = Standings(profile)

    standings.of(make_pending(priority=1), snapshot=snapshot)
    standings.of(make_pending(priority=2), snapshot=snapshot)

    assert plugin.filtered == [30, 30]


def test_a_plugin_that_does_not_read_pods_is_not_asked_when_they_come():
    plugin, profile, snapshot = curious_world(Indifferent)
    standings, pod = Standings(profile), make_pending(priority=1)
    standings.of(pod, snapshot=snapshot)

    snapshot.add_pod(pod, node="n7")
    standings.of(pod, snapshot=snapshot)
    snapshot.set_node(make_facts("n3", cpu_milli=1))
    standings.of(pod, snapshot=snapshot)

    assert plugin.filtered == [30, 1]


def test_nothing_is_kept_of_a_plugin_that_does_not_sign():
    plugin, profile, snapshot = curious_world(Curious)
    pod = make_pending(priority=0)

    standing = Standings(profile).of(pod, snapshot=snapshot)
    told = answer(profile, snapshot, pod, standing)

    assert Curious.name not in standing.verdicts
    assert plugin.filtered == plugin.scored == [30]
    assert told["totals"] == [0] * 30


def test_when_many_nodes_changed_all_are_asked_about_at_once():
    plugin, profile, snapshot = curious_world(Curious)
    standings, pod = Standings(profile), make_pending(priority=1)
    standings.of(pod, snapshot=snapshot)

    for i in range(10):
        snapshot.add_pod(replace(pod, uid=f"u{i}"), node=f"n{i}")
    standings.of(pod, snapshot=snapshot)

    assert plugin.filtered == [30, 30]


def test_a_node_that_fills_up_and_empties_changes_its_verdict_twice():
    _, profile, snapshot = curious_world(Curious)
    standings, pod = Standings(profile), make_pending(priority=1)
    pods = [replace(pod, uid=f"u{i}") for i in range(2)]
    told = []
    for change in (None, snapshot.add_pod, snapshot.remove_pod):
        for each in pods if change else ():
            change(each, node="n7")
        told.append(answer(profile, snapshot, pod, standings.of(pod, snapshot=snapshot))["counts"])

    assert told == [{}, {("Curious", "full"): 1}, {}]


def test_signatures_asked_for_least_lately_are_forgotten():
    plugin, profile, snapshot = curious_world(Curious)
    standings = Standings(profile)
    for priority in range(1, 100):
        standings.of(make_pending(priority=priority), snapshot=snapshot)
    asked = len(plugin.filtered)

    standings.of(make_pending(priority=99), snapshot=snapshot)
    standings.of(make_pending(priority=1), snapshot=snapshot)

    assert len(plugin.filtered) == asked + 1


def test_a_score_that_leaves_its_range_on_one_node_is_an_error():
    _, profile, snapshot = curious_world(Curious)
    standings, pod = Standings(profile), make_pending(priority=1)
    snapshot.add_pod(pod, node="n7")
    everywhere = np.ones(30, dtype=np.bool_)
    standings.of(pod, snapshot=snapshot).scores.weighed(everywhere)
    for i in range(101):
        snapshot.add_pod(replace(pod, uid=f"u{i}"), node="n7")

    standing = standings.of(pod, snapshot=snapshot)

    with pytest.raises(PluginError, match="Curious"):
        standing.scores.weighed(everywhere)


def test_a_what_if_changes_nothing_of_what_is_kept():
    plugin, profile, snapshot = curious_world(Curious)
    standings, pod = Standings(profile), make_pending(priority=1)
    standings.of(pod, snapshot=snapshot)

    snapshot.what_if().add_pod(pod, node="n7")
    standings.of(pod, snapshot=snapshot)

    assert plugin.filtered == [30]


def test_a_part_of_a_snapshot_shows_the_rows_that_were_picked():
    snapshot = Snapshot()
    for i in range(5):
        zone = {"zone": "ab"[i % 2], "cores": str(i)}
        snapshot.set_node(make_facts(f"n{i}", cpu_milli=1000 * i, labels=zone))
    snapshot.add_pod(make_pending(), node="n3")

    part = SnapshotPart(snapshot, rows=np.array([3, 1]))

    assert part.n_nodes == 2
    assert part.names == ["n3", "n1"]
    assert part.rows == {"n3": 0, "n1": 1}
    assert part.allocatable[CPU].tolist() == [3000, 1000]
    assert part.requested[MEMORY].tolist() == [GI // 2, 0]
    assert part.requested.value(0, key=PODS) == 1
    assert part.labels.is_in("zone", values=["b"]).tolist() == [True, True]
    assert part.labels.compare("cores", limit=2)[1].tolist() == [True, False]
    assert not part.unschedulable.any()
    with pytest.raises(AttributeError, match="objects"):
        _ = part.objects


def test_changes_are_told_from_any_version_that_is_remembered():
    changes = Changes()
    changes.note(3)
    version = changes.version
    changes.note(5)
    changes.note(3)

    assert changes.since(version) == {3, 5}
    assert changes.since(changes.version) == frozenset()
    assert changes.since(NEVER) is None


def test_all_rows_may_have_changed_when_rows_moved_or_too_much_happened():
    changes = Changes()
    version = changes.version
    changes.note(1)
    changes.forget()

    assert changes.since(version) is None

    version = changes.version
    for row in range(10_000):
        changes.note(row)

    assert changes.since(version) is None
