"""Recorded usage: read from files of several kinds, and lived through by pods."""

import copy
import gzip

import numpy as np
import pytest

from scheduler.simulator import usage_traces
from scheduler.simulator.usage_traces import UsageTraceError, load_usage
from tests.builders import EPOCH_S

DAY_SLOTS = 288


def write(path, text):
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def write_parquet(path, **columns):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), path)
    return path


def lines(*rows):
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("name", ["usage.csv", "usage.csv.gz"])
def test_any_file_with_names_times_and_ratios_will_do(tmp_path, name):
    text = lines("name,time_s,note,cpu_ratio,memory_ratio", "a,0,x,0.2,0.5", "a,300,,0.4,0.6")

    [recording] = load_usage(write(tmp_path / name, text)).recordings

    np.testing.assert_allclose(recording.cpu_ratio, [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(recording.memory_ratio, [0.5, 0.6], rtol=1e-6)
    assert recording.source == f"{name}: a"


def test_points_come_in_any_order_are_averaged_and_gaps_keep_what_was(tmp_path):
    text = lines(
        "name,time_s,cpu_ratio", "b,0,1", "a,1250,0.7", "a,10,0.1", "a,20,0.3", "a,610,", "a,1000,"
    )

    a = next(r for r in load_usage(write(tmp_path / "u.csv", text)).recordings if "a" in r.source)

    np.testing.assert_allclose(a.cpu_ratio, [0.2, 0.2, 0.2, 0.2, 0.7], rtol=1e-6)


def test_bitbrains_virtual_machines_are_read_from_parquet(tmp_path):
    path = write_parquet(
        tmp_path / "bitbrains.parquet",
        vm=[1, 1, 1, 2],
        slot=[1, 2, 3, 1],
        cores=[2, 2, 0, 0],
        cpu_mcores=[500, 1000, 0, 0],
        mem_cap_mib=[4096, 2048, 0, 0],
        mem_used_mib=[1024, 1024, 0, 0],
    )

    [recording] = load_usage(path).recordings  # the second machine was never on

    np.testing.assert_allclose(recording.cpu_ratio, [0.25, 0.5, 0.5])
    np.testing.assert_allclose(recording.memory_ratio, [0.25, 0.5, 0.5])
    assert recording.midnight_slot == 2 * 12 - 1  # slot 0 is 22:00, UTC


def test_google_task_groups_are_read_in_hundredths_of_a_percent(tmp_path):
    path = write_parquet(
        tmp_path / "g.parquet", vm=[0, 0], slot=[0, 1], cpu_bp=[1234, 5000], mem_bp=[90, 11_000]
    )

    [recording] = load_usage(path).recordings

    np.testing.assert_allclose(recording.cpu_ratio, [0.1234, 0.5], rtol=1e-6)
    np.testing.assert_allclose(recording.memory_ratio, [0.009, 1.1], rtol=1e-6)


def test_pods_of_which_memory_alone_was_recorded_get_a_steady_drawn_cpu(tmp_path):
    path = write_parquet(
        tmp_path / "pods.parquet",
        pod=[0] * 6,
        slot=list(range(6)),  # of 57 s
        mem_util_pct=[50.0, 50.0, 50.0, 50.0, 50.0, 80.0],
    )
    library = load_usage(path)

    series = library.series("default/web", seed=0)

    np.testing.assert_allclose(series.memory_ratio, [0.55], rtol=1e-6)
    assert 0 < series.cpu_ratio[0] < 1
    assert series.cpu_ratio[0] != library.series("default/api", seed=0).cpu_ratio[0]


def test_the_time_of_day_is_kept(tmp_path):
    start_s = 1_700_000_000 // 86_400 * 86_400 + 3 * 3600  # 03:00 UTC
    rows = [f"a,{start_s + 300 * i},{0.9 if i == 12 else 0.1}" for i in range(2 * DAY_SLOTS + 5)]
    path = write(tmp_path / "u.csv", lines("name,time_s,cpu_ratio", *rows))

    series = load_usage(path).series("default/web", seed=0)

    assert len(series.cpu_ratio) == 2 * DAY_SLOTS  # whole days
    peaks = [i for i in range(4 * DAY_SLOTS) if series.at(EPOCH_DAY_S + 300.0 * i)[0] > 0.5]
    assert {i % DAY_SLOTS for i in peaks} == {4 * 12}  # at 04:00 UTC
    assert len(peaks) == 2


EPOCH_DAY_S = EPOCH_S // 86_400 * 86_400


def test_a_choice_depends_on_key_and_seed_and_every_recording_has_its_turn(tmp_path):
    rows = [f"vm{vm},{300 * slot},0.{vm + 1}" for vm in range(4) for slot in range(10)]
    path = write(tmp_path / "u.csv", lines("name,time_s,cpu_ratio", *rows))
    library, again = load_usage(path), load_usage(path)

    chosen = [library.series(f"default/w{i}", seed=1).cpu_ratio[0] for i in range(200)]

    assert chosen == [again.series(f"default/w{i}", seed=1).cpu_ratio[0] for i in range(200)]
    assert chosen != [library.series(f"default/w{i}", seed=2).cpu_ratio[0] for i in range(200)]
    assert min(chosen.count(value) for value in set(chosen)) > 20
    assert len(set(chosen)) == 4


def test_copies_of_a_world_share_their_recordings(tmp_path):
    library = load_usage(write(tmp_path / "u.csv", lines("name,time_s,cpu_ratio", "a,0,0.1")))
    series = library.series("default/web", seed=0)

    assert copy.deepcopy(library) is library
    assert copy.deepcopy(series) is series


def test_of_a_folder_all_files_that_hold_usage_are_read(tmp_path):
    write(tmp_path / "one.csv", lines("name,time_s,cpu_ratio", "a,0,0.1"))
    write(tmp_path / "two.csv.gz", lines("name,time_s,memory_ratio", "b,0,0.1"))
    write(tmp_path / "nodes.csv", lines("sn,cpu_milli", "n1,4000"))
    write(tmp_path / "README.md", "words")

    sources = [recording.source for recording in load_usage(tmp_path).recordings]

    assert sources == ["one.csv: a", "two.csv.gz: b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("name,cpu_ratio\na,1\n", "needs the columns name, time_s", id="no time"),
        pytest.param("name,time_s\na,1\n", "cpu_ratio or memory_ratio", id="no ratio"),
        pytest.param("", "needs the columns", id="empty"),
        pytest.param("name,time_s,cpu_ratio\n", "it has no rows", id="no rows"),
        pytest.param("name,time_s,cpu_ratio\na,0,\n", "no measured value", id="nothing measured"),
        pytest.param("name,time_s,cpu_ratio\na,0,-1\n", "'cpu_ratio': a value is neg", id="neg"),
        pytest.param("name,time_s,cpu_ratio\na,0,inf\n", "'cpu_ratio'", id="infinite"),
        pytest.param("name,time_s,cpu_ratio\na,0,much\n", "'cpu_ratio': could not", id="words"),
        pytest.param("name,time_s,cpu_ratio\na,,1\n", "'time_s': a time is missing", id="never"),
        pytest.param("name,time_s,cpu_ratio\na,0\n", ":2: 2 fields", id="short row"),
        pytest.param(
            "name,time_s,cpu_ratio\na,0,1\na,99999999,1\n", "more than a year", id="too long"
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_file_and_column(tmp_path, text, reason):
    path = write(tmp_path / "usage.csv", text)

    with pytest.raises(UsageTraceError) as error:
        load_usage(path)

    assert str(error.value).startswith(str(path))
    assert reason in str(error.value)


@pytest.mark.parametrize("name", ["gone.csv", "gone.csv.gz", "gone.parquet"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    pytest.importorskip("pyarrow")
    with pytest.raises(UsageTraceError, match=name):
        load_usage(tmp_path / name)


@pytest.mark.parametrize("name", ["broken.csv.gz", "broken.parquet", "broken.csv"])
def test_a_file_that_is_not_what_its_name_says_is_named(tmp_path, name):
    pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"\x00\xff\xfe nothing of this kind")
    with pytest.raises(UsageTraceError, match=name):
        load_usage(tmp_path / name)


def test_a_folder_without_usage_is_refused(tmp_path):
    with pytest.raises(UsageTraceError, match="no file in this folder"):
        load_usage(tmp_path)


def test_more_points_than_memory_should_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(usage_traces, "MAX_POINTS", 2)
    path = write(tmp_path / "u.csv", lines("name,time_s,cpu_ratio", "a,0,1", "a,1,1", "a,2,1"))

    with pytest.raises(UsageTraceError, match="more than 2 rows"):
        load_usage(path)
