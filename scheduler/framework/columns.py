"""Columns: one array for each resource, taint, port or label key, with a row for each node.

Rows are dense: ``0..n_rows``. The last row moves into the place of a removed one, so that a
column is always one plain array.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.status import BoolColumn

K = TypeVar("K", bound=Hashable)

IntColumn = NDArray[np.int64]
FloatColumn = NDArray[np.float64]
Rows = NDArray[np.intp]
"""Row numbers."""

_FIRST_CAPACITY: Final = 16
_MIN_ROWS_PER_USED: Final = 64
"""Up to one row in so many, a key has no column: its rows take a fifth of one at the most."""
_ABSENT: Final = -1


def _grown(array: IntColumn, *, capacity: int, fill: int) -> IntColumn:
    grown = np.full(capacity, fill, dtype=np.int64)
    grown[: array.size] = array
    return grown


class Amounts(Generic[K]):
    """An integer for each node and key.

    A key that no node has costs nothing, and one that few of many nodes have costs little: claims
    and terms of affinity may be as many as pods. ``amounts[key]`` of an unknown key is a column of
    zeros.
    """

    def __init__(self) -> None:
        self.n_rows = 0
        self._capacity = _FIRST_CAPACITY
        self._zeros = np.zeros(self._capacity, dtype=np.int64)
        self._zeros.flags.writeable = False
        self._columns: dict[K, IntColumn] = {}
        self._n_used: dict[K, int] = {}
        self._few: dict[K, dict[int, int]] = {}
        """By row, of keys that have no column since few rows have them."""
        self._borrowed: set[K] = set()
        """Keys whose amounts belong to what this was forked from; copied before they change."""

    def fork(self) -> "Amounts[K]":
        """Copy, at the cost of the columns that change; rows may be neither added nor removed."""
        fork: Amounts[K] = Amounts()
        fork.n_rows, fork._capacity, fork._zeros = self.n_rows, self._capacity, self._zeros
        fork._columns, fork._n_used = dict(self._columns), dict(self._n_used)
        fork._few = dict(self._few)
        fork._borrowed = {*self._columns, *self._few}
        return fork

    def only(self, rows: Rows) -> "Amounts[K]":
        """Show some of the rows, to be read before any amount changes."""
        return _SomeAmounts(self, rows=rows)

    def present(self) -> list[K]:
        """Return the keys that some node has."""
        return [*self._columns, *self._few]

    def __contains__(self, key: K) -> bool:
        """Tell whether some node has *key*."""
        return key in self._columns or key in self._few

    def __getitem__(self, key: K) -> IntColumn:
        """Return the column of *key*, shape ``(n_rows,)``; a view that must not be written to."""
        column = self._columns.get(key)
        if column is None:
            few = self._few.get(key)
            column = self._zeros if few is None else self._column(few)
        return column[: self.n_rows]

    def value(self, row: int, *, key: K) -> int:
        """Return one amount."""
        column = self._columns.get(key)
        if column is None:
            few = self._few.get(key)
            return 0 if few is None else few.get(row, 0)
        return int(column[row])

    def total(self, weights: Mapping[K, int]) -> IntColumn:
        """Add up the columns of some keys, each times its weight.

        Returns:
            Shape ``(n_rows,)``; must not be written to.
        """
        if len(weights) == 1:
            ((key, weight),) = weights.items()
            return self[key] if weight == 1 else self[key] * weight
        summed = np.zeros(self._capacity, dtype=np.int64)
        for key, weight in weights.items():
            column = self._columns.get(key)
            if column is not None:
                summed += column if weight == 1 else column * weight
            else:
                for row, amount in self._few.get(key, {}).items():
                    summed[row] += amount * weight
        return summed[: self.n_rows]

    def add(self, row: int, *, key: K, amount: int) -> None:
        """Add *amount*, which may be negative."""
        if amount == 0:
            return
        column = self._columns.get(key)
        if column is None:
            self._add_to_few(row, key=key, amount=amount)
            return
        if key in self._borrowed:
            column = self._columns[key] = column.copy()
            self._borrowed.discard(key)
        before = int(column[row])
        after = before + amount
        column[row] = after
        self._n_used[key] += (after != 0) - (before != 0)
        if after == 0:
            self._thin_out(key)

    def put(self, key: K, *, column: IntColumn) -> None:
        """Replace a key's amounts by a copy of *column*, shape ``(n_rows,)``."""
        self.drop(key)
        self._columns[key] = _grown(column, capacity=self._capacity, fill=0)
        self._n_used[key] = int(np.count_nonzero(column))
        self._thin_out(key)

    def drop(self, key: K) -> None:
        """Set a key's amounts to zero."""
        self._columns.pop(key, None)
        self._n_used.pop(key, None)
        self._few.pop(key, None)
        self._borrowed.discard(key)

    def append_row(self) -> None:
        """Add a row of zeros at the end."""
        self.n_rows += 1
        if self.n_rows <= self._capacity:
            return
        self._capacity *= 2
        self._zeros = np.zeros(self._capacity, dtype=np.int64)
        self._zeros.flags.writeable = False
        for key, column in list(self._columns.items()):
            self._columns[key] = _grown(column, capacity=self._capacity, fill=0)
            self._thin_out(key)

    def remove_row(self, row: int) -> list[K]:
        """Drop a row; the last one takes its place.

        Returns:
            The keys that no node has any more.
        """
        last = self.n_rows - 1
        few = [key for key, rows in self._few.items() if row in rows or last in rows]
        for key in (changed := [*self._columns, *few]):
            moved = self.value(last, key=key)
            self.add(row, key=key, amount=moved - self.value(row, key=key))
            self.add(last, key=key, amount=-moved)
        self.n_rows = last
        return [key for key in changed if key not in self]

    def _add_to_few(self, row: int, *, key: K, amount: int) -> None:
        few = self._few.get(key)
        if few is None:
            few = self._few[key] = {}
        elif key in self._borrowed:
            few = self._few[key] = dict(few)
            self._borrowed.discard(key)
        after = few[row] = few.get(row, 0) + amount
        if after == 0:
            del few[row]
        if len(few) > self._capacity // _MIN_ROWS_PER_USED:
            self._columns[key] = self._column(few)
            self._n_used[key] = len(few)
            del self._few[key]
        elif not few:
            # Taints, ports and extended resources come and go; what they cost goes with them.
            del self._few[key]

    def _thin_out(self, key: K) -> None:
        """Give the column of *key* up if hardly any row has it any more."""
        n_used = self._n_used[key]
        # Half as many as call for a column: one that comes and goes on a row shall cost nothing.
        if n_used and n_used > self._capacity // _MIN_ROWS_PER_USED // 2:
            return
        column = self._columns.pop(key)
        del self._n_used[key]
        self._borrowed.discard(key)
        if n_used:
            rows = np.flatnonzero(column)
            self._few[key] = dict(zip(rows.tolist(), column[rows].tolist(), strict=True))

    def _column(self, few: dict[int, int]) -> IntColumn:
        column = np.zeros(self._capacity, dtype=np.int64)
        column[list(few)] = list(few.values())
        return column


