"""Things that few nodes use, such as volume claims: counted by node without a column for each."""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from scheduler.framework.columns import Amounts, IntColumn

K = TypeVar("K", bound=Hashable)

_NOTHING: Final[Mapping[int, int]] = MappingProxyType({})
_DISTINCT: Final = "distinct"


class Uses(Generic[K]):
    """How often each node's pods use each thing; costs what is used, however many nodes there are.

    A column for each claim, as ``Amounts`` keeps them, would be mostly zeros: a cluster has about
    as many claims as nodes.
    """

    def __init__(self) -> None:
        self._by_key: dict[K, dict[int, int]] = {}
        self._by_row: list[dict[K, int]] = []
        self._n_distinct: Amounts[str] = Amounts()
        self._own: tuple[set[K], set[int]] | None = None
        """Of a fork, what is not shared with its origin: keys and rows; ``None`` for all."""

    def fork(self) -> "Uses[K]":
        """Copy, at the cost of what changes; rows may be neither added nor removed."""
        fork: Uses[K] = Uses()
        fork._by_key, fork._by_row = self._by_key, self._by_row
        fork._n_distinct = self._n_distinct.fork()
        fork._own = set(), set()
        return fork

    @property
    def n_distinct(self) -> IntColumn:
        """How many different things each node's pods use, shape ``(n_rows,)``."""
        return self._n_distinct[_DISTINCT]

    def rows(self, key: K) -> Mapping[int, int]:
        """Return where *key* is used, and how often, by row."""
        return self._by_key.get(key, _NOTHING)

    def on_row(self, row: int) -> Mapping[K, int]:
        """Return what is used on a row, and how often."""
        return self._by_row[row]

    def add(self, row: int, *, key: K, amount: int) -> None:
        """Add *amount* uses, which may be negative."""
        self._own_up(key, row)
        by_row, on_row = self._by_key.setdefault(key, {}), self._by_row[row]
        before = on_row.get(key, 0)
        after = before + amount
        self._n_distinct.add(row, key=_DISTINCT, amount=(after != 0) - (before != 0))
        if after:
            by_row[row] = on_row[key] = after
            return
        by_row.pop(row, None)
        on_row.pop(key, None)
        if not by_row:
            del self._by_key[key]

    def append_row(self) -> None:
        """Add a row at the end that uses nothing."""
        self._by_row.append({})
        self._n_distinct.append_row()

    def remove_row(self, row: int) -> None:
        """Drop a row; the last one takes its place."""
        last = len(self._by_row) - 1
        for key, count in list(self._by_row[row].items()):
            self.add(row, key=key, amount=-count)
        if row != last:
            for key, count in list(self._by_row[last].items()):
                self.add(last, key=key, amount=-count)
                self.add(row, key=key, amount=count)
        self._by_row.pop()
        self._n_distinct.remove_row(last)

    def _own_up(self, key: K, row: int) -> None:
        """Copy what belongs to the origin before it changes."""
        if self._own is None:
            return
        keys, rows = self._own
        if not keys:
            self._by_key, self._by_row = dict(self._by_key), list(self._by_row)
        if key not in keys:
            keys.add(key)
            self._by_key[key] = dict(self._by_key.get(key, ()))
        if row not in rows:
            rows.add(row)
            self._by_row[row] = dict(self._by_row[row])
