"""NodeMetadata: nodes whose label or annotation is the highest, lowest, newest or oldest."""

import math
import re
from collections.abc import Callable, Hashable
from typing import ClassVar, Final, Literal

import numpy as np

from scheduler.errors import ConfigError
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, ScoreColumn
from scheduler.model import PodFacts
from scheduler.plugins.metadata.go_layout import RFC3339, GoLayout

_UNKNOWN: Final = -(2**63)
_PER_UNIT: Final = 1_000_000
_MOST: Final = 2**60
"""Values are counted in millionths, and larger ones are cut to this."""
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DESCENDING: Final = ("Lowest", "Oldest")


class NodeMetadataArgs(PluginArgs, frozen=True):
    """Arguments of NodeMetadata: which value, how it is read, and which end of it is preferred."""

    metadata_key: str = ""
    """Of the label or annotation; there is no default."""
    metadata_source: Literal["Label", "Annotation"] = "Label"
    metadata_type: Literal["Number", "Timestamp"] = "Number"
    scoring_strategy: Literal["Highest", "Lowest", "Newest", "Oldest"] | None = None
    """``Highest`` (the default) or ``Lowest`` of numbers, ``Newest`` (so) or ``Oldest`` of
    timestamps."""
    timestamp_format: str = ""
    """A layout of Go's ``time`` package; RFC 3339 by default. Of numbers it says nothing."""

    def __post_init__(self) -> None:
        """Hold the arguments to each other.

        Raises:
            ValueError: Names the one that does not fit.
        """
        is_number = self.metadata_type == "Number"
        fitting = ("Highest", "Lowest") if is_number else ("Newest", "Oldest")
        if self.scoring_strategy not in (None, *fitting):
            raise ValueError(
                f"scoringStrategy of a {self.metadata_type} must be {' or '.join(fitting)},"
                f" not {self.scoring_strategy}"
            )
        if is_number:
            return
        try:
            GoLayout(self.timestamp_format or RFC3339)
        except ValueError as error:
            raise ValueError(f"timestampFormat: {error}") from error


class NodeMetadata(ScorePlugin):
    """Maps the values of the feasible nodes linearly to 1..100; a node without one gets 0.

    Raises:
        ConfigError: No key is given.
    """

    name = "NodeMetadata"
    args_type: ClassVar[type[PluginArgs]] = NodeMetadataArgs
    reads_pods: ClassVar[bool] = False

    def __init__(self, args: NodeMetadataArgs) -> None:
        super().__init__(args)
        if not args.metadata_key:
            raise ConfigError("NodeMetadata: metadataKey must name a label or an annotation")
        self._key = args.metadata_key
        self._is_label = args.metadata_source == "Label"
        self._sign = -1 if args.scoring_strategy in _DESCENDING else 1
        self._read: Callable[[str], float | None] = read_number
        if args.metadata_type == "Timestamp":
            self._read = GoLayout(args.timestamp_format or RFC3339).parse

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Say that all pods are alike."""
        return ()

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Return the values in millionths, negative where small is good."""
        held = snapshot.labels if self._is_label else snapshot.annotations
        values = held.read_as(self._key, read=self._read)
        is_known = ~np.isnan(values)
        scores = np.full(snapshot.n_nodes, _UNKNOWN, dtype=np.int64)
        scaled = np.clip(values[is_known] * _PER_UNIT, -_MOST, _MOST)
        scores[is_known] = self._sign * np.rint(scaled).astype(np.int64)
        return scores

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Stretch what is known from the lowest (1) to the highest (100)."""
        normalized = np.full_like(scores, MIN_NODE_SCORE)
        is_known = scores != _UNKNOWN
        if is_known.any():
            known = scores[is_known]
            above = known - known.min()
            reach = max(1, int(above.max()))
            # A hundred times as much still fits an int64.
            shift = max(0, reach.bit_length() - 56)
            normalized[is_known] = 1 + (MAX_NODE_SCORE - 1) * (above >> shift) // (reach >> shift)
        return normalized


def read_number(text: str) -> float | None:
    """Read a decimal number; ``None`` if it is none, or too large for one."""
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else None
