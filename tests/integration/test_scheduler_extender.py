"""As kube-scheduler's extender: real HTTP, a running shell, an API server and a predictor."""

import json
import random
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import requests
from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.edge.serve import Server
from kube.edge.settings import Interval, ServerSettings
from scheduler.api import make_app
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.engine import Engine, EngineSettings
from scheduler.extender.routes import MAX_BODY_BYTES, Extender
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.settings import PredictorSettings, SchedulerSettings
from tests.builders import make_node, make_pod, to_wire
from tests.fakes import Answer, FakeApiServer, refusal
from tests.integration.fake_predictor import FakePredictor

PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
NOBODY = "http://127.0.0.1:9"
THEIRS = "default-scheduler"


@pytest.fixture
def server():
    with FakeApiServer() as running:
        running.put(NODES, make_node("n1"))
        running.put(NODES, make_node("n2"))
        running.put(NODES, make_node("small", cpu="500m"))
        yield running


@contextmanager
def extending(server, *, predictor=NOBODY, patience_s=0.2, timeout_s=30.0, is_leader=True):
    """Run a scheduler and its HTTP interface; gives the shell, and a way to ask."""
    leads = threading.Event()
    if is_leader:
        leads.set()
    settings = SchedulerSettings(
        predictor=PredictorSettings(url=predictor, timeout=Interval(patience_s))
    )
    profiles = make_profiles(built_in_configuration(), registry=built_in_registry())
    with (
        Client.for_url(server.url) as client,
        ClusterShell(
            client,
            engine=Engine(profiles, settings=EngineSettings()),
            settings=settings,
            metrics=Metrics(CollectorRegistry()),
            rng=random.Random(1),
            is_leader=leads.is_set,
        ) as shell,
    ):
        app = make_app(
            shell.decisions,
            registry=CollectorRegistry(),
            not_ready=shell.not_ready,
            extender=Extender(shell=shell, profile="ai-scheduler", timeout_s=timeout_s),
        )
        with Server(app, settings=ServerSettings(), max_body_read_bytes=MAX_BODY_BYTES) as http:

            def ask(verb, **body):
                return requests.post(
                    f"{http.url}/extender/{verb}",
                    data=json.dumps(body),
                    headers={"Content-Type": "application/json"},
                    timeout=60,
                )

            yield SimpleNamespace(shell=shell, ask=ask, ready=ready_once(http.url))


def ready_once(url):
    pause = threading.Event()

    def wait():
        for _ in range(3_000):
            if requests.get(f"{url}/readyz", timeout=60).status_code == 200:
                return
            pause.wait(0.01)
        raise AssertionError("it did not become ready")

    return wait


def put_pod(server, name="theirs", **more):
    """Create a pod that is not ours; gives its uid."""
    return server.put(PODS, make_pod(name, scheduler_name=THEIRS, **more))["metadata"]["uid"]


def as_go_writes(pod):
    return {**to_wire(pod), "status": {}}


POD = as_go_writes(make_pod("theirs", requests={"cpu": "1"}, scheduler_name=THEIRS))


def test_filters_by_name_what_it_knows_from_its_own_watches(server):
    server.put(PODS, make_pod("squatter", node="n2", requests={"cpu": "3500m"}))
    with extending(server) as scheduler:
        scheduler.ready()
        answer = scheduler.ask("filter", Pod=POD, Nodes=None, NodeNames=["small", "n2", "n1"])

    assert answer.status_code == 200
    assert answer.json() == {
        "Nodes": None,
        "NodeNames": ["n1"],
        "FailedNodes": {"n2": "Insufficient cpu"},
        "FailedAndUnresolvableNodes": {"small": "Insufficient cpu"},
        "Error": "",
    }


def test_filters_thousands_of_whole_nodes(server):
    nodes = [to_wire(make_node(f"new-{i:04}", labels={"pad": "x" * 1_000})) for i in range(2_000)]
    nodes.append(to_wire(make_node("small", cpu="500m")))
    with extending(server) as scheduler:
        scheduler.ready()
        answer = scheduler.ask("filter", pod=POD, nodes={"items": nodes})

    assert answer.json()["nodes"] == {"items": nodes[:-1]}
    assert answer.json()["failedAndUnresolvableNodes"] == {"small": "Insufficient cpu"}


def test_rates_by_the_prediction_and_asks_for_it_once(server):
    with (
        FakePredictor({"n1": 0.1, "n2": 0.9, "small": 0.5}) as predictor,
        extending(server, predictor=predictor.url, patience_s=20.0) as scheduler,
    ):
        scheduler.ready()
        first, second = (
            scheduler.ask("prioritize", pod=POD, nodenames=["n1", "n2", "small"]).json()
            for _ in range(2)
        )
        n_questions = len(predictor.questions)

    scores = {each["host"]: each["score"] for each in first}
    assert scores["n1"] < scores["n2"] <= 10
    assert scores["small"] == 0
    assert (second, n_questions) == (first, 1)


