"""A world that changes, as seen from outside: the drop, the retraining, the recovery."""

import random

import pytest

from predictor.program import Program
from tests.integration.test_predictor import Caller, make_settings, wait_until
from tests.predictor_world import (
    START_S,
    FakeCollector,
    make_node_state,
    make_snapshot,
)

pytestmark = pytest.mark.integration

DAY_S = 86_400.0


class World:
    """A full and a free node, of which one keeps pods healthy; days pass as it is told."""

    def __init__(self, collector, predictor):
        self.collector = collector
        self.predictor = predictor
        self.dice = random.Random(5)
        self.n_placed = 0
        self.day = 0

    def dawn(self):
        self.day += 1
        snapshot = make_snapshot(
            make_node_state("full", usage_memory_bytes=15 * 2**30),
            make_node_state("free"),
            version=1 + self.day,
            at_s=START_S + self.day * DAY_S,
        )
        self.collector.snapshot = snapshot
        newest = self.predictor.program.snapshots.newest
        wait_until(lambda: newest().snapshot.version == snapshot.version)

    def place(self, n, *, good, explore=0.25):
        """Place pods mostly where the predictor says, and report what comes of them."""
        for _ in range(n):
            made = self.predictor.predict()
            node = made["predicted_node"]
            if self.dice.random() < explore:
                node = self.dice.choice(["full", "free"])
            success = self.dice.random() < (0.95 if node == good else 0.05)
            self.n_placed += 1
            report = {
                "prediction_id": made["prediction_id"],
                "actual_node": node,
                "success": success,
                "pod_uid": f"u{self.n_placed}",
            }
            assert self.predictor.post("/feedback", report).status_code == 200


def test_a_drift_shows_as_a_drop_a_retraining_and_a_recovery(tmp_path):
    with FakeCollector() as collector:
        settings = make_settings(
            collector.url, tmp_path, feedback_threshold=10_000, performance_threshold=0.0
        )
        with Program(settings) as program:
            predictor = Caller(program)
            world = World(collector, predictor)
            world.dawn()
            world.place(100, good="free", explore=1.0)
            predictor.post("/model/retrain")
            wait_until(lambda: predictor.get("/model/info").json()["version"] == 1)
            world.dawn()
            world.place(150, good="free")
            world.dawn()
            for _ in range(20):
                world.place(20, good="full")
                wait_until(lambda: not predictor.get("/model/info").json()["is_training"])
                if predictor.get("/model/info").json()["version"] == 2:
                    break
            world.dawn()
            world.place(100, good="full")

            shown = predictor.get("/performance").json()
            metrics = predictor.get("/metrics").text
            predictor.close()

        before, dropped, recovered = (day["success_rate"] for day in shown["days"][1:])
        error, larger_error, error_again = (day["brier"] for day in shown["days"][1:])
        [drift] = shown["drifts"]
        assert before > 0.75
        assert dropped < 0.5
        assert recovered > 0.75
        assert larger_error > error + 0.2
        assert error_again < larger_error - 0.2
        assert drift["model_version"] == 1
        assert drift["since_s"] == START_S + 3 * DAY_S
        assert drift["brier_after"] > drift["brier_before"] + 0.2
        assert [(t["trigger"], t["result"]) for t in shown["trainings"]] == [
            ("request", "activated"),
            ("drift", "activated"),
        ]
        assert "predictor_drifts_total 1.0" in metrics

        with Program(settings) as again:
            caller = Caller(again)
            assert caller.get("/performance").json() == shown
            caller.close()
