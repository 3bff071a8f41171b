"""GpuShare: whole cards and shares of cards, and which ones a pod gets."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.edge.settings import Settings
from scheduler.framework.columns import Rows
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    Change,
    ClusterEvent,
    FilterPlugin,
    PluginArgs,
    PreBindPlugin,
    PreBindResult,
    PreFilterPlugin,
    PreFilterResult,
    PreScorePlugin,
    ReservePlugin,
    ScorePlugin,
    Write,
)
from scheduler.framework.kept_columns import KeptColumns
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import (
    SKIP,
    SUCCESS,
    BoolColumn,
    Code,
    ScoreColumn,
    Status,
    Verdicts,
    unresolvable,
    unschedulable,
)
from scheduler.model import GPU_INDEX, PodFacts
from scheduler.plugins.gpu.asks import MAX_CARDS, AskError, ask_of, index_text, shape_of
from scheduler.plugins.gpu.books import CardBook
from scheduler.plugins.gpu.columns import CARD_MILLI, GpuNodes, GpuPod, has_cards
from scheduler.plugins.gpu.fragmentation import PodShape, TypicalWorkload
from scheduler.plugins.gpu.mix import LearnedMix
from scheduler.plugins.gpu.policies import POLICIES, GpuPolicy, PolicyContext
from scheduler.plugins.gpu.ratings import FEW, FULL, OTHER, fits, rate

_BLIND_TO_CPU_PODS: Final = ("gpu-packing", "gpu-clustering")
"""Policies that rate all nodes alike for pods that ask for no card."""

_REASONS: Final = {
    FEW: "node(s) have too few GPUs",
    OTHER: "node(s) have GPUs of other models",
    FULL: "node(s) have too little GPU free",
}
_CODES: Final = np.zeros(1 + max(_REASONS), dtype=np.uint8)
"""By what ``fits`` finds."""
_CODES[[FEW, OTHER]] = Code.UNSCHEDULABLE_AND_UNRESOLVABLE
_CODES[FULL] = Code.UNSCHEDULABLE

Milli = Annotated[int, msgspec.Meta(ge=0, le=CARD_MILLI)]


class ExpectedPod(Settings, frozen=True, rename="camel"):
    """Pods that are to be expected."""

    cpu_milli: Annotated[int, msgspec.Meta(ge=0)]
    gpu_milli: Milli = 0
    """Of each card."""
    gpu_count: Annotated[int, msgspec.Meta(ge=0, le=MAX_CARDS)] = 0
    gpu_card_model: str = ""
    """Models that will do, ``A|B``; empty for any."""
    count: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 1
    """How many of them come, beside the others."""

    def __post_init__(self) -> None:
        """Refuse what no pod can ask for.

        Raises:
            ValueError: The amounts make no sense together.
        """
        try:
            GpuPod(cpu_milli=self.cpu_milli, n_cards=self.gpu_count, card_milli=self.gpu_milli)
        except ValueError as error:
            raise ValueError(f"gpuCount, gpuMilli: {error}") from error

    @property
    def shape(self) -> PodShape:
        """As the measure knows it."""
        return PodShape(self.cpu_milli, self.gpu_milli, self.gpu_count, self.gpu_card_model)


class GpuShareArgs(PluginArgs, frozen=True):
    """Arguments of GpuShare."""

    policy: Literal[
        "fgd", "fgd-demand", "best-fit", "dot-product", "gpu-packing", "gpu-clustering"
    ] = "fgd"
    """What nodes and cards are rated by (``scheduler.plugins.gpu.policies``). FGD's published
    results are on many mixes of pods, and were made anew; fgd-demand does a little better on the
    same ones, by which it was tuned."""
    workload: tuple[ExpectedPod, ...] = ()
    """What is to be expected; if empty, it is learned from the pods that come."""


@dataclass(slots=True)
class _Chosen:
    cards: tuple[int, ...]
    is_written: bool = False


class GpuShare(
    PreFilterPlugin, FilterPlugin, PreScorePlugin, ScorePlugin, ReservePlugin, PreBindPlugin
):
    """Finds nodes with cards for pods, rates them by a policy, and writes the cards to the pod.

    A share is had of one card; whole cards are idle before.
    """

    name = "GpuShare"
    args_type: ClassVar[type[PluginArgs]] = GpuShareArgs
    wakes_on: ClassVar[ClusterEvent] = (
        ClusterEvent.NODE_ADD
        | ClusterEvent.NODE_ALLOCATABLE
        | ClusterEvent.NODE_LABEL
        | ClusterEvent.ASSIGNED_POD_DELETE
        | ClusterEvent.POD_UPDATE
    )

    def __init__(self, args: GpuShareArgs) -> None:
        super().__init__(args)
        self._policy_name = args.policy
        self._told = _told(args.workload)
        self._mix = LearnedMix()
        self._book = CardBook()
        self._fits: KeptColumns[GpuPod, np.uint8] = KeptColumns(self._book.changes)
        self._rater: _Rater | None = None

    def pre_filter(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot
    ) -> PreFilterResult:
        """Refuse what cannot be read; leave pods out that ask for no card."""
        try:
            ask = ask_of(pod)
        except AskError as error:
            return PreFilterResult(unresolvable(str(error)))
        self._follow(snapshot, pod)
        return PreFilterResult(SUCCESS if ask.n_cards else SKIP)

    def filter(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> Verdicts | None:
        """Refuse nodes without the model, with too few cards, or with too little free on them."""
        found = self._fitting(ask_of(pod), nodes=self._book.nodes(snapshot), snapshot=snapshot)
        lacking = [(reason, np.equal(found, number)) for number, reason in _REASONS.items()]
        reasons = [(reason, nodes) for reason, nodes in lacking if nodes.any()]
        return Verdicts(_CODES.take(found), reasons) if reasons else None

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Take note of what comes; skip where no node has a card, or the policy has no wish."""
        try:
            shape = shape_of(pod)
        except AskError:
            return SKIP
        if not shape.n_cards and self._policy_name in _BLIND_TO_CPU_PODS:
            return SKIP
        self._follow(snapshot, pod)
        nodes = self._book.nodes(snapshot)
        if not nodes.n_cards.any():
            return SKIP
        if self._told is None:
            self._mix.see(pod.uid, shape=shape)
        return SUCCESS

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Rate by the policy."""
        ask, rater = ask_of(pod), self._rate()
        nodes = self._book.nodes(snapshot)
        found = self._fitting(ask, nodes=nodes, snapshot=snapshot)

        def find(rows: Rows) -> ScoreColumn:
            return rate(ask, nodes=nodes.only(rows), policy=rater.policy, found=found[rows])

        is_actual = self._book.is_actual(snapshot)
        kept = rater.scores.of(ask, n_rows=len(nodes), is_actual=is_actual, find=find)
        return kept.copy()

    def reserve(self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot) -> Status:
        """Choose cards."""
        ask = ask_of(pod)
        if not ask.n_cards:
            return SUCCESS
        self._follow(snapshot, pod)
        left = self._book.before(pod, node=node, snapshot=snapshot)
        if not has_cards(ask, nodes=left)[0]:
            return unschedulable("node(s) have too little GPU free")
        cards = self._rate().policy.choose_cards(ask, node=left)
        self._book.choose(pod, node=node, cards=cards)
        state.write(_Chosen(cards))
        return SUCCESS

    def unreserve(self, state: CycleState, *, pod: PodFacts, node: str) -> None:
        """Give the cards back."""
        self._book.give_back(pod, node=node)

    def pre_bind(
        self, state: CycleState, *, pod: PodFacts, node: str, snapshot: Snapshot
    ) -> PreBindResult:
        """Have the cards written to the pod."""
        chosen = state.read(_Chosen)
        if chosen is None or chosen.is_written:
            return PreBindResult()
        chosen.is_written = True
        text = index_text(chosen.cards)
        if pod.annotations.get(GPU_INDEX) == text:
            return PreBindResult()
        # The uid is a precondition: a pod that took the name meanwhile is none of ours.
        meta = {"uid": pod.uid, "annotations": {GPU_INDEX: text}}
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        return PreBindResult(writes=(Write(path=path, body={"metadata": meta}),))

    def may_help(self, pod: PodFacts, *, change: Change) -> bool:
        """Wait for a pod with cards to go; of nodes, anything may help."""
        if not change.event & ClusterEvent.ASSIGNED_POD_DELETE:
            return True
        gone = change.before
        return not isinstance(gone, PodFacts) or bool(gone.annotations)

    @property
    def _workload(self) -> TypicalWorkload:
        return self._mix.workload if self._told is None else self._told

    def _follow(self, snapshot: Snapshot, pod: PodFacts) -> None:
        """Begin with the pods that run where the state of the cluster was built anew."""
        if self._book.follow(snapshot):
            self._rater, self._mix = None, LearnedMix()
            if self._told is None:
                _learn(self._mix, snapshot.actual)
        self._book.note_own(pod.scheduler_name)

    def _fitting(self, ask: GpuPod, *, nodes: GpuNodes, snapshot: Snapshot) -> NDArray[np.uint8]:
        """Tell which nodes have the cards."""

        def find(rows: Rows) -> NDArray[np.uint8]:
            return fits(ask, nodes=nodes.only(rows))

        is_actual = self._book.is_actual(snapshot)
        return self._fits.of(ask, n_rows=len(nodes), is_actual=is_actual, find=find)

    def _rate(self) -> "_Rater":
        """Return what rates for the mix and the cluster as they are."""
        workload, n_starts = self._workload, self._book.n_starts
        rater = self._rater
        if rater is None or rater.workload is not workload or rater.n_starts != n_starts:
            context = PolicyContext(
                workload=workload,
                idle=self._book.idle,
                chance=np.random.default_rng(0),  # no policy here asks for luck
            )
            policy = POLICIES[self._policy_name](context)
            scores: KeptColumns[GpuPod, np.int64] = KeptColumns(self._book.changes)
            rater = self._rater = _Rater(workload, n_starts, policy, scores)
        return rater


@dataclass(frozen=True, slots=True)
class _Rater:
    """A policy and what it says, for as long as mix and cluster are of one make."""

    workload: TypicalWorkload
    n_starts: int
    policy: GpuPolicy
    scores: KeptColumns[GpuPod, np.int64]


def _told(pods: Iterable[ExpectedPod]) -> TypicalWorkload | None:
    counts: dict[PodShape, int] = {}
    for each in pods:
        counts[each.shape] = counts.get(each.shape, 0) + each.count
    return TypicalWorkload.of_counts(counts) if counts else None


def _learn(mix: LearnedMix, snapshot: Snapshot) -> None:
    """Take in the pods that run, as far as their annotations can be read."""
    for row in range(snapshot.n_nodes):
        for pod in snapshot.pods_on(row):
            if mix.is_full:
                return
            if pod.annotations:
                with suppress(AskError):
                    mix.see(pod.uid, shape=shape_of(pod))
