"""NormalizeScore, and the range that its result must keep."""

import numpy as np

from scheduler.errors import PluginError
from scheduler.framework.interface import ScorePlugin
from scheduler.framework.status import MAX_NODE_SCORE, MIN_NODE_SCORE, ScoreColumn


def normalized(plugin: ScorePlugin, scores: ScoreColumn) -> ScoreColumn:
    """Normalize the feasible nodes' scores.

    Raises:
        PluginError: One left 0..100.
    """
    scores = plugin.normalize(scores)
    if not are_in_range(scores):
        raise PluginError(f"{plugin.name}: a score left {MIN_NODE_SCORE}..{MAX_NODE_SCORE}")
    return scores


def are_in_range(scores: ScoreColumn) -> bool:
    """Tell whether all are from 0 to 100."""
    # Seen as unsigned, a negative score is huge: one pass finds both.
    return bool(scores.view(np.uint64).max(initial=0) <= MAX_NODE_SCORE)
