"""TargetLoadPacking: fills nodes up to a target, then spreads."""

import math
from collections.abc import Hashable
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from kube.edge.settings import Settings
from kube.quantity import parse_milli
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import ScoreColumn
from scheduler.model import PodFacts
from scheduler.plugins.load.arguments import LoadArgs
from scheduler.plugins.load.columns import CpuForecast, FloatColumn, Loads, as_scores


class DefaultRequests(Settings, frozen=True):
    """What a container without request and limit is taken to use."""

    cpu: str | int | float = "1000m"
    memory: str | int | float = 0
    """Of no effect, as upstream."""

    def __post_init__(self) -> None:
        """Check the quantity.

        Raises:
            ValueError: It is none, or negative.
        """
        for name, quantity in (("cpu", self.cpu), ("memory", self.memory)):
            if parse_milli(str(quantity)) < 0:
                raise ValueError(f"{name} must not be negative")

    @property
    def cpu_milli(self) -> int:
        """In millicores."""
        return parse_milli(str(self.cpu))


class TargetLoadPackingArgs(LoadArgs, frozen=True):
    """Arguments of TargetLoadPacking."""

    target_utilization: Annotated[int, msgspec.Meta(ge=1, le=100)] = 40
    """Percent of a node's cpu."""
    default_requests: DefaultRequests = DefaultRequests()
    default_requests_multiplier: str = "1.5"
    """What a container without limit uses, in terms of its request."""

    def __post_init__(self) -> None:
        """Check what msgspec cannot.

        Raises:
            ValueError: Names the field.
        """
        if not 0.0 <= _number(self.default_requests_multiplier) < math.inf:
            raise ValueError("defaultRequestsMultiplier must be a number, and not negative")


class TargetLoadPacking(ScorePlugin):
    """Prefers the node whose cpu the pod brings nearest to the target from below.

    With the used percentage U as it would be with the pod, and the target X, a node is rated from
    X (idle) up to 100 (U = X), then from X down to 0 (U = 100): pods pack up to the target, and
    spread over it. Without usage a node gets 0, and all of them 0 where nothing is known.
    """

    name = "TargetLoadPacking"
    args_type: ClassVar[type[PluginArgs]] = TargetLoadPackingArgs
    reads_usage = True

    def __init__(self, args: TargetLoadPackingArgs) -> None:
        super().__init__(args)
        self._target = args.target_utilization
        self._forecast = CpuForecast(
            default_milli=args.default_requests.cpu_milli,
            multiplier=_number(args.default_requests_multiplier),
        )

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign what the pod will use."""
        return self._forecast.of_pod(pod)

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate what would be used with the pod."""
        loads = Loads.of(state, snapshot=snapshot)
        used = loads.foreseen(self._forecast) + self._forecast.of_pod(pod)
        scores = packing_score(100.0 * used / loads.capacity[0], target=self._target)
        return as_scores(scores, known=loads.is_cpu_known)


def packing_score(percent: FloatColumn, *, target: int) -> FloatColumn:
    """Rate used percentages.

    Args:
        percent: Any shape; not negative.
        target: The best, from 1 to 100.

    Returns:
        The same shape, 0 to 100, not rounded.
    """
    below = (100 - target) * percent / target + target
    above = target * (100.0 - percent) / max(1, 100 - target)
    score: FloatColumn = np.where(percent <= target, below, np.where(percent > 100, 0.0, above))
    return score


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
