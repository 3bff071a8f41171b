"""Nodes' usage, asked of an API server over real HTTP."""

import random
import threading
from datetime import UTC, datetime, timedelta

import pytest

from kube.client import Client
from kube.errors import KubeError
from scheduler.cluster.measuring import Gauge, measure
from scheduler.events import NodesMeasured
from scheduler.model import Usage
from tests.fakes import FakeApiServer, refusal

METRICS = "/apis/metrics.k8s.io/v1beta1/nodes"


@pytest.fixture
def server():
    with FakeApiServer() as running:
        yield running


@pytest.fixture
def client(server):
    with Client.for_url(server.url) as client:
        yield client


def put_sample(server, name, *, cpu="250m", memory="1Gi", age_s=0.0):
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    usage = {"cpu": cpu, "memory": memory}
    server.put(METRICS, {"metadata": {"name": name}, "timestamp": at.isoformat(), "usage": usage})


def test_samples_that_are_old_or_cannot_be_read_are_left_out(server, client):
    put_sample(server, "n1")
    put_sample(server, "n2", cpu="lots")
    put_sample(server, "n3", age_s=3600)

    assert measure(client) == NodesMeasured({"n1": Usage(250, 2**30)})


def test_an_outage_is_no_answer(server, client):
    server.fail_next(refusal(503, "no metrics"), path=METRICS, times=100)

    with pytest.raises(KubeError):
        measure(client)


def test_the_gauge_measures_again_and_again_and_outlives_an_outage(server, client):
    put_sample(server, "n1")
    heard, twice = [], threading.Event()

    def hear(measured):
        heard.append(measured)
        if len(heard) == 2:
            twice.set()

    server.fail_next(refusal(404, "no such API"), path=METRICS)
    gauge = Gauge(client, interval_s=0.01, deliver=hear, rng=random.Random(1))
    gauge.start()

    assert twice.wait(30.0)
    assert gauge.is_alive
    gauge.stop()
    assert heard[0] == NodesMeasured({"n1": Usage(250, 2**30)})
