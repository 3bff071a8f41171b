"""What is free of each card: kept from the snapshot's pods, and the cards chosen for them.

A pod's cards are those that we chose, until its annotation says so; then those that it says. So
whoever starts anew finds the same from the annotations alone. A pod that runs and does not say
which cards it has might have any: what it asks for is taken from *every* card of its node, and so
is all of them for a pod whose annotations cannot be read. What is free can so be put too low, and
never too high. A pod that is only tried on a node (by a preemption, by a gang) gets the cards that
it would have to be given: the fullest ones that suffice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU, MEMORY
from scheduler.framework.changes import NEVER, Changes
from scheduler.framework.columns import Amounts, IntColumn
from scheduler.framework.snapshot import Snapshot
from scheduler.model import GPU_CARD_MODEL, GPU_COUNT, GPU_MILLI, PODS, NodeFacts, PodFacts
from scheduler.plugins.gpu.asks import MAX_CARDS, AskError, ask_of, cards_of
from scheduler.plugins.gpu.cards import best_cards
from scheduler.plugins.gpu.columns import CARD_MILLI, GpuNodes, GpuPod


class _Make(NamedTuple):
    """What of a node makes the measures of the whole cluster."""

    n_cards: int
    model: str
    cpu_milli: int
    memory_bytes: int


_ANY_CARD = GpuPod(cpu_milli=0, n_cards=1, card_milli=CARD_MILLI)
"""What is taken from each card for a pod that does not say what it asks for."""


class _Holder(NamedTuple):
    """What a pod's annotations say of cards."""

    pod: PodFacts
    ask: GpuPod
    cards: tuple[int, ...] | None


