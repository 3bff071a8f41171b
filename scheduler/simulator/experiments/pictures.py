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
COURSE: Final = Picture("course.png", "As time passed: mean over seeds, and from lowest to highest")
ECDF: Final = Picture("ecdf.png", "How many pods fared so or better: mean, lowest and highest seed")
HEAT: Final = Picture("heat.png", "Cpu used on each node over time, on one seed")
PICTURES: Final = (TROUBLES, THROTTLED, PENDING, COURSE, ECDF, HEAT, BRIER)
