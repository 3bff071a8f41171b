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
from tests.networks import write_network

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


def learned_profile(folder):
    """A profile of which one plugin goes by a network in *folder*."""
    shipped = yaml.safe_load((ROOT / "config" / "profiles" / "learned.yaml").read_text())
    network = folder / "policy.onnx"
    shipped["profiles"][0]["pluginConfig"][0]["args"]["path"] = str(network)
    profile, settings = folder / "learned.yaml", folder / "scheduler.yaml"
    profile.write_text(yaml.safe_dump(shipped))
    settings.write_text(f"profile_path: {profile}")
    return settings, network


def test_without_a_learned_policys_network_it_schedules_and_says_so(tmp_path, server, unused_port):
    settings, network = learned_profile(tmp_path)
    server.put("/api/v1/pods", make_pod("web-1"))
    env = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(write_kubeconfig(tmp_path / "kubeconfig", server)),
        "SCHEDULER__SERVER__PORT": str(unused_port),
    }
    command = [sys.executable, "-m", "scheduler", "--config", str(settings)]
    log = tmp_path / "log"

    with (
        log.open("w") as written,
        subprocess.Popen(command, env=env, cwd=ROOT, stderr=written, stdout=written) as process,
    ):
        try:
            pods = server.objects
            wait_until(lambda: pods("/api/v1/pods")["default/web-1"]["spec"].get("nodeName"))
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)

    assert code == 0
    [warning] = [line for line in log.read_text().splitlines() if "has no opinion" in line]
    assert "LearnedPolicy" in warning
    assert f"there is no {network}" in warning


def test_a_network_of_another_shape_ends_it_with_plugin_and_field(tmp_path, server):
    settings, network = learned_profile(tmp_path)
    write_network(network, weights={}, shapes={"nodes": [5, 12]})
    kubeconfig = str(write_kubeconfig(tmp_path / "kubeconfig", server))

    done = subprocess.run(
        [sys.executable, "-m", "scheduler", "--config", str(settings)],
        env={"PATH": os.environ["PATH"], "KUBECONFIG": kubeconfig},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert f"profile 'ai-scheduler': LearnedPolicy: path: {network} cannot rate" in done.stderr


FRAMEWORKS = {"gymnasium", "onnx", "sb3_contrib", "stable_baselines3", "tensorboard", "torch"}


def test_neither_scheduler_nor_its_image_knows_a_deep_learning_framework():
    script = "import sys, scheduler.__main__; sys.argv = ['scheduler', '--help']; " + (
        "import atexit, runpy; "
        "atexit.register(lambda: print('loaded:', *sys.modules)); "
        "runpy.run_module('scheduler', run_name='__main__')"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    loaded = done.stdout.partition("loaded:")[2].split()
    assert "scheduler.plugins.learned.policy" in loaded
    assert not FRAMEWORKS & {name.partition(".")[0] for name in loaded}
    locked = (ROOT / "requirements-scheduler.lock").read_text().splitlines()
    names = {line.partition("==")[0].replace("-", "_") for line in locked}
    assert "onnxruntime" in names
    assert not FRAMEWORKS & names


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
