"""Policies: a score and a choice of cards under a name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn
from scheduler.plugins.gpu.cards import best_cards, random_cards
from scheduler.plugins.gpu.columns import GpuNodes, GpuPod, LargestNode
from scheduler.plugins.gpu.demand import DemandMeasure
from scheduler.plugins.gpu.fgd import Measure, descent_scores
from scheduler.plugins.gpu.fragmentation import TypicalWorkload, fragmentation_milli
from scheduler.plugins.gpu.scores import (
    best_fit_scores,
    dot_product_scores,
    gpu_clustering_scores,
    gpu_packing_scores,
)

_FEW: Final = 4
_MAX_BEST: Final = 4_096

_Try: TypeAlias = tuple[GpuPod, int, int, bytes]
"""A pod, and what measures know of a node: free CPU, model, and what is free of each card."""

AnyScores: TypeAlias = NDArray[np.int64] | NDArray[np.float64]


class GpuPolicy(Protocol):
    """Rates nodes for a pod, and hands out cards of the one chosen."""

    is_steady: bool
    """Whether a node's score depends on the pod and that node alone, so that it may be kept."""

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate feasible nodes, shape ``(n_nodes,)``; more is better."""

    def choose_cards(self, pod: GpuPod, *, node: GpuNodes) -> tuple[int, ...]:
        """Choose cards of a node (one row) on which the pod fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContext:
    """What a policy may know before the first pod arrives."""

    workload: TypicalWorkload
    """The mix of pods that is to be expected."""
    idle: GpuNodes
    """The cluster without any pod."""
    chance: np.random.Generator


class _BestCards:
    is_steady: bool = True

    def choose_cards(self, pod: GpuPod, *, node: GpuNodes) -> tuple[int, ...]:
        return best_cards(pod, free_milli=node.free_card_milli[0])


class Random(_BestCards):
    """Any feasible node, all alike likely."""

    is_steady: bool = False

    def __init__(self, context: PolicyContext) -> None:
        self._chance = context.chance

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Draw a number for each node."""
        return self._chance.random(len(nodes))

    def choose_cards(self, pod: GpuPod, *, node: GpuNodes) -> tuple[int, ...]:
        """Choose any card for a share."""
        return random_cards(pod, free_milli=node.free_card_milli[0], chance=self._chance)


class DotProduct(_BestCards):
    """The smallest dot product of free resources and requests."""

    def __init__(self, context: PolicyContext) -> None:
        self._largest = LargestNode.of(context.idle)

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate by :func:`dot_product_scores`."""
        return dot_product_scores(pod, nodes=nodes, largest=self._largest)


class GpuClustering(_BestCards):
    """Pods of a class together."""

    def __init__(self, context: PolicyContext) -> None:
        self._largest = LargestNode.of(context.idle)

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate by :func:`gpu_clustering_scores`."""
        return gpu_clustering_scores(pod, nodes=nodes, largest=self._largest)


class GpuPacking(_BestCards):
    """Cards in use before idle ones, nodes in use before idle ones."""

    def __init__(self, context: PolicyContext) -> None:
        pass

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate by :func:`gpu_packing_scores`."""
        return gpu_packing_scores(pod, nodes=nodes)


class BestFit(_BestCards):
    """The least CPU and GPU left."""

    def __init__(self, context: PolicyContext) -> None:
        self._largest = LargestNode.of(context.idle)

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate by :func:`best_fit_scores`."""
        return best_fit_scores(pod, nodes=nodes, largest=self._largest)


class _Descent(_BestCards):
    """The steepest fall of a measure, on the card where it falls most."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._best: dict[_Try, int] = {}
        """Cards of nodes that were rated lately."""

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate by :func:`descent_scores`."""
        scores, cards = descent_scores(pod, nodes=nodes, measure=self._measure)
        if pod.is_share and len(nodes) <= _FEW:
            self._keep(pod, nodes, cards)
        return scores

    def choose_cards(self, pod: GpuPod, *, node: GpuNodes) -> tuple[int, ...]:
        """Choose the card for a share by its score."""
        if not pod.is_share:
            return super().choose_cards(pod, node=node)
        card = self._best.get(_try(pod, node, 0))
        if card is None:
            card = int(descent_scores(pod, nodes=node, measure=self._measure)[1][0])
        return (card,)

    def _keep(self, pod: GpuPod, nodes: GpuNodes, cards: IntColumn) -> None:
        """Keep what was found of a few nodes: a pod is placed on one that was rated just before."""
        if len(self._best) >= _MAX_BEST:
            self._best.clear()
        for row, card in enumerate(cards.tolist()):
            self._best[_try(pod, nodes, row)] = card


def _try(pod: GpuPod, nodes: GpuNodes, row: int) -> _Try:
    cpu_milli, model = int(nodes.free_cpu_milli[row]), int(nodes.model[row])
    return pod, cpu_milli, model, nodes.free_card_milli[row].tobytes()


class Fgd(_Descent):
    """The steepest fall of fragmentation as Weng et al. measure it."""

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(partial(fragmentation_milli, workload=context.workload))


class FgdDemand(_Descent):
    """The steepest fall of what the pods to come are not expected to use."""

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(DemandMeasure(context.workload, idle=context.idle).unserved_milli)


POLICIES: Final[dict[str, Callable[[PolicyContext], GpuPolicy]]] = {
    "random": Random,
    "dot-product": DotProduct,
    "gpu-clustering": GpuClustering,
    "gpu-packing": GpuPacking,
    "best-fit": BestFit,
    "fgd": Fgd,
    "fgd-demand": FgdDemand,
}
"""Policies by name, in the order in which tables show them."""
