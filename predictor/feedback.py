"""What was predicted and what came of it, kept until it is learnt from.

Predictions are written by a thread of their own, so that no answer waits for the disk; those still
on their way are found all the same. A report is on the disk before it is acknowledged. It carries
the vector of its prediction, so predictions may be dropped soon.
"""

import hashlib
import logging
import threading
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from kube.edge.logs import facts
from predictor.contract import DailyPerformance
from predictor.database import Database
from predictor.drift import JudgedPrediction
from predictor.features import N_FEATURES
from predictor.rows import FeedbackRow, Vector
from predictor.schema import daily, feedback, node_lists, predictions

log = logging.getLogger(__name__)

VECTOR_LENGTH: Final = N_FEATURES + 1
_GATHER_S: Final = 0.05
"""How long predictions are gathered before they are written together."""
_MAX_PRUNED: Final = 5_000
"""Rows deleted in one transaction, so that no report waits long for its turn."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPrediction:
    """One shape of pod rated on some nodes."""

    id: str
    made_at_s: float
    nodes: tuple[str, ...]
    vectors: NDArray[np.float32]
    """Shape ``(n_nodes, 14)``: the features, then the enhanced score."""
    p_success: NDArray[np.float32] | None
    """Shape ``(n_nodes,)``."""

    @property
    def n_bytes(self) -> int:
        """What it takes to keep it."""
        return self.vectors.nbytes + (0 if self.p_success is None else self.p_success.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report of a placement, joined to its prediction if there is one."""

    subject: str | None
    """Whom it is about; a second report about the same replaces the first."""
    pod_uid: str
    pod_namespace: str
    pod_name: str
    node: str
    prediction_id: str | None
    success: bool
    pod_status: str
    reason: str
    made_at_s: float
    decided_at_s: float
    vector: Vector | None
    p_success: float | None


