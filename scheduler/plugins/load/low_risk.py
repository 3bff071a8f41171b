"""LowRiskOverCommitment: avoids nodes whose pods may come to use more than there is."""

import math
from collections.abc import Hashable
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from kube.edge.settings import Settings
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, PreScorePlugin, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, SUCCESS, BoolColumn, ScoreColumn, Status
from scheduler.model import PodFacts
from scheduler.plugins.load.arguments import LoadArgs
from scheduler.plugins.load.beta import beta_cdf, beta_cdf_at
from scheduler.plugins.load.columns import (
    RESOURCES,
    FloatColumn,
    Loads,
    as_scores,
    asked,
    stacked,
)

_MAX_VARIANCE_RATIO: Final = 0.99
"""Of the largest variance that a distribution on 0..1 with that mean can have."""
_MIN_VARIANCE: Final = 1e-12
"""A load that varies by a millionth of the machine, or is as near to none or all, is steady."""
_MAX_STRENGTH: Final = 10_000.0
"""A distribution with a deviation of less than half a percent is not told from one with that."""
_FEW: Final = 64
"""Of so many nodes it is cheaper to look up what was found before, and to find the rest singly."""
_MAX_FOUND: Final = 20_000

Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class RiskLimitWeights(Settings, frozen=True):
    """How much limits count for; the measured load counts for the rest."""

    cpu: Weight = 0.5
    memory: Weight = 0.5


class LowRiskOverCommitmentArgs(LoadArgs, frozen=True):
    """Arguments of LowRiskOverCommitment."""

    smoothing_window_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 5
    """How many samples a mean is made of: single ones vary more, by the root of this."""
    risk_limit_weights: RiskLimitWeights = RiskLimitWeights()


