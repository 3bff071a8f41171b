"""The scheduler's shell against an API server and a predictor over real HTTP."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from kube.client import Client
from kube.edge.settings import Interval
from scheduler.cluster.leader import LeaderElector
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.leader_election import LeaderElectionConfiguration
from scheduler.framework.profile import make_profiles
from scheduler.model import PREDICTION_ANNOTATION
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.settings import FeedbackSettings, PredictorSettings, SchedulerSettings
from tests.builders import make_node, make_pod, to_wire
from tests.fakes import Answer, FakeApiServer, refusal
from tests.integration.fake_predictor import FakePredictor

PODS = "/api/v1/pods"
NODES = "/api/v1/nodes"
EVENTS = "/apis/events.k8s.io/v1/events"
ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    with FakeApiServer() as running:
        running.put(NODES, make_node("n1"))
        running.put(NODES, make_node("n2"))
        yield running


@pytest.fixture
def predictor() -> Iterator[FakePredictor]:
    with FakePredictor({"n1": 0.2, "n2": 0.95}) as running:
        yield running


@contextmanager
def running_scheduler(
    server: FakeApiServer, *, predictor: str = NOBODY, patience_s: float = 0.2
) -> Iterator[ClusterShell]:
    profiles = make_profiles(built_in_configuration(), registry=built_in_registry())
    settings = SchedulerSettings(
        predictor=PredictorSettings(url=predictor, timeout=Interval(patience_s)),
        feedback=FeedbackSettings(interval=Interval(0.05)),
    )
    with (
        Client.for_url(server.url) as client,
        ClusterShell(
            client,
            engine=Engine(profiles, settings=EngineSettings()),
            settings=settings,
            metrics=Metrics(CollectorRegistry()),
            rng=random.Random(1),
        ) as shell,
    ):
        yield shell


def wait_until(condition: Callable[[], Any], *, timeout_s: float = 30.0) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def node_of(server: FakeApiServer, name: str) -> str:
    return str(server.objects(PODS)[f"default/{name}"]["spec"].get("nodeName", ""))


def events_about(server: FakeApiServer, name: str, reason: str) -> list[dict[str, Any]]:
    events = server.objects(EVENTS).values()
    return [e for e in events if e["reason"] == reason and e["regarding"]["name"] == name]


def condition_of(server: FakeApiServer, name: str) -> dict[str, Any]:
    conditions = server.objects(PODS)[f"default/{name}"]["status"].get("conditions") or []
    return next((c for c in conditions if c["type"] == "PodScheduled"), {})


def n_requests(server: FakeApiServer, method: str, ending: str) -> int:
    return sum(r.method == method and r.path.endswith(ending) for r in list(server.requests))


def test_binds_a_pod_and_says_so_on_it(server):
    uid = server.put(PODS, make_pod(requests={"cpu": "1"}))["metadata"]["uid"]
    with running_scheduler(server):
        node = wait_until(lambda: node_of(server, "web-1"))
        [event] = wait_until(lambda: events_about(server, "web-1", "Scheduled"))

    [binding] = [r.json for r in server.requests if r.path.endswith("/web-1/binding")]
    assert binding["metadata"] == {"name": "web-1", "namespace": "default", "uid": uid}
    assert binding["target"] == {"apiVersion": "v1", "kind": "Node", "name": node}
    assert (event["action"], event["type"]) == ("Binding", "Normal")
    assert event["note"] == f"Successfully assigned default/web-1 to {node}"
    assert event["reportingController"] == "ai-scheduler"
    assert event["regarding"]["uid"] == uid


def test_leaves_other_pods_alone(server):
    server.put(PODS, make_pod("theirs", scheduler_name="default-scheduler"))
    server.put(PODS, make_pod("ours"))
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "ours"))

    assert node_of(server, "theirs") == ""


def test_counts_pods_that_were_bound_before_it_started(server):
    for name in ("n1", "n2"):
        server.put(PODS, make_pod(f"old-{name}", node=name, requests={"cpu": "3500m"}))
    server.put(PODS, make_pod("big", requests={"cpu": "1"}))
    server.put(PODS, make_pod("small", requests={"cpu": "400m"}))
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "small"))
        wait_until(lambda: condition_of(server, "big"))

    assert node_of(server, "big") == ""


def test_says_why_a_pod_waits_and_binds_it_when_room_appears(server):
    server.put(PODS, make_pod("big", requests={"cpu": "6"}))
    with running_scheduler(server) as shell:
        condition = wait_until(lambda: condition_of(server, "big"))
        [event] = wait_until(lambda: events_about(server, "big", "FailedScheduling"))
        server.put(NODES, make_node("n3", cpu="8"))
        node = wait_until(lambda: node_of(server, "big"))
        [item] = shell.decisions.latest(1)

    text = (
        "0/2 nodes are available: 2 Insufficient cpu. "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    )
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert condition["message"] == event["note"] == text
    assert (event["action"], event["type"]) == ("Scheduling", "Warning")
    assert (node, item.attempt) == ("n3", 2)


def test_a_repeated_failure_is_counted_on_one_event_and_written_once_as_condition(server):
    server.put(PODS, make_pod("big", requests={"cpu": "6"}))
    with running_scheduler(server):
        wait_until(lambda: events_about(server, "big", "FailedScheduling"))
        # A change of the pod itself gives it another try.
        server.put(PODS, make_pod("big", requests={"cpu": "6"}, labels={"tried": "again"}))
        [event] = wait_until(
            lambda: [e for e in events_about(server, "big", "FailedScheduling") if "series" in e]
        )

    assert event["series"]["count"] == 2
    assert n_requests(server, "PATCH", "/big/status") == 1


def test_a_binding_cut_off_is_repeated(server):
    server.fail_next(Answer(None), method="POST", path="/api/v1/namespaces/default/pods")
    server.put(PODS, make_pod())
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "web-1"))

    assert n_requests(server, "POST", "/web-1/binding") == 2


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(server, code):
    busy = refusal(code, "busy", retry_after="0")
    server.fail_next(busy, method="POST", path="/api/v1/namespaces/default/pods", times=2)
    server.put(PODS, make_pod())
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "web-1"))


def test_a_binding_that_was_not_allowed_is_reported_and_tried_again(server):
    forbidden = refusal(403, "not allowed", reason="Forbidden")
    server.fail_next(forbidden, method="POST", path="/api/v1/namespaces/default/pods")
    server.put(PODS, make_pod())
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "web-1"))
        [event] = wait_until(lambda: events_about(server, "web-1", "FailedScheduling"))

    assert "not allowed" in event["note"]


def test_survives_a_restart_of_the_api_server(server):
    server.put(PODS, make_pod("before"))
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "before"))
        server.restart()
        server.put(PODS, make_pod("after"))
        wait_until(lambda: node_of(server, "after"))


@pytest.mark.parametrize("hand", ["_asker", "_feedback", "_timekeeper"])
def test_a_thread_that_ends_by_itself_ends_the_program(server, hand):
    with running_scheduler(server) as shell:
        getattr(shell, hand).stop()

        assert shell.failed.wait(30.0)
        assert shell.not_ready()


def test_an_object_that_makes_no_sense_stops_nothing(server):
    bad = to_wire(make_pod("bad", requests={"cpu": "lots"}))
    server.put(PODS, bad)
    server.put(NODES, make_node("n9", memory="lots"))
    server.put(PODS, make_pod("good"))
    with running_scheduler(server):
        node = wait_until(lambda: node_of(server, "good"))

    assert node in ("n1", "n2")
    assert node_of(server, "bad") == ""


def permission(request) -> tuple[str, str, str]:
    """Tell the RBAC group, resource and verb that a request needs."""
    root, *parts = request.path.strip("/").split("/")
    group = parts.pop(0) if root == "apis" else ""
    parts = parts[1:]  # without the version
    if parts[0] == "namespaces" and len(parts) > 2:
        parts = parts[2:]
    plural, *rest = parts
    resource = "/".join([plural, *rest[1:]])
    if request.method == "GET":
        return group, resource, "watch" if "watch" in request.query else "get" if rest else "list"
    verbs = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
    return group, resource, verbs[request.method]


def permissions(kind: str) -> set[tuple[str, str, str]]:
    """Tell what the scheduler's role of a kind allows."""
    documents = yaml.safe_load_all((ROOT / "config/k8s/rbac.yaml").read_text())
    [role] = [d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, "ai-scheduler")]
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


