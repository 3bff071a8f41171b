"""What the filters said of every node."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from scheduler.framework.status import BoolColumn, Code, CodeColumn, Status

NO_NODES: Final = "no nodes available to schedule pods"


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
        return np.equal(self.codes, Code.SUCCESS)

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

    def statuses(self, names: list[str], *, limit: int) -> dict[str, tuple[str, Status]]:
        """Spell out the first *limit* refused nodes: plugin and status by node name."""
        found: dict[str, tuple[str, Status]] = {}
        for row in np.flatnonzero(self.codes)[:limit].tolist():
            why = [each for each in self.rejections if each.nodes[row]]
            status = Status(Code(int(self.codes[row])), tuple(each.reason for each in why))
            found[names[row]] = (why[0].plugin, status)
        return found
