"""The pictures that a report may have; apart from what draws them, which needs matplotlib."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and what it shows."""

    file: str
    caption: str


TROUBLES: Final = Picture("troubles.png", "Troubles per 1,000 placements, by policy")
THROTTLED: Final = Picture("throttled.png", "Throttled core-hours, by policy")
PENDING: Final = Picture("pending.png", "Pending time against nodes in use")
BRIER: Final = Picture("brier.png", "Brier scores of the served model and of its baselines")
PICTURES: Final = (TROUBLES, THROTTLED, PENDING, BRIER)