class FeedbackStore:
    """Predictions, reports and daily sums; safe to use from many threads.

    Args:
        database: Where they are kept; whoever opened it closes it, after this.
        max_queue_bytes: How much may wait to be written.
        on_dropped: Told how many predictions could not be stored.
    """

    def __init__(
        self, database: Database, *, max_queue_bytes: int, on_dropped: Callable[[int], None]
    ) -> None:
        self._database = database
        self._max_queue_bytes = max_queue_bytes
        self._on_dropped = on_dropped
        self._pending: dict[str, StoredPrediction] = {}
        self._pending_bytes = 0
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._is_closing = False
        self._writer = threading.Thread(target=self._write_pending, name="predictions", daemon=True)
        self._writer.start()

    def add_predictions(self, made: list[StoredPrediction]) -> None:
        """Keep predictions for later feedback; returns before they are on the disk."""
        n_bytes = sum(prediction.n_bytes for prediction in made)
        with self._changed:
            is_full = self._pending_bytes + n_bytes > self._max_queue_bytes
            if not is_full:
                self._pending.update((prediction.id, prediction) for prediction in made)
                self._pending_bytes += n_bytes
                self._changed.notify_all()
        if is_full:
            self._on_dropped(len(made))

    def find_prediction(self, prediction_id: str) -> StoredPrediction | None:
        """Find a prediction, written or still on its way."""
        pending = self._pending.get(prediction_id)
        if pending is not None:
            return pending
        query = (
            sa.select(predictions, node_lists.c.names)
            .join(node_lists, node_lists.c.digest == predictions.c.node_list)
            .where(predictions.c.id == prediction_id)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            # Written between the two looks.
            return self._pending.get(prediction_id)
        nodes = tuple(msgspec.json.decode(row.names, type=list[str]))
        return StoredPrediction(
            id=row.id,
            made_at_s=row.made_at_s,
            nodes=nodes,
            vectors=_unpacked(row.vectors, n_nodes=len(nodes)),
            p_success=None
            if row.p_success is None
            else np.frombuffer(row.p_success, dtype=np.float32),
        )

    def add_report(self, report: Report, *, now_s: float) -> int:
        """Store a report; it is on the disk when this returns.

        Args:
            report: It replaces an earlier one about the same subject.
            now_s: The cluster's time.

        Returns:
            A number that grows with every report.
        """
        day = _day(now_s)
        with self._database.writing() as connection:
            if report.subject is not None:
                _take_back(connection, subject=report.subject)
            inserted = connection.execute(
                feedback.insert().values(
                    subject=report.subject,
                    pod_uid=report.pod_uid,
                    pod_namespace=report.pod_namespace,
                    pod_name=report.pod_name,
                    node=report.node,
                    prediction_id=report.prediction_id,
                    success=report.success,
                    pod_status=report.pod_status,
                    reason=report.reason,
                    made_at_s=report.made_at_s,
                    decided_at_s=report.decided_at_s,
                    received_on=day,
                    vector=None if report.vector is None else report.vector.tobytes(),
                    p_success=report.p_success,
                )
            )
            _count_report(
                connection, day=day, success=report.success, p_success=report.p_success, sign=1
            )
        return int(inserted.inserted_primary_key[0])  # type: ignore[index]  # never None here

    def reports(self, *, limit: int) -> list[FeedbackRow]:
        """Give the newest reports that can be learnt from, oldest first."""
        query = (
            sa.select(feedback)
            .where(sa.or_(feedback.c.vector.is_not(None), feedback.c.pod_uid != ""))
            .order_by(feedback.c.id.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            FeedbackRow(
                pod_uid=row.pod_uid,
                made_at_s=row.made_at_s,
                decided_at_s=row.decided_at_s,
                success=row.success,
                vector=_vector(row.vector),
            )
            for row in reversed(rows)
        ]

    def last_report_id(self) -> int:
        """Give the number of the newest report; 0 without one."""
        with self._database.reading() as connection:
            return connection.execute(sa.select(sa.func.max(feedback.c.id))).scalar() or 0

    def n_reports_after(self, report_id: int) -> int:
        """Count reports newer than one."""
        query = sa.select(sa.func.count()).where(feedback.c.id > report_id)
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one()

    def latest_outcomes(self, limit: int) -> list[bool]:
        """Give the outcomes of the latest reports, newest first."""
        query = sa.select(feedback.c.success).order_by(feedback.c.id.desc()).limit(limit)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def judged_after(self, report_id: int, *, limit: int) -> dict[int, JudgedPrediction]:
        """Give the newest reports after one that judge a model's predictions.

        Returns:
            By the reports' numbers, oldest first.
        """
        query = (
            sa.select(feedback.c.id, feedback.c.p_success, feedback.c.success, feedback.c.made_at_s)
            .where(feedback.c.id > report_id, feedback.c.p_success.is_not(None))
            .order_by(feedback.c.id.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return {
            row.id: JudgedPrediction(
                p_success=row.p_success, success=row.success, made_at_s=row.made_at_s
            )
            for row in reversed(rows)
        }

    def n_reports_made_since(self, since_s: float) -> int:
        """Count reports that can be learnt from, about decisions since an instant."""
        query = sa.select(sa.func.count()).where(
            feedback.c.made_at_s >= since_s, feedback.c.vector.is_not(None)
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar_one()

    def performance(self) -> list[DailyPerformance]:
        """Sum up by day, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(daily).order_by(daily.c.day)).all()
        return [
            DailyPerformance(
                day=row.day,
                n_predictions=row.n_predictions,
                n_feedback=row.n_feedback,
                n_successes=row.n_successes,
                success_rate=row.n_successes / row.n_feedback if row.n_feedback else None,
                brier=max(0.0, row.squared_error) / row.n_judged if row.n_judged else None,
            )
            for row in rows
        ]

    def prune(
        self, *, predictions_since_s: float, max_predictions: int, max_prediction_bytes: int
    ) -> None:
        """Drop predictions that are too old, too many or too large, oldest first."""
        kept = kept_bytes = 0
        dropped: list[int] = []
        query = sa.select(
            predictions.c.seq, predictions.c.made_at_s, predictions.c.n_bytes
        ).order_by(predictions.c.seq.desc())
        with self._database.reading() as connection:
            for seq, made_at_s, n_bytes in connection.execute(query):
                kept += 1
                kept_bytes += n_bytes
                if (
                    made_at_s < predictions_since_s
                    or kept > max_predictions
                    or kept_bytes > max_prediction_bytes
                ):
                    dropped.append(seq)
        for start in range(0, len(dropped), _MAX_PRUNED):
            gone = dropped[start : start + _MAX_PRUNED]
            with self._database.writing() as connection:
                connection.execute(predictions.delete().where(predictions.c.seq.in_(gone)))
        if dropped:
            used = sa.select(predictions.c.node_list)
            with self._database.writing() as connection:
                connection.execute(node_lists.delete().where(node_lists.c.digest.not_in(used)))

    def prune_reports(self, *, since_s: float, max_reports: int) -> None:
        """Drop reports about decisions that are too old, or too many; daily sums stay."""
        with self._database.writing() as connection:
            connection.execute(feedback.delete().where(feedback.c.made_at_s < since_s))
            newest = sa.select(feedback.c.id).order_by(feedback.c.id.desc()).offset(max_reports)
            cut = connection.execute(newest.limit(1)).scalar()
            if cut is not None:
                connection.execute(feedback.delete().where(feedback.c.id <= cut))

    def flush(self, *, timeout_s: float) -> None:
        """Wait until the predictions made so far are on the disk, or *timeout_s* has passed."""
        self._hurry.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, timeout=timeout_s)

    def close(self) -> None:
        """Write what is pending."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._hurry.set()
        self._writer.join()

    def _write_pending(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_closing)
            # One transaction for all that come meanwhile, and no waking up for each of them.
            if self._hurry.wait(_GATHER_S) and not self._is_closing:
                self._hurry.clear()
            with self._changed:
                batch = list(self._pending.values())
            if not batch:
                return
            try:
                self._write(batch)
            except sa.exc.SQLAlchemyError as error:
                log.error(  # noqa: TRY400 - the cause is the disk, not our code
                    "predictions not stored", extra=facts(n=len(batch), error=str(error))
                )
                self._on_dropped(len(batch))
            with self._changed:
                for prediction in batch:
                    del self._pending[prediction.id]
                    self._pending_bytes -= prediction.n_bytes
                self._changed.notify_all()

    def _write(self, batch: list[StoredPrediction]) -> None:
        digests: dict[tuple[str, ...], bytes] = {}
        rows: list[dict[str, Any]] = []
        for made in batch:
            if made.nodes not in digests:
                digests[made.nodes] = hashlib.sha256("\0".join(made.nodes).encode()).digest()
            vectors = _packed(made.vectors)
            rows.append(
                {
                    "id": made.id,
                    "made_at_s": made.made_at_s,
                    "n_bytes": made.n_bytes - made.vectors.nbytes + len(vectors),
                    "node_list": digests[made.nodes],
                    "p_success": None if made.p_success is None else made.p_success.tobytes(),
                    "vectors": vectors,
                }
            )
        with self._database.writing() as connection:
            for nodes, digest in digests.items():
                _add_node_list(connection, digest=digest, nodes=nodes)
            connection.execute(predictions.insert(), rows)
            for day, n in Counter(_day(made.made_at_s) for made in batch).items():
                _count(connection, day=day, n_predictions=n)


def _add_node_list(connection: sa.Connection, *, digest: bytes, nodes: tuple[str, ...]) -> None:
    known = sa.select(node_lists.c.digest).where(node_lists.c.digest == digest)
    if connection.execute(known).one_or_none() is None:
        connection.execute(
            node_lists.insert().values(digest=digest, names=msgspec.json.encode(nodes))
        )


def _take_back(connection: sa.Connection, *, subject: str) -> None:
    """Remove the report about a subject, and its part of the daily sums."""
    earlier = connection.execute(
        sa.select(feedback).where(feedback.c.subject == subject)
    ).one_or_none()
    if earlier is None:
        return
    connection.execute(feedback.delete().where(feedback.c.id == earlier.id))
    _count_report(
        connection,
        day=earlier.received_on,
        success=earlier.success,
        p_success=earlier.p_success,
        sign=-1,
    )


def _count_report(
    connection: sa.Connection, *, day: str, success: bool, p_success: float | None, sign: int
) -> None:
    _count(
        connection,
        day=day,
        n_feedback=sign,
        n_successes=sign * int(success),
        n_judged=0 if p_success is None else sign,
        squared_error=0.0 if p_success is None else sign * (p_success - success) ** 2,
    )


def _count(connection: sa.Connection, *, day: str, **added: float) -> None:
    columns = [column for column in daily.c if column.name != "day"]
    raised = {c.name: c + added[c.name] for c in columns if c.name in added}
    updated = connection.execute(daily.update().where(daily.c.day == day).values(raised))
    if not updated.rowcount:
        fresh = {c.name: added.get(c.name, 0) for c in columns}
        connection.execute(daily.insert().values(day=day, **fresh))


def _packed(vectors: NDArray[np.float32]) -> bytes:
    # Most columns say the same of all nodes; column by column they take next to no room.
    return zlib.compress(vectors.tobytes(order="F"), level=1)


def _unpacked(packed: bytes, *, n_nodes: int) -> NDArray[np.float32]:
    flat = np.frombuffer(zlib.decompress(packed), dtype=np.float32)
    return flat.reshape((n_nodes, -1), order="F")


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()


def _vector(stored: bytes | None) -> Vector | None:
    if stored is None:
        return None
    return np.frombuffer(stored, dtype=np.float32)