ELSEWHERE = {
    ("appgroup.diktyo.x-k8s.io", "appgroups", "list"),
    ("appgroup.diktyo.x-k8s.io", "appgroups", "watch"),
    ("appgroup.diktyo.x-k8s.io", "appgroups/status", "patch"),
    ("networktopology.diktyo.x-k8s.io", "networktopologies", "list"),
    ("networktopology.diktyo.x-k8s.io", "networktopologies", "watch"),
    ("", "pods", "delete"),
    ("", "pods", "patch"),
    ("", "persistentvolumeclaims", "patch"),
    ("", "persistentvolumes", "patch"),
    ("metrics.k8s.io", "nodes", "list"),
    ("scheduling.k8s.io", "priorityclasses", "list"),
    ("scheduling.k8s.io", "priorityclasses", "watch"),
    ("security-profiles-operator.x-k8s.io", "seccompprofiles", "list"),
    ("security-profiles-operator.x-k8s.io", "seccompprofiles", "watch"),
    ("scheduling.x-k8s.io", "elasticquotas", "list"),
    ("scheduling.x-k8s.io", "elasticquotas", "watch"),
    ("scheduling.x-k8s.io", "elasticquotas/status", "patch"),
    ("scheduling.x-k8s.io", "podgroups/status", "patch"),
    ("topology.node.k8s.io", "noderesourcetopologies", "list"),
    ("topology.node.k8s.io", "noderesourcetopologies", "watch"),
}
"""What only volumes, preemption, gangs and plugins need that are not here."""


