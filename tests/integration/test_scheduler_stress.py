"""The scheduler as a program, on a cluster that misbehaves, killed in the middle of its work."""

import contextlib
import os
import random
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
N_PODS = 400
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


def create_all(url, numbers=range(N_PODS), every_s=0.0):
    """Create pods, of which every second belongs to a gang of five."""

    def create(i):
        time.sleep(every_s)
        gang = {"group": f"g{i // 10}", "group_size": 5} if i % 2 else {}
        pod = to_wire(make_pod(f"p{i}", requests={"cpu": "150m", "memory": "8Mi"}, **gang))
        for key in ("uid", "resourceVersion", "creationTimestamp"):
            pod["metadata"].pop(key, None)
        body = msgspec.json.encode({**pod, "apiVersion": "v1", "kind": "Pod"})
        with contextlib.suppress(ConflictError):  # a fault may hide that it was created
            insist(lambda: client.post(PODS, body=body))

    with Client.for_url(url) as client, ThreadPoolExecutor(4) as threads:
        list(threads.map(create, numbers))


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


@contextlib.contextmanager
def faulty_cluster(folder, port):
    """Give its URL, an observer of it, and the environment of a scheduler for it."""
    kubeconfig = folder / "kubeconfig"
    serve = ("scheduler.simulator", "serve", "--port=0", *CLUSTER)
    with program(*serve, f"--write-kubeconfig={kubeconfig}") as simulator:
        url = re.search(r"http://\S+", simulator.stdout.readline())[0]
        env = {
            "KUBECONFIG": str(kubeconfig),
            "SCHEDULER__SERVER__PORT": str(port),
            "SCHEDULER__PREDICTOR__URL": "http://127.0.0.1:9",
        }
        with Client.for_url(url) as client:
            yield url, Observer(client), env


def wait_until_all_is_told(port):
    held = 'scheduler_cache_size{type="%s"}'
    wait_until(lambda: metric(port, held % "pods") == N_PODS)
    wait_until(lambda: metric(port, held % "assumed_pods") == 0)
    wait_until(lambda: metric(port, "scheduler_binding_pods") == 0)


def test_killed_and_stopped_on_a_cluster_full_of_faults_it_binds_every_pod_once(
    tmp_path, unused_port
):
    with contextlib.ExitStack() as stack:
        url, observer, env = stack.enter_context(faulty_cluster(tmp_path, unused_port))
        stop = threading.Event()
        rival = threading.Thread(target=compete, args=(observer.client, stop))
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
            wait_until_all_is_told(unused_port)

        assert code == 0
        assert observer.overcommitted() == []


def test_killed_at_any_instant_it_loses_no_pod_moves_none_and_leaves_no_gang_in_half(
    tmp_path, unused_port
):
    rng = random.Random()  # any instant: whichever fails is a bug
    with faulty_cluster(tmp_path, unused_port) as (url, observer, env):
        for first in range(0, N_PODS, N_PODS // 4):
            n_bound = observer.bound()[1]
            numbers = range(first, first + N_PODS // 4)
            stream = threading.Thread(target=create_all, args=(url, numbers, 0.02))
            with program("scheduler", **env) as victim:
                stream.start()
                observer.wait_for_bound(n_bound + 1)
                time.sleep(rng.uniform(0.0, 0.5))
                victim.kill()
                victim.wait()
            stream.join()
        with program("scheduler", **env):
            observer.wait_for_bound(N_PODS)
            wait_until_all_is_told(unused_port)

        assert observer.overcommitted() == []
