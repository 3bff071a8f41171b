"""What the filters said of every node."""

from collections import Counter
from dataclasses import dataclass
from itertools import compress
from typing import Final, NamedTuple

import numpy as np

from scheduler.framework.status import PASSED, BoolColumn, Code, CodeColumn, Status

NO_NODES: Final = "no nodes available to schedule pods"


class Refusal(NamedTuple):
    """Why one plugin refused one node."""

    plugin: str
    code: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nodes that one plugin refused for one reason."""

    plugin: str
    """Empty for nodes that PreFilter took out of the search."""
    reason: str
    nodes: BoolColumn
    """Shape ``(n_nodes,)``."""


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The verdict on every node."""

    codes: CodeColumn
    """Shape ``(n_nodes,)``."""
    rejections: tuple[Rejection, ...] = ()
    pre_filter_message: str = ""
    """Why PreFilter refused the pod on every node."""
    rejectors: frozenset[str] = frozenset()
    """The plugins whose change of mind could help."""

    @property
    def feasible(self) -> BoolColumn:
        """The nodes that passed all filters."""
        return np.equal(self.codes, PASSED)

    def counts(self) -> dict[tuple[str, str], int]:
        """Count nodes by plugin and reason."""
        counts: Counter[tuple[str, str]] = Counter()
        for each in self.rejections:
            counts[each.plugin, each.reason] += int(np.count_nonzero(each.nodes))
        return {key: n for key, n in counts.items() if n}

    def message(self) -> str:
        """Say why no node would do, in kube-scheduler's words."""
        if self.codes.size == 0:
            return NO_NODES
        opening = f"0/{self.codes.size} nodes are available:"
        if self.pre_filter_message:
            return f"{opening} {self.pre_filter_message}."
        by_reason: Counter[str] = Counter()
        for (_, reason), n in self.counts().items():
            by_reason[reason] += n
        histogram = sorted(f"{n} {reason}" for reason, n in by_reason.items())
        return f"{opening} {', '.join(histogram)}."

    def refusal(self, row: int) -> Refusal | None:
        """Say why one node was refused; ``None`` if it was not."""
        why = [each for each in self.rejections if each.nodes[row]]
        if not why:
            return None
        return Refusal(why[0].plugin, int(self.codes[row]), tuple(each.reason for each in why))

    def statuses(self, names: list[str], *, limit: int) -> dict[str, tuple[str, Status]]:
        """Spell out the first *limit* refused nodes: plugin and status by node name."""
        rows = np.flatnonzero(self.codes != PASSED)[:limit]
        held = zip(*(each.nodes[rows].tolist() for each in self.rejections), strict=True)
        # Most nodes are refused for the same few reasons.
        spelled_out: dict[tuple[int, tuple[bool, ...]], tuple[str, Status]] = {}
        found: dict[str, tuple[str, Status]] = {}
        for row, code, holds in zip(rows.tolist(), self.codes[rows].tolist(), held, strict=True):
            if (code, holds) not in spelled_out:
                spelled_out[code, holds] = self._spell_out(code, holds)
            found[names[row]] = spelled_out[code, holds]
        return found

    def _spell_out(self, code: int, holds: tuple[bool, ...]) -> tuple[str, Status]:
        why = list(compress(self.rejections, holds))
        return why[0].plugin, Status(Code(code), tuple(each.reason for each in why))
