"""PodState: nodes where room is about to become free."""

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PreScorePlugin, ScorePlugin, min_max_normalize
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, SUCCESS, BoolColumn, ScoreColumn, Status
from scheduler.model import PodFacts


class PodState(PreScorePlugin, ScorePlugin):
    """Prefers nodes that pods are leaving, less those that room there is promised to.

    A pod that was promised room itself is not in its own way.
    """

    name = "PodState"

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip where nobody comes or goes: all nodes would get 0."""
        is_calm = not snapshot.nominations and not snapshot.n_terminating.any()
        return SKIP if is_calm else SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Count who leaves, and take off who was promised room."""
        counts: ScoreColumn = np.array(snapshot.n_terminating)
        for node in snapshot.nominations.nodes():
            row = snapshot.rows.get(node)
            if row is not None:
                promised = snapshot.nominations.on_node(node)
                counts[row] -= sum(other.uid != pod.uid for other in promised)
        return counts

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Stretch from the lowest (0) to the highest (100)."""
        return min_max_normalize(scores)
