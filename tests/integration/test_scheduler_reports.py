"""What the scheduler writes on pods: events and the condition ``PodScheduled``."""

import random
import threading

import pytest

from kube.client import Client
from scheduler.cluster.reporter import Reporter, shorten
from scheduler.events import ReportFailure
from scheduler.model import PodFacts
from tests.builders import make_pod
from tests.fakes import FakeApiServer, refusal

PODS = "/api/v1/pods"
EVENTS = "/apis/events.k8s.io/v1/events"


@pytest.fixture
def server():
    with FakeApiServer() as running:
        yield running


@pytest.fixture
def shown():
    """The pods as a watch would have shown them."""
    return {}


@pytest.fixture
def reporter(server, shown):
    with Client.for_url(server.url) as client:
        yield Reporter(client, pod=shown.get, stop=threading.Event(), rng=random.Random(1))


def failure(server, shown, name="web-1"):
    shown[f"default/{name}"] = make_pod(name)
    server.put(PODS, make_pod(name))
    return ReportFailure(PodFacts.from_pod(make_pod(name)), "Unschedulable", "no room")


def patches(server, ending):
    return [r for r in server.requests if r.method == "PATCH" and r.path.endswith(ending)]


def test_an_event_that_the_server_dropped_is_written_anew(server, reporter, shown):
    report = failure(server, shown)
    reporter.report_failure(report)
    gone = refusal(404, "not found", reason="NotFound")
    server.fail_next(gone, method="PATCH", path="/apis/events.k8s.io")
    reporter.report_failure(report)
    reporter.report_failure(report)

    assert len(server.objects(EVENTS)) == 2


def test_a_long_name_is_cut_to_one_that_the_server_takes(server, reporter, shown):
    reporter.report_failure(failure(server, shown, name="x" * 199 + "-y"))

    [event] = server.objects(EVENTS).values()
    assert event["metadata"]["name"].startswith("x" * 199 + ".")


def test_a_pod_that_is_bound_meanwhile_is_not_told_that_it_waits(server, reporter, shown):
    report = failure(server, shown)

    def show(key):
        """Show the pod bound after the first attempt to write its condition."""
        return make_pod(node="n1" if patches(server, "/status") else "")

    reporter._pod = show
    server.fail_next(refusal(500, "busy"), method="PATCH", path="/api/v1/namespaces/default/pods")
    reporter.report_failure(report)

    assert len(patches(server, "/status")) == 1


@pytest.mark.parametrize("note", ["x" * 1024, "é" * 512])
def test_a_note_that_fits_is_left_alone(note):
    assert shorten(note) == note


@pytest.mark.parametrize("note", ["x" * 1025, "é" * 600])
def test_a_note_that_is_too_long_ends_in_dots(note):
    assert len(shorten(note).encode()) <= 1024
    assert shorten(note).endswith(" ...")
