"""The collector's memory on disk: one transaction a batch, and what a restart needs to go on."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from collector.contract import Outcome, Placement, Placements, PlacementState
from collector.database import Database
from collector.history import HOUR_S, Subject, Tally
from collector.names import Names
from collector.outcomes import Fate, Marks
from collector.records import Batch, Past, PastCounts, PlacementRow, SampleRow, Tick
from collector.schema import MARKS, PLACEMENTS, ROLLUPS, SAMPLES, SERIES, TALLIES
from collector.windows import rollup_row

_TALLY_FIELDS: Final = (
    "n_observations",
    "n_unstable",
    "n_failures",
    "n_restarts",
    "n_oom_kills",
    "n_evictions",
    "n_samples",
    "cpu_milli_sum",
    "memory_bytes_sum",
)
_MARK_FIELDS: Final = ("n_restarts", "last_oom_at_s", "is_evicted", "fate")
_DECISION_FIELDS: Final = ("seq", "fate", "reason", "decided_at_s")
_DECIDED: Final = frozenset({Fate.SUCCEEDED, Fate.FAILED})
_ROWS_A_BATCH: Final = 500
_END: Final = (
    update(PLACEMENTS)
    .where(PLACEMENTS.c.pod_uid == bindparam("uid"))
    .values(ended_at_s=bindparam("at_s"))
)
"""By itself this gives a placement no new number: who learns from outcomes learns nothing more."""
_STATE: Final = msgspec.json.Decoder(PlacementState)


class Store:
    """Writes batches and reads back what was written.

    Args:
        database: Where to; this store must be its only writer.
        first_seq: Placements are numbered from here, or from the last number stored. A number that
            grows with time keeps readers' places valid even if the database was lost.

    Raises:
        StoreError: The database does not answer; so for all methods.
    """

    def __init__(self, database: Database, *, first_seq: int) -> None:
        self._database = database
        self._lock = threading.Lock()
        with database.reading() as connection:
            last_seq = connection.execute(select(func.max(PLACEMENTS.c.seq))).scalar()
            last_id = connection.execute(select(func.max(SERIES.c.id))).scalar()
            series = connection.execute(
                select(SERIES.c.subject, SERIES.c.name, SERIES.c.id, SERIES.c.last_at_s)
            ).all()
        self._next_seq = max(first_seq, (last_seq or 0) + 1)
        self._next_id = (last_id or 0) + 1
        self._ids: dict[tuple[int, str], tuple[int, int]] = {
            (subject, name): (series_id, last_at_s)
            for subject, name, series_id, last_at_s in series
        }

    def write(self, batch: Batch) -> None:
        """Write all of a batch, or nothing."""
        next_seq = self._next_seq
        with self._writing() as (connection, names):
            samples = [row for tick in batch.ticks for row in _sample_rows(tick, names)]
            tallies = [_tally_row(names, *item) for item in batch.tallies.items()]
            names.write(connection)
            self._database.upsert(connection, SAMPLES, rows=samples)
            self._database.upsert(connection, TALLIES, rows=tallies, update=_TALLY_FIELDS)
            placements = [
                _placement_row(row, seq)
                for seq, row in enumerate(batch.placements.values(), next_seq)
            ]
            next_seq += len(placements)
            # A decision gives a placement a new number, so that readers who have seen it undecided
            # see it again. One that will never be decided keeps its place.
            decided = [row for row in placements if row["fate"] in _DECIDED]
            others = [row for row in placements if row["fate"] not in _DECIDED]
            self._database.upsert(connection, PLACEMENTS, rows=decided, update=_DECISION_FIELDS)
            self._database.upsert(connection, PLACEMENTS, rows=others, update=("fate",))
            ends = [{"uid": uid, "at_s": at_s} for uid, at_s in batch.ends.items()]
            if ends:
                connection.execute(_END, ends)
            self._write_marks(connection, batch)
        self._next_seq = next_seq

    def add_past(self, parts: Iterable[Past]) -> PastCounts:
        """Add rows of the past in one transaction: all of them, or nothing if *parts* raises.

        What is there already is kept as it is, so that adding the same twice changes nothing.

        Returns:
            How many rows were new.
        """
        counts, next_seq = PastCounts(), self._next_seq
        with self._writing() as (connection, names):
            for part in parts:
                rollups = [
                    rollup_row(names.id_of(subject, name, at_s=start_s), start_s, window)
                    for (subject, name, start_s), window in part.rollups.items()
                ]
                tallies = [_tally_row(names, *item) for item in part.tallies.items()]
                names.write(connection)
                placements = [
                    _placement_row(row, seq) for seq, row in enumerate(part.placements, next_seq)
                ]
                next_seq += len(placements)
                counts.rollups += self._database.upsert(connection, ROLLUPS, rows=rollups)
                counts.tallies += self._database.upsert(connection, TALLIES, rows=tallies)
                counts.placements += self._database.upsert(connection, PLACEMENTS, rows=placements)
        self._next_seq = next_seq
        return counts

    def forget_series(self, subject: Subject, *, before_s: float) -> int:
        """Forget the names of what has not been heard of since *before_s*; tell how many."""
        with self._lock:
            gone = {
                key: series_id
                for key, (series_id, last_at_s) in self._ids.items()
                if key[0] == subject and last_at_s < before_s
            }
            for start in range(0, len(gone), _ROWS_A_BATCH):
                ids = list(gone.values())[start : start + _ROWS_A_BATCH]
                with self._database.writing() as connection:
                    connection.execute(delete(SERIES).where(SERIES.c.id.in_(ids)))
            for key in gone:
                del self._ids[key]
        return len(gone)

    def series_id(self, subject: Subject, name: str) -> int | None:
        """Look up under which number something's samples are stored."""
        found = self._ids.get((subject, name))
        return found[0] if found is not None else None

    def tallies(self) -> Iterator[tuple[Subject, str, int, Tally]]:
        """Read all tallies: subject, name, hour, tally."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(
                    SERIES.c.subject,
                    SERIES.c.name,
                    TALLIES.c.hour,
                    *(TALLIES.c[name] for name in _TALLY_FIELDS),
                )
                .join(SERIES, SERIES.c.id == TALLIES.c.series_id)
                .order_by(TALLIES.c.hour)
            )
            for subject, name, hour, *counts in rows:
                tally = Tally(**dict(zip(_TALLY_FIELDS, counts, strict=True)))
                yield Subject(subject), name, hour, tally

    def marks(self) -> list[tuple[str, Marks]]:
        """Read what has been counted of the pods that were there last."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(MARKS.c.pod_uid, *(MARKS.c[name] for name in _MARK_FIELDS))
            ).all()
        return [
            (uid, Marks(n_restarts, last_oom_at_s, bool(is_evicted), Fate(fate)))
            for uid, n_restarts, last_oom_at_s, is_evicted, fate in rows
        ]

    def open_placements(self) -> list[PlacementRow]:
        """Read the placements whose outcome was pending."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(PLACEMENTS)
                .where(PLACEMENTS.c.fate == int(Fate.OPEN))
                .order_by(PLACEMENTS.c.seq)
            ).all()
        return [placement_row_of(row) for row in rows]

    def pod_samples(self, *, since_s: float) -> dict[str, list[tuple[float, bool]]]:
        """Read when pods were sampled since an instant, and whether throttled; by uid."""
        samples: dict[str, list[tuple[float, bool]]] = {}
        with self._database.reading() as connection:
            rows = connection.execute(
                select(SERIES.c.name, SAMPLES.c.at_ms, SAMPLES.c.is_starved)
                .join(SERIES, SERIES.c.id == SAMPLES.c.series_id)
                .where(
                    SAMPLES.c.at_ms >= int(since_s * 1000),
                    SERIES.c.subject == int(Subject.POD),
                )
                .order_by(SAMPLES.c.at_ms)
            )
            for uid, at_ms, is_starved in rows:
                samples.setdefault(uid, []).append((at_ms / 1000, bool(is_starved)))
        return samples

    def placements(self, *, since: int, limit: int) -> Placements:
        """Read the placements after number *since*, at most *limit* of them."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(PLACEMENTS)
                .where(PLACEMENTS.c.seq > since)
                .order_by(PLACEMENTS.c.seq)
                .limit(limit)
            ).all()
        items = [_placement(row) for row in rows]
        return Placements(items=items, next_since=items[-1].id if items else since)

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, Names]]:
        with self._lock:
            names = Names(self._ids, next_id=self._next_id)
            with self._database.writing() as connection:
                yield connection, names
            self._ids.update(names.found)
            self._next_id = names.next_id

    def _write_marks(self, connection: Connection, batch: Batch) -> None:
        rows = [
            {
                "pod_uid": uid,
                "n_restarts": marks.n_restarts,
                "last_oom_at_s": marks.last_oom_at_s,
                "is_evicted": int(marks.is_evicted),
                "fate": int(marks.fate),
            }
            for uid, marks in batch.marks.items()
            if marks is not None
        ]
        self._database.upsert(connection, MARKS, rows=rows, update=_MARK_FIELDS)
        gone = [uid for uid, marks in batch.marks.items() if marks is None]
        for start in range(0, len(gone), _ROWS_A_BATCH):
            part = gone[start : start + _ROWS_A_BATCH]
            connection.execute(delete(MARKS).where(MARKS.c.pod_uid.in_(part)))


