"""How the predictor reads a collector: placements bit by bit, snapshots only when they change."""

import msgspec
import pytest

from kube.edge.settings import Duration
from predictor.placements import CollectorAwayError, PlacementRows
from predictor.scoring import Weights
from predictor.settings import CollectorSettings, DataSettings
from predictor.snapshots import NoSnapshotError, Snapshots
from tests.predictor_world import (
    START_S,
    FakeCollector,
    make_placement,
    make_snapshot,
)

pytestmark = pytest.mark.integration


class Clock:
    """Stands still until told."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def collector():
    with FakeCollector(page_size=3) as fake:
        yield fake


@pytest.fixture
def placements(collector):
    rows = make_rows(collector)
    yield rows
    rows.close()


def make_rows(collector, **data):
    return PlacementRows(
        CollectorSettings(url=collector.url), data=DataSettings(**data), weights=Weights()
    )


def known(placements):
    return list(placements.rows())


def test_reads_all_pages(collector, placements):
    collector.placements = [make_placement(number) for number in range(1, 9)]

    placements.refresh()

    assert known(placements) == [f"uid-{number}" for number in range(1, 9)]


def test_goes_on_where_it_stopped(collector, placements):
    collector.placements = [make_placement(number) for number in range(1, 5)]
    placements.refresh()
    collector.placements.append(make_placement(5))
    collector.asked_since.clear()

    placements.refresh()

    assert len(placements) == 5
    assert collector.asked_since == [4, 5]


def test_learns_of_an_outcome_when_it_becomes_known(collector, placements):
    collector.placements = [
        make_placement(number, success=None if number == 2 else True) for number in range(1, 6)
    ]
    placements.refresh()
    assert len(placements) == 4

    decided = msgspec.structs.replace(make_placement(2, success=False), id=6)
    collector.placements = [p for p in collector.placements if p.id != 2] + [decided]
    placements.refresh()

    assert len(placements) == 5
    assert not placements.rows()["uid-2"].success


def test_keeps_what_it_read_when_the_collector_goes_away(collector, placements):
    collector.placements = [make_placement(number) for number in range(1, 9)]
    collector.n_pages_until_down = 1

    with pytest.raises(CollectorAwayError):
        placements.refresh()
    assert len(placements) == 3

    collector.n_pages_until_down = None
    placements.refresh()
    assert len(placements) == 8


def test_forgets_what_is_too_old_or_too_much(collector):
    day_s = 86_400.0
    collector.placements = [
        make_placement(number, placed_at_s=START_S + number * day_s) for number in range(1, 13)
    ]

    by_age = make_rows(collector)
    by_count = make_rows(collector, max_rows=2)
    for rows in (by_age, by_count):
        rows.refresh()
        rows.close()

    assert known(by_age) == [f"uid-{number}" for number in range(5, 13)]
    assert known(by_count) == ["uid-11", "uid-12"]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def snapshots(collector, clock):
    source = Snapshots(
        CollectorSettings(
            url=collector.url, refresh_interval=Duration(2), max_snapshot_age=Duration(120)
        ),
        monotonic_s=clock,
    )
    yield source
    source.close()


def test_reads_at_the_first_question(snapshots):
    assert snapshots.newest() is None

    assert snapshots.current().snapshot.version == 1
    assert snapshots.age_s == 0


def test_reads_again_only_when_the_last_snapshot_is_due(collector, snapshots, clock):
    snapshots.current()
    collector.snapshot = make_snapshot(version=2)

    clock.now_s += 3.9
    assert snapshots.current().snapshot.version == 1
    clock.now_s += 0.2
    assert snapshots.current().snapshot.version == 2


def test_an_unchanged_snapshot_is_as_good_as_a_new_one(collector, snapshots, clock):
    snapshots.current()
    clock.now_s += 100

    snapshots.refresh()

    assert snapshots.age_s == 0
    assert (collector.n_full_snapshots, collector.n_unchanged) == (1, 1)


def test_an_outage_is_outlived_for_a_while_and_then_said(collector, snapshots, clock):
    snapshots.current()
    collector.is_down = True

    clock.now_s += 119
    assert snapshots.current().snapshot.version == 1
    assert not snapshots.is_reachable
    clock.now_s += 2
    with pytest.raises(NoSnapshotError, match="for 121 s"):
        snapshots.current()


def test_during_an_outage_not_every_question_asks_the_collector(collector, snapshots, clock):
    collector.is_down = True

    for _ in range(10):
        with pytest.raises(NoSnapshotError, match="not answered yet"):
            snapshots.current()

    assert collector.n_refused == 1


def test_an_answer_that_makes_no_sense_is_an_outage(collector, snapshots):
    collector.snapshot = msgspec.structs.replace(make_snapshot(), version="one")

    with pytest.raises(NoSnapshotError):
        snapshots.current()
