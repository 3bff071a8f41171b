import random
from contextlib import contextmanager

import pytest

from collector.archive import Archive
from collector.backfill import Backfill, chunks
from collector.database import Database, open_database
from collector.history import Subject, Tally
from collector.prometheus_past import PrometheusPast
from collector.records import Batch, Past, SampleRow, Tick
from collector.settings import MetricsSettings, PrometheusSettings
from collector.store import Store
from collector.telemetry import Telemetry
from collector.windows import ROLLUP_S, Rollup
from kube.backoff import Backoff
from kube.edge.prometheus import Point, PrometheusError, RangeSeries
from kube.edge.settings import Duration, Interval
from tests.unit.collector.makers import WEB, make_history, make_running, make_view
from tests.unit.collector.test_store import make_row

T0_S = 1_789_999_800
"""A multiple of five minutes."""


@pytest.fixture
def database(database_url: str):
    database = open_database(database_url, now_text="now")
    yield database
    database.close()


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database, raw_s=6 * 3600.0, keep_s=168 * 3600.0)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, first_seq=1)


def window(i: int) -> int:
    return T0_S + i * ROLLUP_S


def make_past(*starts: int, cpu_milli: int = 100) -> Past:
    rollup = (Rollup.of([cpu_milli]), Rollup.of([2**30]))
    return Past(rollups={(Subject.NODE, "n1", start_s): rollup for start_s in starts})


def sample(store: Store, at_s: float) -> None:
    batch = Batch()
    batch.ticks.append(Tick(nodes={"n1": SampleRow(at_s, 100, 2**30, False)}))
    store.write(batch)


def test_an_empty_database_is_one_gap_of_whole_windows(archive: Archive):
    gaps = archive.gaps(start_s=T0_S - 1.0, end_s=window(3) + 299.0)

    assert gaps == [window(0), window(1), window(2)]


def test_windows_with_rollups_are_no_gaps(archive: Archive, store: Store):
    store.add_past([make_past(window(1), window(3), window(9))])

    assert archive.gaps(start_s=T0_S, end_s=window(5)) == [window(0), window(2), window(4)]


def test_what_samples_will_be_rolled_up_into_is_left_to_them(archive: Archive, store: Store):
    store.add_past([make_past(window(1))])
    sample(store, window(4) + 10.0)

    gaps = archive.gaps(start_s=T0_S, end_s=window(9))
    store.add_past([make_past(*gaps)])
    archive.roll_up(now_s=window(9))

    assert gaps == [window(0), window(2), window(3)]
    assert archive.gaps(start_s=T0_S, end_s=window(5)) == []
    node = store.series_id(Subject.NODE, "n1")
    windows = archive.windows(node, start_s=T0_S, end_s=window(5), step_s=ROLLUP_S)
    assert [windows[start_s][0].count for start_s in sorted(windows)] == [1] * 5


def test_what_is_there_is_kept_and_what_comes_twice_changes_nothing(archive: Archive, store: Store):
    tallies = {(Subject.WORKLOAD, WEB, 497_000): Tally(n_samples=3)}
    first = make_past(window(0))
    first.tallies, first.placements = tallies, [make_row("u1")]
    second = make_past(window(0), window(1), cpu_milli=900)
    second.tallies, second.placements = tallies, [make_row("u1"), make_row("u2")]

    counts = [store.add_past([past]) for past in (first, second, second)]

    assert [(c.rollups, c.tallies, c.placements) for c in counts] == [
        (1, 1, 1),
        (1, 0, 1),
        (0, 0, 0),
    ]
    node = store.series_id(Subject.NODE, "n1")
    windows = archive.windows(node, start_s=T0_S, end_s=window(2), step_s=ROLLUP_S)
    assert [windows[start_s][0].mean for start_s in sorted(windows)] == [100.0, 900.0]


def test_all_of_the_past_is_added_or_nothing(archive: Archive, store: Store):
    def parts():
        yield make_past(window(0))
        raise ValueError("a bad row")

    with pytest.raises(ValueError, match="a bad row"):
        store.add_past(parts())

    assert archive.gaps(start_s=T0_S, end_s=window(1)) == [window(0)]
    assert store.series_id(Subject.NODE, "n1") is None
    assert store.add_past([make_past(window(0))]).rollups == 1


def test_gaps_are_filled_newest_first_in_short_spans_without_holes():
    gaps = [window(i) for i in (0, 1, 2, 3, 4, 5, 6, 7, 20, 21)]

    assert list(chunks(gaps)) == [
        (window(20), window(22)),
        (window(2), window(8)),
        (window(0), window(2)),
    ]
    assert list(chunks([])) == []


class FakeApi:
    """Answers range queries as told, and keeps what it was asked."""

    def __init__(self, *answers: list[RangeSeries]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, float, float, float]] = []

    def range(self, query: str, *, start_s: float, end_s: float, step_s: float):
        self.asked.append((query, start_s, end_s, step_s))
        return self.answers.pop(0)


def series(*values: tuple[int, str], **labels: str) -> RangeSeries:
    return RangeSeries(labels, [Point(at_s, text) for at_s, text in values])


