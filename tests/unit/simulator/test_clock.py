"""The virtual clock."""

import pytest

from scheduler.simulator.clock import VirtualClock


class Wall:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def wall():
    return Wall()


def test_virtual_time_runs_at_its_speed(wall):
    clock = VirtualClock(start_s=500.0, speed=30.0, monotonic_s=wall)

    wall.now_s += 2.0

    assert clock.now_s() == 560.0
    assert clock.tick() == 560.0
    wall.now_s += 1.0
    assert clock.now_s() == 590.0


def test_a_sleeping_laptop_does_not_throw_the_cluster_into_the_future(wall):
    clock = VirtualClock(start_s=500.0, speed=30.0, monotonic_s=wall, max_step_s=60.0)

    wall.now_s += 8 * 3600.0

    assert clock.tick() == 560.0
    wall.now_s += 1.0
    assert clock.tick() == 590.0


def test_time_never_runs_backwards(wall):
    clock = VirtualClock(start_s=500.0, speed=1.0, monotonic_s=wall)

    wall.now_s -= 5.0

    assert clock.now_s() == 500.0


@pytest.mark.parametrize(
    ("speed", "max_step_s"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0)]
)
def test_a_clock_that_stands_still_is_refused(wall, speed, max_step_s):
    with pytest.raises(ValueError, match="above zero"):
        VirtualClock(start_s=0.0, speed=speed, monotonic_s=wall, max_step_s=max_step_s)
