"""``python -m scheduler`` as an operator runs it: with a kubeconfig, and nothing else."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
import yaml

from tests.builders import make_node, make_pod
from tests.fakes import FakeApiServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server():
    with FakeApiServer() as running:
        running.put("/api/v1/nodes", make_node("n1"))
        yield running


def write_kubeconfig(path, server):
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": server.url}}],
                "users": [{"name": "test", "user": {}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }
        )
    )
    return path


def answers(url):
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def wait_until(condition, *, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.02)


def test_schedules_with_a_kubeconfig_alone_and_stops_when_told(tmp_path, server, unused_port):
    server.put("/api/v1/pods", make_pod("web-1"))
    env = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(write_kubeconfig(tmp_path / "kubeconfig", server)),
        "SCHEDULER__SERVER__PORT": str(unused_port),
    }
    url = f"http://127.0.0.1:{unused_port}"
    with subprocess.Popen([sys.executable, "-m", "scheduler"], env=env, cwd=ROOT) as process:
        try:
            wait_until(lambda: answers(f"{url}/readyz"))
            wait_until(lambda: answers(f"{url}/api/v1/decisions/default/web-1"))
            decision = requests.get(f"{url}/api/v1/decisions/default/web-1", timeout=5).json()
            metrics = requests.get(f"{url}/metrics", timeout=5).text
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)

    assert code == 0
    assert decision["node"] == "n1"
    assert 'scheduler_pending_pods{queue="active"}' in metrics
    wait_until(lambda: server.objects("/api/v1/pods")["default/web-1"]["spec"].get("nodeName"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"
LOAD_AWARE = ROOT / "config" / "profiles" / "load-aware.yaml"
BY_LOAD = {"LoadVariationRiskBalancing", "LowRiskOverCommitment"}


def measure(server, **cores):
    at = datetime.now(UTC).isoformat()
    for name, cpu in cores.items():
        usage = {"cpu": str(cpu), "memory": "1Gi"}
        server.put(METRICS, {"metadata": {"name": name}, "timestamp": at, "usage": usage})


@contextmanager
def program(name, *arguments, **env):
    environment = {"PATH": os.environ["PATH"], **env}
    command = [sys.executable, "-m", name, *arguments]
    with subprocess.Popen(command, env=environment, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def test_goes_by_the_load_that_a_collector_tells(tmp_path, server):
    """The programs as they are, with the profile for it: requests say n2, for usage says n1."""
    server.put("/api/v1/nodes", make_node("n2"))
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    idle = make_pod("idle", node="n1", requests={"cpu": "3"}, started_at=an_hour_ago)
    server.put("/api/v1/pods", idle)
    measure(server, n1=0.1, n2=3.5)
    collector, scheduler = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    kubeconfig = str(write_kubeconfig(tmp_path / "kubeconfig", server))
    settings = tmp_path / "scheduler.yaml"
    settings.write_text(f"profile_path: {LOAD_AWARE}")
    numbers = itertools.count()

    def decide():
        name = f"web-{next(numbers)}"
        server.put("/api/v1/pods", make_pod(name, requests={"cpu": "100m", "memory": "1Mi"}))
        url = f"{scheduler}/api/v1/decisions/default/{name}"
        wait_until(lambda: answers(url))
        return requests.get(url, timeout=5).json()

    def by_load(decision):
        return {n["node"]: sum(n["plugins"].get(p, 0) for p in BY_LOAD) for n in decision["scores"]}

    with program(
        "collector",
        KUBECONFIG=kubeconfig,
        COLLECTOR__SERVER__PORT=collector.rsplit(":", 1)[1],
        COLLECTOR__DATABASE__URL=f"sqlite:///{tmp_path / 'collector.db'}",
        COLLECTOR__METRICS__COLLECTION_INTERVAL="200ms",
    ):
        wait_until(lambda: answers(f"{collector}/readyz"))
        with program(
            "scheduler",
            "--config",
            str(settings),
            KUBECONFIG=kubeconfig,
            SCHEDULER__SERVER__PORT=scheduler.rsplit(":", 1)[1],
            SCHEDULER__USAGE__URL=collector,
            SCHEDULER__USAGE__INTERVAL="100ms",
        ):
            wait_until(lambda: answers(f"{scheduler}/readyz"))
            decision = decide()
            deadline_s = time.monotonic() + 60.0
            while not all(by_load(decision).values()):
                assert time.monotonic() < deadline_s, f"usage is not known: {decision}"
                decision = decide()

    assert decision["node"] == "n1"
    assert by_load(decision)["n1"] > by_load(decision)["n2"]
