"""The collector's samples and its past, from a real Prometheus server."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from collector.prometheus_past import PrometheusPast
from collector.prometheus_source import PrometheusSource
from collector.samples import Usage
from collector.settings import PrometheusSettings
from collector.sources import SourceError
from collector.windows import ROLLUP_S
from kube.client import Client
from kube.edge.prometheus import PrometheusApi
from kube.edge.settings import Interval
from kube.objects import Node
from tests.builders import make_node, make_pod
from tests.fakes import FakeApiServer
from tests.prometheus import NoPrometheusError, prometheus_server
from tests.simulator_program import serving

pytestmark = pytest.mark.integration

WAIT_S = 60.0
T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, *, until: Callable[[T], object] = bool) -> T:
    deadline_s = time.monotonic() + WAIT_S
    found = look()
    while not until(found):
        assert time.monotonic() < deadline_s, f"not within {WAIT_S} s: {what}; last: {found}"
        time.sleep(0.05)
        found = look()
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pod_using(cpu: str, *, limit: str, name: str) -> str:
    usage = {"cpu": cpu, "memory": "100Mi", "startup_s": 1, "crash_per_hour": 0}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {"simulator.ai-scheduler/usage": json.dumps(usage)},
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "app", "image": "nginx", "resources": {"limits": {"cpu": limit}}}
            ],
        },
    }
    return json.dumps(pod)


class Scraped:
    """A simulated cluster that a Prometheus server scrapes."""

    def __init__(self, cluster: Client, prometheus_url: str, *, start_s: int) -> None:
        self.cluster = cluster
        self.start_s = start_s
        self.settings = PrometheusSettings(url=prometheus_url, rate_window=Interval(60))

    def now_s(self) -> float:
        # The cluster's clock runs fast: what its server said a second ago is half a minute old.
        self.cluster.list_objects("/api/v1/nodes", Node)
        return self.cluster.now_s()

    def fetch(self) -> Usage:
        source = PrometheusSource(
            PrometheusApi(self.settings), settings=self.settings, now_s=self.now_s
        )
        try:
            return source.fetch()
        except SourceError:
            return Usage()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    manifests = tmp_path_factory.mktemp("manifests") / "pods.yaml"
    pods = [pod_using("200m", limit="1", name="calm"), pod_using("2", limit="500m", name="choked")]
    manifests.write_text("\n---\n".join(pods), encoding="utf-8")
    # Prometheus takes nothing that is an hour older than what it has, and it has its own clock.
    start_s = int(time.time() - 45 * 60) // ROLLUP_S * ROLLUP_S
    start = datetime.fromtimestamp(start_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with (
            serving(
                "--nodes=2", "--speed=30", f"--start={start}", f"--manifests={manifests}"
            ) as program,
            prometheus_server(free_port(), scraping=[f"{program.url}/metrics/cadvisor"]) as url,
        ):
            cluster = Client.for_url(program.url, timeout_s=10.0)
            yield Scraped(cluster, url, start_s=start_s)
            cluster.close()
    except NoPrometheusError as error:
        pytest.skip(str(error))


def test_the_default_queries_find_nodes_and_pods_of_what_kubelets_expose(scraped: Scraped):
    usage = wait_for(
        scraped.fetch,
        "samples of pods that have run for a while",
        until=lambda usage: any(pod.cpu_milli > 450 for pod in usage.pods),
    )

    nodes = {node.node: node for node in usage.nodes}
    pods = {pod.name: pod for pod in usage.pods}
    assert usage.n_malformed == 0
    assert nodes.keys() == {"n1", "n2"}
    assert pods.keys() == {"calm", "choked"}
    assert 100 < pods["calm"].cpu_milli < 400
    assert pods["calm"].memory_bytes == pytest.approx(100 * 2**20, rel=0.2)
    assert pods["choked"].cpu_milli < 550
    assert pods["choked"].throttled_ratio > 0.25
    assert (pods["calm"].throttled_ratio or 0.0) < 0.1
    assert pods["calm"].containers_cpu_milli == (("app", pods["calm"].cpu_milli),)


def test_samples_bear_the_clusters_time_and_move_with_it(scraped: Scraped):
    first = wait_for(scraped.fetch, "samples", until=lambda usage: usage.nodes)
    later = wait_for(
        scraped.fetch,
        "newer samples",
        until=lambda usage: usage.nodes and usage.nodes[0].at_s > first.nodes[0].at_s,
    )

    assert 0 <= scraped.now_s() - later.nodes[0].at_s < 900


def test_what_was_scraped_can_be_had_by_windows_later(scraped: Scraped):
    end_s = scraped.start_s + ROLLUP_S
    wait_for(scraped.now_s, "five minutes to pass", until=lambda now_s: now_s > end_s + 30)
    past = PrometheusPast(PrometheusApi(scraped.settings), settings=scraped.settings)

    [(node_window_s, nodes)] = past.nodes(start_s=scraped.start_s, end_s=end_s).items()
    [(pod_window_s, pods)] = past.pods(start_s=scraped.start_s, end_s=end_s).items()

    assert node_window_s == pod_window_s == scraped.start_s
    assert nodes.keys() == {"n1", "n2"}
    assert pods.keys() == {"default/calm", "default/choked"}
    assert 0 < pods["default/choked"][0] < 550
    assert pods["default/calm"][1] == pytest.approx(100 * 2**20, rel=0.2)


# --- the past

STEP_S = 150
"""Between two scrapes of the history that is made here."""
DAY_S = 86_400
WEEK_S = 7 * DAY_S


def day_of(at_s: float) -> int:
    return int(at_s // DAY_S) % 7


def history_of_a_kubelet(*, until_s: float) -> str:
    """A week of one kubelet's cAdvisor, with all the series that are no containers."""
    pod = 'namespace="default",pod="web-1",node="n1"'
    group = "/kubepods.slice/web"
    series = [
        ('id="/",node="n1"', 1000, 2**30),
        (f'id="{group}",{pod},container=""', 400, 2**29),
        (f'id="{group}/a",{pod},container="POD"', 1, 2**20),
        (f'id="{group}/b",{pod},container="app"', 300, 2**28),
        (f'id="{group}/c",{pod},container="proxy"', 100, 2**28),
        ('id="/gone",namespace="default",pod="gone-1",node="n1",container="app"', 50, 2**20),
    ]
    times = range(int(until_s) - WEEK_S - DAY_S, int(until_s), STEP_S)
    lines = []
    for labels, cpu_milli, _ in series:
        total_s = 0.0
        for at_s in times:
            total_s += STEP_S * (day_of(at_s) + 1) * cpu_milli / 1000
            lines.append(
                f'container_cpu_usage_seconds_total{{cpu="total",{labels}}} {total_s} {at_s}'
            )
    for labels, _, memory_bytes in series:
        lines += [
            f"container_memory_working_set_bytes{{{labels}}} {memory_bytes} {at_s}"
            for at_s in times
        ]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def remembering() -> Iterator[str]:
    """The URL of a server that knows the last eight days of one node."""
    try:
        with prometheus_server(
            free_port(), history=history_of_a_kubelet(until_s=time.time())
        ) as url:
            yield url
    except NoPrometheusError as error:
        pytest.skip(str(error))


