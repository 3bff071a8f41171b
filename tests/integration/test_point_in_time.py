"""What a model learns from was known when the pod was placed: from samples to rows, end to end.

The collector's own bookkeeping and store, and the predictor's own rows; only HTTP is left out.
"""

import random
import tempfile
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.database import open_database
from collector.samples import Usage
from collector.store import Store
from predictor.rows import FeedbackRow, placement_rows, training_set
from predictor.scoring import Weights
from tests.builders import EPOCH_S
from tests.unit.collector.makers import (
    WINDOW_S,
    make_facts,
    make_node_facts,
    make_node_sample,
    make_pod_sample,
    make_tracker,
)

NODES = ("n1", "n2", "n3")


class Cluster:
    """A collector that is told of things, and what the predictor makes of what it stored."""

    def __init__(self, url, *, seed):
        self.tracker = make_tracker(*NODES)
        self.database = open_database(url, now_text="now")
        self.store = Store(self.database, first_seq=1)
        self.dice = random.Random(seed)
        self.now_s = EPOCH_S
        self.n_pods = 0

    def do(self, step, wait_s):
        self.now_s += wait_s
        getattr(self, step)()
        self.tracker.judge_all(now_s=self.now_s)
        self.store.write(self.tracker.drain())

    def place(self):
        self.n_pods += 1
        pod = make_facts(
            f"p{self.n_pods}",
            workload=f"default/Deployment/w{self.dice.randrange(3)}",
            cpu_milli=100 * self.dice.randrange(1, 9),
        )
        self.tracker.see_pod(pod, now_s=self.now_s)
        placed = replace(pod, node=self.dice.choice(NODES), scheduled_at_s=self.now_s)
        self.tracker.see_pod(placed, now_s=self.now_s)

    def start(self):
        for pod in self.some_pods(lambda pod: pod.ready_at_s is None):
            running = replace(pod, phase="Running", started_at_s=self.now_s, ready_at_s=self.now_s)
            self.tracker.see_pod(running, now_s=self.now_s)

    def sample(self):
        at_s = self.now_s - EPOCH_S
        nodes = tuple(
            make_node_sample(name, at_s=at_s, cpu_milli=self.dice.randrange(4000)) for name in NODES
        )
        pods = tuple(
            make_pod_sample(pod.name, at_s=at_s, cpu_milli=self.dice.randrange(900))
            for pod in self.some_pods(lambda pod: True)
        )
        self.tracker.take(Usage(nodes=nodes, pods=pods), now_s=self.now_s)

    def crash(self):
        for pod in self.some_pods(lambda pod: True)[:1]:
            crashed = replace(pod, failure="crashed", n_restarts=pod.n_restarts + 1)
            self.tracker.see_pod(crashed, now_s=self.now_s)

    def lose(self):
        for pod in self.some_pods(lambda pod: True)[:1]:
            self.tracker.lose_pod(pod, now_s=self.now_s)

    def break_node(self):
        facts = make_node_facts(
            self.dice.choice(NODES),
            is_ready=self.dice.random() < 0.5,
            pressures=("MemoryPressure",) if self.dice.random() < 0.5 else (),
        )
        self.tracker.see_node(facts)

    def some_pods(self, wanted):
        pods = [pod for pod in self.tracker.view.pods.values() if pod.node and wanted(pod)]
        return self.dice.sample(pods, len(pods))

    def rows(self):
        """Page through all placements, as the predictor does."""
        items, since = [], 0
        while (page := self.store.placements(since=since, limit=7)).items:
            items += page.items
            since = page.next_since
        return placement_rows(items, weights=Weights())


@contextmanager
def open_cluster(seed):
    with tempfile.TemporaryDirectory() as directory:
        cluster = Cluster(f"sqlite:///{directory}/collector.db", seed=seed)
        try:
            yield cluster
        finally:
            cluster.database.close()


steps = st.lists(
    st.tuples(
        st.sampled_from(["place", "place", "start", "sample", "crash", "lose", "break_node"]),
        st.sampled_from([0.0, 1.0, 30.0, 200.0]),
    ),
    min_size=5,
    max_size=40,
)
"""What happens, and after how many seconds."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, steps, st.integers(0, 1_000))
def test_no_row_changes_when_later_data_is_added(earlier, later, seed):
    with open_cluster(seed) as cluster:
        for step, wait_s in earlier:
            cluster.do(step, wait_s)
        cluster.do("sample", WINDOW_S)
        cut_s = cluster.now_s
        before = cluster.rows()
        for step, wait_s in later:
            cluster.do(step, 1.0 + wait_s)
        cluster.do("sample", 2 * WINDOW_S)
        after = cluster.rows()
        newest_s = cluster.now_s

    for uid, row in before.items():
        now = after[uid]
        assert now.vector.tolist() == row.vector.tolist()
        assert now.made_at_s == row.made_at_s
        # What was healthy may fail after all; nothing else about an outcome changes.
        if (now.success, now.decided_at_s) != (row.success, row.decided_at_s):
            assert (row.success, now.success) == (True, False)
            assert now.decided_at_s > cut_s
    assert_joins_alike(before, after, newest_s=newest_s)


def assert_joins_alike(before, after, *, newest_s):
    """Reports about later pods change nothing of what is learnt from the earlier ones, either."""
    vector = np.full(14, 0.5, dtype=np.float32)
    report = FeedbackRow("later", newest_s, newest_s + 60.0, success=False, vector=vector)

    then = training_set(before, feedback=(), since_s=0.0, max_rows=1_000)
    grown = dict(before) | {uid: after[uid] for uid in after.keys() - before.keys()}
    now = training_set(grown, feedback=[report], since_s=0.0, max_rows=1_000)

    learnt = {tuple(x) for x in zip(now.made_at_s, map(tuple, now.X), now.y, strict=True)}
    assert {
        tuple(x) for x in zip(then.made_at_s, map(tuple, then.X), then.y, strict=True)
    } <= learnt
    assert now.n_rows == len(grown) + 1


def test_the_property_is_about_something():
    """A plain course of events has rows of both outcomes, and states that differ."""
    with open_cluster(3) as cluster:
        for _ in range(30):
            for step in ("place", "start", "sample", "place", "crash"):
                cluster.do(step, 10.0)
        cluster.do("sample", 2 * WINDOW_S)
        rows = cluster.rows()

    assert {row.success for row in rows.values()} == {True, False}
    assert len({tuple(row.vector) for row in rows.values()}) > 40
