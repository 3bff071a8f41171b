"""The course of learning, kept over restarts: drifts that were found, and how trainings ended."""

from typing import Final

import msgspec
import sqlalchemy as sa

from predictor.contract import DriftReport, TrainingReport
from predictor.database import Database
from predictor.schema import learning_events

_MAX_EVENTS: Final = 200
"""Of each kind; a training every half minute fills that in two hours."""


class LearningHistory:
    """The newest drifts and trainings of all replicas; safe to use from many threads.

    Args:
        database: An open database, which whoever opened it closes.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_drift(self, drift: DriftReport) -> int:
        """Keep a drift; give its number, which grows with every event."""
        return self._add("drift", content=msgspec.json.encode(drift))

    def add_training(self, training: TrainingReport) -> int:
        """Keep how a training ended; give its number, which grows with every event."""
        return self._add("training", content=msgspec.json.encode(training))

    def drifts(self, *, after: int = 0) -> dict[int, DriftReport]:
        """Give the drifts known after an event, by number, oldest first."""
        stored = self._read("drift", after=after)
        return {number: msgspec.json.decode(c, type=DriftReport) for number, c in stored}

    def trainings(self, *, after: int = 0) -> dict[int, TrainingReport]:
        """Give the trainings known after an event, by number, oldest first."""
        stored = self._read("training", after=after)
        return {number: msgspec.json.decode(c, type=TrainingReport) for number, c in stored}

    def _read(self, kind: str, *, after: int) -> list[tuple[int, bytes]]:
        query = (
            sa.select(learning_events.c.id, learning_events.c.content)
            .where(learning_events.c.kind == kind, learning_events.c.id > after)
            .order_by(learning_events.c.id)
        )
        with self._database.reading() as connection:
            return [(row.id, row.content) for row in connection.execute(query)]

    def _add(self, kind: str, *, content: bytes) -> int:
        of_kind = learning_events.c.kind == kind
        newest = sa.select(learning_events.c.id).where(of_kind)
        newest = newest.order_by(learning_events.c.id.desc()).offset(_MAX_EVENTS).limit(1)
        with self._database.writing() as connection:
            added = connection.execute(learning_events.insert().values(kind=kind, content=content))
            cut = connection.execute(newest).scalar()
            if cut is not None:
                connection.execute(
                    learning_events.delete().where(of_kind, learning_events.c.id <= cut)
                )
        return int(added.inserted_primary_key[0])  # type: ignore[index]  # never None here
