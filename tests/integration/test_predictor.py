"""The predictor as its callers see it: over real HTTP, with a collector that is a small fake."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from kube.edge.settings import Duration
from predictor.contract import PredictResponse
from predictor.program import Program
from predictor.settings import (
    CollectorSettings,
    DataSettings,
    ModelSettings,
    OnlineLearningSettings,
    PredictorServer,
    PredictorSettings,
)
from tests.predictor_world import (
    FakeCollector,
    learnable_placements,
    make_node_state,
    make_snapshot,
)

pytestmark = pytest.mark.integration

POD = {
    "pod_name": "web-1",
    "pod_namespace": "default",
    "pod_spec": {
        "containers": [
            {"name": "app", "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}
        ]
    },
}


class Caller:
    """Speaks JSON with a predictor."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, path: str) -> requests.Response:
        return self._session.get(self.program.server.url + path, timeout=30)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        if body is not None:
            kwargs["json"] = body
        return self._session.post(self.program.server.url + path, timeout=30, **kwargs)

    def predict(self, **changes: Any) -> dict[str, Any]:
        answer = self.post("/predict", POD | changes)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        self._session.close()


def make_settings(collector_url: str, directory: Path, **learning: Any) -> PredictorSettings:
    return PredictorSettings(
        server=PredictorServer(port=0),
        collector=CollectorSettings(
            url=collector_url, refresh_interval=Duration(0.05), max_snapshot_age=Duration(60)
        ),
        model=ModelSettings(n_estimators=10, keep_versions=3),
        online_learning=OnlineLearningSettings(
            **{"poll_interval": Duration(3600), "min_interval": Duration(0)} | learning
        ),
        data=DataSettings(directory=str(directory)),
    )


def wait_until(condition: Callable[[], object], *, deadline_s: float = 60) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    with FakeCollector() as fake:
        yield fake


@pytest.fixture
def predictor(collector: FakeCollector, tmp_path: Path) -> Iterator[Caller]:
    with Program(make_settings(collector.url, tmp_path)) as program:
        caller = Caller(program)
        yield caller
        caller.close()


def test_answers_the_documented_request_as_documented(predictor):
    answer = predictor.predict(candidate_nodes=["n1", "n2"])

    parsed = msgspec.convert(answer, PredictResponse)
    assert parsed.predicted_node == "n1"
    assert parsed.algorithm == "enhanced_scoring"
    assert parsed.model_version == 0
    assert answer["ai_features"]["pod_requirements"] == {
        "cpu_request": 0.5,
        "memory_request": 512.0,
    }
    assert answer["ai_features"]["cluster_state"] == {
        "avg_cpu_usage": 25.0,
        "avg_memory_usage": 25.0,
        "health_score": 100.0,
        "resource_pressure": 25.0,
    }
    assert set(answer["node_predictions"][0]) == {
        "node_name",
        "resource_score",
        "readiness_score",
        "stability_score",
        "ml_confidence",
        "score",
    }
    assert [n["node_name"] for n in answer["node_predictions"]] == ["n1", "n2"]


def test_learns_from_placements_and_then_answers_by_the_model(collector, predictor):
    collector.placements = learnable_placements(150)
    collector.snapshot = make_snapshot(
        make_node_state("full", usage_memory_bytes=15 * 2**30),
        make_node_state("free", usage_memory_bytes=1 * 2**30),
        version=2,
    )
    wait_until(lambda: collector.n_full_snapshots == 2)

    assert predictor.post("/model/retrain").status_code == 202
    wait_until(lambda: predictor.get("/model/info").json()["version"] == 1)

    answer = predictor.predict(candidate_nodes=["full", "free"])
    info = predictor.get("/model/info").json()
    assert answer["algorithm"] == "ml_prediction"
    assert answer["model_version"] == 1
    assert answer["predicted_node"] == "free"
    assert answer["confidence"] > 0.8
    assert answer["node_predictions"][1]["ml_confidence"] < 0.5
    assert info["is_trusted"]
    assert info["scores"]["model"]["brier"] < info["scores"]["base_rate"]["brier"]
    assert max(info["importances"], key=info["importances"].get) == "node_memory_utilization"
