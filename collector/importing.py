"""From files of history to the database: each file whole or not at all, in bounded memory."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from collector.archive import Archive
from collector.file_rows import (
    SUBJECTS,
    FileRow,
    PlacementFileRow,
    RollupFileRow,
    SampleFileRow,
    TallyFileRow,
)
from collector.files import FileError, read_rows, split
from collector.history import HOUR_S, Subject, Tally
from collector.records import Past, PastCounts
from collector.store import Store
from collector.windows import ROLLUP_S, Rollup

NumberedRow = tuple[int, FileRow]


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file."""

    n_rows: int
    new: PastCounts


class Importer:
    """Adds files to the past; what is there already is kept, so importing twice does no harm.

    Args:
        store: Where to; nobody else may write there meanwhile.
        archive: The same database.
    """

    def __init__(self, store: Store, *, archive: Archive) -> None:
        self._store = store
        self._archive = archive

    def add(self, path: Path) -> Imported:
        """Add a file, all of it or nothing.

        Raises:
            FileError: Names file, line and field of the first row that is wrong.
            StoreError: The database does not take it.
        """
        # Later rollups would hide the samples that no rollup has been made of.
        self._archive.roll_up_all()
        rows = _Counted(read_rows(path))
        return Imported(new=self._store.add_past(parts_of(path, rows)), n_rows=rows.n)


def check(path: Path) -> int:
    """Read a file as if to add it; tell how many rows it has.

    Raises:
        FileError: Names file, line and field of the first row that is wrong.
    """
    rows = _Counted(read_rows(path))
    for _ in parts_of(path, rows):
        pass
    return rows.n


def parts_of(path: Path, rows: Iterable[NumberedRow]) -> Iterator[Past]:
    """Turn a file's rows into parts of the past that fit into memory.

    Raises:
        FileError: Samples are not sorted by time.
    """
    samples = _Samples(path)
    for chunk in split(rows):
        past = Past()
        for number, row in chunk:
            match row:
                case SampleFileRow():
                    samples.take(row, number=number, past=past)
                case RollupFileRow():
                    past.rollups[SUBJECTS[row.subject], row.name, row.start_s] = row.window
                case TallyFileRow():
                    hour = row.hour_start_s // HOUR_S
                    past.tallies[SUBJECTS[row.subject], row.name, hour] = row.tally
                case PlacementFileRow():
                    past.placements.append(row.placement)
        yield past
    rest = Past()
    samples.end(rest)
    yield rest


class _Samples:
    """Rolls up sorted samples, and tallies what workloads use, as the collector does live."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._window_s = self._hour = -1
        self._rolled, self._counted = Past(), Past()

    def take(self, row: SampleFileRow, *, number: int, past: Past) -> None:
        """Take in a sample; put into *past* what is complete with it.

        Raises:
            FileError: It lies before the samples that came earlier.
        """
        window_s = int(row.at_s) // ROLLUP_S * ROLLUP_S
        if window_s < self._window_s:
            raise FileError(f"{self._path}:{number}: at_s: rows must be sorted by time")
        if window_s > self._window_s:
            self._end_window(past)
        if window_s // HOUR_S > self._hour:
            self._end_hour(past)
        self._window_s, self._hour = window_s, window_s // HOUR_S
        subject = SUBJECTS[row.subject]
        key = (subject, row.name, window_s)
        window = self._rolled.rollups.setdefault(key, (Rollup(), Rollup()))
        window[0].add(row.cpu_milli)
        window[1].add(row.memory_bytes)
        if subject is Subject.WORKLOAD:
            tally = self._counted.tallies.setdefault((subject, row.name, self._hour), Tally())
            tally.n_samples += 1
            tally.cpu_milli_sum += row.cpu_milli
            tally.memory_bytes_sum += row.memory_bytes

    def end(self, past: Past) -> None:
        """Put into *past* what is left."""
        self._end_window(past)
        self._end_hour(past)

    def _end_window(self, past: Past) -> None:
        past.rollups.update(self._rolled.rollups)
        self._rolled = Past()

    def _end_hour(self, past: Past) -> None:
        past.tallies.update(self._counted.tallies)
        self._counted = Past()


class _Counted(Iterator[NumberedRow]):
    """Rows, and how many there were."""

    def __init__(self, rows: Iterator[NumberedRow]) -> None:
        self._rows = rows
        self.n = 0

    def __next__(self) -> NumberedRow:
        row = next(self._rows)
        self.n += 1
        return row
