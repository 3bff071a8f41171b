"""What becomes of a binding whose answer is a conflict, or none."""

import random
import threading

import pytest

from kube.client import Client
from scheduler.cluster.binder import MAX_ATTEMPTS, Binder
from scheduler.events import Bind, BindFailed, BindSucceeded
from scheduler.model import PodFacts
from tests.builders import make_pod
from tests.fakes import Answer, FakeApiServer, refusal

PODS = "/api/v1/pods"


@pytest.fixture
def server():
    with FakeApiServer() as running:
        yield running


@pytest.fixture
def results():
    return []


@pytest.fixture
def binder(server, results):
    with Client.for_url(server.url) as client:
        yield Binder(client, deliver=results.append, stop=threading.Event(), rng=random.Random(1))


def facts(server, **more):
    """Put a pod on the server; tell what the scheduler knows of it: it is pending."""
    uid = server.put(PODS, make_pod(**more))["metadata"]["uid"]
    return PodFacts.from_pod(make_pod(uid=uid))


def test_a_pod_that_is_already_there_is_bound(server, binder, results):
    pod = facts(server, node="n1")

    binder.bind(Bind(pod, "n1", ""))

    assert results == [BindSucceeded(pod.uid)]


@pytest.mark.parametrize(
    ("node", "uid"),
    [
        pytest.param("n2", None, id="bound elsewhere"),
        pytest.param("n1", "another", id="another pod of that name"),
    ],
)
def test_a_conflict_with_someone_else_drops_the_decision(server, binder, results, node, uid):
    pod = facts(server, node=node)
    if uid is not None:
        pod = PodFacts.from_pod(make_pod(uid=uid))

    binder.bind(Bind(pod, "n1", ""))

    [failure] = results
    assert (failure.uid, failure.is_lost_race) == (pod.uid, True)


def test_a_conflict_over_a_pod_that_nobody_has_bound_is_reported(server, binder, results):
    pod = facts(server)
    server.fail_next(refusal(409, "is being deleted", reason="Conflict"), method="POST")

    binder.bind(Bind(pod, "n1", ""))

    [failure] = results
    assert not failure.is_lost_race
    assert "is being deleted" in failure.message


def test_a_pod_that_is_gone_is_forgotten(binder, results):
    pod = PodFacts.from_pod(make_pod())

    binder.bind(Bind(pod, "n1", ""))

    assert [(r.uid, r.is_lost_race) for r in results] == [(pod.uid, True)]


def test_a_server_that_stays_away_is_given_up_after_some_attempts(server, binder, results):
    pod = facts(server)
    server.fail_next(refusal(429, "wait", retry_after="0"), method="POST", times=2)
    server.fail_next(Answer(None), method="POST", times=MAX_ATTEMPTS)

    binder.bind(Bind(pod, "n1", ""))

    [failure] = results
    assert isinstance(failure, BindFailed)
    assert not failure.is_lost_race
    assert sum(r.method == "POST" for r in server.requests) == MAX_ATTEMPTS


def test_a_conflict_that_cannot_be_looked_into_is_tried_again_later(server, binder, results):
    pod = facts(server, node="n1")
    server.fail_next(refusal(500, "no"), method="GET", times=3)

    binder.bind(Bind(pod, "n1", ""))

    assert [r.is_lost_race for r in results] == [False]
