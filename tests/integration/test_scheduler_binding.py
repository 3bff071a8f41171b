"""What becomes of a binding whose answer is a conflict, or none."""

import random
import threading

import pytest

from kube.client import Client
from scheduler.cluster.binder import MAX_ATTEMPTS, Binder
from scheduler.events import Bind, BindFailed, BindSucceeded
from scheduler.model import PodFacts
from tests.builders import at, make_pod
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


def test_a_conflict_over_a_pod_that_nobody_has_bound_is_tried_again(server, binder, results):
    pod = facts(server)
    modified = refusal(409, "the object has been modified; please try again", reason="Conflict")
    server.fail_next(modified, method="POST", times=2)

    binder.bind(Bind(pod, "n1", ""))

    assert results == [BindSucceeded(pod.uid)]
    assert server.objects(PODS)["default/web-1"]["spec"]["nodeName"] == "n1"


def test_a_conflict_over_a_pod_that_is_being_deleted_is_reported(server, binder, results):
    pod = facts(server, deleted_at=at(0))
    server.fail_next(refusal(409, "is being deleted", reason="Conflict"), method="POST")

    binder.bind(Bind(pod, "n1", ""))

    [failure] = results
    assert not failure.is_lost_race
    assert "is being deleted" in failure.message
    assert sum(r.method == "POST" for r in server.requests) == 1


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


@pytest.mark.parametrize("times", [2, MAX_ATTEMPTS])
def test_a_conflict_that_cannot_be_looked_into_is_looked_into_later(server, binder, results, times):
    pod = facts(server, node="n1")
    server.fail_next(refusal(429, "wait", retry_after="0"), method="GET", times=times)

    binder.bind(Bind(pod, "n1", ""))

    [result] = results
    assert isinstance(result, BindSucceeded) == (times < MAX_ATTEMPTS)


def test_who_is_not_leader_any_more_writes_nothing(server, results):
    pod = facts(server)
    leads = [True, False]
    server.fail_next(refusal(503, "busy"), method="POST")
    with Client.for_url(server.url) as client:
        binder = Binder(
            client,
            deliver=results.append,
            is_leader=lambda: leads.pop(0),
            stop=threading.Event(),
            rng=random.Random(1),
        )
        binder.bind(Bind(pod, "n1", ""))

    [failure] = results
    assert failure.is_lost_race
    assert sum(r.method == "POST" for r in server.requests) == 1
    assert not server.objects(PODS)["default/web-1"]["spec"]["nodeName"]
