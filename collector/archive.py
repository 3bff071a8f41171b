"""The past in five-minute rollups: making them, reading them, and letting go of what is old.

Whatever is done here is done in small transactions, so that neither readers nor the next batch of
samples wait.
"""

import math
from collections.abc import Iterator
from typing import Final

from sqlalchemy import BigInteger, Column, Row, Select, Table, bindparam, delete, func, select

from collector.database import Database
from collector.history import HOUR_S, Subject
from collector.schema import PLACEMENTS, ROLLUPS, SAMPLES, SERIES, TALLIES
from collector.windows import ROLLUP_S, Rollup, Window, decode_all_buckets, rollup_row

_GRACE_S: Final = 120.0
"""How late a sample may come and still be part of its rollup, in seconds."""
_SLICE_MS: Final = 30_000
"""Samples of so many milliseconds are deleted in one transaction."""
_ROWS_A_BATCH: Final = 500
_ROWS_READ: Final = 5_000
_ROLLUP_FIELDS: Final = tuple(column.name for column in ROLLUPS.columns if not column.primary_key)
_ROLLUP_COLUMNS: Final = (ROLLUPS.c.start_s, *(ROLLUPS.c[name] for name in _ROLLUP_FIELDS))


def _one_series() -> Select[int, int, int]:
    """Select one series' samples, oldest first.

    Samples lie by time, then by series. Instead of reading those of all series, this steps from one
    instant to the next, of which there are few, for metrics tell whole seconds, and finds the
    series' sample at each.
    """
    end_ms = bindparam("end_ms", type_=BigInteger)
    first = select(func.min(SAMPLES.c.at_ms).label("at_ms")).where(
        SAMPLES.c.at_ms >= bindparam("start_ms", type_=BigInteger), SAMPLES.c.at_ms < end_ms
    )
    instants = first.cte("instants", recursive=True)
    later = SAMPLES.alias("later")
    following = (
        select(func.min(later.c.at_ms))
        .where(later.c.at_ms > instants.c.at_ms, later.c.at_ms < end_ms)
        .scalar_subquery()
    )
    instants = instants.union_all(select(following).where(instants.c.at_ms.is_not(None)))
    return (
        select(SAMPLES.c.at_ms, SAMPLES.c.cpu_milli, SAMPLES.c.memory_bytes)
        .select_from(instants)
        .join(SAMPLES, SAMPLES.c.at_ms == instants.c.at_ms)
        .where(SAMPLES.c.series_id == bindparam("series_id"))
        .order_by(SAMPLES.c.at_ms)
    )


_ONE_SERIES: Final = _one_series()


def _filled_windows() -> Select[int]:
    """Select the starts of windows that hold rollups, from one to the next.

    There are thousands of rollups to each.
    """
    until_s = bindparam("until_s", type_=BigInteger)
    windows = (
        select(func.min(ROLLUPS.c.start_s).label("start_s"))
        .where(
            ROLLUPS.c.start_s >= bindparam("first_s", type_=BigInteger),
            ROLLUPS.c.start_s < until_s,
        )
        .cte("windows", recursive=True)
    )
    later = ROLLUPS.alias("later")
    following = (
        select(func.min(later.c.start_s))
        .where(later.c.start_s > windows.c.start_s, later.c.start_s < until_s)
        .scalar_subquery()
    )
    windows = windows.union_all(select(following).where(windows.c.start_s.is_not(None)))
    return select(windows.c.start_s)


_FILLED_WINDOWS: Final = _filled_windows()


