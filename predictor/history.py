"""The course of learning, kept over restarts: drifts that were found, and how trainings ended."""

from typing import Final

import msgspec
import sqlalchemy as sa

from predictor.contract import DriftReport, TrainingReport
from predictor.database import learning_events

_MAX_EVENTS: Final = 200
"""Of each kind; a training every half minute fills that in two hours."""


class LearningHistory:
    """The newest drifts and trainings; safe to use from many threads.

    Args:
        engine: An open database, which whoever opened it closes.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add_drift(self, drift: DriftReport) -> None:
        """Keep a drift."""
        self._add("drift", content=msgspec.json.encode(drift))

    def add_training(self, training: TrainingReport) -> None:
        """Keep how a training ended."""
        self._add("training", content=msgspec.json.encode(training))

    def drifts(self) -> list[DriftReport]:
        """Give the drifts known, oldest first."""
        return [msgspec.json.decode(c, type=DriftReport) for c in self._read("drift")]

    def trainings(self) -> list[TrainingReport]:
        """Give the trainings known, oldest first."""
        return [msgspec.json.decode(c, type=TrainingReport) for c in self._read("training")]

    def last_drift_since_s(self) -> float | None:
        """Tell when the last drift began; ``None`` if none is known."""
        drifts = self.drifts()
        return drifts[-1].since_s if drifts else None

    def _read(self, kind: str) -> list[bytes]:
        query = (
            sa.select(learning_events.c.content)
            .where(learning_events.c.kind == kind)
            .order_by(learning_events.c.id)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def _add(self, kind: str, *, content: bytes) -> None:
        of_kind = learning_events.c.kind == kind
        newest = sa.select(learning_events.c.id).where(of_kind)
        newest = newest.order_by(learning_events.c.id.desc()).offset(_MAX_EVENTS).limit(1)
        with self._engine.begin() as connection:
            connection.execute(learning_events.insert().values(kind=kind, content=content))
            cut = connection.execute(newest).scalar()
            if cut is not None:
                connection.execute(
                    learning_events.delete().where(of_kind, learning_events.c.id <= cut)
                )
