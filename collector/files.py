"""CSV and parquet files as rows with columns, read and written in chunks."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, get_type_hints

import msgspec

from collector.file_rows import KINDS, FileRow

SUFFIXES: Final = (".csv", ".parquet")
_ROWS_A_CHUNK: Final = 2_000
_MAX_FIELD_CHARS: Final = 1_000_000
"""A placement's state is the longest field, with some thousand."""
_PARQUET_TYPES: Final[dict[type[msgspec.inspect.Type], str]] = {
    msgspec.inspect.IntType: "int64",
    msgspec.inspect.FloatType: "float64",
    msgspec.inspect.BoolType: "bool",
}

T = TypeVar("T")
Record = Mapping[str, Any]


class FileError(Exception):
    """A file is none that can be read or written; the message names file, line and field."""


class NoParquetError(FileError):
    """The library for parquet files is not installed."""

    def __init__(self) -> None:
        super().__init__("parquet files need pyarrow: pip install 'ai-scheduler[files]'")


class RowWriter(Protocol):
    """Takes rows of one kind."""

    def write(self, rows: list[FileRow]) -> None:
        """Write some rows."""


def find_files(path: Path) -> list[Path]:
    """List a file, or the files of a folder that can be read, by name.

    Raises:
        FileError: There is none.
    """
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
        if not found:
            raise FileError(f"{path}: holds no file that ends in {' or '.join(SUFFIXES)}")
        return found
    if path.suffix not in SUFFIXES:
        raise FileError(f"{path}: its name must end in {' or '.join(SUFFIXES)}")
    return [path]


def read_rows(path: Path) -> Iterator[tuple[int, FileRow]]:
    """Read a file's rows with their numbers; a CSV file's are those of its lines.

    Raises:
        FileError: The file, or a row, is not what its columns promise.
    """
    read = _read_csv if path.suffix == ".csv" else _read_parquet
    try:
        columns, records = read(path)
        kind = _kind(path, columns)
        for number, record in records:
            yield number, _row(path, number, record, kind=kind)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error


@contextmanager
def writing(path: Path, kind: type[FileRow]) -> Iterator[RowWriter]:
    """Write a file of rows of one kind; CSV or parquet, as the name says.

    Raises:
        FileError: It cannot be written.
    """
    write = _writing_csv if path.suffix == ".csv" else _writing_parquet
    try:
        with write(path, kind) as writer:
            yield writer
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error


def split(rows: Iterable[T]) -> Iterator[list[T]]:
    """Split rows into chunks that fit into memory whatever their number."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, _ROWS_A_CHUNK)):
        yield chunk


def _kind(path: Path, columns: list[str]) -> type[FileRow]:
    """Tell by the columns what a file holds.

    Raises:
        FileError: It is nothing that we know.
    """
    if len(set(columns)) < len(columns):
        raise FileError(f"{path}:1: a column is named twice")
    best, complaint = -1, ""
    for name, kind in KINDS.items():
        fields = msgspec.structs.fields(kind)
        missing = {f.encode_name for f in fields if f.required} - set(columns)
        unknown = set(columns) - {f.encode_name for f in fields}
        if not missing and not unknown:
            return kind
        n_known = len(columns) - len(unknown)
        if n_known > best:
            wrong = [f"{c} is missing" for c in sorted(missing)]
            wrong += [f"{c} is unknown" for c in sorted(unknown)]
            best, complaint = n_known, f"as {name}, {', '.join(wrong)}"
    raise FileError(f"{path}:1: the columns are those of no kind of file; {complaint}")


def _row(path: Path, number: int, record: Record, *, kind: type[FileRow]) -> FileRow:
    try:
        return msgspec.convert(record, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        field = f"{where.rstrip('`')}: " if where else ""
        raise FileError(f"{path}:{number}: {field}{what}") from error


Records = Iterator[tuple[int, Record]]


def _read_csv(path: Path) -> tuple[list[str], Records]:
    csv.field_size_limit(_MAX_FIELD_CHARS)
    records = _csv_records(path)
    _, head = next(records, (1, None))
    if head is None:
        raise FileError(f"{path}:1: is empty")
    columns = [column.strip() for column in head]
    return columns, _named(path, records, columns=columns)


def _csv_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
        except csv.Error as error:
            raise FileError(f"{path}:{reader.line_num}: {error}") from error
        except UnicodeDecodeError as error:
            raise FileError(f"{path}:{reader.line_num + 1}: {error}") from error


def _named(
    path: Path, records: Iterator[tuple[int, list[str]]], *, columns: list[str]
) -> Iterator[tuple[int, Record]]:
    for number, fields in records:
        if len(fields) != len(columns):
            raise FileError(f"{path}:{number}: has {len(fields)} fields, not {len(columns)}")
        # An empty field is one that is not given.
        yield number, {c: f for c, f in zip(columns, fields, strict=True) if f != ""}


def _read_parquet(path: Path) -> tuple[list[str], Records]:
    arrow, parquet = _pyarrow()
    try:
        file = parquet.ParquetFile(path)
    except arrow.ArrowException as error:
        raise FileError(f"{path}: {error}") from error

    def records() -> Records:
        number = 0
        try:
            with file:
                for batch in file.iter_batches(_ROWS_A_CHUNK):
                    for record in batch.to_pylist():
                        number += 1
                        yield number, {c: v for c, v in record.items() if v is not None}
        except arrow.ArrowException as error:
            raise FileError(f"{path}:{number + 1}: {error}") from error

    return list(file.schema_arrow.names), records()


class _CsvWriter:
    def __init__(self, file: Any, columns: tuple[str, ...]) -> None:
        self._writer = csv.DictWriter(file, columns)
        self._writer.writeheader()

    def write(self, rows: list[FileRow]) -> None:
        self._writer.writerows(msgspec.structs.asdict(row) for row in rows)


@contextmanager
def _writing_csv(path: Path, kind: type[FileRow]) -> Iterator[RowWriter]:
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _CsvWriter(file, kind.__struct_fields__)


class _ParquetWriter:
    def __init__(self, writer: Any, make_table: Any) -> None:
        self._writer = writer
        self._make_table = make_table

    def write(self, rows: list[FileRow]) -> None:
        records = [msgspec.structs.asdict(row) for row in rows]
        self._writer.write_table(self._make_table(records))


@contextmanager
def _writing_parquet(path: Path, kind: type[FileRow]) -> Iterator[RowWriter]:
    arrow, parquet = _pyarrow()
    schema = arrow.schema([(name, _parquet_type(type_)) for name, type_ in _types(kind)])
    with parquet.ParquetWriter(path, schema) as writer:
        yield _ParquetWriter(
            writer, lambda records: arrow.Table.from_pylist(records, schema=schema)
        )


def _types(kind: type[FileRow]) -> Iterator[tuple[str, msgspec.inspect.Type]]:
    hints = get_type_hints(kind, include_extras=True)
    for name in kind.__struct_fields__:
        yield name, msgspec.inspect.type_info(hints[name])


def _parquet_type(kind: msgspec.inspect.Type) -> str:
    """Name the type of a column; what may be missing is a union with nothing."""
    parts = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    for part in parts:
        if type(part) in _PARQUET_TYPES:
            return _PARQUET_TYPES[type(part)]
    return "string"


def _pyarrow() -> tuple[Any, Any]:
    # Not at the top: 150 MB that only parquet files need.
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise NoParquetError from error
    return pyarrow, pyarrow.parquet
