"""Tables of text whose every fault is told by file, line and column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.errors import ConfigError
from scheduler.simulator.column_files import ColumnFileError, column_names, read_columns

T = TypeVar("T")

MAX_ROWS: Final = 5_000_000
"""A file of more rows is refused: it is not the kind of file that is meant."""


class TraceFileError(ConfigError):
    """A trace cannot be read; the message names file, line and column as far as known."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Columns of text, as a file has them below its header; the first row is line 2."""

    path: Path
    columns: dict[str, NDArray[np.str_]]
    n_rows: int

    def wrong(self, column: str, *, row: int, problem: str) -> TraceFileError:
        """Name the place of a fault.

        Args:
            column: Its name.
            row: From 0.
            problem: What is wrong there.
        """
        return TraceFileError(f"{self.path}:{row + 2}: column {column}: {problem}")

    def texts(self, column: str) -> list[str]:
        """Give a column as it stands; a column that the file has not is of empty texts."""
        if column not in self.columns:
            return [""] * self.n_rows
        return [str(text) for text in self.columns[column]]

    def parsed(self, column: str, *, parse: Callable[[str], T]) -> list[T]:
        """Read each text of a column.

        Args:
            column: Its name.
            parse: Raises ``ValueError`` for a text that will not do.

        Raises:
            TraceFileError: A text will not do.
        """
        values: list[T] = []
        known: dict[str, T] = {}
        for row, text in enumerate(self.texts(column)):
            if text not in known:
                try:
                    known[text] = parse(text)
                except ValueError as error:
                    raise self.wrong(column, row=row, problem=str(error)) from error
            values.append(known[text])
        return values


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a reader of whole numbers."""

    def parse(text: str) -> int:
        is_number = text.removeprefix("-").isascii() and text.removeprefix("-").isdecimal()
        if not is_number or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number, {least} to {most}, not {text!r}")
        return int(text)

    return parse


def real(least: float, most: float) -> Callable[[str], float]:
    """Make a reader of real numbers."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise ValueError(f"must be a number, {least:g} to {most:g}, not {text!r}")
        return number

    return parse


def word(text: str) -> str:
    """Read a text that must not be empty.

    Raises:
        ValueError: It is empty.
    """
    if not text:
        raise ValueError("is empty")
    return text


def read_table(path: Path, *, needed: Sequence[str], optional: Sequence[str] = ()) -> TextTable:
    """Read columns of a CSV file (``.csv``, ``.csv.gz``).

    Args:
        path: The file.
        needed: Columns that it must have.
        optional: Columns that it may have; others are left unread.

    Raises:
        TraceFileError: It cannot be read, lacks a column, or has too many rows.
    """
    try:
        present = column_names(path)
        missing = [name for name in needed if name not in present]
        if missing:
            raise TraceFileError(f"{path}:1: no column {', '.join(missing)}")
        names = [*needed, *(name for name in optional if name in present)]
        parts: dict[str, list[NDArray[np.str_]]] = {name: [] for name in names}
        n_rows = 0
        for batch in read_columns(path, names):
            n_rows += len(batch[names[0]])
            if n_rows > MAX_ROWS:
                raise TraceFileError(f"{path}: more than {MAX_ROWS} rows")
            for name in names:
                parts[name].append(batch[name])
    except ColumnFileError as error:
        raise TraceFileError(str(error)) from error
    empty = np.zeros(0, dtype=np.str_)
    return TextTable(path, {n: np.concatenate([empty, *parts[n]]) for n in names}, n_rows)
