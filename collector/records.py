"""What the collector stores, on its way to the database."""

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Final

from collector.contract import Outcome
from collector.history import Subject, Tally
from collector.outcomes import Fate, Marks
from collector.windows import Window

MAX_TICKS: Final = 20
MAX_PLACEMENTS: Final = 20_000
MAX_MARKS: Final = 200_000
"""How much is held back while the database cannot be written."""


@dataclass(slots=True, kw_only=True)
class PlacementRow:
    """A placement."""

    pod_uid: str
    pod_namespace: str
    pod_name: str
    workload: str
    node: str
    cpu_milli: int
    memory_bytes: int
    placed_at_s: float
    state: bytes
    """A ``PlacementState`` as JSON."""
    fate: Fate = Fate.OPEN
    outcome: Outcome | None = None
    created_at_s: float | None = None
    """When the pod was asked for."""
    ended_at_s: float | None = None
    """When the pod ended or was deleted, if that is known already."""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What a node or a pod used at an instant."""

    at_s: float
    cpu_milli: int
    memory_bytes: int
    is_starved: bool
    workload: str = ""
    """Of a pod."""


@dataclass(slots=True)
class Tick:
    """The samples of one look at the metrics that were news."""

    nodes: dict[str, SampleRow] = field(default_factory=dict)
    pods: dict[str, SampleRow] = field(default_factory=dict)
    """By uid."""
    n_skipped: int = 0
    """Known already, or of objects that are not there, or dated in the future."""


@dataclass(slots=True)
class Batch:
    """What is written in one transaction. Later news of the same thing replaces earlier news."""

    ticks: deque[Tick] = field(default_factory=lambda: deque(maxlen=MAX_TICKS))
    placements: dict[str, PlacementRow] = field(default_factory=dict)
    """By pod uid."""
    marks: dict[str, Marks | None] = field(default_factory=dict)
    """By pod uid; ``None``: the pod is gone."""
    tallies: dict[tuple[Subject, str, int], Tally] = field(default_factory=dict)
    """By subject, name and hour."""
    ends: dict[str, float] = field(default_factory=dict)
    """When pods that were placed ended, by uid."""

    def __len__(self) -> int:
        n_counted = len(self.tallies) + len(self.ends)
        return len(self.ticks) + len(self.placements) + len(self.marks) + n_counted

    def copy(self) -> "Batch":
        """Copy the rows, so that they no longer change while they are being written."""
        return Batch(
            deque(self.ticks, maxlen=MAX_TICKS),
            {uid: replace(row) for uid, row in self.placements.items()},
            dict(self.marks),
            {key: replace(tally) for key, tally in self.tallies.items()},
            dict(self.ends),
        )

    def absorb(self, newer: "Batch") -> int:
        """Take in newer news; when there is too much, let go of the oldest.

        Returns:
            How many ticks and rows were let go of.
        """
        n_dropped = max(0, len(self.ticks) + len(newer.ticks) - MAX_TICKS)
        self.ticks.extend(newer.ticks)
        self.placements.update(newer.placements)
        self.marks.update(newer.marks)
        self.tallies.update(newer.tallies)
        self.ends.update(newer.ends)
        n_dropped += _trim(self.placements, MAX_PLACEMENTS) + _trim(self.ends, MAX_MARKS)
        return n_dropped + _trim(self.marks, MAX_MARKS)


@dataclass(slots=True)
class Past:
    """What another has recorded, to be added to the past."""

    rollups: dict[tuple[Subject, str, int], Window] = field(default_factory=dict)
    """By subject, name and start (Unix time)."""
    tallies: dict[tuple[Subject, str, int], Tally] = field(default_factory=dict)
    """By subject, name and hour."""
    placements: list[PlacementRow] = field(default_factory=list)


@dataclass(slots=True)
class PastCounts:
    """How many rows of the past were new."""

    rollups: int = 0
    tallies: int = 0
    placements: int = 0


def _trim(rows: dict[str, Any], limit: int) -> int:
    n_over = max(0, len(rows) - limit)
    for key in list(rows)[:n_over]:
        del rows[key]
    return n_over
