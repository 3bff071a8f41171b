"""What the watches say, as events for the engine."""

import logging

import pytest

from kube.informer import Added, Modified
from scheduler.cluster.inbox import Inbox
from scheduler.cluster.news import News
from tests.builders import make_pod


@pytest.fixture
def news():
    return News(inbox=Inbox(max_news=100))


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({"priority": "high"}, "priority"),
        ({"pod-group": "train", "pod-group-size": "eight"}, "pod-group-size"),
    ],
)
def test_warns_of_an_annotation_that_is_no_number_once(news, caplog, annotations, name):
    pod = make_pod("web-1", annotations=annotations)

    with caplog.at_level(logging.WARNING):
        news.on_pod(Added(pod))
        news.on_pod(Modified(pod, pod))

    assert [record.getMessage() for record in caplog.records] == [
        "annotation is no number and not used"
    ]
    assert name in str(vars(caplog.records[0]))


def test_says_nothing_of_annotations_that_are_numbers(news, caplog):
    pod = make_pod("web-1", annotations={"priority": "100", "pod-group-size": "8"})

    with caplog.at_level(logging.WARNING):
        news.on_pod(Added(pod))

    assert not caplog.records
