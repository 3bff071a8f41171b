"""Answers are read whole, and are bounded in size and time whatever the other side does."""

import gzip
import time
from contextlib import contextmanager

import pytest
import requests
from flask import Flask, Response

from kube.edge.answers import LongAnswerError, SlowAnswerError, read_whole
from kube.edge.serve import Server
from kube.edge.settings import ServerSettings

IN_TIME_S = 60.0


@contextmanager
def answering(body, **headers):
    app = Flask("other")

    @app.get("/")
    def answer():
        return Response(body, headers=headers)

    with (
        Server(app, settings=ServerSettings()) as running,
        requests.get(running.url, stream=True, timeout=IN_TIME_S) as found,
    ):
        yield found


def test_an_answer_is_read_to_its_end():
    body = bytes(300_000)

    with answering(body) as answer:
        read = read_whole(answer, max_bytes=300_000, until_s=time.monotonic() + IN_TIME_S)

    assert read == body


def test_an_answer_that_unpacks_to_more_than_it_may_is_not_read_further():
    packed = gzip.compress(bytes(50_000_000))

    with (
        answering(packed, **{"Content-Encoding": "gzip"}) as answer,
        pytest.raises(LongAnswerError, match="exceeds 1000000 bytes"),
    ):
        read_whole(answer, max_bytes=1_000_000, until_s=time.monotonic() + IN_TIME_S)


def test_an_answer_that_goes_on_and_on_is_given_up():
    with answering(bytes(300_000)) as answer, pytest.raises(SlowAnswerError):
        read_whole(answer, max_bytes=300_000, until_s=time.monotonic())
