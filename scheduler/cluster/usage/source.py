"""What all who say what nodes use have in common."""

import math
from typing import Final, Protocol

from scheduler.events import NodesMeasured
from scheduler.model import MAX_AMOUNT

MAX_AGE_S: Final = 300.0
"""An older sample tells nothing of now."""


class UsageError(Exception):
    """Nobody says now what nodes use; ask again."""


class UsageSource(Protocol):
    """Somebody who says what nodes use; asked by one thread."""

    def measure(self) -> NodesMeasured:
        """Ask what all nodes use, and have used; one of which nothing is known now is left out.

        Raises:
            UsageError: There is no answer, or none that can be used.
        """

    def close(self) -> None:
        """Close the connections; called once it is asked no more, or to cut an answer short."""


def whole(amount: float) -> int | None:
    """Round an amount; ``None`` if it is none."""
    return round(amount) if math.isfinite(amount) and 0.0 <= amount <= MAX_AMOUNT else None
