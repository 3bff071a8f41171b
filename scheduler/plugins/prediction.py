"""What the predictor says: where a pod is likely to stay healthy, and where little is used."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PreScorePlugin, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, SUCCESS, BoolColumn, ScoreColumn, Status
from scheduler.model import PodFacts

NO_INFORMATION_SCORE = 50


@dataclass(frozen=True, slots=True)
class PredictedScores:
    """What the predictor said of one pod's shape; written to the state before PreScore."""

    scores: NDArray[np.float64]
    """Shape ``(n_nodes,)``, 0 to 100: 100 * p(success); NaN where it said nothing."""
    unseen_ratio: NDArray[np.float64]
    """Shape ``(n_nodes,)``, 0 to 1: the share of the node that pods placed since the predictor
    looked are expected to use."""
    load: NDArray[np.float64] | None = None
    """Shape ``(n_nodes,)``, 0 to 100: how little load there is; ``None`` if ``scores`` say that."""


class NodePrediction(PreScorePlugin, ScorePlugin):
    """Rates nodes by p(success), corrected for what was placed since the prediction was made.

    A prediction describes the past. Pods placed since then are not in it, and without the
    correction every pod of a burst would go to the same best node. The score shrinks by the share
    of the node that they are expected to use: their workload's usual usage, else their requests.

    A node that the predictor said nothing of gets the middle score, and without any prediction the
    plugin skips: an outage neither herds pods onto a node nor drives them off it.
    """

    name = "NodePrediction"

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip where there is no prediction."""
        predicted = state.read(PredictedScores)
        if predicted is None or not _says_anything(predicted.scores, feasible=feasible):
            return SKIP
        return SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate by the corrected probability."""
        predicted = state.read(PredictedScores)
        if predicted is None:
            return np.full(snapshot.n_nodes, NO_INFORMATION_SCORE, dtype=np.int64)
        return _corrected(predicted.scores, unseen_ratio=predicted.unseen_ratio)


class NodeLoad(PreScorePlugin, ScorePlugin):
    """Rates nodes by how little they are loaded, as the predictor says.

    A probability is the same on every node that has enough of all, so that by it alone nodes fill
    up until they have not. Without a model this plugin skips: NodePrediction then rates by scores
    that weigh the load.
    """

    name = "NodeLoad"

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip where nothing is known beside NodePrediction's scores."""
        predicted = state.read(PredictedScores)
        if predicted is None or predicted.load is None:
            return SKIP
        return SUCCESS if _says_anything(predicted.load, feasible=feasible) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate by the corrected score."""
        predicted = state.read(PredictedScores)
        if predicted is None or predicted.load is None:
            return np.full(snapshot.n_nodes, NO_INFORMATION_SCORE, dtype=np.int64)
        return _corrected(predicted.load, unseen_ratio=predicted.unseen_ratio)


PREDICTED: Final = frozenset({NodePrediction.name, NodeLoad.name})
"""The plugins for which the predictor is asked."""


def _says_anything(scores: NDArray[np.float64], *, feasible: BoolColumn) -> bool:
    return bool((feasible & ~np.isnan(scores)).any())


def _corrected(scores: NDArray[np.float64], *, unseen_ratio: NDArray[np.float64]) -> ScoreColumn:
    corrected = scores * (1.0 - unseen_ratio)
    corrected[np.isnan(corrected)] = NO_INFORMATION_SCORE
    return np.rint(corrected).astype(np.int64)
