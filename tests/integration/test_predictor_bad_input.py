"""Whatever the predictor is sent: a problem document that names the field, and nothing stored."""

import json
from collections.abc import Iterator

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.contract import (
    BatchRequest,
    Feedback,
    PodContainer,
    PodSpec,
    PredictRequest,
    Shape,
)
from predictor.program import Program
from tests.integration.test_predictor import POD, Caller, make_settings
from tests.predictor_world import FakeCollector

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with (
        FakeCollector() as collector,
        Program(make_settings(collector.url, tmp_path_factory.mktemp("data"))) as program,
    ):
        caller = Caller(program)
        yield caller
        caller.close()


def pod(cpu="500m", **fields):
    spec = {"containers": [{"name": "app", "resources": {"requests": {"cpu": cpu}}}]}
    return POD | {"pod_spec": spec} | fields


def shape(**fields):
    return {"shapes": [{"cpu_milli": 1, "memory_bytes": 1} | fields]}


def report(**fields):
    return {"actual_node": "n1", "success": True} | fields


CPU_FIELD = "pod_spec.containers[0].resources.requests.cpu"


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        pytest.param("/predict", pod("-1"), 422, CPU_FIELD, id="negative"),
        pytest.param("/predict", pod("1e400"), 422, CPU_FIELD, id="1e400"),
        pytest.param("/predict", pod("lots"), 422, CPU_FIELD, id="lots"),
        pytest.param("/predict", pod("99999999999"), 422, CPU_FIELD, id="absurd"),
        pytest.param("/predict", pod(None), 422, CPU_FIELD, id="null quantity"),
        pytest.param("/predict", pod(True), 422, CPU_FIELD, id="boolean quantity"),
        pytest.param("/predict", pod([1]), 422, CPU_FIELD, id="list of quantities"),
        pytest.param("/predict", pod(workload="x" * 1025), 422, "workload", id="long workload"),
        pytest.param("/predict?explained=true", pod(), 422, "explained", id="unknown parameter"),
        pytest.param("/predict", {}, 422, "pod_name", id="nothing"),
        pytest.param("/predict", [], 422, "", id="a list"),
        pytest.param("/predict", pod(pod_name=7), 422, "pod_name", id="number for a name"),
        pytest.param("/predict", pod(pod_name=""), 422, "pod_name", id="empty name"),
        pytest.param("/predict", pod(pod_name="x" * 300), 422, "pod_name", id="long name"),
        pytest.param("/predict", pod(color="red"), 422, "color", id="unknown field"),
        pytest.param(
            "/predict",
            pod(pod_spec={"containers": []}),
            422,
            "pod_spec.containers",
            id="no container",
        ),
        pytest.param(
            "/predict", pod(candidate_nodes=[]), 422, "candidate_nodes", id="no candidate"
        ),
        pytest.param(
            "/predict",
            pod(candidate_nodes=["n1", "nowhere"]),
            422,
            "candidate_nodes[1]",
            id="unknown node",
        ),
        pytest.param(
            "/predict",
            pod(candidate_nodes=["n1", 2]),
            422,
            "candidate_nodes[1]",
            id="number for a node",
        ),
        pytest.param("/predict?explain=maybe", pod(), 422, "explain", id="explain maybe"),
        pytest.param("/predict/batch", {"shapes": []}, 422, "shapes", id="no shape"),
        pytest.param(
            "/predict/batch", shape(cpu_milli=-1), 422, "shapes[0].cpu_milli", id="negative shape"
        ),
        pytest.param(
            "/predict/batch",
            shape(memory_bytes=1.5),
            422,
            "shapes[0].memory_bytes",
            id="half a byte",
        ),
        pytest.param(
            "/predict/batch",
            shape() | {"candidate_nodes": []},
            422,
            "candidate_nodes",
            id="batch without candidates",
        ),
        pytest.param("/feedback", {"success": True}, 422, "actual_node", id="which node?"),
        pytest.param(
            "/feedback", report(actual_node="nowhere"), 422, "actual_node", id="no such node"
        ),
        pytest.param("/feedback", report(reason="a\0b"), 422, "reason", id="a NUL"),
        pytest.param("/feedback", report(prediction_id="\0"), 422, "prediction_id", id="NUL as id"),
        pytest.param("/feedback", report(success="yes"), 422, "success", id="text for a boolean"),
        pytest.param(
            "/feedback", report(observed_at_s=-1.0), 422, "observed_at_s", id="before time"
        ),
        pytest.param(
            "/feedback", report(observed_at_s=1e300), 422, "observed_at_s", id="after time"
        ),
        pytest.param(
            "/feedback",
            report(prediction_id="no-such"),
            404,
            "prediction_id",
            id="unknown prediction",
        ),
        pytest.param(
            "/feedback",
            report(prediction_result={"prediction_id": "no-such"}),
            404,
            "prediction_result.prediction_id",
            id="unknown prediction inside",
        ),
        pytest.param(
            "/feedback",
            report(prediction_result={"prediction_id": 5}),
            422,
            "prediction_result.prediction_id",
            id="number for an id",
        ),
        pytest.param(
            "/feedback",
            report(prediction_id="a", prediction_result={"prediction_id": "b"}),
            422,
            "prediction_result.prediction_id",
            id="two predictions",
        ),
        pytest.param("/model/rollback", {"version": 0}, 422, "version", id="version 0"),
        pytest.param("/model/retrain", {"now": True}, 422, "now", id="unknown training option"),
    ],
)
def test_names_the_field(predictor, path, body, status, field):
    answer = predictor.post(path, body)

    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["detail"]
    if field is not None:
        assert problem.get("field", "") == field


