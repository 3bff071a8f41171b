"""The scheduler as a program, on a cluster that misbehaves, killed in the middle of its work."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import requests

from kube.client import Client
from kube.errors import ConflictError, KubeError, UnavailableError
from kube.objects import Node, Pod
from tests.builders import make_pod, to_wire

ROOT = Path(__file__).parents[2]
N_PODS = 500
PODS = "/api/v1/namespaces/default/pods"
CLUSTER = (
    *("--nodes=20", "--node-cpu=4", "--node-memory=16Gi", "--seed=5"),
    *("--fault-throttled=0.02", "--fault-failed=0.03", "--fault-conflict=0.2"),
    "--fault-watch-dropped=0.005",
)


def wait_until(condition, *, timeout_s=90.0):
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.05)
    return found


def insist(call):
    """Do something in spite of the faults."""
    for _ in range(50):
        try:
            return call()
        except UnavailableError:
            time.sleep(0.02)
    raise AssertionError("fifty faults in a row")


@contextlib.contextmanager
def program(*arguments, **env):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SCHEDULER_", "SIMULATOR_"))}
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**clean, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def metric(port, name):
    with contextlib.suppress(requests.ConnectionError):
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        return sum(float(x) for x in re.findall(rf"^{re.escape(name)} (\S+)$", text, re.M))
    return 0.0


def create_all(url):
    def create(i):
        pod = to_wire(make_pod(f"p{i}", requests={"cpu": "150m", "memory": "8Mi"}))
        for key in ("uid", "resourceVersion", "creationTimestamp"):
            pod["metadata"].pop(key, None)
        body = msgspec.json.encode({**pod, "apiVersion": "v1", "kind": "Pod"})
        with contextlib.suppress(ConflictError):  # a fault may hide that it was created
            insist(lambda: client.post(PODS, body=body))

    with Client.for_url(url) as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(create, range(N_PODS)))


class Observer:
    """Looks at the cluster from outside, and remembers where each pod was seen first."""

    def __init__(self, client):
        self.client = client
        self.first_seen = {}

    def bound(self):
        pods, _ = insist(lambda: self.client.list_objects(PODS, Pod))
        nodes = {pod.metadata.name: pod.spec.node_name for pod in pods if pod.spec.node_name}
        for name, node in nodes.items():
            assert self.first_seen.setdefault(name, node) == node, "moved"
        return pods, len(nodes)

    def wait_for_bound(self, n):
        wait_until(lambda: self.bound()[1] >= n)

    def overcommitted(self):
        nodes, _ = insist(lambda: self.client.list_objects("/api/v1/nodes", Node))
        pods, _ = self.bound()
        asked = Counter()
        for pod in pods:
            asked[pod.spec.node_name] += pod.spec.requests["cpu"]
        return [
            node.metadata.name
            for node in nodes
            if asked[node.metadata.name] > node.status.allocatable_amounts["cpu"]
        ]


def compete(client, stop):
    """Bind every twentieth pod elsewhere as soon as it is there, as another scheduler might."""
    names = [f"p{i}" for i in range(0, N_PODS, 20)]
    while names and not stop.wait(0.01):
        name = names.pop(0)
        target = {"kind": "Node", "name": "theirs"}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        try:
            client.post(f"{PODS}/{name}/binding", body=msgspec.json.encode(body))
        except ConflictError:
            continue  # the scheduler was faster
        except KubeError:
            names.append(name)


def test_killed_and_stopped_on_a_cluster_full_of_faults_it_binds_every_pod_once(
    tmp_path, unused_port
):
    kubeconfig = tmp_path / "kubeconfig"
    env = {
        "KUBECONFIG": str(kubeconfig),
        "SCHEDULER__SERVER__PORT": str(unused_port),
        "SCHEDULER__PREDICTOR__URL": "http://127.0.0.1:9",
    }
    with contextlib.ExitStack() as stack:
        serve = ("scheduler.simulator", "serve", "--port=0", *CLUSTER)
        simulator = stack.enter_context(program(*serve, f"--write-kubeconfig={kubeconfig}"))
        url = re.search(r"http://\S+", simulator.stdout.readline())[0]
        client = stack.enter_context(Client.for_url(url))
        observer, stop = Observer(client), threading.Event()
        rival = threading.Thread(target=compete, args=(client, stop))
        stack.callback(rival.join)
        stack.callback(stop.set)

        with program("scheduler", **env) as first:
            rival.start()
            create_all(url)
            observer.wait_for_bound(N_PODS // 4)
            first.kill()
            first.wait()
        with program("scheduler", **env) as second:
            observer.wait_for_bound(N_PODS // 2)
            second.send_signal(signal.SIGTERM)
            code = second.wait(timeout=30)
        with program("scheduler", **env):
            observer.wait_for_bound(N_PODS)
            held = 'scheduler_cache_size{type="%s"}'
            wait_until(lambda: metric(unused_port, held % "pods") == N_PODS)
            wait_until(lambda: metric(unused_port, held % "assumed_pods") == 0)
            wait_until(lambda: metric(unused_port, "scheduler_binding_pods") == 0)

        assert code == 0
        assert observer.overcommitted() == []
