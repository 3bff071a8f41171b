"""The predictor as its callers see it: over real HTTP, with a collector that is a small fake."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from kube.edge.settings import Duration
from predictor.contract import BatchResponse, PredictResponse
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
    wait_until(lambda: predictor.program.snapshots.newest().snapshot.version == 2)

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


def test_explains_each_score_on_request(predictor):
    answer = predictor.post("/predict?explain=true", POD).json()

    for node in answer["node_predictions"]:
        assert round(sum(node["contributions"].values())) == node["score"]
    assert answer["node_predictions"][0]["summary"] == (
        "n1: CPU 38 % used after placement, no placement seen yet"
    )
    assert answer["confidence"] == pytest.approx(
        sum(answer["node_predictions"][0]["contributions"].values()) / 100
    )


def test_considers_ready_schedulable_nodes_where_none_are_named(collector, predictor):
    collector.snapshot = make_snapshot(
        make_node_state("ready"),
        make_node_state("cordoned", is_schedulable=False),
        make_node_state("lost", is_ready=False),
        version=2,
    )
    wait_until(lambda: predictor.program.snapshots.newest().snapshot.version == 2)

    answer = predictor.predict()

    assert [n["node_name"] for n in answer["node_predictions"]] == ["ready"]
    assert answer["ai_features"]["cluster_state"]["health_score"] == pytest.approx(200 / 3)


def test_says_that_no_node_is_ready(collector, predictor):
    collector.snapshot = make_snapshot(make_node_state("lost", is_ready=False), version=2)
    wait_until(lambda: predictor.program.snapshots.newest().snapshot.version == 2)

    for path, body in (
        ("/predict", POD),
        ("/predict", POD | {"candidate_nodes": ["lost"]}),
        ("/predict/batch", {"shapes": [{"cpu_milli": 1, "memory_bytes": 1}]}),
    ):
        answer = predictor.post(path, body)
        assert answer.status_code == 409
        assert answer.json()["title"] == "No ready node"


def test_does_not_read_an_unchanged_snapshot_twice(collector, predictor):
    wait_until(lambda: collector.n_unchanged >= 2)

    assert collector.n_full_snapshots == 1


def test_a_batch_is_rated_as_its_shapes_alone_are(predictor):
    batch = {
        "shapes": [
            {"cpu_milli": 500, "memory_bytes": 512 * 2**20},
            {"cpu_milli": 2000, "memory_bytes": 2**30, "workload": "default/ReplicaSet/web"},
        ],
        "candidate_nodes": ["n2", "just-joined", "n1"],
    }

    answer = msgspec.convert(predictor.post("/predict/batch", batch).json(), BatchResponse)

    alone = predictor.predict(candidate_nodes=["n2", "n1"])["node_predictions"]
    assert answer.nodes == ["n2", "n1"]
    assert answer.snapshot_version == 1
    assert answer.predictions[0].p_success is None
    assert dict(zip(answer.nodes, answer.predictions[0].scores, strict=True)) == {
        node["node_name"]: node["score"] for node in alone
    }
    for prediction in answer.predictions:
        report = {
            "prediction_id": prediction.prediction_id,
            "actual_node": "n1",
            "success": True,
        }
        assert predictor.post("/feedback", report).status_code == 200


def test_a_batch_without_any_known_node_is_refused(predictor):
    batch = {
        "shapes": [{"cpu_milli": 1, "memory_bytes": 1}],
        "candidate_nodes": ["nowhere", "neither"],
    }

    answer = predictor.post("/predict/batch", batch)

    assert answer.status_code == 422
    assert answer.json()["field"] == "candidate_nodes[0]"


def test_feedback_is_counted_by_day_and_in_all(predictor):
    for success in (True, True, False):
        made = predictor.predict()
        body = {"prediction_result": made, "actual_node": "n2", "success": success}
        assert predictor.post("/feedback", body).status_code == 200

    [day] = predictor.get("/performance").json()["days"]
    health = predictor.get("/health").json()
    assert (day["n_predictions"], day["n_feedback"], day["n_successes"]) == (3, 3, 2)
    assert health["total_predictions"] == 3
    assert health["successful_predictions"] == 2
    assert health["accuracy"] == pytest.approx(2 / 3)
    assert health["status"] == "healthy"


def test_a_second_feedback_for_a_pod_replaces_the_first(predictor):
    made = predictor.predict()
    report = {
        "prediction_id": made["prediction_id"],
        "actual_node": "n1",
        "pod_uid": "u1",
        "pod_status": "Running",
        "reason": "healthy",
        "observed_at_s": 1_700_000_600.0,
    }

    predictor.post("/feedback", report | {"success": True})
    answer = predictor.post("/feedback", report | {"success": False}).json()

    assert answer["n_feedback"] == 1
    assert predictor.get("/health").json()["accuracy"] == 0.0


def test_feedback_without_a_prediction_counts_for_the_statistics(predictor):
    answer = predictor.post("/feedback", {"actual_node": "n2", "success": True})

    assert answer.status_code == 200
    assert predictor.get("/health").json()["accuracy"] == 1.0


def test_feedback_alone_teaches_a_model(collector, tmp_path):
    """No placement is known: all that is learnt comes by way of predictions and reports."""
    collector.snapshot = make_snapshot(
        make_node_state("full", usage_memory_bytes=15 * 2**30), make_node_state("free")
    )
    settings = make_settings(
        collector.url, tmp_path, feedback_threshold=60, performance_threshold=0.0
    )
    with Program(settings) as program:
        predictor = Caller(program)
        for i in range(60):
            made = predictor.predict()
            node, success = (("full", i % 8 == 0), ("free", i % 9 != 0))[i % 2]
            answer = predictor.post(
                "/feedback",
                {
                    "prediction_id": made["prediction_id"],
                    "actual_node": node,
                    "success": success,
                    "pod_uid": f"u{i}",
                },
            ).json()
            assert answer["retraining"] == (i == 59)
        wait_until(lambda: predictor.get("/model/info").json()["version"] == 1)

        assert predictor.predict()["predicted_node"] == "free"
        assert predictor.predict()["algorithm"] == "ml_prediction"
        assert predictor.get("/model/info").json()["rows"] == 60
        assert predictor.post("/feedback", {"actual_node": "free", "success": True}).json() == {
            "accepted": True,
            "n_feedback": 1,
            "retraining": False,
        }
        predictor.close()


def test_many_failures_start_a_training_early(collector, predictor):
    started = [
        predictor.post("/feedback", {"actual_node": "n1", "success": False}).json()["retraining"]
        for _ in range(10)
    ]

    assert started == [False] * 9 + [True]


def test_too_little_to_learn_from_is_said(predictor):
    predictor.post("/model/retrain")
    wait_until(lambda: predictor.get("/model/info").json()["last_training"])

    info = predictor.get("/model/info").json()

    assert info["version"] == 0
    assert info["algorithm"] == "enhanced_scoring"
    assert info["why_not_trusted"] == "0 placements are judged, 50 are needed"
    assert info["last_training"]["result"] == "skipped"


def test_placements_alone_teach_a_model_as_they_come(collector, tmp_path):
    settings = make_settings(collector.url, tmp_path, poll_interval=Duration(0.05))
    with Program(settings) as program:
        predictor = Caller(program)
        collector.placements = learnable_placements(120)

        wait_until(lambda: predictor.get("/model/info").json()["last_training"])

        info = predictor.get("/model/info").json()
        report = info["last_training"]
        assert (report["trigger"], report["result"]) == ("placements", "activated")
        assert info["version"] == 1
        predictor.close()


def test_one_training_at_a_time_and_predictions_go_on(collector, tmp_path):
    settings = make_settings(collector.url, tmp_path)
    settings = msgspec.structs.replace(
        settings, model=ModelSettings(n_estimators=1000, max_depth=12)
    )
    collector.placements = learnable_placements(100)
    with Program(settings) as program:
        predictor = Caller(program)
        assert predictor.post("/model/retrain").status_code == 202
        refused = predictor.post("/model/retrain", {})
        assert refused.status_code == 409
        assert refused.json()["title"] == "Training under way"
        assert predictor.get("/model/info").json()["is_training"]
        for _ in range(20):
            predictor.predict()
        predictor.close()
    # Leaving ends the training, however long it would have taken.
    assert not program.learner.is_training


def test_models_are_listed_and_rolled_back(collector, tmp_path):
    with Program(make_settings(collector.url, tmp_path)) as program:
        predictor = Caller(program)
        for version, start, n in ((1, 1, 120), (2, 121, 240)):
            collector.placements += learnable_placements(n, start=start)
            predictor.post("/model/retrain")
            wait_until(lambda v=version: predictor.get("/model/info").json()["version"] == v)
            wait_until(lambda: not predictor.get("/model/info").json()["is_training"])

        assert predictor.post("/model/rollback").json()["version"] == 1
        listed = predictor.get("/model/versions").json()
        assert listed["active"] == 1
        assert [v["version"] for v in listed["versions"]] == [2, 1]
        assert predictor.predict()["model_version"] == 1

        assert predictor.post("/model/rollback").status_code == 409
        assert predictor.post("/model/rollback", {"version": 9}).status_code == 404
        assert predictor.post("/model/rollback", {"version": "x"}).status_code == 422
        assert predictor.post("/model/rollback", {"version": 2}).json()["version"] == 2
        predictor.close()

    with Program(make_settings(collector.url, tmp_path)) as program:
        assert program.registry.model.version == 2


def test_a_challenger_that_is_no_better_is_kept_out_of_service_and_said_to_be(collector, predictor):
    for n, start in ((120, 1), (40, 121)):
        collector.placements += learnable_placements(n, start=start)
        predictor.post("/model/retrain")
        wait_until(lambda: not predictor.get("/model/info").json()["is_training"])

    info = predictor.get("/model/info").json()
    newest, first = predictor.get("/model/versions").json()["versions"]
    assert (info["version"], info["is_trusted"]) == (1, True)
    assert info["last_training"]["result"] == "not_better"
    assert "do not tell which is better" in info["why_not_in_service"]
    assert newest["why_not_in_service"] == info["why_not_in_service"]
    assert first["why_not_in_service"] == ""


def test_starts_in_spite_of_a_damaged_model_and_database(collector, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "model-000003.json").write_text("{}")
    (models / "active.json").write_text('{"version": 3}')
    (tmp_path / "predictor.db").write_bytes(b"damaged" * 1000)

    with Program(make_settings(collector.url, tmp_path)) as program:
        predictor = Caller(program)
        assert predictor.predict()["algorithm"] == "enhanced_scoring"
        predictor.close()

    assert list(models.glob("model-000003.json.unusable-*"))
    assert list(tmp_path.glob("predictor.db.damaged-*"))


def test_goes_on_with_the_last_snapshot_while_the_collector_is_away(collector, predictor):
    collector.is_down = True
    wait_until(lambda: not predictor.get("/health").json()["collector_reachable"])

    assert predictor.predict()["predicted_node"] == "n1"
    assert predictor.get("/readyz").status_code == 200

    collector.is_down = False
    wait_until(lambda: predictor.get("/health").json()["collector_reachable"])


def test_says_so_when_the_collector_has_been_away_too_long(collector, tmp_path):
    settings = make_settings(collector.url, tmp_path)
    away = msgspec.structs.replace(settings.collector, max_snapshot_age=Duration(0.2))
    with Program(msgspec.structs.replace(settings, collector=away)) as program:
        predictor = Caller(program)
        collector.is_down = True
        wait_until(lambda: predictor.get("/readyz").status_code == 503)

        answer = predictor.post("/predict", POD)

        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert predictor.get("/health").json()["status"] == "degraded"
        assert predictor.get("/healthz").status_code == 200
        collector.is_down = False
        wait_until(lambda: predictor.post("/predict", POD).status_code == 200)
        predictor.close()


def test_starts_without_a_collector_and_finds_it_later(tmp_path):
    fake = FakeCollector(is_down=True)
    with fake, Program(make_settings(fake.url, tmp_path)) as program:
        predictor = Caller(program)
        assert predictor.post("/predict", POD).status_code == 503
        assert predictor.get("/health").json()["snapshot_age_s"] is None
        assert "predictor_snapshot_age_seconds NaN" in predictor.get("/metrics").text

        fake.is_down = False

        wait_until(lambda: predictor.get("/readyz").status_code == 200)
        predictor.close()


def test_shows_its_metrics(predictor):
    made = predictor.predict()
    predictor.post("/feedback", {"prediction_result": made, "actual_node": "n1", "success": True})
    predictor.post("/feedback", {"prediction_id": "?", "actual_node": "n1", "success": True})
    predictor.get("/no/such/path")

    text = predictor.get("/metrics").text

    assert 'predictor_predictions_total{algorithm="enhanced_scoring"} 1.0' in text
    assert 'predictor_feedback_total{result="success"} 1.0' in text
    assert 'predictor_feedback_total{result="rejected"} 1.0' in text
    assert 'predictor_request_duration_seconds_count{endpoint="/predict"} 1.0' in text
    assert "predictor_model_version 0.0" in text
    assert "predictor_training_duration_seconds" in text
    assert "/no/such" not in text


def test_describes_every_endpoint_that_it_has(predictor):
    described = predictor.get("/openapi.json").json()

    served = {
        (rule.rule, method.lower())
        for rule in predictor.program.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert served == {(p, m) for p, methods in described["paths"].items() for m in methods}


def start_process(
    collector: FakeCollector, directory: Path, *, port: int = 0
) -> subprocess.Popen[str]:
    environment = {
        "PREDICTOR__SERVER__PORT": str(port),
        "PREDICTOR__COLLECTOR__URL": collector.url,
        "PREDICTOR__DATA__DIRECTORY": str(directory),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "predictor"],
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_report_that_was_acknowledged_survives_a_kill(collector, tmp_path):
    with start_process(collector, tmp_path) as process:
        url = json.loads(process.stderr.readline())["url"]
        made = requests.post(f"{url}/predict", json=POD, timeout=30).json()
        report = {"prediction_id": made["prediction_id"], "actual_node": "n1", "success": False}
        assert requests.post(f"{url}/feedback", json=report, timeout=30).status_code == 200
        process.kill()

    with Program(make_settings(collector.url, tmp_path)) as program:
        [row] = program.store.reports(limit=10)
        assert not row.success
        assert len(row.vector) == 14


def test_ends_well_when_told_to(collector, tmp_path):
    with start_process(collector, tmp_path) as process:
        url = json.loads(process.stderr.readline())["url"]
        requests.post(f"{url}/predict", json=POD, timeout=30)
        process.terminate()

    assert process.returncode == 0
    with Program(make_settings(collector.url, tmp_path)) as program:
        assert program.store.performance()[0].n_predictions == 1


def test_a_taken_address_is_an_error_that_is_said(collector, predictor, tmp_path):
    taken = predictor.program.server.port

    with start_process(collector, tmp_path / "other", port=taken) as process:
        said = process.stderr.read()

    assert process.returncode == 1
    assert "in use" in said
