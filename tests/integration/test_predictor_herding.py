"""A burst of equal pods on one answer goes where it would go if each pod's answer were fresh."""

import random
from functools import cache

import msgspec
import numpy as np
import pytest
import requests
from msgspec.structs import replace

from collector.contract import NodeState
from predictor.contract import BatchRequest
from predictor.contract import Shape as AskedShape
from predictor.program import Program
from predictor.rows import placement_rows, training_set
from predictor.scoring import Weights
from predictor.training import train
from scheduler.cluster.predictions import read_answer
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs
from scheduler.framework.snapshot import Snapshot
from scheduler.plugins.prediction import NodePrediction
from scheduler.predictions import PredictionBook, PredictionSettings
from tests.integration.test_predictor import make_settings, wait_until
from tests.predictor_world import (
    GIB,
    START_S,
    FakeCollector,
    make_node_state,
    make_placement,
    make_snapshot,
    make_workload,
)
from tests.unit.predictor.test_training import make_request
from tests.unit.scheduler.worlds import make_facts, make_pending

pytestmark = pytest.mark.integration

N_PODS = 100
ELSEWHERE = {"enhanced scoring": 0.2, "model": 0.4}
"""Share of the burst that may go to other nodes: all but a few pods do if a burst herds. A forest
rates in steps, so that many nodes tie: two bursts with fresh answers alone differ by up to 0.25."""
FULLER = 0.12
"""By how much of a node the fullest may be fuller than with fresh answers."""
WORSE = 5.0
"""By how many points the nodes of the burst may be rated worse, once it is placed."""
POD = make_pending(cpu_milli=500, memory_bytes=GIB)


def make_nodes(seed: int) -> list[NodeState]:
    """Twelve of two sizes, used to various degrees, with room for the burst by request."""
    dice = random.Random(seed)
    nodes = []
    for i in range(12):
        size = 1 + (i % 3 == 0)
        nodes.append(
            make_node_state(
                f"n{i}",
                allocatable_cpu_milli=8000 * size,
                allocatable_memory_bytes=32 * GIB * size,
                usage_cpu_milli=int(dice.random() * 6000 * size),
                usage_memory_bytes=int(dice.random() * 24 * GIB * size),
            )
        )
    return nodes


@cache
def trained_on_strain():
    """A model of a world in which nodes fail the more pods, the fuller they are."""
    dice = random.Random(3)
    placements = []
    for number in range(1, 1_500):
        cpu, memory = dice.random(), dice.random()
        node = make_node_state(
            f"n{number % 9}",
            usage_cpu_milli=int(cpu * 4000),
            usage_memory_bytes=int(memory * 16 * GIB),
        )
        p_failure = 0.02 + 0.9 * max(cpu, memory) ** 3
        placements.append(make_placement(number, node=node, success=dice.random() >= p_failure))
    rows = training_set(
        placement_rows(placements, weights=Weights()), feedback=(), since_s=0.0, max_rows=10_000
    )
    return train(make_request(rows=rows, n_estimators=100, max_depth=10, max_samples=10_000))


