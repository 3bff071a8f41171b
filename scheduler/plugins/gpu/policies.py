"""Policies: a score and a choice of cards under a name."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

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

_FEW: Final = 32
"""Of so many nodes it is cheaper to look up what was found before."""
_MAX_FOUND: Final = 20_000

_Try: TypeAlias = tuple[GpuPod, int, int, int, bytes]
"""A pod, and what measures know of a node: free CPU before and after, model, what is free of each
card."""

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

    def __init__(self, measure: Measure, *, cpu_steps_milli: Sequence[int] = ()) -> None:
        self._measure = measure
        self._steps = sorted(set(cpu_steps_milli))
        """If there are any, free CPU matters to the measure only by which of them it reaches."""
        self._found: dict[_Try, tuple[int, int]] = {}
        """Scores and best cards, of nodes that were rated a few at a time."""

    def score(self, pod: GpuPod, *, nodes: GpuNodes) -> AnyScores:
        """Rate by :func:`descent_scores`."""
        if len(nodes) > _FEW:
            return descent_scores(pod, nodes=nodes, measure=self._measure)[0]
        found = [score for score, _ in self._find(pod, nodes)]
        return np.array(found, dtype=np.int64)

    def choose_cards(self, pod: GpuPod, *, node: GpuNodes) -> tuple[int, ...]:
        """Choose the card for a share by its score."""
        if not pod.is_share:
            return super().choose_cards(pod, node=node)
        [(_, card)] = self._find(pod, node)
        return (card,)

    def _find(self, pod: GpuPod, nodes: GpuNodes) -> list[tuple[int, int]]:
        """Rate a few nodes; mostly they are in a state in which others were before."""
        tries = [self._try(pod, nodes, row) for row in range(len(nodes))]
        new = [row for row, each in enumerate(tries) if each not in self._found]
        if new:
            if len(self._found) >= _MAX_FOUND:
                self._found.clear()
                new = list(range(len(nodes)))
            some = nodes if len(new) == len(nodes) else nodes.take(np.array(new))
            scores, cards = descent_scores(pod, nodes=some, measure=self._measure)
            found = zip(scores.tolist(), cards.tolist(), strict=True)
            self._found.update(zip((tries[row] for row in new), found, strict=True))
        return [self._found[each] for each in tries]

    def _try(self, pod: GpuPod, nodes: GpuNodes, row: int) -> _Try:
        cpu_milli, model = int(nodes.free_cpu_milli[row]), int(nodes.model[row])
        before, after = cpu_milli, cpu_milli - pod.cpu_milli
        if self._steps:
            before, after = bisect_right(self._steps, before), bisect_right(self._steps, after)
        return pod, before, after, model, nodes.free_card_milli[row].tobytes()


class Fgd(_Descent):
    """The steepest fall of fragmentation as Weng et al. measure it."""

    def __init__(self, context: PolicyContext) -> None:
        workload = context.workload
        super().__init__(
            partial(fragmentation_milli, workload=workload),
            cpu_steps_milli=workload.cpu_milli.tolist(),
        )


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
