"""Verdicts: a refusal is a value that says why, not an exception."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

BoolColumn = NDArray[np.bool_]
CodeColumn = NDArray[np.uint8]
ScoreColumn = NDArray[np.int64]

MIN_NODE_SCORE: Final = 0
MAX_NODE_SCORE: Final = 100


class Code(IntEnum):
    """What a plugin says of a pod, or of a pod on a node; kube-scheduler's values."""

    SUCCESS = 0
    ERROR = 1
    """A bug. Never for a pod that merely does not fit."""
    UNSCHEDULABLE = 2
    """Not here now; evicting pods may help."""
    UNSCHEDULABLE_AND_UNRESOLVABLE = 3
    """Not here, and no eviction would help."""
    WAIT = 4
    SKIP = 5
    """This plugin has nothing to say about this pod."""
    PENDING = 6

    @property
    def word(self) -> str:
        """The name that kube-scheduler prints."""
        return _WORDS[self]


_WORDS: Final = {code: "".join(part.capitalize() for part in code.name.split("_")) for code in Code}


PASSED: Final = int(Code.SUCCESS)
"""For columns: NumPy compares with a plain number in a quarter of the time."""


@dataclass(frozen=True, slots=True)
class Status:
    """A plugin's verdict on a pod."""

    code: Code = Code.SUCCESS
    reasons: tuple[str, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether to go on."""
        return self.code is Code.SUCCESS

    @property
    def is_skip(self) -> bool:
        """Whether to leave the plugin out for this pod."""
        return self.code is Code.SKIP


SUCCESS: Final = Status()
SKIP: Final = Status(Code.SKIP)


def unschedulable(*reasons: str) -> Status:
    """Refuse; evicting pods may help."""
    return Status(Code.UNSCHEDULABLE, reasons)


def unresolvable(*reasons: str) -> Status:
    """Refuse; no eviction would help."""
    return Status(Code.UNSCHEDULABLE_AND_UNRESOLVABLE, reasons)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """A filter's verdict on every node."""

    codes: CodeColumn
    """Shape ``(n_nodes,)``; success or one of the two refusals."""
    reasons: Sequence[tuple[str, BoolColumn]]
    """Each reason with the nodes that it holds for; every refused node has at least one."""

    @classmethod
    def refuse(cls, nodes: BoolColumn, *, reason: str, code: Code) -> "Verdicts":
        """Refuse *nodes* (shape ``(n_nodes,)``) for one reason and pass the others."""
        return cls(nodes.astype(np.uint8) * np.uint8(code), ((reason, nodes),))