class _SomeAmounts(Amounts[K]):
    """Some rows of other amounts, each key's picked when it is asked for; not to be written to."""

    def __init__(self, whole: Amounts[K], *, rows: Rows) -> None:
        self.n_rows = rows.size
        self._whole = whole
        self._picked = rows
        # Mostly one row is picked, of many columns: a slice of one is had at once.
        self._index = slice(int(rows[0]), int(rows[0]) + 1) if rows.size == 1 else rows

    def present(self) -> list[K]:
        return self._whole.present()

    def __getitem__(self, key: K) -> IntColumn:
        return self._whole[key][self._index]

    def value(self, row: int, *, key: K) -> int:
        return self._whole.value(int(self._picked[row]), key=key)


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

    def as_integers(self, ids: IntColumn) -> tuple[IntColumn, BoolColumn]:
        """Read the values numbered *ids* as int64; the second column tells which ones are one."""
        numbers = np.zeros(len(self.values) + 1, dtype=np.int64)
        valid = np.zeros(len(self.values) + 1, dtype=np.bool_)
        for value, number in self.values.items():
            parsed = parse_int64(value)
            if parsed is not None:
                numbers[number], valid[number] = parsed, True
        return numbers[ids], valid[ids]


class Labels:
    """The labels of all nodes."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._capacity = _FIRST_CAPACITY
        self._columns: dict[str, _LabelColumn] = {}

    def only(self, rows: Rows) -> "Labels":
        """Show some of the rows, to be read before any label changes."""
        return _SomeLabels(self._columns, rows=rows)

    def has(self, key: str) -> BoolColumn:
        """Tell which nodes carry *key*."""
        column = self._columns.get(key)
        if column is None:
            return np.zeros(self.n_rows, dtype=np.bool_)
        return np.not_equal(self._ids(column), _ABSENT)

    def is_in(self, key: str, *, values: list[str]) -> BoolColumn:
        """Tell which nodes carry *key* with one of *values*."""
        column = self._columns.get(key)
        found = np.zeros(self.n_rows, dtype=np.bool_)
        if column is None:
            return found
        for value in values:
            number = column.values.get(value)
            if number is not None:
                found |= self._ids(column) == number
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
        return self._ids(column), len(column.values)

    def values(self, key: str) -> list[str]:
        """Return the values of *key* by their numbers; some may be no node's any more."""
        column = self._columns.get(key)
        return [] if column is None else list(column.values)

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
        numbers, valid = column.as_integers(self._ids(column))
        return valid & (numbers < limit), valid & (numbers > limit)

    def read_as(self, key: str, *, read: Callable[[str], float | None]) -> FloatColumn:
        """Read the values of *key* as numbers, each value once.

        Returns:
            Shape ``(n_rows,)``; NaN where a node lacks *key* or *read* finds no number.
        """
        column = self._columns.get(key)
        if column is None:
            return np.full(self.n_rows, np.nan)
        ids, values = self._ids(column), list(column.values)
        # The absent mark, -1, indexes the last element, which stays NaN.
        numbers = np.full(len(values) + 1, np.nan)
        for number in np.unique(ids[ids != _ABSENT]).tolist():
            found = read(values[number])
            numbers[number] = np.nan if found is None else found
        return numbers[ids]

    def set(self, row: int, *, key: str, value: str | None) -> None:
        """Set a label, or take it away (``None``)."""
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = _LabelColumn(self._capacity)
        column.set(row, value=value)
        if column.n_used == 0:
            del self._columns[key]

    def _ids(self, column: _LabelColumn) -> IntColumn:
        return column.ids[: self.n_rows]

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


class _SomeLabels(Labels):
    """Some rows of other labels; not to be written to."""

    def __init__(self, columns: dict[str, _LabelColumn], *, rows: Rows) -> None:
        self.n_rows = rows.size
        self._columns = columns
        self._picked = rows

    def _ids(self, column: _LabelColumn) -> IntColumn:
        return column.ids[self._picked]


def parse_int64(text: str) -> int | None:
    """Read a label value as Go's ``strconv.ParseInt`` does; ``None`` if it is no int64."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None
