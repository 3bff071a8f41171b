"""What was decided about a pod, and why: log line, event and ``/api/v1/decisions`` show it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from scheduler.framework.status import ScoreColumn

PredictionUse = Literal["used", "timed out", "unavailable", "skipped", "not asked"]


@dataclass(frozen=True, slots=True)
class PredictionNote:
    """What part the predictor had in a decision."""

    use: PredictionUse
    """``skipped``: there was an answer, but one feasible node or none, so no choice to make."""
    prediction_id: str = ""
    algorithm: str = ""
    model_version: int = 0
    p_success: float | None = None
    """Of the chosen node, as predicted; ``None`` without a trusted model."""
    snapshot_age_s: float | None = None
    """How old the predictor's view of the cluster was."""

    @property
    def words(self) -> str:
        """One line for people."""
        if self.use != "used":
            return f"prediction: {self.use}"
        p = "" if self.p_success is None else f", p(success) {self.p_success:.2f}"
        return f"prediction: {self.algorithm}, model version {self.model_version}{p}"


class NodeVerdict(msgspec.Struct, frozen=True):
    """Why a node was refused; made for many nodes of every decision, so of the swiftest kind."""

    node: str
    plugin: str
    code: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The best nodes' scores, best first."""

    nodes: tuple[str, ...]
    totals: ScoreColumn
    by_plugin: Mapping[str, ScoreColumn]
    """Weighted; aligned with ``nodes``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The end of one scheduling cycle."""

    namespace: str
    name: str
    uid: str
    profile: str
    attempt: int
    decided_at_s: float
    queued_s: float
    """How long the pod had been known, in seconds of the cluster's clock."""
    node: str | None
    """``None``: no node would do."""
    n_nodes: int
    n_feasible: int
    refusals: Mapping[tuple[str, str], int]
    """Number of nodes by plugin and reason."""
    verdicts: tuple[NodeVerdict, ...] = ()
    """Of the first refused nodes."""
    scores: ScoreTable | None = None
    """``None``: there was no choice to make."""
    message: str = ""
    """Why no node would do, as in the event."""
    prediction: PredictionNote
    nominated_node: str = ""
    """Where the pod will find room when the victims are gone."""
    victims: tuple[str, ...] = ()
    """The pods to evict for it (``namespace/name``)."""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def score(self) -> int | None:
        """The chosen node's."""
        return int(self.scores.totals[0]) if self.scores is not None else None

    @property
    def runner_up(self) -> str | None:
        """The node that would have been next."""
        if self.scores is None or len(self.scores.nodes) < 2:
            return None
        return self.scores.nodes[1]

    @property
    def margin(self) -> int | None:
        """By how much the chosen node's score is higher than the runner-up's."""
        if self.scores is None or self.runner_up is None:
            return None
        return int(self.scores.totals[0] - self.scores.totals[1])