class CardBook:
    """Keeps the cards of a snapshot's nodes up to date."""

    def __init__(self) -> None:
        self.changes: Changes[int] = Changes()
        """Of which rows more or less is free than before."""
        self._start(Snapshot())

    def _start(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._chosen: dict[str, dict[str, tuple[int, ...]]] = {}
        """By node and uid, of pods whose annotation does not say it yet."""
        self._holders: dict[int, dict[str, _Holder]] = {}
        """By row and uid: read once, for nodes change with every pod, and pods do not."""
        self._stale: set[str] = set()
        """Nodes for whose pods cards were chosen, or given back, since they were settled."""
        self._own: set[str] = set()
        self._makes: list[_Make] = []
        self._generation = self._node_version = self._version = NEVER
        self.idle = self._nodes = _idle([])
        self.n_starts = 0
        """Grows when rows, or what nodes have, are no longer what they were."""
        self.changes.forget()

    def follow(self, snapshot: Snapshot) -> bool:
        """Begin anew with a state of the cluster that was built anew; tell whether it was."""
        # What-ifs have the objects of the cluster that they depart from.
        if snapshot.objects is self._snapshot.objects:
            return False
        self._start(snapshot.actual)
        return True

    def note_own(self, scheduler_name: str) -> None:
        """Take in whose pods get their cards from us: those of one profile."""
        self._own.add(scheduler_name)

    def is_actual(self, snapshot: Snapshot) -> bool:
        """Tell whether a snapshot is the cluster's, and no what-if."""
        return snapshot is self._snapshot

    def nodes(self, snapshot: Snapshot) -> GpuNodes:
        """Return what is free, on the cluster or a what-if of it; to be read before it changes."""
        self._update()
        if snapshot is self._snapshot:
            return self._nodes
        nodes = self._nodes.take(np.arange(len(self._nodes)))
        for row in snapshot.rows_apart(self._snapshot):
            self._write(nodes, row, snapshot)
        return nodes

    def before(self, pod: PodFacts, *, node: str, snapshot: Snapshot) -> GpuNodes:
        """Return what is free on a node, as one row, without a pod that may be counted there."""
        if snapshot.generation != self._generation:
            self._update()
        row = snapshot.rows[node]
        on_node = list(snapshot.pods_on(row))
        holders = self._read(row, [each for each in on_node if each.uid != pod.uid])
        # Of this copy all is written anew that says what is free of cpu and cards.
        found = self._nodes.take(np.array([row]))
        self._settle(found, 0, node=node, holders=holders.values())
        left = _left(snapshot.allocatable, snapshot.requested, row=row, key=CPU)
        counted = (each.requests.get(CPU, 0) for each in on_node if each.uid == pod.uid)
        found.free_cpu_milli[0] = left + sum(counted)
        return found

    def choose(self, pod: PodFacts, *, node: str, cards: tuple[int, ...]) -> None:
        """Take in which cards a pod is to have."""
        self._chosen.setdefault(node, {})[pod.uid] = cards
        self._stale.add(node)

    def give_back(self, pod: PodFacts, *, node: str) -> None:
        """Forget which cards a pod was to have; one that was to have none is no error."""
        if self._chosen.get(node, {}).pop(pod.uid, None) is not None:
            self._stale.add(node)

    def _update(self) -> None:
        snapshot = self._snapshot
        changed = snapshot.changes.since(self._version)
        if snapshot.generation != self._generation or changed is None or self._is_other_make():
            self._build()
        else:
            stale = {row for name in self._stale if (row := snapshot.rows.get(name)) is not None}
            for row in changed | stale:
                self._write(self._nodes, row, snapshot)
                self.changes.note(row)
        self._stale.clear()
        self._generation = snapshot.generation
        self._version, self._node_version = snapshot.changes.version, snapshot.node_changes.version

    def _is_other_make(self) -> bool:
        """Tell whether any node has other cards, cpu or memory than it had."""
        changed = self._snapshot.node_changes.since(self._node_version)
        return changed is None or any(
            _make(self._snapshot.facts(row)) != self._makes[row] for row in changed
        )

    def _build(self) -> None:
        snapshot = self._snapshot
        facts = [snapshot.facts(row) for row in range(snapshot.n_nodes)]
        makes = [_make(each) for each in facts]
        if makes != self._makes or snapshot.generation != self._generation:
            self.n_starts += 1
        self._makes = makes
        self.idle = _idle(self._makes)
        self._chosen = {n: chosen for n, chosen in self._chosen.items() if n in snapshot.rows}
        self._nodes = nodes = self.idle.take(np.arange(snapshot.n_nodes))
        nodes.free_cpu_milli[:] = _free(snapshot, CPU)
        nodes.free_memory_bytes[:] = _free(snapshot, MEMORY)
        nodes.free_pods[:] = _free(snapshot, PODS)
        self._holders.clear()
        for row in np.flatnonzero(nodes.n_cards).tolist():
            self._write_cards(nodes, row, snapshot)
        self.changes.forget()

    def _write(self, nodes: GpuNodes, row: int, snapshot: Snapshot) -> None:
        allocatable, requested = snapshot.allocatable, snapshot.requested
        nodes.free_cpu_milli[row] = _left(allocatable, requested, row=row, key=CPU)
        nodes.free_memory_bytes[row] = _left(allocatable, requested, row=row, key=MEMORY)
        nodes.free_pods[row] = _left(allocatable, requested, row=row, key=PODS)
        if nodes.n_cards[row]:
            self._write_cards(nodes, row, snapshot)

    def _write_cards(self, nodes: GpuNodes, row: int, snapshot: Snapshot) -> None:
        name, holders = snapshot.names[row], self._read(row, snapshot.pods_on(row))
        if snapshot is self._snapshot:
            self._holders[row] = holders
            self._prune(name, holders)
        self._settle(nodes, row, node=name, holders=holders.values())

    def _read(self, row: int, pods: Iterable[PodFacts]) -> dict[str, _Holder]:
        """Read the pods of a node that say anything of cards."""
        known, n_cards = self._holders.get(row, {}), self._makes[row].n_cards
        holders = {}
        for pod in pods:
            if pod.annotations:
                holder = known.get(pod.uid)
                if holder is None or holder.pod is not pod:
                    ask = _ask_or_any(pod)
                    holder = _Holder(pod, ask, cards_of(pod, ask=ask, n_cards=n_cards))
                holders[pod.uid] = holder
        return holders

    def _settle(self, nodes: GpuNodes, row: int, *, node: str, holders: Iterable[_Holder]) -> None:
        """Write what pods leave of a node's cards: first those whose cards are known."""
        n_cards = int(nodes.n_cards[row])
        column = nodes.free_card_milli[row]
        # A list, for there are few cards and many pods.
        free = column.tolist()
        free[:n_cards] = [CARD_MILLI] * n_cards
        classes, tried = 0, []
        chosen = self._chosen.get(node, {})
        for pod, ask, said in holders:
            classes |= ask.class_bit
            cards = chosen.get(pod.uid) or said
            if cards is not None and ask is not _ANY_CARD:
                for card in cards:
                    free[card] -= ask.card_milli
            elif self._is_tried(pod):
                tried.append(ask)
            else:
                free[:n_cards] = [milli - ask.card_milli for milli in free[:n_cards]]
        column[:] = [max(milli, 0) for milli in free]
        for ask in tried:
            _give(ask, free=column)
        nodes.classes[row] = classes

    def _is_tried(self, pod: PodFacts) -> bool:
        """Tell whether a pod without cards is one of ours that is not there yet."""
        is_there = pod.scheduled_at_s or pod.start_time_s
        return pod.scheduler_name in self._own and not is_there

    def _prune(self, node: str, holders: Mapping[str, _Holder]) -> None:
        """Forget choices that pods show themselves, or whose pods are elsewhere."""
        chosen = self._chosen.pop(node, None)
        if chosen:
            self._chosen[node] = {
                uid: cards
                for uid, cards in chosen.items()
                if uid in holders and holders[uid].cards != cards
            }


def _ask_or_any(pod: PodFacts) -> GpuPod:
    try:
        return ask_of(pod)
    except AskError:
        return _ANY_CARD


def _give(ask: GpuPod, *, free: NDArray[np.int64]) -> None:
    """Take what a pod would get from cards, as far as there is."""
    if ask.n_cards and int((free >= ask.card_milli).sum()) >= ask.n_cards:
        free[list(best_cards(ask, free_milli=free))] -= ask.card_milli
    elif ask.n_cards:
        free[:] = 0


def _make(facts: NodeFacts) -> _Make:
    allocatable = facts.allocatable
    n_cards = allocatable.get(GPU_COUNT, allocatable.get(GPU_MILLI, 0) // CARD_MILLI)
    return _Make(
        min(n_cards, MAX_CARDS),
        facts.labels.get(GPU_CARD_MODEL, "") if n_cards else "",
        allocatable.get(CPU, 0),
        allocatable.get(MEMORY, 0),
    )


def _idle(makes: Sequence[_Make]) -> GpuNodes:
    return GpuNodes.of(
        cpu_milli=[make.cpu_milli for make in makes],
        memory_bytes=[make.memory_bytes for make in makes],
        n_cards=[make.n_cards for make in makes],
        model=[make.model for make in makes],
        max_pods=1,
    )


def _free(snapshot: Snapshot, key: str) -> IntColumn:
    return snapshot.allocatable[key] - snapshot.requested[key]


def _left(allocatable: Amounts[str], requested: Amounts[str], *, row: int, key: str) -> int:
    return allocatable.value(row, key=key) - requested.value(row, key=key)
