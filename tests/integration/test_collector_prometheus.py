"""The collector's samples and its past, from a real Prometheus server."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from collector.prometheus import PrometheusApi
from collector.prometheus_source import PrometheusSource
from collector.samples import Usage
from collector.settings import PrometheusSettings
from collector.sources import SourceError
from kube.client import Client
from kube.edge.settings import Interval
from kube.objects import Node
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

    def __init__(self, cluster: Client, prometheus_url: str) -> None:
        self.cluster = cluster
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
    start = (datetime.now(UTC) - timedelta(minutes=45)).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        with (
            serving(
                "--nodes=2", "--speed=30", f"--start={start}", f"--manifests={manifests}"
            ) as program,
            prometheus_server(free_port(), scraping=[f"{program.url}/metrics/cadvisor"]) as url,
        ):
            cluster = Client.for_url(program.url, timeout_s=10.0)
            yield Scraped(cluster, url)
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

    assert 0 <= scraped.now_s() - later.nodes[0].at_s < 120