class Program:
    """The collector's program, against a Prometheus server and a small API server."""

    def __init__(
        self, api: FakeApiServer, *, prometheus_url: str, database_url: str, **settings: str
    ) -> None:
        cluster = {"clusters": [{"name": "c", "cluster": {"server": api.url}}]}
        context = {"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}
        user = {"users": [{"name": "u", "user": {}}], "current-context": "c"}
        self._kubeconfig = json.dumps({**cluster, **context, **user})
        self._port = free_port()
        self._env = {
            "COLLECTOR__DATABASE__URL": database_url,
            "COLLECTOR__METRICS__COLLECTION_INTERVAL": "30s",
            "COLLECTOR__METRICS__SOURCE": "prometheus",
            "COLLECTOR__METRICS__PROMETHEUS__URL": prometheus_url,
            "COLLECTOR__SERVER__PORT": str(self._port),
            **settings,
        }

    @contextmanager
    def running(self, folder: Path) -> Iterator["Program"]:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(self._kubeconfig, encoding="utf-8")
        root = Path(__file__).resolve().parents[2]
        env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(kubeconfig), **self._env}
        command = [sys.executable, "-m", "collector"]
        with subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE) as process:
            self.kill = process.kill
            try:
                yield self
            finally:
                process.terminate()
                _, log = process.communicate(timeout=WAIT_S)
                print(log.decode(errors="replace"))

    def get(self, path: str, **parameters: object) -> Any:
        url = f"http://127.0.0.1:{self._port}{path}"
        answer = requests.get(url, params=parameters, timeout=WAIT_S)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def is_up(self) -> bool:
        url = f"http://127.0.0.1:{self._port}/readyz"
        try:
            return requests.get(url, timeout=WAIT_S).status_code == 200
        except requests.ConnectionError:
            return False


