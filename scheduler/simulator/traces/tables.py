"""Files of recorded nodes and pods: CSV (also ``.csv.gz``) or parquet, with the columns of a row.

::

    name,created_at_s,cpu_request_milli,memory_request_bytes,run_s
    train-1,1772409600,2000,4294967296,5400
"""

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from kube.edge.settings import SettingsError
from scheduler.simulator.column_files import (
    SUFFIXES,
    ColumnFileError,
    Columns,
    column_names,
    read_columns,
)
from scheduler.simulator.traces.rows import NodeRow, PodRow, Row

MAX_NODES: Final = 10_000
MAX_PODS: Final = 500_000
"""More rows than this are refused: they would take gigabytes of memory."""
_BATCH_ROWS: Final = 2_000
"""Few, for columns of text are as wide as their longest value."""

R = TypeVar("R", bound=Row)


class TraceError(SettingsError):
    """A recording cannot be read; the message names file, line and column."""


def read_nodes(path: Path) -> tuple[NodeRow, ...]:
    """Read recorded nodes.

    Raises:
        TraceError: The file cannot be read, or a row is malformed or there twice.
    """
    nodes: dict[str, NodeRow] = {}
    for line, node in _read(path, NodeRow, most=MAX_NODES):
        if node.name in nodes:
            raise TraceError(f"{path}:{line}: name: there are two nodes {node.name!r}")
        nodes[node.name] = node
    return tuple(nodes.values())


def read_pods(path: Path) -> tuple[PodRow, ...]:
    """Read recorded pods, in order of their creation.

    Raises:
        TraceError: The file cannot be read, or a row is malformed.
    """
    pods = [pod for _, pod in _read(path, PodRow, most=MAX_PODS)]
    return tuple(sorted(pods, key=lambda pod: pod.created_at_s))


def write_rows(path: Path, rows: Iterable[R], *, kind: type[R]) -> int:
    """Write rows as CSV; tell how many.

    Raises:
        OSError: The file cannot be written.
    """
    columns = kind.__struct_fields__
    n_rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([getattr(row, column) for column in columns])
            n_rows += 1
    return n_rows


def _read(path: Path, kind: type[R], *, most: int) -> Iterator[tuple[int, R]]:
    """Read rows with the numbers of their lines; the header is line 1, in parquet, too.

    Raises:
        TraceError: The file, or a row, is not what its columns promise.
    """
    if not path.name.endswith(SUFFIXES):
        raise TraceError(f"{path}: its name must end in {', '.join(SUFFIXES)}")
    try:
        header = column_names(path)
        _check_header(path, header, kind=kind)
        line = 1
        for columns in read_columns(path, header, batch_rows=_BATCH_ROWS):
            for record in _records(columns, header):
                line += 1
                if line > most + 1:
                    raise TraceError(f"{path}:{line}: more than {most:,} rows")
                yield line, _row(path, line, record, kind=kind)
    except ColumnFileError as error:
        raise TraceError(str(error)) from error
    if line == 1:
        raise TraceError(f"{path}: it has no rows")


def _check_header(path: Path, header: Sequence[str], *, kind: type[Row]) -> None:
    fields = msgspec.structs.fields(kind)
    known = {field.name for field in fields}
    needed = [field.name for field in fields if field.required]
    unknown = [name for name in header if name not in known]
    if unknown:
        names = ", ".join(kind.__struct_fields__)
        raise TraceError(f"{path}:1: unknown column {unknown[0]!r}; known are {names}")
    missing = [name for name in needed if name not in header]
    if missing:
        raise TraceError(f"{path}:1: the column {missing[0]!r} is missing")
    if len(set(header)) < len(header):
        raise TraceError(f"{path}:1: a column is named twice")


def _records(columns: Columns, header: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Turn columns into rows, without what is not given."""
    for values in zip(*(columns[name].tolist() for name in header), strict=True):
        yield {
            name: value
            for name, value in zip(header, values, strict=True)
            if value is not None and value != "" and not _is_nan(value)
        }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _row(path: Path, line: int, record: dict[str, Any], *, kind: type[R]) -> R:
    try:
        return msgspec.convert(record, kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        column = f"{where.rstrip('`')}: " if where else ""
        raise TraceError(f"{path}:{line}: {column}{what}") from error
