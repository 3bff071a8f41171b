"""NodeResourcesBalancedAllocation: nodes whose resources are used alike."""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from kube.edge.settings import Settings
from kube.quantity import CPU, MEMORY
from scheduler.framework.columns import IntColumn
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, PreScorePlugin, ScorePlugin
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
from scheduler.plugins.scoring_strategies import NATIVE


class BalancedResource(Settings, frozen=True):
    """A resource that is to be used like the others."""

    name: str
    weight: Literal[0, 1] = 1
    """All count alike; upstream's files may say so."""


_RESOURCES: Final = (BalancedResource(name=CPU), BalancedResource(name=MEMORY))


class NodeResourcesBalancedAllocationArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourcesBalancedAllocation."""

    resources: tuple[BalancedResource, ...] = _RESOURCES
    formula: Literal["v1.36", "v1.35"] = "v1.36"
    """Our own: which kube-scheduler to rate like. From 1.36 on it rates by how much the pod changes
    a node's balance; until 1.35, by the balance that the node would have."""


class NodeResourcesBalancedAllocation(PreScorePlugin, ScorePlugin):
    """Prefers nodes whose resources the pod would leave more evenly used.

    Balance is ``100 * (1 - std)`` of the used fractions. As of 1.36 the score is 75 where the pod
    changes nothing, more where balance improves and less where it worsens; before, it was the
    balance with the pod.
    """

    name = "NodeResourcesBalancedAllocation"
    args_type: ClassVar[type[PluginArgs]] = NodeResourcesBalancedAllocationArgs

    def __init__(self, args: NodeResourcesBalancedAllocationArgs) -> None:
        super().__init__(args)
        self._resources = tuple(each.name for each in args.resources or _RESOURCES)
        self._rates_change = args.formula == "v1.36"

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign what is asked for."""
        return tuple(pod.requests.items())

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods that ask for none of the resources: they change no balance."""
        return SUCCESS if any(pod.requests.get(r) for r in self._resources) else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Look at each node's balance with the pod, and as of 1.36 without it, too."""
        resources = [r for r in self._resources if r in NATIVE or pod.requests.get(r)]
        allocatable = [snapshot.allocatable[r] for r in resources]
        # Two rows of each column: without the pod and with it, rated in one go.
        requested = [
            snapshot.requested[r] + np.array(((0,), (pod.requests.get(r, 0),))) for r in resources
        ]
        before: ScoreColumn
        after: ScoreColumn
        before, after = _balance(requested, allocatable=allocatable)
        if not self._rates_change:
            return after
        half = MAX_NODE_SCORE // 2
        # Truncated toward zero, as Go divides; the sum is never negative here.
        return half + (half + after - before) // 2


def _balance(requested: Sequence[IntColumn], *, allocatable: Sequence[IntColumn]) -> ScoreColumn:
    """Rate how even the used fractions are.

    Args:
        requested: By resource, shape ``(2, n_nodes)`` each.
        allocatable: By resource, shape ``(n_nodes,)`` each; what a node has none of does not count.

    Returns:
        Shape ``(2, n_nodes)``, 0 to 100.
    """
    fractions = [
        np.minimum(used / np.maximum(whole, 1), 1.0)
        for used, whole in zip(requested, allocatable, strict=True)
    ]
    std: NDArray[np.float64]
    if len(fractions) == 2 and all(np.count_nonzero(w) == w.size for w in allocatable):
        # By far the most frequent case, and the deviation of two is half their difference.
        std = np.abs(fractions[0] - fractions[1]) / 2
    else:
        std = _deviation(np.stack(fractions), counts=np.stack(allocatable)[:, np.newaxis] != 0)
    balance: ScoreColumn = ((1.0 - std) * MAX_NODE_SCORE).astype(np.int64)
    return balance


def _deviation(fractions: NDArray[np.float64], *, counts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation over the resources that count, shape ``(2, n_nodes)``."""
    n = counts.sum(axis=0)
    mean = (fractions * counts).sum(axis=0) / np.maximum(n, 1)
    variance = (((fractions - mean) * counts) ** 2).sum(axis=0) / np.maximum(n, 1)
    # Of two, half the difference is the same but for rounding, and what upstream computes.
    highest = np.where(counts, fractions, 0.0).max(axis=0)
    lowest = np.where(counts, fractions, 1.0).min(axis=0)
    deviation: NDArray[np.float64] = np.where(n == 2, (highest - lowest) / 2, np.sqrt(variance))
    return deviation
