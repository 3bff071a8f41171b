"""The simulated API server over HTTP: dates, access, faults, limits, watches."""

import asyncio
import http.client
import json
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from scheduler.simulator.apiserver.app import make_app
from scheduler.simulator.apiserver.faults import Faults
from scheduler.simulator.apiserver.settings import ApiServerSettings, NoMetrics
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.store import Store
from tests.api_world import PODS_PATH, Clock, pod


class Live:
    """A running server, and one client of it."""

    def __init__(self, port):
        self._port = port

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            raw = json.dumps(body) if body is not None and not isinstance(body, bytes) else body
            connection.request(method, path, body=raw, headers=headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def events(self, path):
        """The events of a watch until the server ends it."""
        _, _, body = self("GET", path)
        return [json.loads(line) for line in body.splitlines()]

    @contextmanager
    def watching(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.request("GET", path)
        try:
            yield connection.getresponse()
        finally:
            connection.close()


@contextmanager
def running(*, log_size=1000, **settings):
    store = Store(now_s=Clock(), log_size=log_size)
    for resource, obj in bootstrap_objects():
        store.create(resource, obj)
    app = make_app(store, settings=ApiServerSettings(**settings), metrics_source=NoMetrics())
    config = uvicorn.Config(app, port=0, log_config=None, date_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.005)
    try:
        yield Live(server.servers[0].sockets[0].getsockname()[1])
    finally:
        app.close()
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def shared():
    with running() as live:
        yield live


def test_answers_carry_the_clusters_date(shared):
    assert shared("GET", "/version")[1]["date"] == "Fri, 15 Jan 2027 08:00:00 GMT"


def test_a_token_is_asked_for_but_not_to_tell_health():
    with running(tokens=frozenset({"secret"})) as live:
        assert live("GET", "/api/v1/nodes")[0] == 401
        assert live("GET", "/api/v1/nodes", Authorization="Bearer wrong")[0] == 401
        assert live("GET", "/api/v1/nodes", Authorization="Bearer secret")[0] == 200
        assert live("GET", "/readyz")[0] == 200


def test_a_large_body_is_refused():
    with running(max_body_bytes=1000) as live:
        status, _, body = live("POST", PODS_PATH, b"x" * 1001)

    assert (status, json.loads(body)["reason"]) == (413, "RequestEntityTooLarge")


@pytest.mark.parametrize(
    ("faults", "code"), [(Faults(p_throttled=1.0), 429), (Faults(p_failed=1.0), 500)]
)
def test_faults_are_made_on_purpose_and_counted(faults, code):
    with running(faults=faults) as live:
        assert live("GET", "/api/v1/nodes")[0] == code
        assert b"apiserver_injected_faults_total{" in live("GET", "/metrics")[2]


def test_the_state_of_the_cluster_is_exposed_in_parts_and_counted_as_one_answer():
    with running() as live:
        assert live("POST", PODS_PATH, pod())[0] == 201

        status, headers, body = live("GET", "/metrics/kube-state")
        counted = live("GET", "/metrics")[2]

    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b'kube_pod_status_phase{namespace="default",pod="web",uid="' in body
    assert b'apiserver_request_total{code="200",resource="",verb="GET"} 1.0' in counted
    assert b'apiserver_storage_objects{resource="pods"} 1.0' in counted


@pytest.mark.parametrize("path", ["/metrics", "/metrics/kube-state", "/metrics/cadvisor"])
def test_metrics_are_shown_to_those_who_have_the_token(path):
    with running(tokens=frozenset({"secret"})) as live:
        assert live("GET", path)[0] == 401
        assert live("GET", path, Authorization="Bearer secret")[0] == 200


def test_there_are_no_metrics_at_other_paths():
    with running() as live:
        assert live("GET", "/metrics/slis")[0] == 404


FAULTS_PATH = "/simulator/v1/faults"


def bind(live, name):
    body = {"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}}
    return live("POST", f"{PODS_PATH}/{name}/binding", body)[0]


def is_bound(live, name, **headers):
    return "nodeName" in json.loads(live("GET", f"{PODS_PATH}/{name}", **headers)[2])["spec"]


@pytest.mark.parametrize(
    ("faults", "code", "bound"),
    [
        pytest.param(Faults(p_conflict=1.0), 409, False, id="conflict"),
        pytest.param(Faults(p_answer_lost=1.0, spared_user_agent="good"), 500, True, id="lost"),
    ],
)
def test_bindings_fail_before_or_after_they_are_carried_out(faults, code, bound):
    with running(faults=faults) as live:
        live("POST", PODS_PATH, pod("web"), **{"User-Agent": "good/1"})

        assert bind(live, "web") == code
        assert is_bound(live, "web") is bound


def test_answers_can_be_slow():
    with running(faults=Faults(latency_s=0.05)) as live:
        began_s = time.monotonic()
        assert live("GET", PODS_PATH)[0] == 200
        assert time.monotonic() - began_s >= 0.05


def test_who_is_spared_is_served_well():
    with running(faults=Faults(p_failed=1.0, spared_user_agent="checker")) as live:
        assert live("GET", PODS_PATH, **{"User-Agent": "checker/1"})[0] == 200
        assert live("GET", PODS_PATH, **{"User-Agent": "other"})[0] == 500


def test_faults_are_set_anew_while_it_runs():
    with running() as live:
        before = live("GET", PODS_PATH)[0]
        status, _, body = live("PUT", FAULTS_PATH, {"p_throttled": 1.0, "seed": 7})
        throttled, headers, _ = live("GET", PODS_PATH)
        shown = json.loads(live("GET", FAULTS_PATH)[2])
        live("PUT", FAULTS_PATH, {})

        assert (before, status, throttled) == (200, 200, 429)
        assert headers["retry-after"] == "1"
        assert shown == json.loads(body)
        assert (shown["p_throttled"], shown["p_failed"], shown["seed"]) == (1.0, 0.0, 7)
        assert live("GET", PODS_PATH)[0] == 200


def test_the_same_seed_makes_the_same_faults():
    codes = []
    for _ in range(2):
        with running(faults=Faults(p_failed=0.5, seed=3)) as live:
            codes.append([live("GET", PODS_PATH)[0] for _ in range(20)])

    assert codes[0] == codes[1]
    assert set(codes[0]) == {200, 500}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        pytest.param({"p_failed": 2}, 422, "p_failed", id="no probability"),
        pytest.param({"p_fail": 1}, 422, "p_fail", id="unknown"),
        pytest.param(b"{", 400, "", id="no JSON"),
    ],
)
def test_faults_that_make_no_sense_are_refused(shared, body, status, field):
    answered, headers, problem = shared("PUT", FAULTS_PATH, body)

    assert (answered, headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(problem).get("field", "") == field
    assert shared("DELETE", FAULTS_PATH)[0] == 405


def test_faults_are_set_by_those_who_have_the_token():
    with running(tokens=frozenset({"secret"})) as live:
        assert live("PUT", FAULTS_PATH, {})[0] == 401
        assert live("PUT", FAULTS_PATH, {}, Authorization="Bearer secret")[0] == 200


def test_a_watch_resumes_from_a_version(shared):
    version = json.loads(shared("GET", PODS_PATH)[2])["metadata"]["resourceVersion"]
    shared("POST", PODS_PATH, pod("resumed"))
    shared("DELETE", f"{PODS_PATH}/resumed")

    path = f"{PODS_PATH}?watch=1&resourceVersion={version}&timeoutSeconds=1"
    events = shared.events(f"{path}&fieldSelector=metadata.name%3Dresumed")

    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]


def test_a_forgotten_version_is_an_error_event():
    with running(log_size=2) as live:
        for name in "abcd":
            live("POST", PODS_PATH, pod(name))

        [event] = live.events(f"{PODS_PATH}?watch=1&resourceVersion=8&timeoutSeconds=5")

    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_a_version_that_is_yet_to_come_is_waited_for():
    with running() as live:
        version = json.loads(live("GET", PODS_PATH)[2])["metadata"]["resourceVersion"]
        with live.watching(f"{PODS_PATH}?watch=1&resourceVersion={int(version) + 1}") as response:
            live("POST", PODS_PATH, pod("early"))
            live("POST", PODS_PATH, pod("late"))

            event = json.loads(response.readline())

    assert event["object"]["metadata"]["name"] == "late"


def test_a_slow_watcher_is_cut_off():
    with running(watch_queue_size=0) as live, live.watching(f"{PODS_PATH}?watch=1") as response:
        live("POST", PODS_PATH, pod())

        assert response.read() == b""


def test_a_watch_may_be_dropped():
    with (
        running(faults=Faults(p_watch_dropped=1.0)) as live,
        live.watching(f"{PODS_PATH}?watch=1") as response,
    ):
        live("POST", PODS_PATH, pod())

        assert json.loads(response.read())["type"] == "ADDED"


def test_a_watched_table_names_its_columns_once(shared):
    path = f"{PODS_PATH}?watch=1&timeoutSeconds=1"
    shared("POST", PODS_PATH, pod("t1"))
    shared("POST", PODS_PATH, pod("t2"))

    _, _, body = shared("GET", path, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    tables = [json.loads(line)["object"] for line in body.splitlines()]
    assert [table["columnDefinitions"] is None for table in tables] == [False, True]
