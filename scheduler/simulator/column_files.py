"""Columns of parquet and CSV files (``.csv``, ``.csv.gz``), read in batches."""

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Columns: TypeAlias = Mapping[str, NDArray[Any]]
"""Columns by name, all of one length; those of CSV are of text."""

SUFFIXES: Final = (".parquet", ".csv", ".csv.gz")
_BATCH_ROWS: Final = 200_000


class ColumnFileError(ValueError):
    """A file cannot be read; the message begins with its path."""


def column_names(path: Path) -> list[str]:
    """Read which columns a file has.

    Raises:
        ColumnFileError: The file cannot be read.
    """
    if _is_parquet(path):
        return list(_open_parquet(path).schema_arrow.names)
    with _open_csv(path) as file:
        return next(_rows(path, file), [])


def read_columns(
    path: Path, names: Sequence[str], *, batch_rows: int = _BATCH_ROWS
) -> Iterator[Columns]:
    """Read some columns, a batch of rows at a time.

    Args:
        path: The file.
        names: Columns that it has.
        batch_rows: How many rows are in memory at once.

    Raises:
        ColumnFileError: The file cannot be read.
    """
    read = _read_parquet if _is_parquet(path) else _read_csv
    yield from read(path, names, batch_rows)


def _is_parquet(path: Path) -> bool:
    return path.name.endswith(".parquet")


def _open_parquet(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ColumnFileError(f"{path}: to read parquet, install the extra 'files'") from error
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise ColumnFileError(f"{path}: {error}") from error


def _read_parquet(path: Path, names: Sequence[str], batch_rows: int) -> Iterator[Columns]:
    file = _open_parquet(path)
    try:
        for batch in file.iter_batches(batch_size=batch_rows, columns=list(names)):
            yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in names}
    except OSError as error:
        raise ColumnFileError(f"{path}: {error}") from error


def _open_csv(path: Path) -> IO[str]:
    try:
        if path.name.endswith(".gz"):
            return gzip.open(path, "rt", encoding="utf-8", newline="")
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise ColumnFileError(f"{path}: {error.strerror or error}") from error


def _read_csv(path: Path, names: Sequence[str], batch_rows: int) -> Iterator[Columns]:
    with _open_csv(path) as file:
        rows = _rows(path, file)
        header = next(rows, [])
        places = [header.index(name) for name in names]
        line = 1
        while batch := list(islice(rows, batch_rows)):
            for row in batch:
                line += 1
                if len(row) != len(header):
                    raise ColumnFileError(
                        f"{path}:{line}: {len(row)} fields, where the header has {len(header)}"
                    )
            yield {
                name: np.array([row[place] for row in batch])
                for name, place in zip(names, places, strict=True)
            }


def _rows(path: Path, file: IO[str]) -> Iterator[list[str]]:
    try:
        yield from csv.reader(file)
    except (csv.Error, EOFError, OSError, UnicodeDecodeError) as error:
        raise ColumnFileError(f"{path}: {error}") from error
