"""From the database to files that can be imported elsewhere, or analysed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import select

from collector.database import Database
from collector.file_rows import (
    SUBJECTS,
    TALLY_FIELDS,
    FileRow,
    PlacementFileRow,
    RollupFileRow,
    TallyFileRow,
    Whose,
)
from collector.files import split, writing
from collector.history import Subject, Tally
from collector.schema import PLACEMENTS, ROLLUPS, SERIES, TALLIES
from collector.store import placement_row_of
from collector.windows import Rollup, decode_all_buckets

_ROWS_READ: Final = 2_000
_NAMES: Final[dict[int, Whose]] = {
    int(SUBJECTS["node"]): "node",
    int(SUBJECTS["workload"]): "workload",
}


def export(database: Database, folder: Path, *, suffix: str) -> dict[Path, int]:
    """Write rollups, tallies and placements into a folder; tell how many rows of each.

    Args:
        database: Where they are.
        folder: Where to; it is made if it is missing.
        suffix: ``.csv`` or ``.parquet``.

    Raises:
        FileError: A file cannot be written.
        StoreError: The database cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds: tuple[tuple[str, type[FileRow], Iterator[FileRow]], ...] = (
        ("rollups", RollupFileRow, _rollups(database)),
        ("tallies", TallyFileRow, _tallies(database)),
        ("placements", PlacementFileRow, _placements(database)),
    )
    counts = {}
    for name, kind, rows in kinds:
        path = folder / f"{name}{suffix}"
        counts[path] = 0
        with writing(path, kind) as writer:
            for chunk in split(rows):
                writer.write(chunk)
                counts[path] += len(chunk)
    return counts


def _rollups(database: Database) -> Iterator[FileRow]:
    query = (
        select(SERIES.c.subject, SERIES.c.name, ROLLUPS)
        .join(SERIES, SERIES.c.id == ROLLUPS.c.series_id)
        .order_by(ROLLUPS.c.series_id, ROLLUPS.c.start_s)
        .execution_options(yield_per=_ROWS_READ)
    )
    with database.reading() as connection:
        for row in connection.execute(query):
            cpu, memory = decode_all_buckets([row.cpu_buckets, row.memory_buckets])
            window = (
                Rollup(row.n, row.cpu_mean, row.cpu_max, row.cpu_m2, cpu),
                Rollup(row.n, row.memory_mean, row.memory_max, row.memory_m2, memory),
            )
            yield RollupFileRow.of(_NAMES[row.subject], row.name, row.start_s, window=window)


def _tallies(database: Database) -> Iterator[FileRow]:
    query = (
        select(SERIES.c.subject, SERIES.c.name, TALLIES)
        .join(SERIES, SERIES.c.id == TALLIES.c.series_id)
        .where(SERIES.c.subject != int(Subject.POD))
        .order_by(TALLIES.c.series_id, TALLIES.c.hour)
        .execution_options(yield_per=_ROWS_READ)
    )
    with database.reading() as connection:
        for row in connection.execute(query):
            tally = Tally(**{field: getattr(row, field) for field in TALLY_FIELDS})
            yield TallyFileRow.of(_NAMES[row.subject], row.name, row.hour, tally=tally)


def _placements(database: Database) -> Iterator[FileRow]:
    query = select(PLACEMENTS).order_by(PLACEMENTS.c.seq).execution_options(yield_per=_ROWS_READ)
    with database.reading() as connection:
        for row in connection.execute(query):
            yield PlacementFileRow.of(placement_row_of(row))
