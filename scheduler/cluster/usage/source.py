"""What all who say what nodes use have in common."""

import math
from typing import Final, Protocol, TypeVar

from scheduler.events import MeasureTaken, NodesMeasured, UtilizationMeasured
from scheduler.model import MAX_AMOUNT

MAX_AGE_S: Final = 300.0
"""An older sample tells nothing of now."""


class UsageError(Exception):
    """Nobody says now what nodes use; ask again."""


Told = TypeVar("Told", bound=NodesMeasured | UtilizationMeasured | MeasureTaken, covariant=True)


class Source(Protocol[Told]):
    """Somebody who says something of nodes; asked by one thread."""

    @property
    def nothing(self) -> Told:
        """Say that nothing is known of any node."""

    def measure(self) -> Told:
        """Ask about all nodes; one of which nothing is known now is left out.

        Raises:
            UsageError: There is no answer, or none that can be used.
        """

    def close(self) -> None:
        """Close the connections; called once it is asked no more, or to cut an answer short."""


UsageSource = Source[NodesMeasured] | Source[UtilizationMeasured]
"""Somebody who says what nodes use, and have used."""


def whole(amount: float) -> int | None:
    """Round an amount; ``None`` if it is none."""
    return round(amount) if math.isfinite(amount) and 0.0 <= amount <= MAX_AMOUNT else None


def whole_of(text: str, *, factor: float = 1.0) -> int | None:
    """Read an amount as Prometheus writes it; ``None`` if it is none."""
    try:
        return whole(factor * float(text))
    except ValueError:
        return None
