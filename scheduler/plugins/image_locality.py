"""ImageLocality: nodes that need not pull what the pod runs."""

from typing import Final

import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PreScorePlugin, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    MAX_NODE_SCORE,
    SKIP,
    SUCCESS,
    BoolColumn,
    ScoreColumn,
    Status,
)
from scheduler.model import PodFacts

_MI: Final = 2**20
_LEAST_BYTES: Final = 23 * _MI
"""So little is pulled so soon that it earns nothing."""
_MOST_BYTES_PER_CONTAINER: Final = 1000 * _MI


class ImageLocality(PreScorePlugin, ScorePlugin):
    """Rates nodes by the bytes of the pod's images that they hold.

    An image counts by the share of nodes that hold it: one that few hold must not draw all its pods
    to them.
    """

    name = "ImageLocality"

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods whose images are nowhere: all nodes would get 0."""
        is_held = any(snapshot.image(normalized(name)).nodes.any() for name in pod.images)
        return SUCCESS if is_held and pod.n_containers else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Add up what each node holds."""
        held_bytes = np.zeros(snapshot.n_nodes, dtype=np.int64)
        for name in pod.images:
            image = snapshot.image(normalized(name))
            n_holders = int(np.count_nonzero(image.nodes))
            if n_holders:
                held_bytes += image.nodes * int(image.size_bytes * (n_holders / snapshot.n_nodes))
        if not pod.n_containers:
            return np.zeros_like(held_bytes)
        most_bytes = _MOST_BYTES_PER_CONTAINER * pod.n_containers
        counted = np.clip(held_bytes, _LEAST_BYTES, most_bytes) - _LEAST_BYTES
        return MAX_NODE_SCORE * counted // (most_bytes - _LEAST_BYTES)


def normalized(name: str) -> str:
    """Spell an image's name as nodes do: one without tag and digest means ``latest``."""
    return f"{name}:latest" if name.rfind(":") <= name.rfind("/") else name