class Archive:
    """Rollups of nodes and workloads, and the retention of everything.

    Args:
        database: Where all is.
        raw_s: How long single samples are kept, in seconds of the cluster's clock.
        keep_s: How long everything else is kept.

    Raises:
        StoreError: The database does not answer; so for all methods.
    """

    def __init__(self, database: Database, *, raw_s: float, keep_s: float) -> None:
        self._database = database
        self._raw_s = raw_s
        self._keep_s = keep_s

    def roll_up(self, *, now_s: float) -> int:
        """Roll up every window that has ended a while ago; tell how many."""
        end_s = int((now_s - _GRACE_S) // ROLLUP_S) * ROLLUP_S
        from_s = self._rolled_until(end_s=end_s)
        n_windows = 0
        while True:
            start_s = self._next_window(from_s=from_s, end_s=end_s)
            if start_s is None:
                return n_windows
            self._roll_up_window(start_s)
            from_s = start_s + ROLLUP_S
            n_windows += 1

    def roll_up_all(self) -> int:
        """Roll up all samples, though the last of a window may be missing; tell how many windows.

        For when nobody collects.
        """
        with self._database.reading() as connection:
            newest_ms = connection.execute(select(func.max(SAMPLES.c.at_ms))).scalar()
        if newest_ms is None:
            return 0
        return self.roll_up(now_s=newest_ms / 1000 + ROLLUP_S + _GRACE_S)

    def windows(
        self, series_id: int, *, start_s: float, end_s: float, step_s: int
    ) -> dict[int, Window]:
        """Sum up a node's or a workload's usage.

        Args:
            series_id: Whose.
            start_s: From when; windows are aligned to multiples of *step_s*.
            end_s: Until when, exclusive.
            step_s: Width of the answer's windows, in seconds; under five minutes only single
                samples are looked at, which are not kept as long.

        Returns:
            Windows by their start; those without a sample are left out.
        """
        rolled_until_s = self._rolled_until(end_s=end_s) if step_s >= ROLLUP_S else start_s
        windows: dict[int, Window] = {}
        for window_s, cpu, memory in self._rollups(series_id, start_s=start_s, end_s=end_s):
            if step_s >= ROLLUP_S:
                _merge(windows, window_s // step_s * step_s, (cpu, memory))
        from_s = max(start_s, rolled_until_s)
        for at_ms, cpu_milli, memory_bytes in self._raw(series_id, start_s=from_s, end_s=end_s):
            single = (Rollup.of([cpu_milli]), Rollup.of([memory_bytes]))
            _merge(windows, at_ms // 1000 // step_s * step_s, single)
        return windows

    def gaps(self, *, start_s: float, end_s: float) -> list[int]:
        """Tell which whole windows between two instants hold nothing, oldest first.

        Those that have samples to be rolled up, and all after them, are left out: rollups are made
        from the last one on, and would not be made of what lies behind a later one.
        """
        first_s = math.ceil(start_s / ROLLUP_S) * ROLLUP_S
        until_s = int(end_s // ROLLUP_S) * ROLLUP_S
        next_s = self._next_window(from_s=self._rolled_until(end_s=until_s), end_s=until_s)
        if next_s is not None:
            until_s = next_s
        with self._database.reading() as connection:
            filled = set(
                connection.execute(
                    _FILLED_WINDOWS, {"first_s": first_s, "until_s": until_s}
                ).scalars()
            )
        return [s for s in range(first_s, until_s, ROLLUP_S) if s not in filled]

    def expire(self, *, now_s: float) -> int:
        """Delete what is too old, in small batches; tell how many rows."""
        keep_from_s = now_s - self._keep_s
        return (
            self._delete_slices(
                SAMPLES, SAMPLES.c.at_ms, before=int((now_s - self._raw_s) * 1000), width=_SLICE_MS
            )
            + self._delete_slices(
                ROLLUPS, ROLLUPS.c.start_s, before=int(keep_from_s), width=ROLLUP_S
            )
            + self._delete_slices(
                TALLIES, TALLIES.c.hour, before=int(keep_from_s // HOUR_S), width=1
            )
            + self._delete_placements(before_s=keep_from_s)
        )

    def _rolled_until(self, *, end_s: float) -> int:
        """Tell up to when all is rolled up, as far as that matters before *end_s*."""
        with self._database.reading() as connection:
            last = connection.execute(
                select(func.max(ROLLUPS.c.start_s)).where(ROLLUPS.c.start_s <= int(end_s))
            ).scalar()
        return 0 if last is None else int(last) + ROLLUP_S

    def _next_window(self, *, from_s: int, end_s: int) -> int | None:
        with self._database.reading() as connection:
            at_ms = connection.execute(
                select(func.min(SAMPLES.c.at_ms)).where(
                    SAMPLES.c.at_ms >= from_s * 1000, SAMPLES.c.at_ms < end_s * 1000
                )
            ).scalar()
        return None if at_ms is None else int(at_ms) // 1000 // ROLLUP_S * ROLLUP_S

    def _roll_up_window(self, start_s: int) -> None:
        samples = (
            select(
                SERIES.c.subject,
                SERIES.c.id,
                SERIES.c.workload_id,
                SAMPLES.c.cpu_milli,
                SAMPLES.c.memory_bytes,
            )
            .join(SERIES, SERIES.c.id == SAMPLES.c.series_id)
            .where(
                SAMPLES.c.at_ms >= start_s * 1000,
                SAMPLES.c.at_ms < (start_s + ROLLUP_S) * 1000,
            )
            # All samples of a large cluster's window at once would take 100 MB.
            .execution_options(yield_per=_ROWS_READ)
        )
        windows: dict[int, Window] = {}
        with self._database.reading() as connection:
            for subject, series_id, workload_id, cpu_milli, memory_bytes in connection.execute(
                samples
            ):
                owner = workload_id if subject == Subject.POD else series_id
                if owner is None:
                    continue
                window = windows.get(owner)
                if window is None:
                    window = windows[owner] = (Rollup(), Rollup())
                window[0].add(cpu_milli)
                window[1].add(memory_bytes)
        rows = [rollup_row(series_id, start_s, window) for series_id, window in windows.items()]
        with self._database.writing() as connection:
            self._database.upsert(connection, ROLLUPS, rows=rows, update=_ROLLUP_FIELDS)

    def _rollups(
        self, series_id: int, *, start_s: float, end_s: float
    ) -> Iterator[tuple[int, Rollup, Rollup]]:
        with self._database.reading() as connection:
            rows = connection.execute(
                select(*_ROLLUP_COLUMNS)
                .where(
                    ROLLUPS.c.series_id == series_id,
                    ROLLUPS.c.start_s >= start_s,
                    ROLLUPS.c.start_s < end_s,
                )
                .order_by(ROLLUPS.c.start_s)
            ).all()
        packed = [data for row in rows for data in (row.cpu_buckets, row.memory_buckets)]
        buckets = iter(decode_all_buckets(packed))
        for window_s, n, cpu_mean, cpu_max, cpu_m2, _, mean, largest, m2, _ in rows:
            cpu = Rollup(n, cpu_mean, cpu_max, cpu_m2, next(buckets))
            yield window_s, cpu, Rollup(n, mean, largest, m2, next(buckets))

    def _raw(self, series_id: int, *, start_s: float, end_s: float) -> Iterator[Row[int, int, int]]:
        with self._database.reading() as connection:
            yield from connection.execute(
                _ONE_SERIES,
                {
                    "series_id": series_id,
                    "start_ms": int(start_s * 1000),
                    "end_ms": int(end_s * 1000),
                },
            ).all()

    def _delete_slices(self, table: Table, column: Column[int], *, before: int, width: int) -> int:
        n_rows = 0
        while True:
            with self._database.writing() as connection:
                oldest = connection.execute(select(func.min(column))).scalar()
                if oldest is None or oldest >= before:
                    return n_rows
                n_rows += connection.execute(
                    delete(table).where(column < min(before, int(oldest) + width))
                ).rowcount

    def _delete_placements(self, *, before_s: float) -> int:
        oldest = (
            select(PLACEMENTS.c.pod_uid)
            .where(PLACEMENTS.c.placed_at_s < before_s)
            .limit(_ROWS_A_BATCH)
        )
        n_rows = 0
        while True:
            with self._database.writing() as connection:
                n = connection.execute(
                    delete(PLACEMENTS).where(PLACEMENTS.c.pod_uid.in_(oldest))
                ).rowcount
            n_rows += n
            if n < _ROWS_A_BATCH:
                return n_rows


def _merge(windows: dict[int, Window], start_s: int, more: Window) -> None:
    """Add to a window; *more* belongs to it from now on."""
    window = windows.setdefault(start_s, more)
    if window is not more:
        window[0].merge(more[0])
        window[1].merge(more[1])