def test_a_value_belongs_to_the_window_that_it_ends():
    api = FakeApi(
        [series((window(1), "0.5"), (window(2), "NaN"), (window(3), "1"), node="n1")],
        [series((window(1), "100"), (window(2), "100"), node="n1"), series((window(1), "7"))],
    )
    past = PrometheusPast(api, settings=PrometheusSettings())

    windows = past.nodes(start_s=window(0), end_s=window(3))

    assert windows == {window(0): {"n1": (500, 100)}}
    query, *span = api.asked[0]
    assert "[300000ms]" in query
    assert span == [window(1), window(3), ROLLUP_S]


def test_pods_are_summed_by_prometheus():
    labels = {"namespace": "default", "pod": "web-1"}
    api = FakeApi([series((window(1), "0.25"), **labels)], [series((window(1), "1e9"), **labels)])
    past = PrometheusPast(api, settings=PrometheusSettings())

    assert past.pods(start_s=window(0), end_s=window(1)) == {
        window(0): {"default/web-1": (250, 10**9)}
    }
    assert api.asked[0][0].startswith("sum by (namespace, pod) (max by (namespace, pod, container)")


def test_usage_told_later_counts_like_usage_seen():
    history = make_history()
    history.count_usage(WEB, at_s=T0_S, cpu_milli=100, memory_bytes=1000)
    usage = Tally(n_samples=3, cpu_milli_sum=900, memory_bytes_sum=3000)

    history.add_usage(WEB, at_s=T0_S, usage=usage)

    standing = history.standing(Subject.WORKLOAD, WEB, now_s=T0_S)
    assert (standing.usual_cpu_milli, standing.usual_memory_bytes) == (250, 1000)
    assert standing.total.n_observations == 0


class FakePast:
    """Remembers one node; fails as told, one word an answer."""

    def __init__(self, *troubles: str) -> None:
        self.troubles = list(troubles)
        self.asked: list[int] = []

    def nodes(self, *, start_s: int, end_s: int):
        self.asked.append(start_s)
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble:
            raise PrometheusError(trouble, is_refusal=trouble == "refused")
        return {at_s: {"n1": (100, 2**30)} for at_s in range(start_s, end_s, ROLLUP_S)}

    def pods(self, *, start_s: int, end_s: int):
        pods = {"default/web-1": (40, 10), "default/web-2": (60, 30), "default/gone": (999, 999)}
        return dict.fromkeys(range(start_s, end_s, ROLLUP_S), pods)


class FakeCollector:
    """As much of a collector as the past needs."""

    is_synced = True

    def __init__(self, archive: Archive, store: Store) -> None:
        self.archive, self.store = archive, store
        self.telemetry = Telemetry()
        self.view = make_view("n1")
        self.view.put_pod(make_running("web-1"))
        self.view.put_pod(make_running("web-2"))
        self.usage: dict[int, dict[str, Tally]] = {}

    def now_s(self) -> float:
        return window(20) + 130.0

    @contextmanager
    def looking(self):
        yield self.view, None

    def count_past_usage(self, usage: dict[str, Tally], *, at_s: int) -> None:
        self.usage[at_s] = usage


def run_backfill(past: FakePast, collector: FakeCollector) -> None:
    """Let the past of the last twenty windows be filled, to the end."""
    settings = MetricsSettings(
        collection_interval=Interval(30), cache_duration=Duration(20 * ROLLUP_S + 130)
    )
    backfill = Backfill(past, settings=settings, collector=collector)
    backfill._backoff = Backoff(random.Random(0), base_s=0.01)
    backfill._run()


def test_an_outage_delays_the_past_and_a_refusal_leaves_a_part_of_it_out(
    archive: Archive, store: Store
):
    past = FakePast("down", "down", "", "refused")
    collector = FakeCollector(archive, store)

    run_backfill(past, collector)

    spans = [window(14)] * 3 + [window(8), window(2), window(0)]
    assert past.asked == spans
    missing = [window(i) for i in range(8, 14)]
    assert archive.gaps(start_s=window(0), end_s=window(20)) == missing

    again = FakePast()
    run_backfill(again, collector)

    assert again.asked == [window(8)]
    assert archive.gaps(start_s=window(0), end_s=window(20)) == []
    assert collector.telemetry.backfilled._value.get() == 20


def test_replicas_share_the_past_of_their_workload(archive: Archive, store: Store):
    collector = FakeCollector(archive, store)

    run_backfill(FakePast(), collector)

    workload = store.series_id(Subject.WORKLOAD, WEB)
    windows = archive.windows(workload, start_s=window(0), end_s=window(20), step_s=ROLLUP_S)
    assert len(windows) == 20
    assert {(cpu.count, cpu.mean, cpu.max) for cpu, _ in windows.values()} == {(2, 50.0, 60)}
    # Each value stands for the ten samples of its five minutes.
    [usage] = {(name, t.n_samples, t.cpu_milli_sum) for name, t in collector.usage[T0_S].items()}
    assert usage == (WEB, 20, 1000)
    # Whose replica a pod was that has gone, nobody knows.
    assert {name for _, name in store._ids} == {"n1", WEB}
