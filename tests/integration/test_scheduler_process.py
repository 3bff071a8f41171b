"""``python -m scheduler`` as an operator runs it: with a kubeconfig, and nothing else."""

import os
import signal
import subprocess
import sys
import time
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