def test_asks_for_what_its_role_allows_and_for_nothing_else(server):
    conflict = refusal(409, "is being deleted", reason="Conflict")
    server.fail_next(conflict, method="POST", path="/api/v1/namespaces/default/pods")
    server.put(PODS, make_pod("small"))
    server.put(PODS, make_pod("big", requests={"cpu": "6"}))
    with running_scheduler(server):
        wait_until(lambda: node_of(server, "small"))
        wait_until(lambda: condition_of(server, "big"))
        server.put(PODS, make_pod("big", requests={"cpu": "6"}, labels={"tried": "again"}))
        wait_until(
            lambda: [e for e in events_about(server, "big", "FailedScheduling") if "series" in e]
        )

    # Everybody who is known to the API server may ask for its version.
    used = {permission(r) for r in list(server.requests) if r.path != "/version"}
    assert used == permissions("ClusterRole") - ELSEWHERE


def test_asks_for_the_lease_what_its_role_allows_and_for_nothing_else(server):
    settings = LeaderElectionConfiguration(leader_elect=True)
    with Client.for_url(server.url) as client:
        elector = LeaderElector(client, settings=settings, rng=random.Random(1))
        elector.attempt()
        elector.attempt()
        elector.release()

    assert {permission(r) for r in list(server.requests)} == permissions("Role")


# -------------------------------------------------------------------------------- predictor


def test_places_by_the_prediction_and_writes_it_on_the_pod(server, predictor):
    server.put(PODS, make_pod(requests={"cpu": "100m", "memory": "1Mi"}, owner=("Job", "report")))
    with running_scheduler(server, predictor=predictor.url, patience_s=20.0) as shell:
        node = wait_until(lambda: node_of(server, "web-1"))
        decision = shell.decisions.find("default/web-1")

    [question] = predictor.questions
    [binding] = [r.json for r in server.requests if r.path.endswith("/web-1/binding")]
    assert node == "n2"
    assert question["shapes"] == [
        {
            "cpu_milli": 100,
            "memory_bytes": 2**20,
            "pod_namespace": "default",
            "workload": "default/Job/report",
        }
    ]
    assert binding["metadata"]["annotations"] == {PREDICTION_ANNOTATION: "q1-0"}
    assert (decision.prediction.use, decision.prediction.model_version) == ("used", 7)


def test_a_dead_predictor_costs_the_pods_nothing_and_is_not_asked_about_each(server):
    for i in range(20):
        server.put(PODS, make_pod(f"p{i}", requests={"cpu": f"{i + 1}m"}))
    with running_scheduler(server, predictor=NOBODY) as shell:
        wait_until(lambda: all(node_of(server, f"p{i}") for i in range(20)))
        uses = {decision.prediction.use for decision in shell.decisions.latest(20)}

    assert uses == {"unavailable"}


