"""Experiments take short cuts past networks and threads: they must say what the programs say."""

import asyncio
import hashlib
import threading
from contextlib import contextmanager
from dataclasses import fields
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import requests
import uvicorn

from kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH, Client
from kube.edge.settings import Duration
from kube.errors import ConflictError, KubeError, NotFoundError, RejectedError
from kube.objects import Node
from predictor.artefact import encode
from predictor.program import Program
from predictor.settings import (
    CollectorSettings,
    DataSettings,
    OnlineLearningSettings,
    PredictorServer,
    PredictorSettings,
)
from scheduler.cluster.predictions import read_answer
from scheduler.model import Shape
from scheduler.simulator.apiserver.app import make_app
from scheduler.simulator.apiserver.settings import ApiServerSettings
from scheduler.simulator.cluster import Cluster
from scheduler.simulator.defaults import bootstrap_objects
from scheduler.simulator.door import LocalClient
from scheduler.simulator.experiments.forecaster import Forecaster
from scheduler.simulator.experiments.observer import Observer
from scheduler.simulator.experiments.policies import policy_of
from scheduler.simulator.experiments.run import Run
from scheduler.simulator.experiments.site import Site
from scheduler.simulator.store import Store
from tests.api_world import Clock, pod
from tests.predictor_world import (
    FakeCollector,
    learnable_placements,
    make_placement,
    make_workload,
)
from tests.simulator_world import make_sim_node
from tests.unit.simulator.experiments.worlds import (
    make_group,
    make_job,
    make_scenario,
    make_service,
)

pytestmark = pytest.mark.integration

PODS = "/api/v1/namespaces/default/pods"
WEB = {"name": "web", "namespace": "default"}


# --- the door


def make_cluster():
    """A cluster of three nodes; each is like the other to the last byte."""
    clock = Clock()
    store = Store(now_s=clock, seed=1)
    for resource, obj in bootstrap_objects():
        store.create(resource, obj)
    cluster = Cluster(store, seed=1)
    for name in ("n1", "n2", "n3"):
        cluster.add_node(make_sim_node(name))
    for _ in range(9):
        clock.now_s += 10.0
        cluster.step(clock.now_s)
    app = make_app(store, settings=ApiServerSettings(), metrics_source=cluster.metrics)
    return app, clock


