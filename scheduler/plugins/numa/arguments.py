"""The arguments of NodeResourceTopologyMatch."""

from typing import Annotated, Literal

import msgspec

from kube.edge.settings import Settings
from scheduler.framework.interface import PluginArgs
from scheduler.plugins.scoring_strategies import CPU_AND_MEMORY, ResourceSpec

PodsDetected = Literal["All", "None", "OnlyExclusiveResources"]
PodsCounted = Literal["Autodetect", "All", "OnlyExclusiveResources"]


class NumaScoringStrategy(Settings, frozen=True):
    """How nodes are rated."""

    type: Literal["LeastAllocated", "MostAllocated", "BalancedAllocation", "LeastNUMANodes"] = (
        "LeastAllocated"
    )
    resources: tuple[ResourceSpec, ...] = CPU_AND_MEMORY
    """Weights, for the first two; what is not named weighs 1."""


class NumaCache(Settings, frozen=True, rename="camel"):
    """What is made of pods that reports do not know of."""

    foreign_pods_detect: PodsDetected = "All"
    """Whose appearance makes a node unknown until its next report, if others placed them."""
    resync_method: PodsCounted = "Autodetect"
    """Which pods are in fingerprints; by default as each report says."""
    informer_mode: Literal["Dedicated", "Shared"] = "Dedicated"
    """Of no effect: there is one watch of pods, which shows all that run."""
    resync_scope: Literal["All", "OnlyResources"] = "All"
    """Of no effect: a report is taken over with its policies, as ``All`` asks for."""


class NodeResourceTopologyMatchArgs(PluginArgs, frozen=True):
    """Arguments of NodeResourceTopologyMatch."""

    scoring_strategy: NumaScoringStrategy = NumaScoringStrategy()
    cache_resync_period_seconds: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """More than 0: pods count until a report knows of them. How much more is of no effect: every
    report is looked at when it comes."""
    discard_reserved_nodes: bool = False
    """Instead of that: nodes take no pod while another one is being bound to them."""
    cache: NumaCache | None = None
    preemption_mode: str = "Disabled"

    def __post_init__(self) -> None:
        """Refuse what would have no effect.

        Raises:
            ValueError: Names the field.
        """
        if self.preemption_mode != "Disabled":
            raise ValueError(
                "preemptionMode: only Disabled is supported; reports are not read for the zones"
                " that containers are in"
            )
