"""Statuses of groups and quotas, written to an API server that may be busy, or led by others."""

import random
import threading

import pytest

from kube.client import Client
from kube.custom import ElasticQuota, PodGroup, PodGroupSpec
from kube.informer import Added, Informer
from scheduler.cluster.statuses import StatusKeeper
from scheduler.model import POD_GROUP_LABEL
from tests.builders import at, make_meta, make_pod
from tests.fakes import FakeApiServer, refusal
from tests.simulator_program import wait_for
from tests.unit.scheduler.quota_worlds import make_quota

GROUPS, QUOTAS = PodGroup.collection, ElasticQuota.collection


class Cluster:
    """An API server with a group and a quota, and a keeper of their statuses."""

    def __init__(self, server, client):
        self.server = server
        self.is_leader = True
        self.n_asked = 0
        meta = make_meta("gang", namespace="default", creation_timestamp=at(0))
        server.put(GROUPS, PodGroup(metadata=meta, spec=PodGroupSpec(min_member=1)))
        server.put(QUOTAS, make_quota("default", min={"cpu": 4}))
        self._stop = threading.Event()
        self._informers = {
            kind: Informer(
                client,
                kind.collection,
                kind,
                on_event=lambda change: None,
                stop=self._stop,
                rng=random.Random(1),
            )
            for kind in (PodGroup, ElasticQuota)
        }
        self.keeper = StatusKeeper(
            client,
            objects=lambda kind: list(self._informers[kind].store.values()),
            kinds=frozenset(self._informers),
            is_leader=self.leads,
            rng=random.Random(1),
            interval_s=0.05,
        )

    def leads(self):
        self.n_asked += 1
        return self.is_leader

    def start(self):
        for informer in self._informers.values():
            informer.start()
        wait_for(lambda: all(informer.is_synced for informer in self._informers.values()))
        self.keeper.start()

    def stop(self):
        self._stop.set()
        self.keeper.stop()
        for informer in self._informers.values():
            informer.join()

    def status(self, collection):
        [found] = self.server.objects(collection).values()
        return found.get("status") or {}

    def writes(self):
        return [r.path for r in list(self.server.requests) if r.method == "PATCH"]


@pytest.fixture
def cluster():
    with FakeApiServer() as server, Client.for_url(server.url) as client:
        made = Cluster(server, client)
        made.start()
        yield made
        made.stop()


def member(phase):
    return Added(make_pod("a", labels={POD_GROUP_LABEL: "gang"}, phase=phase))


def test_writes_what_is_new_and_that_once(cluster):
    cluster.keeper.see(member("Running"))
    wait_for(lambda: cluster.status(GROUPS).get("phase") == "Running")
    wait_for(lambda: cluster.keeper.wants_usage)
    cluster.keeper.take_usage({"default": {"cpu": 500, "pods": 1}})
    wait_for(lambda: cluster.status(QUOTAS).get("used") == {"cpu": "500m"})
    n_writes = len(cluster.writes())
    # Two rounds later nothing has been added to it.
    for _ in range(2):
        wait_for(lambda: cluster.keeper.wants_usage)
        cluster.keeper.take_usage({"default": {"cpu": 500, "pods": 1}})
    wait_for(lambda: cluster.keeper.wants_usage)

    assert len(cluster.writes()) == n_writes
    assert set(cluster.writes()) == {
        "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/podgroups/gang/status",
        "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/elasticquotas/quota/status",
    }


def test_what_is_no_longer_used_is_taken_out(cluster):
    for usage, told in (
        ({"cpu": 1000, "gpu": 1}, {"cpu": "1", "gpu": "1"}),
        ({"cpu": 1000}, {"cpu": "1"}),
    ):
        wait_for(lambda: cluster.keeper.wants_usage)
        cluster.keeper.take_usage({"default": usage})
        wait_for(lambda told=told: cluster.status(QUOTAS).get("used") == told)


def test_a_busy_server_is_asked_again(cluster):
    path = "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/podgroups/gang/status"
    cluster.server.fail_next(refusal(503, "busy"), method="PATCH", path=path)
    cluster.keeper.see(member("Succeeded"))

    wait_for(lambda: cluster.status(GROUPS).get("phase") == "Finished")


def test_a_server_that_has_no_such_status_is_not_asked_in_every_round(cluster):
    path = "/apis/scheduling.x-k8s.io/v1alpha1/namespaces/default/podgroups/gang/status"
    cluster.server.fail_next(refusal(404, "no such page"), method="PATCH", path=path, times=100)
    cluster.keeper.see(member("Succeeded"))
    wait_for(lambda: path in cluster.writes())
    n_rounds = cluster.n_asked

    wait_for(lambda: cluster.n_asked > n_rounds + 3)

    assert cluster.writes().count(path) == 1


def test_who_does_not_lead_writes_nothing():
    with FakeApiServer() as server, Client.for_url(server.url) as client:
        cluster = Cluster(server, client)
        cluster.is_leader = False
        cluster.start()
        cluster.keeper.see(member("Running"))
        cluster.keeper.take_usage({"default": {}})
        wait_for(lambda: cluster.n_asked > 2)
        writes = cluster.writes()
        cluster.stop()

    assert writes == []