def _sample_rows(tick: Tick, names: Names) -> Iterable[dict[str, Any]]:
    for subject, samples in ((Subject.NODE, tick.nodes), (Subject.POD, tick.pods)):
        for name, sample in samples.items():
            yield _sample_row(
                names.id_of(subject, name, at_s=sample.at_s, workload=sample.workload), sample
            )


def _sample_row(series_id: int, sample: SampleRow) -> dict[str, Any]:
    return {
        "at_ms": int(sample.at_s * 1000),
        "series_id": series_id,
        "cpu_milli": sample.cpu_milli,
        "memory_bytes": sample.memory_bytes,
        "is_starved": int(sample.is_starved),
    }


def _tally_row(names: Names, key: tuple[Subject, str, int], tally: Tally) -> dict[str, Any]:
    subject, name, hour = key
    return {
        "series_id": names.id_of(subject, name, at_s=hour * HOUR_S),
        "hour": hour,
        **{field: getattr(tally, field) for field in _TALLY_FIELDS},
    }


def _placement_row(row: PlacementRow, seq: int) -> dict[str, Any]:
    outcome = row.outcome
    return {
        "pod_uid": row.pod_uid,
        "seq": seq,
        "pod_namespace": row.pod_namespace,
        "pod_name": row.pod_name,
        "workload": row.workload,
        "node": row.node,
        "cpu_milli": row.cpu_milli,
        "memory_bytes": row.memory_bytes,
        "placed_at_s": row.placed_at_s,
        "state": row.state,
        "fate": int(row.fate),
        "reason": outcome.reason if outcome is not None else None,
        "decided_at_s": outcome.decided_at_s if outcome is not None else None,
        "created_at_s": row.created_at_s,
        "ended_at_s": row.ended_at_s,
    }


