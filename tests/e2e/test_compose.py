"""The compose stack, for real: built, started, healthy, checked, and pointed at another cluster."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.tls_front import make_certificates, tls_front

ROOT = Path(__file__).resolve().parents[2]
BASE = ["docker-compose", "-p", "ai-scheduler-test", "-f", "docker-compose.yml"]
REAL = [*BASE, "-f", "config/compose/kubeconfig.yml"]
SERVICES = ("collector", "predictor", "scheduler")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        shutil.which("docker-compose") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0,
        reason="no container engine here",
    ),
]


def run(command, **env):
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, check=False, text=True, capture_output=True
    )
    assert result.returncode == 0, f"{command}: {result.stderr[-3000:]}"
    return result.stdout


def health(compose, services, **env):
    states = {}
    for service in services:
        [container] = run([*compose, "ps", "-q", service], **env).split() or [""]
        if not container:
            return {service: "missing"}
        state = json.loads(run(["docker", "inspect", container]))[0]["State"]
        states[service] = state.get("Health", {}).get("Status", state["Status"])
    return states


def wait_healthy(compose, services, **env):
    deadline = time.monotonic() + 150
    while set((states := health(compose, services, **env)).values()) != {"healthy"}:
        if time.monotonic() > deadline:
            logs = run([*compose, "logs", "--tail=30", "--no-color"], **env)
            pytest.fail(f"not healthy: {states}\n{logs}")
        time.sleep(1)


@pytest.fixture
def compose():
    started = []

    def up(command, **env):
        started.append((command, env))
        run([*command, "up", "-d", "--build"], **env)
        return command

    yield up
    for command, env in started:
        run([*command, "down", "-v", "--remove-orphans", "-t", "3"], **env)


def test_the_stack_becomes_healthy_and_places_pods(compose):
    stack = compose(BASE)
    wait_healthy(stack, ("cluster", *SERVICES))
    token = run([*stack, "exec", "-T", "cluster", "cat", "/cluster/token"]).strip()

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "system", "tests/e2e/test_running_stack.py"],
        cwd=ROOT,
        env={**os.environ, "CLUSTER_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout


def write_kubeconfig(folder, *, server):
    """As kubectl's users have it: readable by its owner alone, certificates in files beside it."""
    path = folder / "kubeconfig"
    user = {"client-certificate": str(folder / "client.crt"), "client-key": "client.key"}
    config = {
        "current-context": "c",
        "clusters": [
            {"name": "c", "cluster": {"server": server, "certificate-authority": "ca.crt"}}
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path


def test_the_same_services_serve_a_cluster_on_the_hosts_loopback(compose, tmp_path, unused_port):
    pods = f"http://127.0.0.1:{unused_port}/api/v1/namespaces/default/pods"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "far-away"},
        "spec": {
            "schedulerName": "ai-scheduler",
            "containers": [{"name": "app", "image": "nginx:1.27"}],
        },
    }
    make_certificates(tmp_path)
    command = [sys.executable, "-m", "scheduler.simulator", "serve", f"--port={unused_port}"]
    with subprocess.Popen(command, cwd=ROOT) as simulator:
        try:
            with tls_front(tmp_path, plain_port=unused_port) as tls_port:
                kubeconfig = write_kubeconfig(tmp_path, server=f"https://127.0.0.1:{tls_port}")
                env = {"KUBECONFIG": str(kubeconfig)}
                stack = compose(REAL, **env)
                wait_healthy(stack, SERVICES, **env)
                requests.post(pods, json=pod, timeout=5).raise_for_status()
                deadline = time.monotonic() + 60
                node = None
                while node is None and time.monotonic() < deadline:
                    found = requests.get(f"{pods}/far-away", timeout=5).json()
                    node = found["spec"].get("nodeName")
                    time.sleep(0.5)
        finally:
            simulator.terminate()

    assert node is not None