def rollups(url: str) -> dict[tuple[str, int], tuple[float, ...]]:
    """All rollups by name and start."""
    statement = (
        "SELECT name, start_s, n, cpu_mean, memory_mean FROM rollups"
        " JOIN series ON series.id = series_id"
    )
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return {(row[0], row[1]): tuple(row[2:]) for row in connection.execute(text(statement))}


def execute(url: str, statement: str) -> None:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text(statement))


def test_a_new_install_begins_with_seven_days_of_history(remembering: str, tmp_path: Path):
    database_url = f"sqlite:///{tmp_path}/collector.db"
    with FakeApiServer() as api:
        api.put("/api/v1/nodes", make_node("n1"))
        owner = ("StatefulSet", "web")
        api.put("/api/v1/pods", make_pod("web-1", node="n1", owner=owner))
        program = Program(api, prometheus_url=remembering, database_url=database_url)
        week_ago_s = time.time() - WEEK_S

        with program.running(tmp_path):
            wait_for(program.is_up, "the program to serve")
            wait_for(lambda: rollups(database_url), "some of the past")
            program.kill()
        n_before = len(rollups(database_url))
        with program.running(tmp_path):
            wait_for(program.is_up, "the program to serve")
            points = wait_for(
                lambda: program.get("/api/v1/nodes/n1/history", start=week_ago_s + 3600, step="1h")[
                    "points"
                ],
                "seven days of history",
                until=lambda points: len(points) >= 167,
            )
            workload = wait_for(
                lambda: program.get("/api/v1/workloads/default/StatefulSet/web"),
                "what the workload usually uses",
                until=lambda workload: workload["usual_cpu_milli"] is not None,
            )
        first = wait_for(lambda: rollups(database_url), "rollups")

        # A hole, as if the collector had not run for some hours of yesterday.
        hole_s = int(time.time() - DAY_S) // 300 * 300
        bounds = f"start_s >= {hole_s} AND start_s < {hole_s + 3 * 3600}"
        execute(database_url, f"DELETE FROM rollups WHERE {bounds}")
        with program.running(tmp_path):
            wait_for(lambda: rollups(database_url).keys() >= first.keys(), "the hole to be filled")
        second = rollups(database_url)

    same_day = [p for p in points if day_of(p["start_s"]) == day_of(p["start_s"] + 3599)]
    assert len(same_day) > 150
    for point in same_day[1:-1]:
        full_day = day_of(point["start_s"] - 300) == day_of(point["start_s"])
        if full_day:
            expected = 1000 * (day_of(point["start_s"]) + 1)
            assert point["cpu_milli"]["mean"] == pytest.approx(expected, rel=0.02)
        assert point["memory_bytes"]["mean"] == 2**30
        assert point["n_samples"] == 12
    # What was killed in the midst of it was gone on with: nothing is missing, or twice.
    assert 0 < n_before < len(first)
    # Both containers, and none of the groups above them.
    assert 400 <= workload["usual_cpu_milli"] <= 7 * 400
    assert workload["usual_memory_bytes"] == 2**29
    assert workload["n_observations"] == 0
    names = {name for name, _ in first}
    assert names == {"n1", "default/StatefulSet/web"}
    assert {key: second[key] for key in first} == first


def test_while_prometheus_is_silent_that_is_told_and_outcomes_are_judged(
    tmp_path: Path, unused_port: int
):
    with FakeApiServer() as api:
        api.put("/api/v1/nodes", make_node("n1"))
        program = Program(
            api,
            prometheus_url=f"http://127.0.0.1:{unused_port}",
            database_url=f"sqlite:///{tmp_path}/collector.db",
            COLLECTOR__METRICS__COLLECTION_INTERVAL="200ms",
            COLLECTOR__SCORING__OBSERVATION_WINDOW="1s",
        )
        with program.running(tmp_path):
            wait_for(program.is_up, "the program to serve")
            api.put("/api/v1/pods", make_pod("web-1"))
            wait_for(lambda: program.get("/api/v1/pods")["items"], "the waiting pod")
            api.put("/api/v1/pods", make_pod("web-1", node="n1"))
            wait_for(lambda: program.get("/api/v1/placements")["items"], "the placement")
            ready_at = datetime.now(UTC)
            api.put("/api/v1/pods", make_pod("web-1", node="n1", ready_at=ready_at))
            node = wait_for(
                lambda: program.get("/api/v1/nodes")["items"][0],
                "the outcome",
                until=lambda node: node["n_observations"] == 1,
            )
            health = wait_for(
                lambda: program.get("/health"), "the reason", until=lambda h: h["reasons"]
            )

    assert node["n_failed_pods"] == 0
    assert health["status"] == "degraded"
    assert "Prometheus: " in health["reasons"][0]
    assert "does not answer" in health["reasons"][0]
