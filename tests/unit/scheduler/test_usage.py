"""What nodes use, and what waits, as plugins are shown it."""

from dataclasses import replace

import numpy as np

from kube.quantity import CPU, MEMORY
from scheduler.engine import Engine, EngineSettings
from scheduler.events import NodeGone, NodeSeen, NodesMeasured, PodSeen, UtilizationMeasured
from scheduler.framework.interface import PluginArgs, ScorePlugin
from scheduler.model import QueueState, Usage, Utilization
from scheduler.plugins.learned.surroundings import Surroundings
from tests.unit.scheduler.worlds import (
    decide,
    feed,
    make_facts,
    make_pending,
    make_profile,
    make_snapshot,
    placements,
)


class LeastUsed(ScorePlugin):
    """Looks at nothing but usage, and signs pods so that its answers are kept."""

    name = "LeastUsed"
    reads_usage = True

    def sign_pod(self, pod):
        return ()

    def score(self, state, *, pod, snapshot):
        return 100 - snapshot.usage[CPU] // 100


class Witness(ScorePlugin):
    """Notes what it is told of the surroundings."""

    name = "Witness"

    def __init__(self, args):
        super().__init__(args)
        self.seen = {}

    def score(self, state, *, pod, snapshot):
        self.seen[pod.name] = state.read(Surroundings)
        return np.zeros(snapshot.n_nodes, dtype=np.int64)


def engine_with(plugin, *nodes):
    profile = replace(make_profile(), score=(plugin,), pre_score=(), weights={plugin.name: 1})
    engine = Engine({"ai-scheduler": profile}, settings=EngineSettings())
    for name in nodes:
        engine.handle(NodeSeen(make_facts(name)), now_s=0.0)
    return engine


def test_usage_follows_its_node_and_ends_with_the_sample_that_leaves_the_node_out():
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), make_facts("n3"))
    snapshot.set_usage({"n1": Usage(10, 1), "n3": Usage(30, 3), "stranger": Usage(9, 9)})

    snapshot.remove_node("n1")

    assert snapshot.names == ["n3", "n2"]
    assert snapshot.usage[CPU].tolist() == [30, 0]
    assert snapshot.usage[MEMORY].tolist() == [3, 0]
    assert snapshot.is_measured.tolist() == [True, False]
    snapshot.set_usage({"n2": Usage(0, 0)})
    assert snapshot.usage[CPU].tolist() == [0, 0]
    assert snapshot.is_measured.tolist() == [False, True]


def test_only_an_engine_with_a_plugin_that_reads_usage_asks_for_it():
    assert engine_with(LeastUsed(PluginArgs())).reads_usage
    assert not engine_with(Witness(PluginArgs())).reads_usage


def test_answers_that_were_kept_are_asked_for_anew_when_usage_was_measured():
    engine = engine_with(LeastUsed(PluginArgs()), "n1", "n2")
    busy, idle = Usage(3000, 0), Usage(100, 0)
    engine.handle(NodesMeasured({"n1": busy, "n2": idle}), now_s=1.0)
    before = placements(feed(engine, [PodSeen(make_pending("a"))], now_s=1.0))

    engine.handle(NodesMeasured({"n1": idle, "n2": busy}), now_s=2.0)
    after = placements(feed(engine, [PodSeen(make_pending("b"))], now_s=2.0))

    assert (before, after) == ({"a": "n2"}, {"b": "n1"})


def test_usage_of_a_node_that_is_gone_is_gone_with_it():
    engine = engine_with(LeastUsed(PluginArgs()), "n1", "n2")
    engine.handle(NodesMeasured({"n1": Usage(3000, 0), "n2": Usage(100, 0)}), now_s=1.0)

    feed(engine, [NodeGone("n1"), NodeSeen(make_facts("n1"))], now_s=2.0)

    assert placements(feed(engine, [PodSeen(make_pending("a"))], now_s=2.0)) == {"a": "n1"}


def test_parts_of_a_machine_are_parts_of_its_capacity():
    engine = engine_with(LeastUsed(PluginArgs()))
    allocatable = {CPU: 3000, MEMORY: 6000}
    facts = replace(make_facts("n1"), allocatable=allocatable, capacity={CPU: 4000, MEMORY: 8000})
    engine.handle(NodeSeen(facts), now_s=0.0)
    engine.handle(NodeSeen(make_facts("n2")), now_s=0.0)
    means = {"n1": Utilization(0.25, 0.5), "stranger": Utilization(1.0, 1.0)}

    engine.handle(
        UtilizationMeasured(means, {"n1": Utilization(0.1, 0.0)}, start_s=0.0, end_s=60.0),
        now_s=60.0,
    )

    snapshot = engine.snapshot
    assert snapshot.is_measured.tolist() == [True, False]
    for column in (snapshot.usage, snapshot.usage_mean):
        assert (column[CPU].tolist(), column[MEMORY].tolist()) == ([1000, 0], [4000, 0])
    assert snapshot.usage_std[CPU].tolist() == [400, 0]


def test_a_cycle_knows_the_time_and_all_that_waits_the_pod_itself_included():
    witness = Witness(PluginArgs())
    engine = engine_with(witness, "n1", "n2")
    pods = [
        make_pending("first", cpu_milli=1000, memory_bytes=10, priority=3),
        make_pending("second", cpu_milli=500, memory_bytes=20, priority=2),
        make_pending("never", cpu_milli=99_000, memory_bytes=30, priority=1),
    ]

    feed(engine, [PodSeen(pod) for pod in pods], now_s=7.0)
    decide(engine, now_s=7.0)
    later = replace(pods[2], requests={CPU: 100, MEMORY: 5})
    feed(engine, [PodSeen(later)], now_s=60.0)

    assert witness.seen == {
        "first": Surroundings(7.0, QueueState(3, 100_500, 60)),
        "second": Surroundings(7.0, QueueState(2, 99_500, 50)),
        "never": Surroundings(60.0, QueueState(1, 100, 5)),
    }
