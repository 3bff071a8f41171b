"""The collector against an API server, over real HTTP at both ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from collector.api import make_app
from collector.archive import Archive
from collector.collecting import Collector
from collector.contract import Placements, Snapshot
from collector.database import open_database
from collector.openapi import OPERATIONS
from collector.settings import CollectorSettings, MetricsSettings, ScoringSettings
from collector.sources import MetricsApi
from collector.store import Store
from kube.client import Client
from kube.config import load_cluster
from kube.edge.serve import Server
from kube.edge.settings import Duration, ServerSettings
from tests.builders import make_container_status, make_node, make_pod
from tests.fakes import FakeApiServer, refusal

pytestmark = pytest.mark.integration

NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
NODE_METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"
POD_METRICS = "/apis/metrics.k8s.io/v1beta1/pods"
WAIT_S = 30.0
WINDOW_S = 4.0
"""Long enough for a pod to be placed and become Ready even on a busy machine."""


def wait_for(look: Callable[[], Any], what: str, *, until: Callable[[Any], Any] = bool) -> Any:
    """Look until what is seen is as wanted; give it."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        found = look()
        if until(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


class World:
    """A cluster whose objects and usage a test changes; its time is the machine's."""

    def __init__(self, api: FakeApiServer) -> None:
        self.api = api
        self._n_samples = 0

    def node(self, name: str = "n1", **fields: Any) -> None:
        self.api.put(NODES, make_node(name, **fields))

    def pod(self, name: str = "web-1", **fields: Any) -> None:
        self.api.put(PODS, make_pod(name, requests={"cpu": "500m", "memory": "1Mi"}, **fields))

    def run(self, name: str = "web-1", **fields: Any) -> None:
        self.pod(name, node="n1", ready_at=datetime.now(UTC), **fields)

    def usage(self, cpu: str = "1", *, pod: str | None = None, age_s: float = 0.0) -> None:
        """Measure anew."""
        at_text = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
        usage = {"cpu": cpu, "memory": "1Mi"}
        self.api.put(
            NODE_METRICS, {"metadata": {"name": "n1"}, "timestamp": at_text, "usage": usage}
        )
        if pod is not None:
            self.api.put(
                POD_METRICS,
                {
                    "metadata": {"name": pod, "namespace": "default"},
                    "timestamp": at_text,
                    "containers": [{"name": "app", "usage": usage}],
                },
            )


class Caller:
    """Asks a collector by HTTP."""

    def __init__(self, url: str, *, collector: Collector | None = None) -> None:
        self.url = url
        self.collector = collector
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, path: str, *, method: str = "GET", **kwargs: Any) -> requests.Response:
        return self._session.request(method, self.url + path, timeout=WAIT_S, **kwargs)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.ask(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def placements(self, since: int = 0) -> Placements:
        return msgspec.convert(self.get("/api/v1/placements", since=since), Placements)

    def node(self, name: str = "n1") -> Any:
        items = self.get("/api/v1/nodes")["items"]
        return next((node for node in items if node["name"] == name), None)

    def metric(self, name: str) -> float:
        for line in self.ask("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0.0


@pytest.fixture
def world() -> Iterator[World]:
    with FakeApiServer() as api:
        world = World(api)
        world.node()
        world.usage()
        yield world


@contextmanager
def running(api: str | Client, url: str, **scoring: float) -> Iterator[Caller]:
    settings = CollectorSettings(
        metrics=MetricsSettings(collection_interval=Duration(0.1)),
        scoring=ScoringSettings(**{key: Duration(value) for key, value in scoring.items()}),
    )
    with ExitStack() as stack:
        database = open_database(url, now_text="now")
        stack.callback(database.close)
        client = Client.for_url(api, timeout_s=5.0) if isinstance(api, str) else api
        stack.callback(client.close)
        collector = Collector(
            client,
            source=MetricsApi(client),
            store=Store(database, first_seq=time.time_ns() // 1_000_000),
            archive=Archive(database, raw_s=6 * 3600.0, keep_s=168 * 3600.0),
            settings=settings,
        )
        stack.enter_context(collector)
        server = Server(make_app(collector), settings=ServerSettings())
        stack.enter_context(server)
        yield Caller(server.url, collector=collector)


@pytest.fixture
def caller(world: World, database_url: str) -> Iterator[Caller]:
    with running(world.api.url, database_url, observation_window=WINDOW_S) as caller:
        wait_until_sampled(caller)
        yield caller


def wait_until_sampled(caller: Caller) -> None:
    wait_for(lambda: caller.ask("/readyz").status_code == 200, "ready")
    wait_for(lambda: caller.node()["usage_cpu_milli"] is not None, "a sample")


def place(world: World, caller: Caller, name: str = "web-1") -> None:
    """Let a pod wait, be seen waiting, and get a node."""
    world.pod(name)
    wait_for(
        lambda: any(pod["name"] == name for pod in caller.get("/api/v1/pods")["items"]), "the pod"
    )
    world.pod(name, node="n1")


def test_tells_nodes_usage_and_pods_as_they_are(world: World, caller: Caller):
    world.run("web-1")
    world.usage("2", pod="web-1")
    wait_for(lambda: caller.node()["usage_cpu_milli"] == 2000, "the new sample")

    metrics = caller.get("/api/v1/metrics")
    [pod] = caller.get("/api/v1/pods", namespace="default", node="n1")["items"]

    assert metrics["nodes"][0]["cpu_usage_ratio"] == 0.5
    assert metrics["nodes"][0]["window"]["n_samples"] >= 1
    assert metrics["nodes"][0]["window"]["cpu_mean_milli"] > 0
    assert metrics["cluster"]["cpu_usage_ratio"] == 0.5
    assert (pod["name"], pod["is_ready"], pod["usage_cpu_milli"]) == ("web-1", True, 2000)
    assert caller.get("/api/v1/pods", namespace="other")["items"] == []
    workload = caller.get("/api/v1/workloads/default/Pod/web-1")
    assert workload["usual_cpu_milli"] == 2000


def test_a_healthy_placement_becomes_a_success(world: World, caller: Caller):
    place(world, caller)
    open_page = wait_for(caller.placements, "a placement", until=lambda page: page.items)
    world.run()

    decided = wait_for(
        lambda: caller.placements(open_page.next_since).items, "the placement's outcome"
    )

    assert open_page.items[0].outcome is None
    assert open_page.items[0].state.node.n_pods == 0
    assert decided[0].pod_uid == open_page.items[0].pod_uid
    assert (decided[0].outcome.success, decided[0].outcome.reason) == (True, "healthy")
    assert wait_for(lambda: caller.node()["n_observations"] == 1, "the history")


def test_a_crash_becomes_a_failure(world: World, caller: Caller):
    place(world, caller)
    world.pod(node="n1", statuses=[make_container_status(restarts=1, waiting="CrashLoopBackOff")])

    decided = wait_for(
        lambda: [p for p in caller.placements().items if p.outcome is not None], "the outcome"
    )

    assert decided[0].outcome.reason == "crashed"
    assert caller.node()["n_restarts"] == 1
    assert caller.node()["failure_rate"] > 0.05
    # A workload never seen is expected to fare like the cluster, whoever asks.
    assert decided[0].state.workload.failure_rate == 0.05
    assert caller.get("/api/v1/snapshot")["prior_failure_rate"] > 0.05


def test_a_snapshot_is_sent_again_only_if_something_changed(world: World, caller: Caller):
    first = caller.ask("/api/v1/snapshot")
    etag = first.headers["ETag"]

    same = caller.ask("/api/v1/snapshot", headers={"If-None-Match": etag})
    world.usage("3")
    changed = wait_for(
        lambda: caller.ask("/api/v1/snapshot", headers={"If-None-Match": etag}),
        "a new version",
        until=lambda answer: answer.status_code == 200,
    )

    before = msgspec.json.decode(first.content, type=Snapshot)
    after = msgspec.json.decode(changed.content, type=Snapshot)
    assert (same.status_code, same.content) == (304, b"")
    assert after.version > before.version
    assert after.at_s >= before.at_s
    assert etag == f'"{before.version}"'


def test_the_past_is_told_step_by_step(world: World, caller: Caller):
    for cpu in ("2", "3", "4"):
        world.usage(cpu)
        wait_for(caller.node, "the sample", until=has_usage(int(cpu) * 1000))

    history = wait_for(
        lambda: caller.get("/api/v1/nodes/n1/history", step="1h"),
        "all samples to be stored",
        until=lambda history: sum(point["n_samples"] for point in history["points"]) == 4,
    )

    assert max(point["cpu_milli"]["max"] for point in history["points"]) == 4000
    assert history["step_s"] == 3600


def test_the_past_of_a_workload_is_told_once_it_is_rolled_up(world: World, caller: Caller):
    world.run("web-1")
    wait_for(
        lambda: any(pod["name"] == "web-1" for pod in caller.get("/api/v1/pods")["items"]),
        "the pod",
    )
    path = "/api/v1/workloads/default/Pod/web-1/history"
    assert caller.get(path)["points"] == []
    world.usage("2", pod="web-1", age_s=1200)
    day_ago_s = time.time() - 86_400

    def points() -> Any:
        caller.collector._maintain()
        return caller.get(path, start=day_ago_s)["points"]

    [point] = wait_for(points, "the sample to be rolled up")

    assert (point["n_samples"], point["cpu_milli"]["mean"]) == (1, 2000.0)


def test_maintenance_rolls_up_the_past_and_deletes_what_is_too_old(
    world: World, caller: Caller, database_url: str
):
    for i, age_s in enumerate((8 * 86_400, 7 * 3600, 1200)):
        world.usage(str(2 + i), age_s=age_s)
        wait_for(caller.node, "the sample", until=has_usage(2000 + 1000 * i))
    wait_for(lambda: count_samples(database_url) == 4, "all samples to be stored")

    caller.collector._maintain()

    day_ago_s = time.time() - 86_400
    points = wait_for(
        lambda: caller.get("/api/v1/nodes/n1/history", start=day_ago_s)["points"],
        "the cluster's clock, which knows whole seconds, to pass the newest sample",
        until=lambda points: len(points) == 3,
    )
    assert [point["cpu_milli"]["max"] for point in points] == [3000, 4000, 1000]
    assert count_samples(database_url) == 2  # raw ones are kept for six hours
    assert caller.metric("collector_expired_rows_total") == 3


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/api/v1/nodes/ghost/history", 404, None),
        ("/api/v1/nodes/n1/history?step=soon", 422, "step"),
        ("/api/v1/workloads/default/Deployment/ghost", 404, None),
        ("/api/v1/workloads/default/Deployment/ghost/history", 404, None),
        ("/api/v1/placements?since=x", 422, "since"),
        ("/api/v1/placements?limit=0", 422, "limit"),
        ("/api/v1/pods?node=" + "x" * 300, 422, "node"),
        ("/api/v1/snapshot?version=1", 422, "version"),
        ("/api/v1/nothing", 404, None),
    ],
)
def test_bad_requests_get_a_problem_that_names_the_field(caller: Caller, path, status, field):
    answer = caller.ask(path)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json().get("field") == field


QUERIES = st.dictionaries(
    st.sampled_from(["start", "end", "step", "since", "limit", "namespace", "node", "x"]),
    st.text(max_size=20)
    | st.sampled_from(["-1", "0", "NaN", "1e400", "inf", "30s", "9" * 30, "2026-01-01T00:00:00Z"]),
    max_size=3,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    path=st.sampled_from([operation.path for operation in OPERATIONS]),
    name=st.sampled_from(["n1", "default", "ghost"]) | st.text(max_size=20),
    query=QUERIES,
    body=st.binary(max_size=50),
)
def test_no_request_makes_it_fail(caller: Caller, path, name, query, body):
    part = quote(name, safe="")

    answer = caller.ask(path.format(name=part, namespace=part, kind=part), params=query, data=body)

    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_database_out_of_service_is_a_503_and_does_not_stop_the_present(
    world: World, caller: Caller, database_url: str
):
    run_sql(database_url, "DROP TABLE placements")

    answer = caller.ask("/api/v1/placements")
    place(world, caller)
    # While it is being written, news counts as held back, too.
    wait_for(lambda: caller.metric("collector_store_errors_total") > 0, "a write to fail")

    assert (answer.status_code, answer.json()["title"]) == (503, "Out of service")
    assert caller.get("/health")["n_pending_writes"] > 0
    assert caller.get("/health")["status"] == "degraded"
    assert wait_for(lambda: caller.node()["n_pods"] == 1, "the present to go on")


def test_only_get_is_allowed_and_large_bodies_are_refused(caller: Caller):
    post = caller.ask("/api/v1/nodes", method="POST")
    large = caller.ask("/api/v1/nodes", data=b"x" * 10_000_000)

    assert (post.status_code, post.json()["status"]) == (405, 405)
    assert "GET" in post.headers["Allow"]
    assert (large.status_code, large.json()["status"]) == (413, 413)
    assert caller.ask("/healthz").text == "ok"


def test_every_operation_described_exists_and_every_path_is_described(world: World, caller: Caller):
    world.run("web-1")
    world.usage(pod="web-1")
    known = {"name": "n1", "namespace": "default", "kind": "Pod"}
    wait_for(lambda: len(caller.get("/api/v1/pods")["items"]) == 1, "the pod")

    for operation in OPERATIONS:
        path = operation.path.format(**known).replace("Pod/n1", "Pod/web-1")
        answer = caller.ask(path)
        assert answer.status_code == 200, path
        if operation.answer is not None:
            msgspec.json.decode(answer.content, type=operation.answer)

    served = {
        rule.rule.replace("<", "{").replace(">", "}")
        for rule in make_app(caller.collector).url_map.iter_rules()
    }
    assert set(caller.get("/openapi.json")["paths"]) == served


def test_says_before_the_first_list_that_nothing_is_known_yet(database_url: str, unused_port: int):
    with running(f"http://127.0.0.1:{unused_port}", database_url) as caller:
        health = caller.get("/health")

        assert caller.ask("/readyz").status_code == 503
        assert caller.ask("/api/v1/nodes").status_code == 503
        assert caller.ask("/api/v1/snapshot").status_code == 503
        assert caller.ask("/api/v1/nodes/n1/history").status_code == 503
        assert caller.placements().items == []
        assert health["status"] == "starting"
        assert health["reasons"][0] == "the API server has not answered yet"


def test_an_outage_leaves_the_last_answer_standing_and_is_told(world: World, caller: Caller):
    place(world, caller)
    wait_for(caller.placements, "the placement", until=lambda page: page.items)
    world.run()
    wait_for(
        lambda: caller.get("/api/v1/pods")["items"][0], "Ready", until=lambda pod: pod["is_ready"]
    )
    world.api.stop()

    health = wait_for(
        lambda: caller.get("/health"), "degraded", until=lambda h: h["status"] == "degraded"
    )
    first = caller.ask("/api/v1/snapshot")
    wait_for(lambda: caller.get("/health")["at_s"] > health["at_s"] + WINDOW_S, "the window to end")
    second = caller.ask("/api/v1/snapshot")

    assert "no samples" in health["reasons"][0]
    assert second.content == first.content
    # Nobody can tell whether the pod is still healthy.
    assert caller.get("/health")["n_open_placements"] == 1

    world.api.restart()
    world.run("later")
    world.usage("3")
    wait_for(lambda: caller.get("/health")["status"] == "ok", "recovery")
    wait_for(caller.node, "the new sample", until=has_usage(3000))
    wait_for(lambda: caller.node()["n_pods"] == 2, "the new pod")
    wait_for(lambda: caller.get("/health")["n_open_placements"] == 0, "the outcome")


def test_a_cluster_without_metrics_is_watched_all_the_same(world: World, database_url: str):
    world.api.fail_next(refusal(404, "no such API"), path="/apis/metrics.k8s.io", times=10_000)
    with running(world.api.url, database_url, observation_window=WINDOW_S) as caller:
        wait_for(lambda: caller.ask("/readyz").status_code == 200, "ready")
        place(world, caller)
        world.run()

        wait_for(lambda: caller.node()["n_observations"] == 1, "the outcome")
        assert caller.get("/health")["status"] == "degraded"


def test_a_malformed_sample_does_not_spoil_the_others(world: World, caller: Caller):
    world.node("n2")
    world.api.put(
        NODE_METRICS,
        {
            "metadata": {"name": "n2"},
            "timestamp": datetime.now(UTC).isoformat(),
            "usage": {"cpu": "lots", "memory": "-1"},
        },
    )
    world.usage("2")

    wait_for(lambda: caller.node()["usage_cpu_milli"] == 2000, "the good sample")
    skipped = 'collector_skipped_samples_total{reason="malformed"}'
    wait_for(lambda: caller.metric(skipped) > 0, "the bad one to be counted")
    assert caller.node("n2")["usage_cpu_milli"] is None


def test_goes_on_after_a_restart_where_it_was(world: World, database_url: str):
    with running(world.api.url, database_url, observation_window=600.0) as caller:
        wait_until_sampled(caller)
        place(world, caller)
        [placement] = wait_for(lambda: caller.placements().items, "the placement")
        version = caller.get("/api/v1/snapshot")["version"]

    world.run()
    with running(world.api.url, database_url, observation_window=0.5) as caller:
        wait_until_sampled(caller)
        [decided] = wait_for(
            lambda: caller.placements(placement.id).items, "the outcome of the earlier placement"
        )

        assert decided.pod_uid == placement.pod_uid
        assert decided.outcome.success
        assert caller.get("/api/v1/snapshot")["version"] > version


def test_follows_pods_on_a_simulated_cluster_that_is_faster_than_we(tmp_path: Path):
    kubeconfig = tmp_path / "kubeconfig"
    options = ["--port=0", "--nodes=2", "--speed=60", f"--write-kubeconfig={kubeconfig}"]
    command = [sys.executable, "-m", "scheduler.simulator", "serve", *options]
    root, quiet = Path(__file__).parents[2], subprocess.DEVNULL
    with subprocess.Popen(command, cwd=root, stdout=quiet, stderr=quiet) as simulator:
        try:
            wait_for(kubeconfig.exists, "the simulator")
            cluster = load_cluster(kubeconfig=str(kubeconfig), env={})
            url = f"sqlite:///{tmp_path}/collector.db"
            with Client(cluster) as client, running(client, url, observation_window=60) as caller:
                follow_a_pod(client, caller)
        finally:
            simulator.kill()


def follow_a_pod(client: Client, caller: Caller) -> None:
    wait_for(lambda: is_up(caller), "the collector to serve")
    container = {"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "100m"}}}
    pod = {"metadata": {"name": "web-1"}, "spec": {"containers": [container]}}
    pods = f"{PODS.removesuffix('pods')}namespaces/default/pods"
    node = caller.get("/api/v1/nodes")["items"][0]["name"]
    client.post(pods, body=json.dumps(pod).encode())
    wait_for(lambda: caller.get("/api/v1/pods")["items"], "the pod")
    binding = {"metadata": {"name": "web-1"}, "target": {"kind": "Node", "name": node}}
    client.post(f"{pods}/web-1/binding", body=json.dumps(binding).encode())

    [placement] = wait_for(
        lambda: caller.placements().items,
        "the outcome",
        until=lambda items: items and items[0].outcome is not None,
    )

    assert placement.outcome.decided_at_s >= placement.placed_at_s
    assert placement.state.node.name == node
    sampled_at_s = placement.state.node.sampled_at_s
    assert sampled_at_s is None or sampled_at_s <= placement.placed_at_s


# The program itself.


@contextmanager
def program(
    world: World, url: str, *, folder: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    kubeconfig = folder / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": world.api.url}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {}}
    kubeconfig.write_text(
        json.dumps(
            {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
        )
    )
    env = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "COLLECTOR__SERVER__PORT": str(port),
        "COLLECTOR__DATABASE__URL": url,
        "COLLECTOR__METRICS__COLLECTION_INTERVAL": "200ms",
    }
    command = [sys.executable, "-m", "collector"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def is_up(caller: Caller) -> bool:
    try:
        return caller.ask("/readyz").status_code == 200
    except requests.ConnectionError:
        return False


def test_a_kill_costs_at_most_one_sampling_interval(
    world: World, database_url: str, tmp_path: Path, unused_port: int
):
    caller = Caller(f"http://127.0.0.1:{unused_port}")
    known: set[str] = set()
    for i in range(3):
        with program(world, database_url, folder=tmp_path, port=unused_port) as process:
            wait_for(lambda: is_up(caller), "the program to serve")
            # All that an earlier run stored is there, although it was killed.
            assert uids(caller) == known
            n_stored = count_samples(database_url)
            place(world, caller, f"web-{i}")
            known = wait_for(lambda: uids(caller), "the placement", until=known.__lt__)
            for cpu in range(4 * i + 2, 4 * i + 5):  # none seen before, which a look may miss
                world.usage(str(cpu))
                wait_for(caller.node, "a sample", until=has_usage(cpu * 1000))
            os.kill(process.pid, signal.SIGKILL)
            process.wait(WAIT_S)
        assert count_samples(database_url) - n_stored >= 2  # of the three, the last may be lost


def uids(caller: Caller) -> set[str]:
    return {placement.pod_uid for placement in caller.placements().items}


def has_usage(cpu_milli: int) -> Callable[[Any], bool]:
    return lambda node: node["usage_cpu_milli"] == cpu_milli


def count_samples(url: str) -> int:
    if url.startswith("sqlite"):
        assert run_sql(url, "PRAGMA integrity_check") == "ok"
    n_samples: int = run_sql(url, "SELECT count(*) FROM samples")
    return n_samples


def run_sql(url: str, statement: str) -> Any:
    """Do something to the database behind the collector's back; give the first value, if any."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        result = connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def test_the_program_ends_when_told_to(world: World, tmp_path: Path, unused_port: int):
    caller = Caller(f"http://127.0.0.1:{unused_port}")
    url = f"sqlite:///{tmp_path}/collector.db"
    with program(world, url, folder=tmp_path, port=unused_port) as process:
        wait_for(lambda: is_up(caller), "the program to serve")

        process.terminate()

        assert process.wait(WAIT_S) == 0


@pytest.mark.parametrize(
    ("yaml", "env", "message"),
    [
        ("server:\n  prt: 1\n", {}, "collector.yaml:2: server.prt: unknown key"),
        ("", {"KUBECONFIG": "/nowhere/kubeconfig"}, "/nowhere/kubeconfig: no such file"),
        ("database: {url: mysql://x/y}\n", {}, "database.url: mysql"),
    ],
)
def test_a_wrong_configuration_ends_the_program_with_its_name(
    world: World, tmp_path: Path, capfd, monkeypatch, yaml, env, message
):
    from collector.__main__ import main

    config = tmp_path / "collector.yaml"
    config.write_text(yaml)
    kubeconfig = tmp_path / "kubeconfig"
    cluster = f"clusters: [{{name: c, cluster: {{server: '{world.api.url}'}}}}]"
    context = "contexts: [{name: c, context: {cluster: c, user: u}}]"
    kubeconfig.write_text(f"{cluster}\n{context}\nusers: [{{name: u, user: {{}}}}]\n")
    kubeconfig.write_text(kubeconfig.read_text() + "current-context: c\n")

    code = main(["--config", str(config)], env={"KUBECONFIG": str(kubeconfig), **env})

    assert code == 2
    assert message in capfd.readouterr().err