def test_feedback_for_a_node_that_was_not_rated_is_refused(predictor):
    made = predictor.predict(candidate_nodes=["n1"])

    answer = predictor.post("/feedback", report(prediction_result=made, actual_node="n2"))

    assert answer.status_code == 422
    assert answer.json()["field"] == "actual_node"


@pytest.mark.parametrize(
    ("method", "path", "data", "status"),
    [
        ("POST", "/predict", b'{"pod_name": ', 400),
        ("POST", "/predict", b"\xff\xfe", 400),
        ("POST", "/predict", b"", 400),
        ("POST", "/predict", b"[" * 100_000, 422),
        ("POST", "/predict", b'{"pod_name": "p", "pod_spec": {"x": ' + b"[" * 100_000, 400),
        ("POST", "/feedback", b'{"prediction_result": {"x": ' + b'{"x":' * 100_000, 400),
        ("POST", "/predict", b'{"pod_spec":{"x":' + b"[" * 9_000 + b"]" * 9_000 + b"}}", 400),
        ("POST", "/predict", b'"' + b"x" * 10_000_000 + b'"', 413),
        ("POST", "/predict", b'{"pod_name": 1e400}', 422),
        ("GET", "/predict", None, 405),
        ("DELETE", "/feedback", None, 405),
        ("GET", "/model/retrain", None, 405),
        ("GET", "/nowhere", None, 404),
    ],
    ids=lambda value: str(value)[:20],
)
def test_is_refused_with_a_problem_document(predictor, method, path, data, status):
    answer = requests.request(method, predictor.program.server.url + path, data=data, timeout=30)

    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_stores_nothing_of_what_it_refuses(predictor):
    before = predictor.get("/health").json()

    for body in (pod("lots"), pod(candidate_nodes=["nowhere"]), {}):
        predictor.post("/predict", body)
    predictor.post("/feedback", report(prediction_id="no-such"))

    after = predictor.get("/health").json()
    assert after["total_predictions"] == before["total_predictions"]
    assert after["successful_predictions"] == before["successful_predictions"]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["500m", "-1", "1e400", "lots", "n1", "n2", "Always"])
)
names = st.sampled_from(
    sorted(
        {
            name
            for kind in (PredictRequest, PodSpec, PodContainer, BatchRequest, Shape, Feedback)
            for name in kind.__struct_encode_fields__
        }
        | {"requests", "limits", "cpu", "memory", "version"}
    )
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=12,
)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, object]:
    """A right request with one part of it replaced by anything."""
    path, right = draw(
        st.sampled_from(
            [
                ("/predict", pod(candidate_nodes=["n1"], workload="a/b/c")),
                ("/predict/batch", shape(workload="w") | {"candidate_nodes": ["n1"]}),
                ("/feedback", report(pod_uid="u", observed_at_s=1.0, prediction_result={})),
                ("/model/rollback", {"version": 1}),
            ]
        )
    )
    body = json.loads(json.dumps(right))
    node = body
    while True:
        steps = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not steps:
            return path, body
        step = draw(st.sampled_from(steps))
        if isinstance(node[step], dict | list) and draw(st.booleans()):
            node = node[step]
            continue
        node[step] = draw(documents)
        return path, body


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mutated=mutations())
def test_no_request_makes_it_fail(predictor, mutated):
    path, body = mutated

    answer = predictor.post(path, body)

    assert answer.status_code < 500, (path, body, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    path=st.sampled_from(["/predict", "/predict/batch", "/feedback", "/model/rollback"]),
    body=st.binary(max_size=200) | documents.map(lambda d: json.dumps(d).encode()),
)
def test_no_bytes_make_it_fail(predictor, path, body):
    assert predictor.post(path, data=body).status_code < 500
