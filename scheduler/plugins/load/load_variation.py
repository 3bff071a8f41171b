"""LoadVariationRiskBalancing: avoids nodes that are used much, or unevenly over time."""

from collections.abc import Hashable
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import PluginArgs, ScorePlugin
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import ScoreColumn
from scheduler.model import PodFacts
from scheduler.plugins.load.arguments import LoadArgs
from scheduler.plugins.load.columns import RESOURCES, Loads, as_scores, asked, held_to


class LoadVariationRiskBalancingArgs(LoadArgs, frozen=True):
    """Arguments of LoadVariationRiskBalancing."""

    safe_variance_margin: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 1.0
    """How much variation counts."""
    safe_variance_sensitivity: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 1.0
    """The larger, the more a small variation counts."""


class LoadVariationRiskBalancing(ScorePlugin):
    """Prefers nodes with the least risk, half of which is the mean, and half the variation.

    By resource the risk is ``(mean + margin * std ** (1 / sensitivity)) / 2``, of the part of the
    capacity that is used with the pod's request; the worse of cpu and memory counts. Without usage
    a node gets 0.
    """

    name = "LoadVariationRiskBalancing"
    args_type: ClassVar[type[PluginArgs]] = LoadVariationRiskBalancingArgs
    reads_usage = True

    def __init__(self, args: LoadVariationRiskBalancingArgs) -> None:
        super().__init__(args)
        self._margin = args.safe_variance_margin
        sensitivity = args.safe_variance_sensitivity
        self._exponent = 1.0 / sensitivity if sensitivity > 0.0 else np.inf

    def sign_pod(self, pod: PodFacts) -> Hashable:
        """Sign what is asked for."""
        return tuple(pod.requests.get(resource, 0) for resource in RESOURCES)

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate the riskier of cpu and memory."""
        loads = Loads.of(state, snapshot=snapshot)
        mean = held_to((loads.used + asked(pod.requests)) / loads.capacity, 0.0, 1.0)
        variation = held_to(self._margin * np.power(loads.std_ratio, self._exponent), 0.0, 1.0)
        risks = (mean + variation) / 2.0
        return as_scores(100.0 * (1.0 - risks.max(axis=0)), known=loads.is_known)