@contextmanager
def over_http(app):
    """A client that speaks real HTTP with a server of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, date_header=False))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with Client.for_url(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        app.close()
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


@pytest.fixture
def clients():
    """One through the door and one over HTTP, each of a cluster of its own, alike to the byte."""
    near, clock = make_cluster()
    far, _ = make_cluster()
    with over_http(far) as client:
        yield LocalClient(near.dispatcher, now_s=clock), client


def told(client, act):
    """What an act gives: the bytes, or the error with all that it says."""
    try:
        return act(client)
    except KubeError as error:
        return type(error), str(error), vars(error)


def body(obj):
    return msgspec.json.encode(obj)


def create_web(client):
    return client.post(PODS, body=body(pod("web")))


def bind_web(client, node="n1"):
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": WEB, "target": target}
    return client.post(f"{PODS}/web/binding", body=body(binding))


ACTS = {
    "list nodes": lambda c: c.get("/api/v1/nodes"),
    "list a page": lambda c: c.get("/api/v1/nodes", params={"limit": 2}),
    "select": lambda c: c.get("/api/v1/nodes", params={"fieldSelector": "metadata.name=n2"}),
    "a node": lambda c: c.get("/api/v1/nodes/n1"),
    "metrics": lambda c: c.get("/apis/metrics.k8s.io/v1beta1/nodes"),
    "create": create_web,
    "create again": create_web,
    "create nonsense": lambda c: c.post(PODS, body=b"{"),
    "create what may not be": lambda c: c.post(PODS, body=body(pod("Web!"))),
    "create without a name": lambda c: c.post(PODS, body=body({"kind": "Pod"})),
    "bind": bind_web,
    "bind again": lambda c: bind_web(c, "n2"),
    "bind to no node": lambda c: bind_web(c, "n9"),
    "merge": lambda c: c.patch(
        f"{PODS}/web", body=b'{"metadata":{"labels":{"a":"b"}}}', content_type=MERGE_PATCH
    ),
    "merge strategically": lambda c: c.patch(
        f"{PODS}/web/status",
        body=b'{"status":{"conditions":[{"type":"DisruptionTarget","status":"True"}]}}',
        content_type=STRATEGIC_MERGE_PATCH,
    ),
    "merge a stale version": lambda c: c.patch(
        f"{PODS}/web", body=b'{"metadata":{"resourceVersion":"1"}}', content_type=MERGE_PATCH
    ),
    "patch in an unknown way": lambda c: c.patch(f"{PODS}/web", body=b"{}", content_type="a/b"),
    "replace": lambda c: c.put(f"{PODS}/web", body=c.get(f"{PODS}/web")),
    "replace nothing": lambda c: c.put(f"{PODS}/other", body=body(pod("other"))),
    "read": lambda c: c.get(f"{PODS}/web"),
    "read nothing": lambda c: c.get(f"{PODS}/other"),
    "no such kind": lambda c: c.get("/api/v1/wonders"),
    "no such verb": lambda c: c.put("/api/v1/nodes", body=b"{}"),
    "evict": lambda c: c.post(
        f"{PODS}/web/eviction",
        body=body({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": WEB}),
    ),
    "delete another": lambda c: c.delete(
        f"{PODS}/web", body=body({"preconditions": {"uid": "someone else's"}})
    ),
    "delete": lambda c: c.delete(f"{PODS}/web", params={"gracePeriodSeconds": 0}),
    "delete again": lambda c: c.delete(f"{PODS}/web"),
    "all pods": lambda c: c.get(PODS),
    "events": lambda c: c.get("/apis/events.k8s.io/v1/events"),
}


def test_the_door_gives_the_bytes_and_errors_that_http_gives(clients):
    near, far = clients
    said = {what: (told(near, act), told(far, act)) for what, act in ACTS.items()}

    assert {what: each[0] for what, each in said.items()} == {
        what: each[1] for what, each in said.items()
    }
    kinds = {what: each[0] for what, each in said.items() if isinstance(each[0], tuple)}
    assert kinds["create again"][0] is ConflictError
    assert kinds["bind again"][0] is ConflictError
    assert kinds["delete another"][0] is ConflictError
    assert kinds["read nothing"][0] is NotFoundError
    assert kinds["no such kind"][0] is NotFoundError
    assert kinds["create nonsense"][0] is RejectedError
    assert kinds["create what may not be"][2]["code"] == 422
    assert kinds["patch in an unknown way"][2]["code"] == 415
    assert {"create", "bind", "merge", "merge strategically", "delete"}.isdisjoint(kinds)


def test_lists_come_page_by_page_through_both(clients):
    pages = [client.list_objects("/api/v1/nodes", Node, page_size=2) for client in clients]

    assert [node.metadata.name for node in pages[0][0]] == ["n1", "n2", "n3"]
    assert pages[0] == pages[1]


def test_the_time_is_the_clusters_through_both(clients):
    near, far = clients
    far.get("/api/v1/nodes/n1")

    assert far.now_s() == pytest.approx(near.now_s(), abs=60.0)


def test_a_watch_does_not_fit_through_the_door(clients):
    with pytest.raises(TypeError, match="streams do not fit"):
        clients[0].get("/api/v1/nodes", params={"watch": "true"})


# --- the predictor


@pytest.fixture(scope="module")
def observer():
    """A collector's memory of an hour in which much was placed, of workloads that fare unlike."""
    scenario = make_scenario(
        make_group(count=3),
        services=(make_service(kinds=3, replicas=3.0),),
        jobs=(make_job(),),
        warm_up_s=3600.0,
    )
    site = Site(scenario, seed=3)
    seen = Observer(scenario.observation, start_s=site.start_s)
    Run(site, observer=seen, policy=policy_of("random")).advance(site.measured_from_s)
    snapshot = seen.snapshot(now_s=site.now_s)
    workloads = [
        msgspec.structs.replace(workload, failure_rate=0.1 * (1 + number))
        for number, workload in enumerate(snapshot.workloads)
    ]
    snapshot = msgspec.structs.replace(snapshot, workloads=workloads)
    return SimpleNamespace(now_s=site.now_s, snapshot=snapshot)


