"""Columns: one array for each resource, taint, port or label key, with a row for each node.

Rows are dense: ``0..n_rows``. The last row moves into the place of a removed one, so that a
column is always one plain array.
"""

from collections.abc import Hashable
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.status import BoolColumn

K = TypeVar("K", bound=Hashable)

IntColumn = NDArray[np.int64]

_FIRST_CAPACITY: Final = 16
_ABSENT: Final = -1


def _grown(array: IntColumn, *, capacity: int, fill: int) -> IntColumn:
    grown = np.full(capacity, fill, dtype=np.int64)
    grown[: array.size] = array
    return grown


class Amounts(Generic[K]):
    """An integer for each node and key; a key that no node has costs nothing.

    ``columns[key]`` of an unknown key is a column of zeros.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self._capacity = _FIRST_CAPACITY
        self._zeros = np.zeros(self._capacity, dtype=np.int64)
        self._zeros.flags.writeable = False
        self._columns: dict[K, IntColumn] = {}
        self._n_used: dict[K, int] = {}
        self._borrowed: set[K] = set()
        """Columns that belong to the one this was forked from; copied before they change."""

    def fork(self) -> "Amounts[K]":
        """Copy, at the cost of the columns that change; rows may be neither added nor removed."""
        fork: Amounts[K] = Amounts()
        fork.n_rows, fork._capacity, fork._zeros = self.n_rows, self._capacity, self._zeros
        fork._columns, fork._n_used = dict(self._columns), dict(self._n_used)
        fork._borrowed = set(self._columns)
        return fork

    def present(self) -> list[K]:
        """Return the keys that some node has."""
        return list(self._columns)

    def __getitem__(self, key: K) -> IntColumn:
        """Return the column of *key*, shape ``(n_rows,)``; a view that must not be written to."""
        return self._columns.get(key, self._zeros)[: self.n_rows]

    def value(self, row: int, *, key: K) -> int:
        """Return one amount."""
        column = self._columns.get(key)
        return 0 if column is None else int(column[row])

    def add(self, row: int, *, key: K, amount: int) -> None:
        """Add *amount*, which may be negative."""
        if amount == 0:
            return
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = np.zeros(self._capacity, dtype=np.int64)
            self._n_used[key] = 0
        elif key in self._borrowed:
            column = self._columns[key] = column.copy()
            self._borrowed.discard(key)
        before = int(column[row])
        after = before + amount
        column[row] = after
        self._n_used[key] += (after != 0) - (before != 0)
        if self._n_used[key] == 0:
            # Taints, ports and extended resources come and go; their columns go with them.
            del self._columns[key], self._n_used[key]
            self._borrowed.discard(key)

    def append_row(self) -> None:
        """Add a row of zeros at the end."""
        self.n_rows += 1
        if self.n_rows <= self._capacity:
            return
        self._capacity *= 2
        self._zeros = np.zeros(self._capacity, dtype=np.int64)
        self._zeros.flags.writeable = False
        for key, column in self._columns.items():
            self._columns[key] = _grown(column, capacity=self._capacity, fill=0)

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        last = self.n_rows - 1
        for key in self.present():
            moved = self.value(last, key=key)
            self.add(row, key=key, amount=moved - self.value(row, key=key))
            self.add(last, key=key, amount=-moved)
        self.n_rows = last


class _LabelColumn:
    """The values of one label key, interned as numbers."""

    def __init__(self, capacity: int) -> None:
        self.values: dict[str, int] = {}
        self.ids = np.full(capacity, _ABSENT, dtype=np.int64)
        self.n_used = 0

    def set(self, row: int, *, value: str | None) -> None:
        self.n_used += (value is not None) - int(self.ids[row] != _ABSENT)
        if value is None:
            self.ids[row] = _ABSENT
            return
        self.ids[row] = self.values.setdefault(value, len(self.values))
        if len(self.values) > 2 * self.n_used + _FIRST_CAPACITY:
            self._forget_unused()

    def _forget_unused(self) -> None:
        """Keep the table as small as the cluster: nodes with names of their own come and go."""
        used = set(self.ids[self.ids != _ABSENT].tolist())
        kept = [value for value, number in self.values.items() if number in used]
        renumbered = np.full(len(self.values) + 1, _ABSENT, dtype=np.int64)
        for number, value in enumerate(kept):
            renumbered[self.values[value]] = number
        # The absent mark, -1, indexes the last element, which holds it.
        self.ids = renumbered[self.ids]
        self.values = {value: number for number, value in enumerate(kept)}

    def as_integers(self) -> tuple[IntColumn, BoolColumn]:
        """Read every value as an int64; the second column tells which ones are one."""
        numbers = np.zeros(len(self.values) + 1, dtype=np.int64)
        valid = np.zeros(len(self.values) + 1, dtype=np.bool_)
        for value, number in self.values.items():
            parsed = parse_int64(value)
            if parsed is not None:
                numbers[number], valid[number] = parsed, True
        return numbers[self.ids], valid[self.ids]


class Labels:
    """The labels of all nodes."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._capacity = _FIRST_CAPACITY
        self._columns: dict[str, _LabelColumn] = {}

    def has(self, key: str) -> BoolColumn:
        """Tell which nodes carry *key*."""
        column = self._columns.get(key)
        if column is None:
            return np.zeros(self.n_rows, dtype=np.bool_)
        return np.not_equal(column.ids[: self.n_rows], _ABSENT)

    def is_in(self, key: str, *, values: list[str]) -> BoolColumn:
        """Tell which nodes carry *key* with one of *values*."""
        column = self._columns.get(key)
        found = np.zeros(self.n_rows, dtype=np.bool_)
        if column is None:
            return found
        for value in values:
            number = column.values.get(value)
            if number is not None:
                found |= column.ids[: self.n_rows] == number
        return found

    def ids(self, key: str) -> tuple[IntColumn, int]:
        """Number the values of *key*.

        Returns:
            Shape ``(n_rows,)``: each node's value as a number, -1 where it lacks *key*; and a
            number above all of them. A view that must not be written to.
        """
        column = self._columns.get(key)
        if column is None:
            return np.full(self.n_rows, _ABSENT, dtype=np.int64), 0
        return column.ids[: self.n_rows], len(column.values)

    def value_id(self, key: str, *, value: str) -> int:
        """Return the number of a value of *key*; -1 if no node has it."""
        column = self._columns.get(key)
        return _ABSENT if column is None else column.values.get(value, _ABSENT)

    def compare(self, key: str, *, limit: int) -> tuple[BoolColumn, BoolColumn]:
        """Tell where *key* is an integer below *limit*, and where it is one above it."""
        column = self._columns.get(key)
        if column is None:
            nowhere = np.zeros(self.n_rows, dtype=np.bool_)
            return nowhere, nowhere
        numbers, valid = column.as_integers()
        numbers, valid = numbers[: self.n_rows], valid[: self.n_rows]
        return valid & (numbers < limit), valid & (numbers > limit)

    def set(self, row: int, *, key: str, value: str | None) -> None:
        """Set a label, or take it away (``None``)."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = _LabelColumn(self._capacity)
        column.set(row, value=value)
        if column.n_used == 0:
            del self._columns[key]

    def append_row(self) -> None:
        """Add a row without labels at the end."""
        self.n_rows += 1
        if self.n_rows <= self._capacity:
            return
        self._capacity *= 2
        for column in self._columns.values():
            column.ids = _grown(column.ids, capacity=self._capacity, fill=_ABSENT)

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        last = self.n_rows - 1
        for key in list(self._columns):
            column = self._columns[key]
            column.n_used -= int(column.ids[row] != _ABSENT)
            column.ids[row] = column.ids[last]
            column.ids[last] = _ABSENT
            if column.n_used == 0:
                del self._columns[key]
        self.n_rows = last


def parse_int64(text: str) -> int | None:
    """Read a label value as Go's ``strconv.ParseInt`` does; ``None`` if it is no int64."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
