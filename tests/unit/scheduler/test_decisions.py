"""What is kept of decisions, and the HTTP interface that shows it."""

import json
import string
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from scheduler.api import make_app
from scheduler.cluster.decisions import DecisionLog
from scheduler.events import PodSeen
from tests.unit.scheduler.worlds import (
    decisions,
    feed,
    make_engine,
    make_facts,
    make_pending,
    no_extender,
)

NAMES = ["Pod", "pod", "nodes", "NodeNames", "items", "metadata", "spec", "podName", "Pods"]


def nested(values):
    return st.lists(values) | st.dictionaries(st.sampled_from(NAMES), values)


@pytest.fixture
def kept():
    return DecisionLog(3)


@pytest.fixture
def http(kept):
    app = make_app(
        kept,
        registry=CollectorRegistry(),
        not_ready=lambda: "waiting for the list of pods",
        extender=no_extender(),
    )
    return app.test_client()


def decided(*pods, nodes=("n1", "n2")):
    return decisions(feed(make_engine(*nodes), [PodSeen(pod) for pod in pods]))


def test_keeps_the_newest_and_forgets_the_oldest(kept):
    for decision in decided(*[make_pending(f"p{i}", cpu_milli=1) for i in range(5)]):
        kept.add(decision)

    assert [decision.name for decision in kept.latest(10)] == ["p4", "p3", "p2"]
    assert kept.find("default/p1") is None
    assert kept.find("default/p4").name == "p4"


def test_a_newer_decision_about_a_pod_hides_the_older(kept):
    [refused] = decided(make_pending(), nodes=(make_facts(cpu_milli=1),))
    [placed] = decided(make_pending())
    kept.add(refused)
    kept.add(placed)
    for decision in decided(make_pending("a"), make_pending("b")):
        kept.add(decision)

    assert kept.find("default/web-1") is placed


def test_tells_why_a_pod_is_where_it_is(kept, http):
    [decision] = decided(make_pending(), nodes=("n1", "n2", make_facts("n3", cpu_milli=1)))
    kept.add(decision)

    answer = http.get("/api/v1/decisions/default/web-1").json

    assert answer["node"] == decision.node
    assert answer["refusals"] == [
        {"plugin": "NodeResourcesFit", "reason": "Insufficient cpu", "n_nodes": 1}
    ]
    [best, second] = answer["scores"]
    assert best["node"] == decision.node
    assert best["total"] == sum(best["plugins"].values()) == answer["score"]
    assert second["node"] == answer["runner_up"]
    assert answer["summary"] == "prediction: not asked"


def test_tells_why_a_pod_is_nowhere(kept, http):
    for decision in decided(make_pending(), nodes=(make_facts(cpu_milli=1),)):
        kept.add(decision)

    answer = http.get("/api/v1/decisions/default/web-1").json

    assert answer["node"] is None
    assert answer["message"].startswith("0/1 nodes are available: 1 Insufficient cpu. preemption:")
    assert answer["scores"] == []


def test_tells_of_every_member_of_a_gang_why_it_waits(kept, http):
    gang = {"pod_group": "ring", "pod_group_size": 2, "cpu_milli": 3000}
    members = [make_pending(name, **gang) for name in "ab"]
    for decision in decided(*members, nodes=("n1", make_facts("n2", cpu_milli=1))):
        kept.add(decision)

    for name in "ab":
        answer = http.get(f"/api/v1/decisions/default/{name}").json
        assert answer["node"] is None
        assert answer["message"].startswith("gang default/ring: 1 of 2 members fit; 0/2 nodes")


def test_tells_whom_each_member_of_a_gang_drives_out(kept, http):
    squatters = [
        make_pending(f"old-{node}", cpu_milli=3000, node_name=node) for node in ("n1", "n2")
    ]
    gang = {"pod_group": "ring", "pod_group_size": 2, "cpu_milli": 3000, "priority": 9}
    members = [make_pending(name, **gang) for name in "ab"]
    for decision in decided(*squatters, *members):
        kept.add(decision)

    answers = [http.get(f"/api/v1/decisions/default/{name}").json for name in "ab"]
    assert {answer["nominated_node"] for answer in answers} == {"n1", "n2"}
    for answer in answers:
        assert answer["victims"] == [f"default/old-{answer['nominated_node']}"]


def test_tells_that_a_gang_waits_for_members_that_may_not_be_scheduled_yet(kept, http):
    ready = make_pending("a", pod_group="ring", pod_group_size=2)
    gated = make_pending("b", pod_group="ring", pod_group_size=2, scheduling_gates=("hold",))
    for decision in decided(ready, gated):
        kept.add(decision)

    answer = http.get("/api/v1/decisions/default/a").json
    assert answer["message"] == "gang default/ring: 1 of 2 members may be scheduled"
    assert (answer["node"], answer["n_feasible"], answer["refusals"]) == (None, 0, [])


def test_lists_as_many_as_asked(kept, http):
    for decision in decided(make_pending("a"), make_pending("b")):
        kept.add(decision)

    assert [item["name"] for item in http.get("/api/v1/decisions?limit=1").json["items"]] == ["b"]


@pytest.mark.parametrize("limit", ["0", "1001", "many", "-1", "9" * 40, "٣"])
def test_an_absurd_limit_is_refused_by_name(http, limit):
    answer = http.get(f"/api/v1/decisions?limit={limit}")

    assert (answer.status_code, answer.json["field"]) == (422, "limit")


def test_an_unknown_pod_is_a_404(http):
    answer = http.get("/api/v1/decisions/default/nobody")

    assert answer.status_code == 404
    assert answer.content_type == "application/problem+json"


def test_is_alive_before_it_is_ready(http):
    assert http.get("/healthz").status_code == 200
    assert http.get("/readyz").status_code == 503
    assert http.get("/readyz").text == "waiting for the list of pods"


def test_documents_every_endpoint(http):
    document = http.get("/openapi.json").json
    rules = {
        rule.rule.replace("<", "{").replace(">", "}")
        for rule in http.application.url_map.iter_rules()
    }

    assert rules == set(document["paths"])
    assert "DecisionAnswer" in document["components"]["schemas"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=000000001" + "9" * 5000, "limit=1&limit=2", "count=1"]
)
def test_a_bad_parameter_is_refused_by_name(http, query):
    answer = http.get(f"/api/v1/decisions?{query}")

    assert answer.status_code == 422
    assert answer.json["field"] in ("limit", "count")


@pytest.mark.parametrize("verb", ["filter", "prioritize", "preempt", "bind"])
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.binary(max_size=50) | st.recursive(st.text() | st.integers(), nested).map(json.dumps)
)
def test_no_question_of_an_extenders_client_makes_it_fail(http, verb, data):
    answer = http.post(f"/extender/{verb}", data=data)

    assert answer.status_code in (200, 400, 503), answer.text


def test_only_an_extenders_client_may_say_much(http):
    much = b" " * 100_000

    assert http.post("/extender/filter", data=much).status_code == 400
    assert http.get("/api/v1/decisions", data=much).status_code == 413


parts = st.text(max_size=20) | st.text(string.digits + "+-._eE%&=", max_size=20)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "DELETE"]),
    path=parts,
    query=parts,
    data=st.binary(max_size=50),
)
def test_no_request_makes_it_fail(http, method, path, query, data):
    for where in ("", "/default/", f"/{quote(path, safe='')}/"):
        answer = http.open(
            f"/api/v1/decisions{where}{quote(path)}?limit={quote(query, safe='&=')}",
            method=method,
            data=data,
        )
        assert answer.status_code < 500, answer.text