class LowRiskOverCommitment(PreScorePlugin, ScorePlugin):
    """Prefers nodes with the least risk of being short of what pods may use beyond their requests.

    Half of the risk (``riskLimitWeights``) is how far limits go beyond the node's capacity, and
    half how likely its load exceeds what is requested there, by a beta distribution with the
    measured mean and deviation. The worse of cpu and memory counts. Without usage a node gets 0. A
    pod that neither requests nor limits anything is not rated.
    """

    name = "LowRiskOverCommitment"
    args_type: ClassVar[type[PluginArgs]] = LowRiskOverCommitmentArgs
    reads_usage = True

    def __init__(self, args: LowRiskOverCommitmentArgs) -> None:
        super().__init__(args)
        weights = args.risk_limit_weights
        self._weights = np.array([[weights.cpu], [weights.memory]])
        self._stretch = math.sqrt(args.smoothing_window_size)
        self._found: dict[tuple[float, ...], float] = {}
        """What ``p_load_within_at`` said: the same for pods of all kinds."""

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign requests and limits."""
        return tuple(
            amounts.get(resource, 0)
            for amounts in (pod.requests, pod.limits)
            for resource in RESOURCES
        )

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip best-effort pods, which are worth the same everywhere."""
        says = any(pod.requests.get(r) or pod.limits.get(r) for r in RESOURCES)
        return SUCCESS if says else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate the riskier of cpu and memory."""
        loads = Loads.of(state, snapshot=snapshot)
        capacity, request = loads.capacity, asked(pod.requests)
        requested, limits = stacked(snapshot.requested, snapshot.limits)
        limited = np.maximum(limits, requested)
        risk_limit = limit_risk(
            np.minimum(requested + request, capacity),
            limited=limited + np.maximum(asked(pod.limits), request),
            capacity=capacity,
        )
        within = self._within(
            np.minimum(requested / capacity, 1.0),
            limited / capacity,
            np.minimum(loads.used / capacity, 1.0),
            self._stretch * loads.std_ratio,
        )
        risks = self._weights * risk_limit + (1.0 - self._weights) * (1.0 - within)
        return as_scores(100.0 * (1.0 - risks.max(axis=0)), known=loads.is_known)

    def _within(
        self, requested: FloatColumn, limited: FloatColumn, mean: FloatColumn, std: FloatColumn
    ) -> FloatColumn:
        if requested.shape[1] > _FEW:
            return p_load_within(requested, limited=limited, mean=mean, std=std)
        if len(self._found) > _MAX_FOUND:
            self._found.clear()
        states = zip(
            *(each.ravel().tolist() for each in (requested, limited, mean, std)), strict=True
        )
        within = [self._within_at(state) for state in states]
        return np.array(within, dtype=np.float64).reshape(requested.shape)

    def _within_at(self, state: tuple[float, ...]) -> float:
        found = self._found.get(state)
        if found is None:
            requested, limited, mean, std = state
            found = p_load_within_at(requested, limited=limited, mean=mean, std=std)
            self._found[state] = found
        return found


def limit_risk(
    requested: FloatColumn, *, limited: FloatColumn, capacity: FloatColumn
) -> FloatColumn:
    """Tell how much of what pods may use beyond their requests is not there.

    Args:
        requested: No more than the capacity.
        limited: No less than what is requested.
        capacity: More than 0.

    Returns:
        The same shape, 0 to 1.
    """
    over = limited - capacity
    beyond = np.where(over > 0.0, limited - requested, 1.0)
    return np.clip(over, 0.0, None) / beyond


def p_load_within(
    requested: FloatColumn, *, limited: FloatColumn, mean: FloatColumn, std: FloatColumn
) -> FloatColumn:
    """Tell how likely a node's load is no more than what is requested there, given its limits.

    Args:
        requested: Share of the capacity, 0 to 1; without the pod that is to be placed.
        limited: Share of the capacity; likewise.
        mean: Of the load, 0 to 1.
        std: Of the load.

    Returns:
        The same shape, 0 to 1.
    """
    is_bounded = (limited < 1.0) & (requested <= limited)
    thresholds = np.stack([requested, np.minimum(limited, 1.0)])
    within, bound = _load_cdf(thresholds, mean=mean, std=std)
    given = np.clip(within / np.maximum(bound, 1e-300), 0.0, 1.0)
    return np.where(is_bounded, np.where(limited <= 0.0, 1.0, given), within)


def p_load_within_at(requested: float, *, limited: float, mean: float, std: float) -> float:
    """As ``p_load_within``, of one node."""
    if limited >= 1.0 or requested > limited:
        return _load_cdf_at(requested, mean=mean, std=std)
    if limited <= 0.0:
        return 1.0
    bound = _load_cdf_at(limited, mean=mean, std=std)
    within = _load_cdf_at(requested, mean=mean, std=std) / max(bound, 1e-300)
    return min(1.0, max(0.0, within))


def _load_cdf(x: FloatColumn, *, mean: FloatColumn, std: FloatColumn) -> FloatColumn:
    """Return P(load <= x) for several x; a load without variation is what its mean is."""
    room = mean * (1.0 - mean)
    variance = np.minimum(std * std, _MAX_VARIANCE_RATIO * room)
    varies = variance > _MIN_VARIANCE
    strength = np.minimum(room / np.where(varies, variance, 1.0) - 1.0, _MAX_STRENGTH)
    cdf = beta_cdf(
        np.where(varies, x, 0.5),
        alpha=np.where(varies, mean * strength, 1.0),
        beta=np.where(varies, (1.0 - mean) * strength, 1.0),
    )
    return np.where(varies, cdf, np.where(x >= mean, 1.0, 0.0))


def _load_cdf_at(x: float, *, mean: float, std: float) -> float:
    room = mean * (1.0 - mean)
    variance = min(std * std, _MAX_VARIANCE_RATIO * room)
    if variance <= _MIN_VARIANCE:
        return float(x >= mean)
    strength = min(room / variance - 1.0, _MAX_STRENGTH)
    return beta_cdf_at(x, alpha=mean * strength, beta=(1.0 - mean) * strength)
