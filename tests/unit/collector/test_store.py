import sqlite3
from collections import deque
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from collector.archive import Archive
from collector.contract import ClusterState, NodeState, Outcome, PlacementState, WorkloadHistory
from collector.database import Database, StoreError, open_database
from collector.history import HOUR_S, Subject, Tally
from collector.journal import Journal
from collector.outcomes import Fate, Marks
from collector.records import MAX_TICKS, Batch, PlacementRow, SampleRow, Tick
from collector.schema import MARKS, METADATA
from collector.store import Store
from collector.telemetry import Telemetry
from kube.edge.settings import SettingsError
from tests.unit.collector.makers import WEB

T0_S = 1_790_000_100.0
"""A multiple of five minutes, and of an hour but for 100 s."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "collector.db"


@pytest.fixture
def database(database_url: str):
    database = open_database(database_url, now_text="now")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, first_seq=1)


@pytest.fixture
def archive(database: Database) -> Archive:
    return Archive(database, raw_s=6 * 3600.0, keep_s=168 * 3600.0)


def make_row(uid: str = "u1", *, fate: Fate = Fate.OPEN, placed_at_s: float = T0_S) -> PlacementRow:
    node = NodeState(
        name="n1",
        is_ready=True,
        is_schedulable=True,
        allocatable_cpu_milli=4000,
        allocatable_memory_bytes=2**33,
    )
    state = PlacementState(
        node=node,
        cluster=ClusterState(n_nodes=1),
        workload=WorkloadHistory(namespace="default", kind="ReplicaSet", name="web"),
    )
    outcome = None
    if fate in (Fate.SUCCEEDED, Fate.FAILED):
        is_good = fate is Fate.SUCCEEDED
        outcome = Outcome(
            success=is_good, reason="healthy" if is_good else "crashed", decided_at_s=T0_S + 9
        )
    return PlacementRow(
        pod_uid=uid,
        pod_namespace="default",
        pod_name=uid,
        workload=WEB,
        node="n1",
        cpu_milli=500,
        memory_bytes=2**63 - 1,
        placed_at_s=placed_at_s,
        state=msgspec.json.encode(state),
        fate=fate,
        outcome=outcome,
    )


def placed(*rows: PlacementRow) -> Batch:
    return Batch(placements={row.pod_uid: row for row in rows})


def tick(at_s: float, *, node: int = 1000, pod: int | None = None, starved: bool = False) -> Batch:
    pods = {} if pod is None else {"u1": SampleRow(at_s, pod, 10, starved, WEB)}
    return Batch(ticks=deque([Tick(nodes={"n1": SampleRow(at_s, node, 2**40, False)}, pods=pods)]))


def test_placements_are_read_page_by_page_in_the_order_of_their_writing(store: Store):
    store.write(placed(make_row("u1"), make_row("u2")))
    store.write(placed(make_row("u3")))

    first = store.placements(since=0, limit=2)
    second = store.placements(since=first.next_since, limit=2)
    last = store.placements(since=second.next_since, limit=2)

    assert [p.pod_uid for p in first.items] == ["u1", "u2"]
    assert [p.pod_uid for p in second.items] == ["u3"]
    assert (last.items, last.next_since) == ([], second.next_since)


def test_a_placement_is_read_as_it_was_written(store: Store):
    store.write(placed(make_row(fate=Fate.FAILED)))

    [placement] = store.placements(since=0, limit=1).items

    assert placement.memory_bytes == 2**63 - 1
    assert placement.state.node.name == "n1"
    assert placement.outcome == Outcome(success=False, reason="crashed", decided_at_s=T0_S + 9)


def test_a_decided_placement_appears_once_more_with_its_outcome(store: Store):
    store.write(placed(make_row("u1"), make_row("u2")))
    seen = store.placements(since=0, limit=9).next_since

    store.write(placed(make_row("u1", fate=Fate.SUCCEEDED)))

    [again] = store.placements(since=seen, limit=9).items
    assert (again.pod_uid, again.outcome.success) == ("u1", True)
    assert len(store.placements(since=0, limit=9).items) == 2


def test_a_placement_that_will_never_be_decided_does_not_appear_again(store: Store):
    store.write(placed(make_row("u1")))
    seen = store.placements(since=0, limit=9).next_since

    store.write(placed(make_row("u1", fate=Fate.CENSORED)))

    assert store.placements(since=seen, limit=9).items == []
    assert store.open_placements() == []


def test_the_end_of_a_pod_is_told_without_a_new_number(store: Store):
    row = make_row()
    row.created_at_s = T0_S - 5
    store.write(placed(row))
    store.write(placed(make_row(fate=Fate.SUCCEEDED)))
    [before] = store.placements(since=0, limit=10).items

    store.write(Batch(ends={"u1": T0_S + 99, "nobody": T0_S}))

    [after] = store.placements(since=0, limit=10).items
    assert after == msgspec.structs.replace(before, ended_at_s=T0_S + 99)
    assert (after.created_at_s, after.outcome.success) == (T0_S - 5, True)


def test_numbers_go_on_after_a_restart_and_jump_ahead_if_the_database_was_lost(database: Database):
    Store(database, first_seq=100).write(placed(make_row("u1")))
    Store(database, first_seq=50).write(placed(make_row("u2")))
    Store(database, first_seq=900).write(placed(make_row("u3")))

    items = Store(database, first_seq=1).placements(since=0, limit=9).items

    assert [p.id for p in items] == [100, 101, 900]


def test_what_a_restart_needs_is_read_back(database: Database, store: Store):
    tally = Tally(n_observations=3, n_failures=1, cpu_milli_sum=0.5, n_samples=2)
    marks = Marks(2, T0_S, True, Fate.OPEN)
    batch = tick(T0_S, pod=70, starved=True)
    batch.absorb(placed(make_row("u1")))
    batch.marks["u1"] = marks
    batch.tallies[Subject.WORKLOAD, WEB, 497_222] = tally
    store.write(batch)

    again = Store(database, first_seq=1)

    assert list(again.tallies()) == [(Subject.WORKLOAD, WEB, 497_222, tally)]
    assert again.marks() == [("u1", marks)]
    assert [row.pod_uid for row in again.open_placements()] == ["u1"]
    assert again.pod_samples(since_s=T0_S) == {"u1": [(T0_S, True)]}
    assert again.series_id(Subject.NODE, "n1") == store.series_id(Subject.NODE, "n1")


def test_later_marks_and_tallies_replace_earlier_ones(store: Store):
    key = (Subject.NODE, "n1", 497_222)
    store.write(Batch(marks={"u1": Marks(1)}, tallies={key: Tally(n_restarts=1)}))
    store.write(Batch(marks={"u1": None}, tallies={key: Tally(n_restarts=5)}))

    assert store.marks() == []
    assert [tally.n_restarts for *_, tally in store.tallies()] == [5]


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_tables_are_plain_on_postgresql_and_strict_on_sqlite(table):
    plain = str(CreateTable(table).compile(dialect=postgresql.dialect()))
    strict = str(CreateTable(table).compile(dialect=sqlite.dialect()))

    assert "STRICT" in strict
    assert "BIGINT" not in strict
    assert "STRICT" not in plain
    assert "REAL" not in plain  # which is too narrow there


def test_the_same_sample_twice_is_stored_once(store: Store, archive: Archive):
    store.write(tick(T0_S, node=100))
    store.write(tick(T0_S, node=999))

    windows = archive.windows(
        store.series_id(Subject.NODE, "n1"), start_s=T0_S, end_s=T0_S + 300, step_s=300
    )

    assert [cpu.max for cpu, _ in windows.values()] == [100]


def test_rollups_and_samples_together_give_the_past_without_a_seam(store: Store, archive: Archive):
    for i in range(40):
        store.write(tick(T0_S + 30 * i, node=100 * i))
    series_id = store.series_id(Subject.NODE, "n1")
    span = {"start_s": T0_S, "end_s": T0_S + 1200, "step_s": 300}
    before = archive.windows(series_id, **span)

    n_windows = archive.roll_up(now_s=T0_S + 900)
    after = archive.windows(series_id, **span)

    assert n_windows == 2
    assert list(after) == [T0_S + 300 * i for i in range(4)]
    assert [cpu.count for cpu, _ in after.values()] == [10, 10, 10, 10]
    assert [cpu.mean for cpu, _ in after.values()] == [450, 1450, 2450, 3450]
    assert {s: cpu.buckets for s, (cpu, _) in after.items()} == {
        s: cpu.buckets for s, (cpu, _) in before.items()
    }


def test_a_window_is_rolled_up_once_and_windows_without_samples_are_skipped(
    store: Store, archive: Archive
):
    store.write(tick(T0_S))
    store.write(tick(T0_S + 86_400))

    assert archive.roll_up(now_s=T0_S + 90_000) == 2
    assert archive.roll_up(now_s=T0_S + 90_000) == 0


def test_pods_are_rolled_up_into_their_workload(store: Store, archive: Archive):
    store.write(tick(T0_S, pod=70))
    archive.roll_up(now_s=T0_S + 500)

    [(cpu, _)] = archive.windows(
        store.series_id(Subject.WORKLOAD, WEB), start_s=T0_S, end_s=T0_S + 300, step_s=300
    ).values()

    assert (cpu.count, cpu.mean) == (1, 70)


def test_wide_steps_merge_rollups_and_narrow_ones_show_single_samples(
    store: Store, archive: Archive
):
    for i in range(20):
        store.write(tick(T0_S + 30 * i, node=i))
    archive.roll_up(now_s=T0_S + 2000)
    series_id = store.series_id(Subject.NODE, "n1")

    wide = archive.windows(series_id, start_s=T0_S, end_s=T0_S + 600, step_s=3600)
    narrow = archive.windows(series_id, start_s=T0_S, end_s=T0_S + 90, step_s=30)

    assert sum(cpu.count for cpu, _ in wide.values()) == 20
    assert [cpu.max for cpu, _ in narrow.values()] == [0, 1, 2]


def test_what_is_too_old_is_deleted_and_the_rest_is_kept(store: Store, archive: Archive):
    week_s = 7 * 86_400.0
    for at_s in (T0_S, T0_S + week_s):
        batch = tick(at_s, pod=1)
        batch.tallies[Subject.NODE, "n1", int(at_s // HOUR_S)] = Tally(n_restarts=1)
        store.write(batch)
    store.write(placed(make_row("old"), make_row("new", placed_at_s=T0_S + week_s)))
    now_s = T0_S + week_s + 2 * HOUR_S
    archive.roll_up(now_s=now_s)

    n_rows = archive.expire(now_s=now_s)

    series_id = store.series_id(Subject.NODE, "n1")
    windows = archive.windows(series_id, start_s=0, end_s=now_s, step_s=300)
    assert n_rows == 2 + 2 + 1 + 1
    assert list(windows) == [T0_S + week_s]
    assert len(list(store.tallies())) == 1
    assert [p.pod_uid for p in store.placements(since=0, limit=9).items] == ["new"]
    assert archive.expire(now_s=now_s) == 0


def test_names_not_heard_of_are_forgotten(store: Store):
    store.write(tick(T0_S, pod=1))
    store.write(tick(T0_S + 7200))

    assert store.forget_series(Subject.POD, before_s=T0_S + 3600) == 1
    assert store.forget_series(Subject.NODE, before_s=T0_S + 3600) == 0
    assert store.series_id(Subject.POD, "u1") is None


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: b"not a database at all" * 100, id="another kind of file"),
        pytest.param(lambda data: data[:5000] + b"\xff" * 20_000 + data[25_000:], id="overwritten"),
        pytest.param(lambda data: data[: len(data) // 2], id="cut off"),
    ],
)
def test_a_corrupt_database_is_set_aside_and_a_new_one_started(path: Path, caplog, damage):
    database = open_database(f"sqlite:///{path}", now_text="then")
    Store(database, first_seq=1).write(placed(*(make_row(f"u{i}") for i in range(200))))
    database.close()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)

    database = open_database(f"sqlite:///{path}", now_text="20260101T000000Z")

    assert Store(database, first_seq=1).placements(since=0, limit=9).items == []
    aside = path.with_name("collector.db.corrupt-20260101T000000Z")
    assert aside.read_bytes() == damaged
    [record] = caplog.records
    assert (record.levelname, record.facts["aside"]) == ("ERROR", str(aside))
    database.close()


def garble_schema(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET sql = CAST(x'fffefdf6' AS TEXT)")
    database.close()


def use_names_of_ours(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE placements (something INT)")
    database.close()


@pytest.mark.parametrize("damage", [garble_schema, use_names_of_ours])
def test_a_database_of_another_shape_is_set_aside_too(path: Path, caplog, damage):
    open_database(f"sqlite:///{path}", now_text="now").close()
    damage(path)

    database = open_database(f"sqlite:///{path}", now_text="now")

    assert path.with_name("collector.db.corrupt-now").exists()
    assert "set aside" in caplog.text
    assert Store(database, first_seq=1).marks() == []
    database.close()


@pytest.mark.parametrize(
    "url",
    ["", "no url", "mysql://host/db", "sqlite://", "sqlite:///:memory:", "postgresql+nope://h/d"],
)
def test_unusable_urls_are_refused_by_name(url):
    with pytest.raises(SettingsError, match=r"database\.url"):
        open_database(url, now_text="now")


def test_a_folder_that_cannot_be_made_is_refused_by_name(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match=r"database\.url"):
        open_database(f"sqlite:///{tmp_path}/file/x/collector.db", now_text="now")


def test_a_database_that_cannot_be_written_holds_news_back_until_it_can(
    database: Database, store: Store, caplog
):
    journal = Journal(store, telemetry=Telemetry())
    with database.writing() as connection:
        MARKS.drop(connection)

    journal.write(placed(make_row("u1")))
    journal.write(placed(make_row("u2")))
    assert "marks" not in journal.error
    journal.write(Batch(marks={"u1": Marks()}))
    journal.write(tick(T0_S))

    assert journal.error
    assert journal.n_pending == 2
    assert [r.levelname for r in caplog.records] == ["ERROR"]

    with database.writing() as connection:
        MARKS.create(connection)
    journal.write(Batch())

    assert (journal.error, journal.n_pending) == ("", 0)
    assert store.marks() == [("u1", Marks())]
    assert store.series_id(Subject.NODE, "n1") is not None


def test_what_is_held_back_is_bounded():
    pending = Batch()
    for i in range(MAX_TICKS + 3):
        n_dropped = pending.absorb(tick(T0_S + i))

    assert len(pending.ticks) == MAX_TICKS
    assert n_dropped == 1


def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path):
    with pytest.raises(StoreError):
        open_database(f"sqlite:///{tmp_path}", now_text="now")


def test_retention_deletes_in_small_transactions_while_readers_go_on(
    database: Database, store: Store, archive: Archive
):
    for i in range(40):
        store.write(tick(T0_S + 30 * i, node=i, pod=1))
    archive.roll_up(now_s=T0_S + 2000)
    series_id = store.series_id(Subject.NODE, "n1")
    history = {"series_id": series_id, "start_s": T0_S, "end_s": T0_S + 1200, "step_s": 300}
    before = archive.windows(**history)
    deleted: list[int] = []

    def look(connection, cursor, statement, *_):
        if statement.startswith("DELETE FROM samples"):
            deleted.append(cursor.rowcount)
            # That transaction is still open; a reader beside it neither waits nor misses anything.
            assert archive.windows(**history) == before

    event.listen(database._engine, "after_cursor_execute", look)
    archive.expire(now_s=T0_S + 7 * 3600)

    assert sum(deleted) == 80
    assert max(deleted) <= 4  # of the two series, at most two rounds
