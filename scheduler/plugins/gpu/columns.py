"""Nodes with cards as columns, pods that ask for shares of cards, and which nodes fit.

One card is 1000 milli. A *share pod* asks for less than one card, and gets it of a single one; a
*whole-card pod* asks for whole cards, which must be idle; a *CPU pod* asks for none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scheduler.framework.columns import IntColumn, Rows
from scheduler.framework.status import BoolColumn

CARD_MILLI: Final = 1000
SHARE_CLASS: Final = 1
"""The bit of share pods among the classes of pods; whole-card pods of *k* cards have bit *k*."""

CardMatrix: TypeAlias = NDArray[np.int64]
"""Shape ``(n_nodes, n_slots)``, milli; a slot without a card holds 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPod:
    """What a pod asks for.

    Raises:
        ValueError: Several cards are asked for, yet not whole ones; or an amount makes no sense.
    """

    cpu_milli: int
    memory_bytes: int = 0
    n_cards: int = 0
    card_milli: int = 0
    """Of each card."""
    models: frozenset[str] = frozenset()
    """Models of cards that will do; if empty, any."""

    def __post_init__(self) -> None:
        """Refuse what cannot be asked for.

        Raises:
            ValueError: As the class says.
        """
        if min(self.cpu_milli, self.memory_bytes, self.n_cards, self.card_milli) < 0:
            raise ValueError("amounts are 0 or more")
        if (self.n_cards == 0) != (self.card_milli == 0) or self.card_milli > CARD_MILLI:
            raise ValueError(f"{self.n_cards} cards of {self.card_milli} milli make no sense")
        if self.n_cards > 1 and self.card_milli != CARD_MILLI:
            raise ValueError("several cards are asked for whole")

    @property
    def gpu_milli(self) -> int:
        """Of all cards together."""
        return self.n_cards * self.card_milli

    @property
    def is_share(self) -> bool:
        """Whether it asks for less than one card."""
        return 0 < self.card_milli < CARD_MILLI

    @property
    def class_bit(self) -> int:
        """Its class, by the number of cards, as a bit of ``GpuNodes.classes``; 0 of a CPU pod."""
        if not self.n_cards:
            return 0
        return SHARE_CLASS if self.is_share else 1 << self.n_cards


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuNodes:
    """Nodes, one a row; a table of models to which ``model`` points.

    All columns have the shape ``(n_nodes,)`` but ``free_card_milli``.
    """

    free_cpu_milli: IntColumn
    free_memory_bytes: IntColumn
    free_pods: IntColumn
    """How many more pods may run there."""
    free_card_milli: CardMatrix
    n_cards: IntColumn
    model: IntColumn
    """Which of ``models`` its cards are of."""
    classes: IntColumn
    """Which classes of pods with cards run there: the sum of their ``GpuPod.class_bit``."""
    models: tuple[str, ...]

    @classmethod
    def of(
        cls,
        *,
        cpu_milli: Sequence[int],
        memory_bytes: Sequence[int],
        n_cards: Sequence[int],
        model: Sequence[str],
        max_pods: int,
    ) -> Self:
        """Make idle nodes.

        Args:
            cpu_milli: Of each node, as the other columns.
            memory_bytes: Allocatable.
            n_cards: How many cards it has, all alike.
            model: Their model; empty if there is none.
            max_pods: How many pods may run on any of them.
        """
        cards = np.array(n_cards, dtype=np.int64)
        slots = np.arange(cards.max(initial=0))
        models = tuple(sorted(set(model)))
        return cls(
            free_cpu_milli=np.array(cpu_milli, dtype=np.int64),
            free_memory_bytes=np.array(memory_bytes, dtype=np.int64),
            free_pods=np.full(len(cards), max_pods, dtype=np.int64),
            free_card_milli=np.where(slots < cards[:, np.newaxis], CARD_MILLI, 0),
            n_cards=cards,
            model=np.array([models.index(each) for each in model], dtype=np.int64),
            classes=np.zeros(len(cards), dtype=np.int64),
            models=models,
        )

    def __len__(self) -> int:
        """How many nodes there are."""
        return len(self.free_cpu_milli)

    @property
    def free_gpu_milli(self) -> IntColumn:
        """Idle GPU of all of a node's cards together."""
        idle: IntColumn = self.free_card_milli.sum(axis=1)
        return idle

    def take(self, rows: Rows) -> Self:
        """Copy some rows, in the order given; a row may come more than once."""
        return type(self)(
            free_cpu_milli=self.free_cpu_milli[rows],
            free_memory_bytes=self.free_memory_bytes[rows],
            free_pods=self.free_pods[rows],
            free_card_milli=self.free_card_milli[rows],
            n_cards=self.n_cards[rows],
            model=self.model[rows],
            classes=self.classes[rows],
            models=self.models,
        )

    def only(self, rows: Rows) -> Self:
        """Show some rows, to be read before they change; as many as there are, are all of them."""
        return self if rows.size == len(self) else self.take(rows)

    def place(self, pod: GpuPod, *, row: int, cards: Sequence[int]) -> None:
        """Take what a pod asks for from a node, in place.

        Args:
            pod: It fits there.
            row: The node.
            cards: As many as the pod asks for.
        """
        self.free_cpu_milli[row] -= pod.cpu_milli
        self.free_memory_bytes[row] -= pod.memory_bytes
        self.free_pods[row] -= 1
        self.free_card_milli[row, list(cards)] -= pod.card_milli
        self.classes[row] |= pod.class_bit


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestNode:
    """The most of each resource that any node of a cluster has, to measure others by."""

    cpu_milli: int
    gpu_milli: int

    @classmethod
    def of(cls, idle: GpuNodes) -> Self:
        """Look at nodes on which nothing runs; there is at least one."""
        return cls(
            cpu_milli=max(1, int(idle.free_cpu_milli.max())),
            gpu_milli=max(CARD_MILLI, int(idle.n_cards.max()) * CARD_MILLI),
        )


def feasible_nodes(pod: GpuPod, *, nodes: GpuNodes) -> BoolColumn:
    """Tell which nodes have what a pod asks for.

    A node is feasible if one more pod may run there, CPU and memory suffice, its model is among
    those that will do, and enough cards have the share that is free of each. CPU pods run anywhere.

    Example: of two nodes with 16 free cores and cards [300, 1000] and [400, 600], 2 whole cards fit
    on neither, 1 whole card on the first, a share of 500 on both.
    """
    fits = (
        (nodes.free_cpu_milli >= pod.cpu_milli)
        & (nodes.free_memory_bytes >= pod.memory_bytes)
        & (nodes.free_pods > 0)
    )
    if pod.n_cards:
        fits &= has_cards(pod, nodes=nodes) & has_model(pod, nodes=nodes)
    return fits


def has_cards(pod: GpuPod, *, nodes: GpuNodes) -> BoolColumn:
    """Tell on which nodes enough cards have the share that a pod asks for of each."""
    enough = nodes.n_cards >= pod.n_cards
    if pod.n_cards:
        # Looked at closely only where there are as many: often few nodes have cards.
        able = np.flatnonzero(enough)
        n_free = (nodes.free_card_milli[able] >= pod.card_milli).sum(axis=1)
        enough[able] = n_free >= pod.n_cards
    return enough


def has_model(pod: GpuPod, *, nodes: GpuNodes) -> BoolColumn:
    """Tell which nodes' cards are of a model that will do."""
    if not pod.models:
        return np.ones(len(nodes), dtype=np.bool_)
    will_do = np.array([model in pod.models for model in nodes.models], dtype=np.bool_)
    allowed: BoolColumn = will_do[nodes.model]
    return allowed