class Known:
    """A collector's knowledge: that snapshot, and placements to learn from."""

    def __init__(self, snapshot, *, placements=()):
        self._snapshot = snapshot
        self.placements = {placement.pod_uid: placement for placement in placements}

    def snapshot(self, *, now_s):
        return self._snapshot


@contextmanager
def predictor(snapshot, *, directory):
    """A real predictor whose collector serves that snapshot."""
    with FakeCollector(snapshot=snapshot) as collector:
        settings = PredictorSettings(
            server=PredictorServer(port=0),
            collector=CollectorSettings(url=collector.url),
            online_learning=OnlineLearningSettings(poll_interval=Duration(3600)),
            data=DataSettings(directory=str(directory)),
        )
        with Program(settings) as program:
            yield program


def ask(program, shapes):
    """Ask as a scheduler does."""
    asked = [
        {
            "cpu_milli": shape.cpu_milli,
            "memory_bytes": shape.memory_bytes,
            "pod_namespace": shape.namespace,
            "workload": shape.workload,
        }
        for shape in shapes
    ]
    with requests.Session() as session:
        session.trust_env = False
        url = f"{program.server.url}/predict/batch"
        answer = session.post(url, json={"shapes": asked}, timeout=30)
    assert answer.status_code == 200, answer.text
    return read_answer(answer.content, shapes=shapes)


def comparable(answer):
    """All of an answer but the names under which it can be asked back."""
    values = {each.name: getattr(answer, each.name) for each in fields(answer)}
    del values["prediction_ids"]
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def shapes_of(snapshot):
    """Pods of workloads that are known, and of one that is not."""
    known = [
        Shape(cpu_milli=250, memory_bytes=2**29, namespace="default", workload=workload.key)
        for workload in snapshot.workloads[:5]
    ]
    stranger = Shape(cpu_milli=3000, memory_bytes=2**32, namespace="default", workload="")
    return (*known, stranger)


def test_without_a_model_an_experiment_answers_as_a_predictor_does(observer, tmp_path):
    snapshot, now_s = observer.snapshot, observer.now_s
    shapes = shapes_of(snapshot)
    local = Forecaster(Known(snapshot), now_s=now_s, retrain_every_s=None)
    with predictor(snapshot, directory=tmp_path) as program:
        remote = ask(program, shapes)

    said = local.answer(shapes, now_s=now_s).answer
    assert said.algorithm == "enhanced_scoring"
    assert len(said.nodes) == 3
    assert [usual is not None for usual in said.usual] == [True] * 5 + [False]
    assert comparable(said) == comparable(remote)


def test_with_a_model_an_experiment_answers_as_a_predictor_with_that_model_does(observer, tmp_path):
    snapshot, now_s = observer.snapshot, observer.now_s
    shapes = shapes_of(snapshot)
    known = Known(snapshot, placements=placements_to_learn_from())
    local = Forecaster(known, now_s=learnt_at_s(known), retrain_every_s=3600.0)
    model, record = local._in_service
    content = encode(model.forest, calibration=model.calibration)
    record = msgspec.structs.replace(record, sha256=hashlib.sha256(content).hexdigest())
    with predictor(snapshot, directory=tmp_path) as program:
        program.registry.add(content, record=record)
        remote = ask(program, shapes)

    said = local.answer(shapes, now_s=now_s).answer
    assert (said.algorithm, said.model_version) == ("ml_prediction", 1)
    assert len(np.unique(said.p_success, axis=0)) > 1  # workloads are told apart
    assert comparable(said) == comparable(remote)


def placements_to_learn_from():
    """Placements that fail on nodes that are nearly full, and of workloads that often fail."""
    return [
        placement
        if number % 2
        else make_placement(
            number + 1,
            success=number % 8 < 4,
            workload=make_workload(failure_rate=0.1 if number % 8 < 4 else 0.6),
        )
        for number, placement in enumerate(learnable_placements(300))
    ]


def learnt_at_s(known):
    """A time at which all outcomes are known."""
    return 600.0 + max(placement.placed_at_s for placement in known.placements.values())