def test_a_slow_predictor_is_not_waited_for(server, predictor):
    predictor.may_answer.clear()
    server.put(PODS, make_pod())
    with running_scheduler(server, predictor=predictor.url, patience_s=0.05) as shell:
        wait_until(lambda: node_of(server, "web-1"))
        decision = shell.decisions.find("default/web-1")
        predictor.may_answer.set()

    assert decision.prediction.use == "timed out"


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"{}", id="no answer"),
        pytest.param(
            b'{"algorithm":"ml_prediction","model_version":1,"snapshot_version":1,'
            b'"snapshot_at_s":1,"nodes":["n1"],"predictions":'
            b'[{"prediction_id":"x","scores":[1,2],"p_success":null}]}',
            id="lists that do not fit",
        ),
        pytest.param(
            b'{"algorithm":"ml_prediction","model_version":1,"snapshot_version":1,'
            b'"snapshot_at_s":1,"nodes":["n1"],"predictions":'
            b'[{"prediction_id":"x","scores":[1],"p_success":[7.5]}]}',
            id="no probability",
        ),
    ],
)
def test_a_predictor_that_talks_nonsense_counts_as_absent(server, predictor, garbage):
    predictor.garbage = garbage
    server.put(PODS, make_pod())
    with running_scheduler(server, predictor=predictor.url, patience_s=20.0) as shell:
        wait_until(lambda: node_of(server, "web-1"))

        assert shell.decisions.find("default/web-1").prediction.use == "unavailable"


# --------------------------------------------------------------------------------- feedback


def become(server: FakeApiServer, name: str, **status: Any) -> None:
    document = server.objects(PODS)[f"default/{name}"]
    document = {**document, "status": {**document["status"], **status}}
    server.put(PODS, document)


def ready(at_text: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": at_text}
    return {"phase": "Running", "conditions": [condition]}


def test_tells_the_predictor_of_a_failure_and_of_a_success(server, predictor):
    server.date_s = 1_790_000_000.0
    server.put(PODS, make_pod("good"))
    server.put(PODS, make_pod("bad"))
    with running_scheduler(server, predictor=predictor.url, patience_s=20.0):
        wait_until(lambda: node_of(server, "good") and node_of(server, "bad"))
        become(server, "good", **ready("2026-09-21T14:13:20Z"))
        become(server, "bad", phase="Failed", reason="Evicted")
        wait_until(lambda: len(predictor.feedback) == 1)
        server.date_s = 1_790_000_000.0 + 700.0
        wait_until(lambda: len(predictor.feedback) == 2)

    outcomes = {each["pod_name"]: each for each in predictor.feedback}
    assert (outcomes["bad"]["success"], outcomes["bad"]["reason"]) == (False, "evicted")
    assert (outcomes["good"]["success"], outcomes["good"]["reason"]) == (True, "healthy")
    assert outcomes["good"]["observed_at_s"] == 1_790_000_600.0
    assert outcomes["good"]["actual_node"] == node_of(server, "good")


def test_feedback_waits_for_a_predictor_that_is_busy(server, predictor):
    predictor.status = 503
    server.put(PODS, make_pod(phase="Failed", reason="Evicted", node="n1"))
    with running_scheduler(server, predictor=predictor.url):
        wait_until(lambda: predictor.n_requests >= 2)
        predictor.status = 200
        wait_until(lambda: predictor.feedback)

    assert [each["reason"] for each in predictor.feedback] == ["evicted"]


def test_feedback_that_is_refused_is_not_repeated(server, predictor):
    predictor.status = 404
    server.put(PODS, make_pod("one", phase="Failed", reason="Evicted", node="n1"))
    with running_scheduler(server, predictor=predictor.url) as shell:
        wait_until(lambda: feedback_count(shell, "refused") == 1)
        predictor.status = 200
        server.put(PODS, make_pod("two", phase="Failed", reason="Evicted", node="n1"))
        wait_until(lambda: predictor.feedback)

    assert [each["pod_name"] for each in predictor.feedback] == ["two"]


def feedback_count(shell: ClusterShell, result: str) -> float:
    labels = {"result": result}
    value = shell._metrics.registry.get_sample_value("scheduler_feedback_total", labels)
    return value or 0.0


def test_after_a_restart_the_prediction_is_read_from_the_pod(server, predictor):
    annotations = {PREDICTION_ANNOTATION: "made-before"}
    evicted = make_pod(phase="Failed", reason="Evicted", node="n1", annotations=annotations)
    server.put(PODS, evicted)
    with running_scheduler(server, predictor=predictor.url):
        wait_until(lambda: predictor.feedback)

    assert predictor.feedback[0]["prediction_id"] == "made-before"
