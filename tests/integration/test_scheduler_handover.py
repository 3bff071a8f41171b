"""Several schedulers of one name: one decides, the others are ready to."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter as Tally
from pathlib import Path

import pytest
import requests
from prometheus_client import CollectorRegistry

from kube.client import Client
from scheduler.cluster.leader import LeaderElector
from scheduler.cluster.metrics import Metrics
from scheduler.cluster.shell import ClusterShell
from scheduler.cluster.supervisor import Supervisor
from scheduler.engine import Engine, EngineSettings
from scheduler.framework.leader_election import LeaderElectionConfiguration
from scheduler.framework.profile import make_profiles
from scheduler.plugins.defaults import built_in_configuration, built_in_registry
from scheduler.queue import QueueSettings
from scheduler.settings import PredictorSettings, SchedulerSettings
from tests.builders import make_node, make_pod
from tests.fakes import FakeApiServer, refusal

ROOT = Path(__file__).parents[2]
PODS = "/api/v1/pods"
LEASES = "/apis/coordination.k8s.io/v1/leases"
QUICK = QueueSettings(initial_backoff_s=0.1)
PROFILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles: [{schedulerName: ai-scheduler}]
# Long enough for a busy machine; a lease that is lost ends the program.
leaderElection: {leaderElect: true, leaseDuration: 4s, renewDeadline: 3s, retryPeriod: 200ms}
"""
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: %s}}]
users: [{name: c, user: {}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
"""


def wait_until(condition, *, timeout_s=60.0):
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, "it did not happen"
        time.sleep(0.02)
    return found


@pytest.fixture
def server():
    with FakeApiServer() as running:
        running.put("/api/v1/nodes", make_node("n1"))
        yield running


def node_of(server, name):
    return server.objects(PODS)[f"default/{name}"]["spec"].get("nodeName")


def n_bindings(server):
    return Tally(r.path.split("/")[-2] for r in server.requests if r.path.endswith("/binding"))


class Program:
    """``python -m scheduler`` with a log to read."""

    def __init__(self, folder, name, server):
        (folder / "profile.yaml").write_text(PROFILE)
        (folder / "scheduler.yaml").write_text("profile_path: profile.yaml\nserver: {port: 0}\n")
        (folder / "kubeconfig").write_text(KUBECONFIG % server.url)
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "scheduler", f"--config={folder / 'scheduler.yaml'}"],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "KUBECONFIG": str(folder / "kubeconfig")},
                stderr=log,
            )

    def said(self, message):
        for line in self._log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a line being written
                event = json.loads(line)
                if event["message"] == message:
                    return event
        return None

    @property
    def url(self):
        return self.said("scheduler started")["url"]

    @property
    def identity(self):
        return (self.said("became leader") or {}).get("identity")

    @property
    def is_ready(self):
        with contextlib.suppress(requests.ConnectionError, TypeError):
            return requests.get(f"{self.url}/readyz", timeout=5).status_code == 200
        return False

    def leads(self, server):
        lease = server.objects(LEASES).get("kube-system/ai-scheduler")
        # Between two holders it names nobody, as a program does that has not led yet.
        holder = None if lease is None else lease["spec"].get("holderIdentity")
        return holder is not None and self.identity == holder

    @property
    def shown_status(self):
        text = requests.get(f"{self.url}/metrics", timeout=5).text
        name = 'leader_election_master_status{name="ai-scheduler"} '
        return float(text.split(name)[1].split()[0])


@pytest.fixture
def programs(tmp_path, server):
    started = [Program(tmp_path, f"p{i}", server) for i in range(3)]
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.integration
def test_one_decides_and_another_goes_on_when_it_stops_or_hangs(server, programs):
    wait_until(lambda: all(each.is_ready for each in programs))
    server.put(PODS, make_pod("first"))
    wait_until(lambda: node_of(server, "first"))
    [first] = [each for each in programs if each.leads(server)]
    programs.remove(first)

    assert first.shown_status == 1.0
    assert [each.shown_status for each in programs] == [0.0, 0.0]

    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(timeout=30) == 0
    released_at_s = time.monotonic()
    second = wait_until(lambda: next((p for p in programs if p.leads(server)), None))
    programs.remove(second)
    [third] = programs
    assert time.monotonic() - released_at_s < 4.0, "it waited as if the lease were held"

    server.put(PODS, make_pod("second"))
    wait_until(lambda: node_of(server, "second"))
    second.process.send_signal(signal.SIGSTOP)
    server.put(PODS, make_pod("third"))
    wait_until(lambda: third.leads(server))
    wait_until(lambda: node_of(server, "third"))
    server.put(PODS, make_pod("fourth"))
    second.process.send_signal(signal.SIGCONT)

    assert second.process.wait(timeout=30) == 1
    wait_until(lambda: node_of(server, "fourth"))
    assert second.said("lease lost")
    assert n_bindings(server) == {"first": 1, "second": 1, "third": 1, "fourth": 1}


# ------------------------------------------------------------------------- in this process


@pytest.fixture
def metrics():
    return Metrics(CollectorRegistry())


@pytest.fixture
def client(server):
    with Client.for_url(server.url) as connected:
        yield connected


def shell_maker(client, metrics, *, is_leader=lambda: True):
    settings = SchedulerSettings(predictor=PredictorSettings(url="http://127.0.0.1:9"))

    def make():
        profiles = make_profiles(built_in_configuration(), registry=built_in_registry())
        return ClusterShell(
            client,
            engine=Engine(profiles, settings=EngineSettings(queue=QUICK)),
            settings=settings,
            metrics=metrics,
            rng=random.Random(1),
            is_leader=is_leader,
        )

    return make


@contextlib.contextmanager
def running(supervisor):
    stop, results = threading.Event(), []
    thread = threading.Thread(target=lambda: results.append(supervisor.run(stop)))
    thread.start()
    try:
        yield results
    finally:
        stop.set()
        thread.join(30)


def test_who_does_not_lead_is_ready_and_decides_nothing(server, client, metrics):
    may_decide = threading.Event()
    server.put(PODS, make_pod())
    with shell_maker(client, metrics, is_leader=may_decide.is_set)() as shell:
        wait_until(lambda: not shell.not_ready())
        wait_until(lambda: metrics.pending.labels("active")._value.get() == 1)
        assert n_bindings(server) == {}

        may_decide.set()
        wait_until(lambda: node_of(server, "web-1"))


def test_a_lease_held_by_another_ends_the_program(server, client, metrics):
    settings = LeaderElectionConfiguration(
        leader_elect=True, lease_duration=4, renew_deadline=3, retry_period=0.05
    )
    elector = LeaderElector(client, settings=settings, rng=random.Random(1))
    maker = shell_maker(client, metrics, is_leader=lambda: elector.is_leader)
    with running(Supervisor(maker, elector=elector, rebuilds=metrics.rebuilds)) as results:
        wait_until(lambda: elector.is_leader)
        [lease] = server.objects(LEASES).values()
        server.put(LEASES, {**lease, "spec": {**lease["spec"], "holderIdentity": "other"}})
        wait_until(lambda: results)

    assert results == [False]
    [lease] = server.objects(LEASES).values()
    assert lease["spec"]["holderIdentity"] == "other"


def test_repeated_surprises_rebuild_the_state_but_not_more_often_than_told(server, client, metrics):
    gone = refusal(404, "not found", reason="NotFound")
    # The server denies a pod that its watch shows.
    server.fail_next(gone, method="POST", path="/api/v1/namespaces/default/pods", times=4)
    server.put(PODS, make_pod())
    n_lists = server.n_lists(PODS)
    supervisor = Supervisor(
        shell_maker(client, metrics),
        elector=None,
        rebuilds=metrics.rebuilds,
        min_rebuild_interval_s=1.5,
    )
    started_at_s = time.monotonic()
    with running(supervisor):
        wait_until(lambda: metrics.rebuilds._value.get() == 1)
        took_s = time.monotonic() - started_at_s
        wait_until(lambda: node_of(server, "web-1"))

    assert took_s >= 1.5
    assert server.n_lists(PODS) == n_lists + 2
    assert metrics.surprises.labels("refused again")._value.get() == 3
