"""From watch event to Binding: the program ``scheduler`` against an API server.

``scripts/bench.sh e2e [--nodes N] [--pods M] [--kubeconfig FILE] [--only WORD …]``

Without a kubeconfig (option or ``KUBECONFIG``) the API server is the simulated one, in a process of
its own, with 5,000 nodes. On a cluster of yours the benchmark uses the nodes as they are, makes a
namespace for each kind of pod, and removes it in the end; the pods name a scheduler that only the
benchmark runs, so no other takes them.

For each kind, M pods are created as fast as the server takes them; CPU is the scheduler process's
from before the first until it has nothing to do any more: watch events, decisions, bindings,
events and logs. Then some more pods come one by one, for the latency of a scheduler that is not
busy. Latency is seen by a watch: from a pod's first event to the one that shows its node. A figure
is printed only if every pod was bound and the kind's rule holds, judged from the watch.
"""

import argparse
import json
import os
import secrets
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from kube.client import Client
from kube.config import load_cluster
from tests.bench import rules, templates
from tests.bench.e2e_programs import scheduler, simulated_api_server
from tests.bench.machine import describe
from tests.bench.processes import cpu_s, rss_bytes
from tests.bench.templates import Json, Template

N_CREATORS = 8
N_PACED = 100
PACE_S = 0.05
GIVE_UP_S = 120.0
"""How long nothing may be bound before the rest counts as refused."""
QUIET_S = 1.0
"""Two looks at an idle process's CPU are so far apart."""
QUIET_RATIO = 0.1
"""A process that uses less than this of a core is done; heartbeats of nodes still reach it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of pods, and what a decision on one may cost."""

    name: str
    template: Template
    max_cpu_ms: float
    """Of the scheduler process, a pod."""
    upstream_cpu_ms: float
    """What kube-scheduler used."""
    rule: rules.Rule | None = None
    is_one_a_node: bool = False

    def numbers(self, n_pods: int, *, n_nodes: int) -> tuple[int, int]:
        """Say how many pods to create at once, and one by one: no more than there is room for."""
        if not self.is_one_a_node:
            return n_pods, N_PACED
        n_paced = max(2, min(N_PACED, n_nodes // 4))
        return min(n_pods, n_nodes - n_paced), n_paced


KINDS = (
    Kind("plain", templates.pod, 2.5, 4.2),
    Kind("zone spread", templates.zone_spread_pod, 3.0, 13.2, rules.final_zone_skew),
    Kind("zone affinity", templates.zone_affinity_pod, 3.0, 15.1, rules.one_zone),
    Kind(
        "hostname anti-affinity",
        templates.hostname_anti_affinity_pod,
        3.0,
        16.8,
        rules.one_green_pod_a_node,
        is_one_a_node=True,
    ),
)


class _Meta(msgspec.Struct):
    name: str


class _Spec(msgspec.Struct):
    node_name: str = msgspec.field(name="nodeName", default="")


class _Pod(msgspec.Struct):
    metadata: _Meta
    spec: _Spec


class _Event(msgspec.Struct):
    type: str
    object: _Pod


class Watcher:
    """Notes when pods of a namespace came, and when they had a node; a context manager."""

    def __init__(self, client: Client, *, namespace: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods"
        version = json.loads(client.get(path, params={"limit": 1}))["metadata"]["resourceVersion"]
        params = {"watch": 1, "resourceVersion": version}
        self._stream = client.stream(path, params=params, read_timeout_s=600)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._changed = threading.Condition()
        self.seen_at_s: dict[str, float] = {}
        self.bound_at_s: dict[str, float] = {}
        """In the order of binding."""
        self.nodes: dict[str, str] = {}

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._thread.join(5)

    def wait_bound(self, names: set[str]) -> int:
        """Wait until the pods are bound; return how many are not."""
        n_bound, deadline = -1, 0.0
        with self._changed:
            while missing := len(names - self.bound_at_s.keys()):
                if len(self.bound_at_s) != n_bound:
                    n_bound, deadline = len(self.bound_at_s), time.monotonic() + GIVE_UP_S
                if time.monotonic() > deadline:
                    return missing
                self._changed.wait(0.5)
        return 0

    def latencies_ms(self, names: set[str]) -> list[float]:
        return [(self.bound_at_s[name] - self.seen_at_s[name]) * 1e3 for name in names]

    def _run(self) -> None:
        decoder = msgspec.json.Decoder(_Event)
        for line in self._stream:
            at_s = time.perf_counter()
            event = decoder.decode(line)
            name, node = event.object.metadata.name, event.object.spec.node_name
            if event.type == "DELETED":
                continue
            self.seen_at_s.setdefault(name, at_s)
            if node and name not in self.bound_at_s:
                self.nodes[name] = node
                with self._changed:
                    self.bound_at_s[name] = at_s
                    self._changed.notify_all()


@contextmanager
def own_namespace(client: Client) -> Iterator[str]:
    """A namespace that is removed in the end, with all that is in it."""
    name = f"ai-scheduler-bench-{secrets.token_hex(3)}"
    client.post("/api/v1/namespaces", body=msgspec.json.encode(templates.namespace(name)))
    try:
        yield name
    finally:
        pods = f"/api/v1/namespaces/{name}/pods"
        client.delete(pods, params={"gracePeriodSeconds": 1})
        deadline = time.monotonic() + GIVE_UP_S
        # The next kind's pods find the nodes as these found them.
        while json.loads(client.get(pods, params={"limit": 1}))["items"]:
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        client.delete(f"/api/v1/namespaces/{name}")


def create(client: Client, pods: Sequence[Json]) -> None:
    bodies = [
        (f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", msgspec.json.encode(pod))
        for pod in pods
    ]
    with ThreadPoolExecutor(N_CREATORS) as threads:
        for _ in threads.map(lambda each: client.post(each[0], body=each[1]), bodies):
            pass


def create_slowly(client: Client, pods: Sequence[Json]) -> None:
    for pod in pods:
        create(client, [pod])
        time.sleep(PACE_S)


def idle_ratio(pid: int) -> float:
    """The share of a core that a process uses."""
    before = cpu_s(pid)
    time.sleep(QUIET_S)
    return (cpu_s(pid) - before) / QUIET_S


def wait_quiet(pid: int) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while idle_ratio(pid) > QUIET_RATIO and time.monotonic() < deadline:
        pass


def percentiles(values_ms: list[float]) -> str:
    cuts = statistics.quantiles(values_ms, n=100)
    return f"p50 {cuts[49]:,.0f}, p90 {cuts[89]:,.0f}, p99 {cuts[98]:,.0f} ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Who takes part."""

    client: Client
    scheduler_name: str
    pid: int
    """The scheduler's."""
    nodes: dict[str, Json]

    def measure(self, kind: Kind, *, n_pods: int) -> str:
        """Schedule pods of a kind and say what it took."""
        wait_quiet(self.pid)
        n_pods, n_paced = kind.numbers(n_pods, n_nodes=len(self.nodes))
        with (
            own_namespace(self.client) as namespace,
            Watcher(self.client, namespace=namespace) as watcher,
        ):
            make = partial(self._pod, kind, namespace=namespace)
            pods = {f"pod-{i}": make(f"pod-{i}") for i in range(n_pods)}
            before_s, started_s = cpu_s(self.pid), time.perf_counter()
            create(self.client, list(pods.values()))
            if n_refused := watcher.wait_bound(set(pods)):
                return f"no figure: {n_refused} of {n_pods} pods not bound"
            took_s = time.perf_counter() - started_s
            wait_quiet(self.pid)
            cpu_ms = (cpu_s(self.pid) - before_s) / n_pods * 1e3
            slow = {f"slow-{i}": make(f"slow-{i}") for i in range(n_paced)}
            create_slowly(self.client, list(slow.values()))
            if n_refused := watcher.wait_bound(set(slow)):
                return f"no figure: {n_refused} of {n_paced} pods not bound"
            everything = pods | slow
            placed = [(everything[name], watcher.nodes[name]) for name in watcher.bound_at_s]
            broken = kind.rule(self.nodes, placed=placed) if kind.rule is not None else ""
            if broken:
                return f"no figure: {broken}"
            verdict = "met" if cpu_ms <= kind.max_cpu_ms else "MISSED"
            return (
                f"{n_pods:,} pods: {cpu_ms:.2f} ms of scheduler CPU a pod (at most "
                f"{kind.max_cpu_ms}: {verdict}; kube-scheduler {kind.upstream_cpu_ms}), "
                f"{n_pods / took_s:,.0f} pods/s, {rss_bytes(self.pid) / 2**20:,.0f} MiB; "
                f"event to binding, all at once: "
                f"{percentiles(watcher.latencies_ms(set(pods)))}; one by one: "
                f"{percentiles(watcher.latencies_ms(set(slow)))}"
            )

    def _pod(self, kind: Kind, name: str, *, namespace: str) -> Json:
        over = {} if kind.rule in (None, rules.final_zone_skew) else {"namespaces": (namespace,)}
        pod = kind.template(name, namespace=namespace, **over)
        pod["spec"]["schedulerName"] = self.scheduler_name
        del pod["metadata"]["uid"], pod["metadata"]["creationTimestamp"], pod["status"]
        return pod


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench.sh e2e")
    parser.add_argument("--nodes", type=int, default=5_000, help="of the simulated cluster")
    parser.add_argument("--pods", type=int, default=1_000, help="of each kind")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="of a kind's name")
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        default=os.environ.get("KUBECONFIG") or None,
        help="of a real cluster (KUBECONFIG); else a simulated one is started",
    )
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kubeconfig = options.kubeconfig or stack.enter_context(
            simulated_api_server(options.nodes, folder=folder)
        )
        cluster = load_cluster(kubeconfig=str(kubeconfig), env={})
        client = stack.enter_context(Client(cluster, timeout_s=60, pool_size=N_CREATORS + 4))
        nodes = json.loads(client.get("/api/v1/nodes"))["items"]
        print(f"# {describe()}")
        print(f"# {len(nodes):,} nodes at {cluster.server}", flush=True)
        name = f"bench-{secrets.token_hex(3)}"
        pid = stack.enter_context(scheduler(kubeconfig, name=name, folder=folder))
        wait_quiet(pid)
        ratio = statistics.median(idle_ratio(pid) for _ in range(5))
        print(f"scheduler, idle: {ratio:.0%} of a core, {rss_bytes(pid) / 2**20:,.0f} MiB")
        by_name = {node["metadata"]["name"]: node for node in nodes}
        bench = Bench(client=client, scheduler_name=name, pid=pid, nodes=by_name)
        for kind in KINDS:
            if not options.only or any(word in kind.name for word in options.only):
                print(f"{kind.name}, {bench.measure(kind, n_pods=options.pods)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
