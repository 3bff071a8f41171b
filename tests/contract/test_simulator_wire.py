"""The simulated API server answers like the recorded one."""

from pathlib import Path

import pytest

from scheduler.simulator.wire import TOPICS, read_recordings, replay_folder

RECORDINGS = Path(__file__).parents[1] / "data" / "wire"

DELIBERATE = {
    # The recorded server was asked while it was still starting; this one is ready when it answers.
    ("discovery", "healthz"): "is healthy from its first answer on",
    ("discovery", "readyz verbose"): "is ready from its first answer on",
}
"""Differences that are meant, with the reason."""


@pytest.fixture(scope="module")
def differences():
    return replay_folder(RECORDINGS)


@pytest.mark.parametrize("topic", TOPICS)
def test_answers_as_recorded(differences, topic):
    found = [d for d in differences if d.topic == topic and (topic, d.title) not in DELIBERATE]

    assert [str(difference) for difference in found] == []


def test_nothing_else_differs(differences):
    assert [str(difference) for difference in differences if not difference.reason] == []


def test_only_discovery_differs_on_purpose():
    assert {topic for topic, _ in DELIBERATE} == {"discovery"}


def test_every_deliberate_difference_is_still_one(differences):
    assert {(d.topic, d.title) for d in differences if d.reason} == set(DELIBERATE)


def test_replays_topics_in_the_order_in_which_they_were_recorded():
    assert tuple(read_recordings(RECORDINGS)) == TOPICS
