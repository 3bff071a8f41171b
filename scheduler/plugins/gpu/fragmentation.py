"""Fragmentation of GPUs: idle shares that a known mix of pods could not use.

Source: Weng et al., "Beware of Fragmentation", USENIX ATC 2023.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from scheduler.plugins.gpu.columns import GpuNodes

FloatColumn = NDArray[np.float64]

TYPICAL_RATIO: Final = 0.95
"""Shapes are typical, by falling frequency, until they make up this much of all pods."""

_MAX_ALLOWED: Final = 16
_N_SUMS: Final = 6
_LACKS_BOTH, _LACKS_GPU, _LACKS_CPU, _CPU_POD_FITS, _CPU_POD_LACKS_CPU, _WRONG_MODEL = range(
    _N_SUMS
)


class PodShape(NamedTuple):
    """What makes pods alike to the measure; memory does not count."""

    cpu_milli: int
    card_milli: int
    n_cards: int
    spec: str
    """Models that will do, ``A|B``; as written, so ``B|A`` is another shape. Empty: any."""

    @property
    def models(self) -> frozenset[str]:
        """Models that will do; if empty, any."""
        return frozenset(filter(None, self.spec.split("|")))


@dataclass(frozen=True, slots=True)
class TypicalWorkload:
    """A mix of shapes, *M*: what pods are expected to ask for.

    Args:
        shapes: In the order in which their shares are added up.
        p: The probability of each; they sum to 1.
    """

    shapes: tuple[PodShape, ...]
    p: tuple[float, ...]
    cpu_milli: NDArray[np.int64] = field(init=False, repr=False)
    """Of each shape, as the other arrays."""
    n_cards: NDArray[np.int64] = field(init=False, repr=False)
    p_column: FloatColumn = field(init=False, repr=False)
    shares_milli: NDArray[np.int64] = field(init=False, repr=False)
    """The distinct shares that are asked of a card."""
    share_of: NDArray[np.intp] = field(init=False, repr=False)
    """Which of them each shape asks for."""
    wanted: tuple[frozenset[str], ...] = field(init=False, repr=False)
    """Models that will do, of each shape; if empty, any."""
    _allowed: dict[tuple[str, ...], NDArray[np.bool_]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        """Lay the shapes out as arrays."""
        cards = np.array([shape.card_milli for shape in self.shapes], dtype=np.int64)
        shares, share_of = np.unique(cards, return_inverse=True)
        columns = {
            "cpu_milli": np.array([shape.cpu_milli for shape in self.shapes], dtype=np.int64),
            "n_cards": np.array([shape.n_cards for shape in self.shapes], dtype=np.int64),
            "p_column": np.array(self.p, dtype=np.float64),
            "shares_milli": shares,
            "share_of": share_of,
        }
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        object.__setattr__(self, "wanted", tuple(shape.models for shape in self.shapes))

    @classmethod
    def of(cls, pods: Iterable[PodShape], *, ratio: float = TYPICAL_RATIO) -> Self:
        """Count shapes, and keep the most frequent ones (``of_counts``)."""
        return cls.of_counts(Counter(pods), ratio=ratio)

    @classmethod
    def of_counts(cls, counts: Mapping[PodShape, int], *, ratio: float = TYPICAL_RATIO) -> Self:
        """Keep the most frequent shapes.

        They are sorted by falling count (of equal ones first those with more CPU, then the larger
        share, more cards, the later models), and taken until they make up *ratio* of all pods.
        The probability of a shape is (its count / all pods) / (pods of kept shapes / all pods).
        """
        n_all = sum(counts.values())
        ranked = sorted(counts.items(), key=lambda item: (item[1], item[0]), reverse=True)
        kept: list[tuple[PodShape, int]] = []
        n_kept = 0
        for shape, count in ranked:
            if n_kept >= ratio * n_all:
                break
            kept.append((shape, count))
            n_kept += count
        kept_ratio = n_kept / n_all if n_all else 1.0
        return cls(
            tuple(shape for shape, _ in kept),
            tuple(count / n_all / kept_ratio for _, count in kept),
        )

    def is_allowed(self, models: tuple[str, ...]) -> NDArray[np.bool_]:
        """Tell which shapes may use which models' cards, shape ``(n_models, n_shapes)``.

        Not to be written to: it is kept, for a cluster has the same models every time.
        """
        kept = self._allowed.get(models)
        if kept is None:
            rows = [[not any_of or model in any_of for any_of in self.wanted] for model in models]
            kept = np.array(rows, dtype=np.bool_).reshape(len(models), len(self.shapes))
            if len(self._allowed) >= _MAX_ALLOWED:
                self._allowed.clear()
            self._allowed[models] = kept
        return kept


def fragmentation_milli(nodes: GpuNodes, *, workload: TypicalWorkload) -> FloatColumn:
    """Measure how much idle GPU of each node the workload could not use, as an expectation.

    ``F_n(M) = Σ_i p_i f_i`` over the shapes *i* of *M*, in milli of a card. With *R* the idle GPU
    of the node, ``f_i = R`` if *i* asks for no card (all idle GPU is useless to it) or if the node
    cannot host *i* (CPU, cards with the share, or model are lacking; memory is not considered);
    else ``f_i`` is what is idle on cards that have less than *i*'s share.

    Terms are added in *M*'s order into six sums by the reason (lacks both, lacks GPU or leaves it
    over, lacks CPU, CPU pod that fits, CPU pod that does not, wrong model), then these in that
    order: equal to the last bit with the published experiments.

    Example: a node with 16 free cores and cards [300, 1000]; half of the pods ask for 4 cores and
    half a card, a quarter for 8 cores and 2 cards, a quarter for 4 cores. 0.5 × 300 + 0.25 × 1300 +
    0.25 × 1300 = 800.

    Args:
        nodes: Their free CPU, cards and models matter.
        workload: The mix, *M*.

    Returns:
        Shape ``(n_nodes,)``, milli of a card.
    """
    cards = nodes.free_card_milli
    is_allowed = workload.is_allowed(nodes.models)[nodes.model]
    n = len(nodes)
    suffices = cards[:, np.newaxis, :] >= workload.shares_milli[:, np.newaxis]
    n_usable = suffices.sum(axis=2)[:, workload.share_of]
    idle = cards.sum(axis=1)[:, np.newaxis]
    usable = np.matmul(suffices, cards[:, :, np.newaxis])[:, workload.share_of, 0]
    has_cpu = nodes.free_cpu_milli[:, np.newaxis] >= workload.cpu_milli
    has_cards = n_usable >= workload.n_cards
    is_cpu_pod = workload.n_cards == 0
    reason = np.where(
        has_cpu,
        np.where(is_cpu_pod, _CPU_POD_FITS, _LACKS_GPU),
        np.where(is_cpu_pod, _CPU_POD_LACKS_CPU, np.where(has_cards, _LACKS_CPU, _LACKS_BOTH)),
    )
    reason[~is_allowed & ~is_cpu_pod] = _WRONG_MODEL
    is_hosted = (reason == _LACKS_GPU) & has_cards
    terms = workload.p_column * np.where(is_hosted, idle - usable, idle)
    # ``bincount`` adds weights one after the other, in their order, to each bin.
    bins = np.arange(0, n * _N_SUMS, _N_SUMS)[:, np.newaxis] + reason
    sums = np.bincount(bins.ravel(), weights=terms.ravel(), minlength=n * _N_SUMS)
    return np.cumsum(sums.reshape(n, _N_SUMS), axis=1, dtype=np.float64)[:, -1]
