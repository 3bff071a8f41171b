import csv
import sys
from contextlib import closing
from pathlib import Path

import pytest

from collector.__main__ import main
from collector.archive import Archive
from collector.claim import claiming
from collector.database import StoreError, open_database
from collector.exporting import export
from collector.file_rows import KINDS, RollupFileRow
from collector.files import FileError, NoParquetError, read_rows, writing
from collector.history import Subject, Tally
from collector.importing import Importer, check
from collector.outcomes import Fate
from collector.records import Batch, Past, SampleRow, Tick
from collector.store import Store
from collector.windows import Rollup
from tests.unit.collector.makers import WEB
from tests.unit.collector.test_store import make_row

T0_S = 1_789_999_200
"""A full hour and 20 minutes: a multiple of five minutes."""

SAMPLES = """\
subject,name,at_s,cpu_milli,memory_bytes
node,n1,1789999200,100,1000
workload,default/Deployment/web,1789999201.5,10,50
workload,default/Deployment/web,1789999210,30,150
node,n1,1789999499,300,3000

node,n1,1789999500,500,5000
workload,default/Deployment/web,1790002800,70,0
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


class Opened:
    """A database, opened as the programs do."""

    def __init__(self, url: str) -> None:
        self.database = open_database(url, now_text="now")
        self.store = Store(self.database, first_seq=1)
        self.archive = Archive(self.database, raw_s=6 * 3600.0, keep_s=168 * 3600.0)
        self.importer = Importer(self.store, archive=self.archive)

    def close(self) -> None:
        self.database.close()

    def windows(self, subject: Subject, name: str):
        series_id = self.store.series_id(subject, name)
        if series_id is None:
            return {}
        end_s = T0_S + 86_400
        return self.archive.windows(series_id, start_s=T0_S, end_s=end_s, step_s=300)

    def tallies(self) -> dict[tuple[Subject, str, int], Tally]:
        return {(subject, name, hour): tally for subject, name, hour, tally in self.store.tallies()}


@pytest.fixture
def opened(database_url: str):
    with closing(Opened(database_url)) as opened:
        yield opened


def write(folder: Path, text: str, *, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def some_past() -> Past:
    past = Past()
    for i, values in enumerate(([0, 5, 1000], [123, 456], [7])):
        window = (Rollup.of(values), Rollup.of([v * 2**20 for v in values]))
        past.rollups[Subject.NODE, "n1", T0_S + 300 * i] = window
        past.rollups[Subject.WORKLOAD, WEB, T0_S + 300 * i] = window
    tally = Tally(n_observations=9, n_failures=2, n_oom_kills=1, n_samples=30, cpu_milli_sum=0.5)
    past.tallies[Subject.NODE, "n1", T0_S // 3600] = tally
    past.placements += [make_row("u1", fate=Fate.SUCCEEDED), make_row("u2", fate=Fate.FAILED)]
    past.placements.append(make_row("u3", fate=Fate.CENSORED))
    return past


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_exported_can_be_imported_elsewhere(opened: Opened, folder: Path, suffix: str):
    opened.store.add_past([some_past()])

    counts = export(opened.database, folder, suffix=suffix)
    with closing(Opened(f"sqlite:///{folder}/other.db")) as other:
        done = [other.importer.add(path) for path in counts]
        again = [other.importer.add(path) for path in counts]

        assert list(counts.values()) == [6, 1, 3] == [d.n_rows for d in done]
        assert [(d.new.rollups, d.new.tallies, d.new.placements) for d in done] == [
            (6, 0, 0),
            (0, 1, 0),
            (0, 0, 3),
        ]
        assert all((d.new.rollups, d.new.tallies, d.new.placements) == (0, 0, 0) for d in again)
        for subject, name in ((Subject.NODE, "n1"), (Subject.WORKLOAD, WEB)):
            there, here = other.windows(subject, name), opened.windows(subject, name)
            assert there.keys() == here.keys()
            for start_s, (cpu, memory) in here.items():
                for one, two in zip((cpu, memory), there[start_s], strict=True):
                    assert two.buckets == one.buckets
                    assert (two.count, two.max, two.mean) == (one.count, one.max, one.mean)
                    assert two.m2 == pytest.approx(one.m2)
        assert other.tallies() == opened.tallies()
        mine, theirs = (o.store.placements(since=0, limit=10).items for o in (opened, other))
        assert [(p.pod_uid, p.state, p.outcome, p.memory_bytes) for p in theirs] == [
            (p.pod_uid, p.state, p.outcome, p.memory_bytes) for p in mine
        ]


def test_samples_become_rollups_and_usual_usage(opened: Opened, folder: Path):
    done = opened.importer.add(write(folder, SAMPLES))

    nodes = opened.windows(Subject.NODE, "n1")
    assert done.n_rows == 6
    assert {s - T0_S: (cpu.count, cpu.mean) for s, (cpu, _) in nodes.items()} == {
        0: (2, 200.0),
        300: (1, 500.0),
    }
    assert {name: (t.n_samples, t.cpu_milli_sum) for (_, name, _), t in opened.tallies().items()}
    hours = {hour: (t.n_samples, t.cpu_milli_sum) for (_, _, hour), t in opened.tallies().items()}
    assert hours == {T0_S // 3600: (2, 40.0), T0_S // 3600 + 1: (1, 70.0)}


def test_a_file_is_added_whole_or_not_at_all(opened: Opened, folder: Path):
    bad = write(folder, SAMPLES + "node,n1,1790002900,1,many\n")

    with pytest.raises(FileError, match=r"file\.csv:9: memory_bytes: Expected `int`"):
        opened.importer.add(bad)

    assert opened.windows(Subject.NODE, "n1") == {}
    assert opened.tallies() == {}


def test_samples_of_which_no_rollup_was_made_are_not_hidden_by_later_ones(
    opened: Opened, folder: Path
):
    batch = Batch()
    batch.ticks.append(Tick(nodes={"n1": SampleRow(T0_S - 600.0, 50, 50, False)}))
    opened.store.write(batch)

    opened.importer.add(write(folder, SAMPLES))

    node = opened.store.series_id(Subject.NODE, "n1")
    found = opened.archive.windows(node, start_s=T0_S - 900, end_s=T0_S + 900, step_s=300)
    assert sorted(start_s - T0_S for start_s in found) == [-600, 0, 300]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "file.csv:1: is empty", id="empty"),
        pytest.param("a,b\n1,2\n", "file.csv:1: the columns are those of no kind", id="unknown"),
        pytest.param(
            "subject,name,at_s,cpu_milli,memory\n", "as samples, memory_bytes is missing", id="typo"
        ),
        pytest.param("subject,subject\n", "a column is named twice", id="twice"),
        pytest.param(SAMPLES + "node,n1\n", "file.csv:9: has 2 fields, not 5", id="short row"),
        pytest.param(SAMPLES + "pod,n1,1,1,1\n", "file.csv:9: subject: Invalid", id="subject"),
        pytest.param(SAMPLES + "workload,web,1,1,1\n", "file.csv:9: name: a workload", id="name"),
        pytest.param(SAMPLES + "node,n1,nan,1,1\n", "file.csv:9: at_s: Expected", id="no time"),
        pytest.param(SAMPLES + "node,n1,1789999200123,1,1\n", "9: at_s: ", id="milliseconds"),
        pytest.param(SAMPLES + "node,n1,1790002900,-1,1\n", "9: cpu_milli: ", id="negative"),
        pytest.param(SAMPLES + "node,n1,1789999200,1,1\n", "9: at_s: rows must be", id="unsorted"),
        pytest.param(SAMPLES + "node,,1790002900,1,1\n", "9: .*`name`", id="no name"),
        pytest.param(SAMPLES + '"node,n1', "file.csv:9: unexpected end", id="open quote"),
        pytest.param("subject,name,hour_start_s\nnode,n1,1800\n", "2: hour_start_s: ", id="hour"),
    ],
)
def test_wrong_files_are_refused_by_file_line_and_field(folder: Path, text: str, complaint: str):
    with pytest.raises(FileError, match=complaint):
        check(write(folder, text))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"start_s": "1789999201"}, "start_s: Expected `int` that's a multiple of 300"),
        ({"cpu_milli_mean": "999"}, "cpu_milli_mean: is above cpu_milli_max"),
        ({"cpu_milli_histogram": '{"3": 1}'}, "cpu_milli_histogram: does not hold n_samples"),
        ({"cpu_milli_histogram": "[1]"}, "cpu_milli_histogram: Expected `object`"),
        ({"n_samples": "0"}, "n_samples: Expected `int` >= 1"),
    ],
)
def test_a_rollup_must_make_sense(folder: Path, changes: dict[str, str], complaint: str):
    row = {
        "subject": "node",
        "name": "n1",
        "start_s": str(T0_S),
        "n_samples": "2",
        "cpu_milli_mean": "15",
        "cpu_milli_max": "20",
        "memory_bytes_mean": "0",
        "memory_bytes_max": "0",
        **changes,
    }
    path = folder / "rollups.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)

    with pytest.raises(FileError, match=f"rollups.csv:2: {complaint}"):
        check(path)


def test_without_a_histogram_all_samples_count_as_the_mean():
    row = RollupFileRow(
        subject="node",
        name="n1",
        start_s=T0_S,
        n_samples=10,
        cpu_milli_mean=500.0,
        cpu_milli_max=600,
        memory_bytes_mean=0.0,
        memory_bytes_max=0,
    )

    cpu, memory = row.window

    assert cpu.quantile(0.95) == pytest.approx(500, rel=0.05)
    assert (memory.count, memory.quantile(0.5)) == (10, 0.0)


def test_a_parquet_file_of_other_types_is_refused_by_row(folder: Path):
    import pyarrow
    from pyarrow import parquet

    rows = {"subject": ["node"] * 2, "name": ["n1"] * 2, "at_s": [1, 2], "cpu_milli": [1, None]}
    path = folder / "samples.parquet"
    parquet.write_table(pyarrow.table({**rows, "memory_bytes": [1, 2]}), path)
    broken = folder / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")

    with pytest.raises(FileError, match=r"samples\.parquet:2: .*`cpu_milli`"):
        check(path)
    with pytest.raises(FileError, match=r"broken\.parquet: "):
        check(broken)


def test_without_pyarrow_parquet_is_refused_with_the_remedy(folder: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(NoParquetError, match=r"pip install 'ai-scheduler\[files\]'"):
        list(read_rows(folder / "x.parquet"))


def test_every_column_of_every_kind_survives_parquet(folder: Path):
    for name, kind in KINDS.items():
        with writing(folder / f"{name}.parquet", kind) as writer:
            writer.write([])
        assert list(read_rows(folder / f"{name}.parquet")) == []


def run(*arguments: str, url: str) -> int:
    return main(arguments, env={"COLLECTOR__DATABASE__URL": url})


def test_the_commands_import_check_and_export(database_url: str, folder: Path, capsys):
    write(folder, SAMPLES, name="a.csv")
    target = folder / "out"

    codes = [
        run("import", str(folder), "--dry-run", url=database_url),
        run("import", str(folder), url=database_url),
        run("export", str(target), "--format", "parquet", url=database_url),
        run("import", str(target), url=database_url),
    ]

    said = capsys.readouterr().out.splitlines()
    assert codes == [0, 0, 0, 0]
    assert said[0] == f"{folder}/a.csv: 6 rows are sound"
    assert said[1] == f"{folder}/a.csv: 6 rows; new: 4 rollups, 2 tallies, 0 placements"
    assert said[2] == f"{target}/rollups.parquet: 4 rows"
    assert said[-1] == f"{target}/tallies.parquet: 2 rows; new: 0 rollups, 0 tallies, 0 placements"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing.csv", "missing.csv: No such file"),
        ("x.json", "its name must end in .csv or .parquet"),
        (".", "holds no file that ends in"),
    ],
)
def test_a_path_that_is_none_ends_the_command(folder: Path, capsys, name: str, complaint: str):
    code = run("import", str(folder / name), url=f"sqlite:///{folder}/x.db")

    assert code == 1
    assert complaint in capsys.readouterr().err


def test_a_database_has_one_writer(database_url: str, folder: Path, capsys):
    with closing(Opened(database_url)), claiming(database_url):
        code = run("import", str(write(folder, SAMPLES)), url=database_url)
        with pytest.raises(StoreError, match="another collector"), claiming(database_url):
            pass

    assert code == 1
    assert "another collector, or an import, is using this database" in capsys.readouterr().err
    assert run("import", str(folder), url=database_url) == 0
