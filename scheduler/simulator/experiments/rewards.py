"""What a run is worth: named terms with units, added up as time passes.

A ``Meter`` is told what happens in the world (``witness``). At every instant it is told that time
has passed (``pass_until``) and, once all that could be done at that instant is done, how the
cluster stands (``look``), which holds until the next one. Whoever asks gets the terms since it last
asked, and a reward is their weighted sum with a minus sign.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.edge.settings import Settings
from scheduler.simulator import changes as ch

Floats: TypeAlias = NDArray[np.float64]
Weight = Annotated[float, msgspec.Meta(ge=0, le=1e9)]

_HOUR_S: Final = 3600.0


class RewardWeights(Settings, frozen=True):
    """What each term costs; the reward is minus their sum. 0 leaves a term out."""

    pending: Weight = 1.0
    """Per hour that a pod waits for a node (pod-hours)."""
    failures: Weight = 1.0
    """Per container that ended badly (it crashed, was killed for its memory, or lost its node), and
    per pod that was evicted, or that its kubelet turned away."""
    throttling: Weight = 1.0
    """Per hour of a core that containers wished for and did not get (core-hours)."""
    fragmentation: Weight = 0.0
    """Per hour of a node's free cpu that is of no use to the scenario's typical pod (node-hours):
    of each node the free part of its cpu, times the share of pods that do not fit there."""
    imbalance: Weight = 0.0
    """Per hour of one unit of the standard deviation, over the nodes, of cpu utilisation."""
    nodes_on: Weight = 0.0
    """Per hour of a node with at least one pod (node-hours)."""

    def cost_of(self, terms: Mapping[str, float]) -> float:
        """Weigh terms, each in its unit, and add them up."""
        return float(sum(getattr(self, name) * amount for name, amount in terms.items()))


TERMS: Final = RewardWeights.__struct_fields__


@dataclass(frozen=True, slots=True)
class PodMix:
    """What kinds of pods come, and how often."""

    cpu_request_milli: Floats
    """Shape ``(n_kinds,)``, as the others."""
    memory_request_bytes: Floats
    p: Floats
    """The share of pods that are of each kind; the sum is 1."""

    @classmethod
    def of(cls, kinds: Iterable[tuple[int, int, float]]) -> "PodMix":
        """Make a mix of (cpu request, memory request, how many of them), with at least one pod."""
        columns = np.array(list(kinds), dtype=np.float64).reshape(-1, 3).T
        return cls(columns[0], columns[1], columns[2] / columns[2].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """The nodes; columns of shape ``(n_nodes,)``."""

    cpu_allocatable_milli: Floats
    memory_allocatable_bytes: Floats
    pods_allocatable: Floats
    cpu_requested_milli: Floats
    """Of the pods on the node; so are the next two."""
    memory_requested_bytes: Floats
    n_pods: Floats
    cpu_usage_ratio: Floats
    """True usage, of the capacity."""


class Meter:
    """Adds up the terms.

    Args:
        weights: A term that is dear to reckon is reckoned only if it has a weight.
        mix: What pods come; needed for the fragmentation alone.
        now_s: When it begins, Unix seconds.
        lacking_core_s: ``World.lacking_core_s`` then.
    """

    def __init__(
        self, weights: RewardWeights, *, mix: PodMix | None, now_s: float, lacking_core_s: float
    ) -> None:
        self._weights = weights
        self._mix = mix if weights.fragmentation else None
        self._at_s = now_s
        self._lacking_core_s = lacking_core_s
        self._rates = dict.fromkeys(TERMS, 0.0)
        """Per hour, from the last look on."""
        self._terms = dict.fromkeys(TERMS, 0.0)

    def witness(self, change: ch.Change) -> None:
        """Take in what happened in the world."""
        is_bad_end = isinstance(change, ch.ContainerExited) and change.exit_code != 0
        if is_bad_end or isinstance(change, ch.PodEvicted):
            self._terms["failures"] += 1.0

    def turn_away(self) -> None:
        """Take in that a kubelet did not let a pod in, of which the world never hears."""
        self._terms["failures"] += 1.0

    def pass_until(self, now_s: float, *, lacking_core_s: float) -> None:
        """Take in that time has passed.

        Args:
            now_s: Unix seconds, never less than before.
            lacking_core_s: ``World.lacking_core_s``.
        """
        passed_h = (now_s - self._at_s) / _HOUR_S
        for name, rate in self._rates.items():
            self._terms[name] += rate * passed_h
        self._terms["throttling"] += (lacking_core_s - self._lacking_core_s) / _HOUR_S
        self._at_s, self._lacking_core_s = now_s, lacking_core_s

    def look(self, nodes: Occupancy, *, n_pending: int) -> None:
        """Take in how the cluster stands, after something was done.

        Args:
            nodes: All nodes.
            n_pending: Pods that wait for a node.
        """
        self._rates["pending"] = float(n_pending)
        self._rates["nodes_on"] = float(np.count_nonzero(nodes.n_pods))
        strays = nodes.cpu_usage_ratio - nodes.cpu_usage_ratio.mean()
        self._rates["imbalance"] = math.sqrt(float(strays @ strays) / len(strays))
        if self._mix is not None:
            self._rates["fragmentation"] = _fragmentation(nodes, mix=self._mix)

    def take(self) -> dict[str, float]:
        """Hand over the terms since the last time, each in its unit, not weighed."""
        terms, self._terms = self._terms, dict.fromkeys(TERMS, 0.0)
        return terms


def _fragmentation(nodes: Occupancy, *, mix: PodMix) -> float:
    """Add up, over the nodes, the free part of the cpu times the share of pods that do not fit."""
    cpu_free_milli = nodes.cpu_allocatable_milli - nodes.cpu_requested_milli
    memory_free_bytes = nodes.memory_allocatable_bytes - nodes.memory_requested_bytes
    fits = (
        (mix.cpu_request_milli[:, None] <= cpu_free_milli)
        & (mix.memory_request_bytes[:, None] <= memory_free_bytes)
        & (nodes.n_pods < nodes.pods_allocatable)
    )
    free_ratio = cpu_free_milli / np.maximum(nodes.cpu_allocatable_milli, 1.0)
    return float(free_ratio @ (1.0 - mix.p @ fits))
