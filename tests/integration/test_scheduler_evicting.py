"""What becomes of a pod that is to make room, whatever the API server answers."""

import random
import threading

import pytest

from kube.client import Client
from scheduler.cluster.evictor import Evictor
from scheduler.events import Evict, EvictFailed
from scheduler.model import PodFacts
from tests.builders import make_pod
from tests.fakes import FakeApiServer, refusal

PODS = "/api/v1/pods"


@pytest.fixture
def server():
    with FakeApiServer() as running:
        yield running


@pytest.fixture
def results():
    return []


@pytest.fixture
def leads():
    return threading.Event()


@pytest.fixture
def evictor(server, results, leads):
    leads.set()
    with Client.for_url(server.url) as client:
        yield Evictor(
            client,
            deliver=results.append,
            is_leader=leads.is_set,
            stop=threading.Event(),
            rng=random.Random(1),
        )


@pytest.fixture
def victim(server):
    uid = server.put(PODS, make_pod("victim", node="n1"))["metadata"]["uid"]
    return PodFacts.from_pod(make_pod("victim", uid=uid, node="n1"))


def evict(victim):
    return Evict.preempted(victim, by=PodFacts.from_pod(make_pod("urgent")), node="n1")


def test_is_told_why_and_deleted_only_if_it_is_the_one(server, evictor, victim, results):
    evictor.evict(evict(victim))

    status, deletion = server.requests
    [condition] = status.json["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("DisruptionTarget", "True")
    assert status.json["metadata"] == {"uid": victim.uid}
    assert deletion.json["preconditions"] == {"uid": victim.uid}
    assert server.objects(PODS) == {}
    assert results == []


def test_one_that_is_gone_is_what_was_wanted(server, evictor, victim, results):
    server.remove(PODS, "default/victim")

    evictor.evict(evict(victim))

    assert results == []


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("code", [403, 409])
def test_a_refusal_is_told_so_that_room_is_looked_for_anew(
    server, evictor, victim, results, method, code
):
    server.fail_next(refusal(code, "no"), method=method)

    evictor.evict(evict(victim))

    assert results == [EvictFailed(victim.uid)]
    assert list(server.objects(PODS)) == ["default/victim"]


@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_is_asked_again(server, evictor, victim, results, code):
    server.fail_next(refusal(code, "busy", retry_after="0"), times=2)

    evictor.evict(evict(victim))

    assert results == []
    assert server.objects(PODS) == {}


def test_who_does_not_lead_deletes_nothing(server, evictor, victim, results, leads):
    leads.clear()

    evictor.evict(evict(victim))

    assert results == [EvictFailed(victim.uid)]
    assert server.requests == []