def placement_row_of(row: Row[Any]) -> PlacementRow:
    """Read a row of the table ``placements``."""
    return PlacementRow(
        pod_uid=row.pod_uid,
        pod_namespace=row.pod_namespace,
        pod_name=row.pod_name,
        workload=row.workload,
        node=row.node,
        cpu_milli=row.cpu_milli,
        memory_bytes=row.memory_bytes,
        placed_at_s=row.placed_at_s,
        state=row.state,
        fate=Fate(row.fate),
        outcome=_outcome(row),
        created_at_s=row.created_at_s,
        ended_at_s=row.ended_at_s,
    )


def _outcome(row: Row[Any]) -> Outcome | None:
    if row.reason is None:
        return None
    return Outcome(
        success=row.fate == Fate.SUCCEEDED, reason=row.reason, decided_at_s=row.decided_at_s
    )


def _placement(row: Row[Any]) -> Placement:
    return Placement(
        id=row.seq,
        pod_uid=row.pod_uid,
        pod_namespace=row.pod_namespace,
        pod_name=row.pod_name,
        workload=row.workload,
        node=row.node,
        cpu_milli=row.cpu_milli,
        memory_bytes=row.memory_bytes,
        placed_at_s=row.placed_at_s,
        state=_STATE.decode(row.state),
        outcome=_outcome(row),
        created_at_s=row.created_at_s,
        ended_at_s=row.ended_at_s,
    )