class Burst:
    """Asks a predictor over HTTP, and places pods by NodePrediction's scores alone."""

    def __init__(self, program, collector, *, workload):
        self.program = program
        self.collector = collector
        self.workload = workload
        self.nodes = make_nodes(seed=4)
        self.expected = (
            (500, GIB)
            if workload.usual_cpu_milli is None
            else (workload.usual_cpu_milli, workload.usual_memory_bytes)
        )
        self.snapshot = Snapshot()
        for node in self.nodes:
            self.snapshot.set_node(
                make_facts(
                    node.name,
                    cpu_milli=node.allocatable_cpu_milli,
                    memory_bytes=node.allocatable_memory_bytes,
                )
            )

    def ask(self, *, placed):
        """Have the collector tell what was placed, as it would, and ask about the next pod."""
        cpu_milli, memory_bytes = self.expected
        nodes = [
            replace(node, placed_cpu_milli=n * cpu_milli, placed_memory_bytes=n * memory_bytes)
            for node, n in zip(self.nodes, placed.tolist(), strict=True)
        ]
        version = self.collector.snapshot.version + 1
        self.collector.snapshot = make_snapshot(*nodes, version=version, workloads=[self.workload])
        wait_until(lambda: self.program.snapshots.refresh() or self.is_read(version))
        shape = POD.shape
        asked = AskedShape(
            cpu_milli=shape.cpu_milli, memory_bytes=shape.memory_bytes, workload=shape.workload
        )
        body = msgspec.json.encode(BatchRequest(shapes=[asked]))
        url = f"{self.program.server.url}/predict/batch"
        return read_answer(requests.post(url, data=body, timeout=30).content, shapes=(shape,))

    def is_read(self, version):
        return self.program.snapshots.newest().snapshot.version == version

    def spread(self, *, is_fresh, seed=1):
        """Place the burst; give the number of pods by node."""
        dice = np.random.default_rng(seed)
        book = PredictionBook(PredictionSettings())
        plugin = NodePrediction(PluginArgs())
        placed = np.zeros(len(self.nodes), dtype=int)
        for number in range(N_PODS):
            if is_fresh or number == 0:
                book = PredictionBook(PredictionSettings())
                book.take(self.ask(placed=placed), now_s=START_S)
            state = CycleState()
            state.write(book.scores(POD.shape, snapshot=self.snapshot))
            scores = plugin.score(state, pod=POD, snapshot=self.snapshot)
            at = int(dice.choice(np.flatnonzero(scores == scores.max())))
            placed[at] += 1
            pod = make_pending(f"web-{number}", cpu_milli=500, memory_bytes=GIB)
            book.note_placed(pod, node=self.nodes[at].name, now_s=START_S)
        return placed

    def mean_rating(self, placed):
        """Rate the nodes of all pods anew, once they are placed; 0 to 100."""
        answer = self.ask(placed=placed)
        ratings = answer.scores if answer.p_success is None else 100.0 * answer.p_success
        return float((ratings[0] * placed).sum() / placed.sum())

    def fullest(self, placed):
        """Tell how much of the fullest node is used, as a ratio."""
        cpu_milli, memory_bytes = self.expected
        return max(
            max(
                (node.usage_cpu_milli + n * cpu_milli) / node.allocatable_cpu_milli,
                (node.usage_memory_bytes + n * memory_bytes) / node.allocatable_memory_bytes,
            )
            for node, n in zip(self.nodes, placed.tolist(), strict=True)
        )


SPARING = {"usual_cpu_milli": 150, "usual_memory_bytes": 700 * 2**20}


@pytest.mark.parametrize("usual", [SPARING, {}], ids=["at its usual usage", "at its requests"])
@pytest.mark.parametrize("by", ["enhanced scoring", "model"])
def test_a_burst_on_one_answer_spreads_as_with_fresh_metrics(tmp_path, usual, by):
    workload = replace(make_workload(**usual), kind="Deployment")
    assert workload.key == POD.workload
    with (
        FakeCollector() as collector,
        Program(make_settings(collector.url, tmp_path)) as program,
    ):
        if by == "model":
            trained = trained_on_strain()
            assert trained.record.about.is_trusted
            program.registry.add(trained.content, record=trained.record)
        burst = Burst(program, collector, workload=workload)
        assert (burst.ask(placed=np.zeros(12, dtype=int)).p_success is None) is (by != "model")

        fresh = burst.spread(is_fresh=True)
        once = burst.spread(is_fresh=False, seed=2)
        worse = burst.mean_rating(fresh) - burst.mean_rating(once)

    elsewhere = np.abs(fresh - once).sum() / 2 / N_PODS
    assert elsewhere <= ELSEWHERE[by], f"{fresh} with fresh answers, {once} with one"
    assert burst.fullest(once) <= burst.fullest(fresh) + FULLER
    assert worse <= WORSE


def test_the_measure_tells_a_burst_that_herds(tmp_path):
    """Without what was placed, all of it goes to the node that looked best."""
    workload = replace(make_workload(**SPARING), kind="Deployment")
    with (
        FakeCollector() as collector,
        Program(make_settings(collector.url, tmp_path)) as program,
    ):
        burst = Burst(program, collector, workload=workload)
        fresh = burst.spread(is_fresh=True)
        herd = np.zeros_like(fresh)
        herd[burst.ask(placed=herd).scores[0].argmax()] = N_PODS
        worse = burst.mean_rating(fresh) - burst.mean_rating(herd)

    assert np.abs(fresh - herd).sum() / 2 / N_PODS > 1.5 * max(ELSEWHERE.values())
    assert burst.fullest(herd) > burst.fullest(fresh) + 2 * FULLER
    assert worse > 2 * WORSE
