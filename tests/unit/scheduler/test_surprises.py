"""When to doubt what the watches have told."""

import pytest

from scheduler.cluster.surprises import CONFIRMATION_S, SURPRISES, WINDOW_S, Surprises
from scheduler.model import PodFacts
from tests.builders import make_pod


class World:
    """A clock, and the pods as the watch shows them."""

    def __init__(self):
        self.now_s = 1000.0
        self.pods = {}
        self.kinds = []
        self.surprises = Surprises(
            shown=self.pods.get, on_surprise=self.kinds.append, monotonic=lambda: self.now_s
        )

    def show(self, pod):
        self.pods[pod.key] = pod

    def bind(self, name):
        self.surprises.note_bound(PodFacts.from_pod(make_pod(name)))


@pytest.fixture
def world():
    return World()


def test_races_lost_are_no_surprise(world):
    for i in range(100):
        world.surprises.note_lost_race(f"u{i}")

    assert world.kinds == []


def test_a_pod_refused_again_and_again_is(world):
    for _ in range(SURPRISES):
        world.surprises.note_lost_race("u1")
    assert not world.surprises.are_too_many.is_set()

    world.surprises.note_lost_race("u1")

    assert world.kinds == ["refused again"] * SURPRISES
    assert world.surprises.are_too_many.is_set()


def test_surprises_far_apart_are_coincidence(world):
    for _ in range(10):
        world.surprises.note_lost_race("u1")
        world.now_s += WINDOW_S

    assert not world.surprises.are_too_many.is_set()


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(make_pod(node="n1"), id="shown"),
        pytest.param(make_pod(uid="another"), id="another pod has its name"),
        pytest.param(None, id="gone"),
    ],
)
def test_a_binding_that_the_watch_shows_is_as_it_should_be(world, later):
    world.show(make_pod())
    world.bind("web-1")
    if later is None:
        del world.pods["default/web-1"]
    else:
        world.show(later)
    world.now_s += CONFIRMATION_S
    world.surprises.look()

    assert world.kinds == []


def test_a_binding_that_the_watch_never_shows_is_a_surprise_every_time_we_look(world):
    world.show(make_pod())
    world.bind("web-1")
    world.surprises.look()
    assert world.kinds == []

    for _ in range(SURPRISES):
        world.now_s += CONFIRMATION_S
        world.surprises.look()
        world.surprises.look()

    assert world.kinds == ["unconfirmed"] * SURPRISES
    assert world.surprises.are_too_many.is_set()