def test_rates_without_a_predictor_that_is_slow(server):
    with (
        FakePredictor({"n1": 0.1, "n2": 0.9}) as predictor,
        extending(server, predictor=predictor.url, patience_s=0.05) as scheduler,
    ):
        predictor.may_answer.clear()
        scheduler.ready()
        answer = scheduler.ask("prioritize", Pod=POD, NodeNames=["n1", "n2"]).json()
        predictor.may_answer.set()

    assert [each["Host"] for each in answer] == ["n1", "n2"]
    assert answer[0]["Score"] == answer[1]["Score"]


def test_spares_gangs(server):
    member = put_pod(server, "a", group="ring", node="n1")
    put_pod(server, "b", group="ring", node="n2")
    victims = {
        "n1": {"Pods": [{"UID": member}], "NumPDBViolations": 0},
        "small": {"Pods": [{"UID": "someone"}], "NumPDBViolations": 1},
    }
    with extending(server) as scheduler:
        scheduler.ready()
        answer = scheduler.ask("preempt", Pod=POD, NodeNameToMetaVictims=victims)

    assert answer.json() == {"NodeNameToMetaVictims": {"small": victims["small"]}}


# --------------------------------------------------------------------------------------------- bind


def binding(uid, *, name="theirs"):
    return {"PodName": name, "PodNamespace": "default", "PodUID": uid, "Node": "n1"}


def node_of(server, name="theirs"):
    return server.objects(PODS)[f"default/{name}"]["spec"].get("nodeName", "")


def test_binds(server):
    uid = put_pod(server)
    with extending(server) as scheduler:
        answer = scheduler.ask("bind", **binding(uid))

    assert (answer.status_code, answer.json()) == (200, {"Error": ""})
    assert node_of(server) == "n1"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Answer(None), id="connection cut"),
        pytest.param(refusal(429, "busy", retry_after="0"), id="429"),
        pytest.param(refusal(503, "away"), id="503"),
    ],
)
def test_a_binding_is_tried_again(server, fault):
    uid = put_pod(server)
    with extending(server) as scheduler:
        scheduler.ready()
        server.fail_next(fault, method="POST", path="/api/v1/namespaces/default/pods")
        answer = scheduler.ask("bind", **binding(uid))

    assert answer.json() == {"Error": ""}
    assert node_of(server) == "n1"


def test_a_pod_that_is_on_that_node_already_is_bound(server):
    uid = put_pod(server, node="n1")
    with extending(server) as scheduler:
        answer = scheduler.ask("bind", **binding(uid))

    assert answer.json() == {"Error": ""}


@pytest.mark.parametrize("name", ["elsewhere", "nobody"])
def test_a_binding_that_cannot_be_is_an_answer_with_an_error(server, name):
    uid = put_pod(server, "elsewhere", node="n2")
    with extending(server) as scheduler:
        answer = scheduler.ask("bind", **binding(uid, name=name))

    assert answer.status_code == 200
    assert answer.json()["Error"]


def test_who_does_not_lead_filters_and_rates_but_binds_nothing(server):
    uid = put_pod(server)
    with extending(server, is_leader=False) as scheduler:
        scheduler.ready()
        filtered = scheduler.ask("filter", pod=POD, nodenames=["n1"]).json()
        rated = scheduler.ask("prioritize", pod=POD, nodenames=["n1", "n2"]).json()
        bound = scheduler.ask("bind", **binding(uid)).json()

    assert filtered["nodenames"] == ["n1"]
    assert len(rated) == 2
    assert "not leader" in bound["Error"]
    assert node_of(server) == ""


# ------------------------------------------------------------------------------------------- wrong


def test_what_makes_no_sense_is_a_400_that_names_the_field(server):
    with extending(server) as scheduler:
        answer = scheduler.ask("filter", pod={**POD, "spec": {"priority": "high"}}, nodenames=[])

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["field"] == "pod.spec.priority"


def test_who_has_not_listed_everything_says_so_instead_of_refusing_all_nodes(server):
    server.fail_next(refusal(500, "away"), method="GET", path=NODES, times=10_000)
    with extending(server) as scheduler:
        answer = scheduler.ask("filter", pod=POD, nodenames=["n1"])

    assert answer.status_code == 503
    assert "waiting for the list of" in answer.json()["detail"]


def test_an_answer_that_takes_too_long_is_a_503(server):
    with (
        FakePredictor({"n1": 0.1, "n2": 0.9}) as predictor,
        extending(server, predictor=predictor.url, patience_s=30.0, timeout_s=0.05) as scheduler,
    ):
        predictor.may_answer.clear()
        scheduler.ready()
        answer = scheduler.ask("prioritize", pod=POD, nodenames=["n1", "n2"])
        predictor.may_answer.set()

    assert answer.status_code == 503
    assert answer.json()["detail"] == "no answer within 0.05 s"
