"""Two real predictors that share one database, of each kind: one learns, both know."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.integration.test_predictor import POD
from tests.predictor_world import FakeCollector, learnable_placements

pytestmark = pytest.mark.integration

THRESHOLD = 10


class Replica:
    """A predictor in a process of its own, with a directory of its own."""

    def __init__(self, *, collector: FakeCollector, directory: Path, database: str) -> None:
        settings = {
            "SERVER__PORT": "0",
            "COLLECTOR__URL": collector.url,
            "DATA__DIRECTORY": str(directory),
            "DATA__DATABASE": database,
            "MODEL__N_ESTIMATORS": "10",
            "ONLINE_LEARNING__POLL_INTERVAL": "100ms",
            "ONLINE_LEARNING__MIN_INTERVAL": "0",
            "ONLINE_LEARNING__FEEDBACK_THRESHOLD": str(THRESHOLD),
            "ONLINE_LEARNING__PERFORMANCE_THRESHOLD": "0",
            "ONLINE_LEARNING__GROWTH_RATIO": "1000000",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "predictor"],
            env=os.environ | {f"PREDICTOR__{name}": value for name, value in settings.items()},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._session = requests.Session()
        self._session.trust_env = False

    def __enter__(self) -> Self:
        line = self._process.stderr.readline()
        while "predictor serves" not in line:
            assert line, "it ended before it served"
            line = self._process.stderr.readline()
        self._url = json.loads(line)["url"]
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()
        self._process.terminate()
        self._process.communicate(timeout=30)

    def get(self, path: str) -> Any:
        return self._session.get(self._url + path, timeout=30).json()

    def post(self, path: str, body: Any = None) -> requests.Response:
        return self._session.post(self._url + path, json=body, timeout=30)

    @property
    def version(self) -> int:
        return self.get("/model/info")["version"]

    def report(self, number: int, *, predicted_by: "Replica") -> dict[str, Any]:
        made = predicted_by.post("/predict", POD).json()
        body = {
            "prediction_id": made["prediction_id"],
            "actual_node": made["predicted_node"],
            "success": True,
            "pod_uid": f"pod-{number}",
        }
        wait_until(lambda: self.post("/feedback", body).status_code == 200)
        return self.post("/feedback", body).json()


def wait_until(condition: Callable[[], object], *, deadline_s: float = 60) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with FakeCollector() as fake:
        yield fake


@pytest.fixture
def replicas(
    collector: FakeCollector, database_url: str, tmp_path: Path
) -> Iterator[tuple[Replica, Replica]]:
    """Two, started at once."""
    with ExitStack() as stack:
        started = [
            Replica(collector=collector, directory=tmp_path / name, database=database_url)
            for name in ("one", "other")
        ]
        one, other = (stack.enter_context(replica) for replica in started)
        yield one, other


def trainings(replica: Replica) -> list[tuple[str, str]]:
    return [(t["trigger"], t["result"]) for t in replica.get("/performance")["trainings"]]


def test_what_one_replica_learns_or_is_told_the_other_knows(replicas, collector):
    one, other = replicas
    collector.placements = learnable_placements(120)

    assert one.post("/model/retrain").status_code == 202
    refused = other.post("/model/retrain")
    assert (refused.status_code, refused.json()["title"]) == (409, "Training under way")
    wait_until(lambda: one.version == 1)
    wait_until(lambda: other.version == 1)
    assert other.post("/predict", POD).json()["model_version"] == 1

    collector.placements += learnable_placements(240, start=121)
    wait_until(lambda: other.post("/model/retrain").status_code == 202)
    wait_until(lambda: other.version == 2)
    wait_until(lambda: one.version == 2)

    assert one.post("/model/rollback").json()["version"] == 1
    wait_until(lambda: other.version == 1)
    listed = [replica.get("/model/versions") for replica in replicas]
    assert listed[0] == listed[1]
    assert [version["version"] for version in listed[0]["versions"]] == [2, 1]


def test_reports_to_either_replica_count_for_both_and_are_learnt_from_once(replicas, collector):
    one, other = replicas
    collector.placements = learnable_placements(120)

    answers = [
        (one, other)[i % 2].report(i, predicted_by=(other, one)[i % 2])
        for i in range(THRESHOLD - 1)
    ]
    assert [answer["n_feedback"] for answer in answers] == list(range(1, THRESHOLD))
    assert trainings(one) == trainings(other) == []

    other.report(THRESHOLD, predicted_by=one)
    wait_until(lambda: one.version == other.version == 1)

    # Each has looked again, several times, by now.
    n_asked = len(collector.asked_since)
    wait_until(lambda: len(collector.asked_since) > n_asked + 10)
    assert trainings(one) == trainings(other) == [("feedback", "activated")]
    assert one.get("/health")["successful_predictions"] == THRESHOLD
    assert other.get("/performance") == one.get("/performance")
