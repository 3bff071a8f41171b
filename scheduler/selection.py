"""One scheduling cycle: filter, score, choose, and write down why."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kube.quantity import CPU, MEMORY
from scheduler.decision import Decision, NodeVerdict, PredictionNote, ScoreTable
from scheduler.framework.columns import Rows
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult
from scheduler.framework.interface import Refilter
from scheduler.framework.nominations import Nominations
from scheduler.framework.profile import Profile
from scheduler.framework.runtime import FilterRun, ScoreResult, run_scores
from scheduler.framework.snapshot import Snapshot, stable_hash
from scheduler.framework.standing import Standings
from scheduler.framework.status import BoolColumn, Code
from scheduler.model import PodFacts, QueueState
from scheduler.plugins.learned.surroundings import Surroundings
from scheduler.plugins.prediction import NodePrediction
from scheduler.predictions import Prediction, PredictionBook
from scheduler.queue import QueuedPod

_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))

_FOUND: Final = Code.SUCCESS.word
_REFUSED: Final = Code.UNSCHEDULABLE.word


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What a cycle works with."""

    profile: Profile
    book: PredictionBook
    snapshot: Snapshot
    standings: Standings
    nominations: Nominations
    waiting: QueueState
    """Pods in the queue, without those that the cycle is about."""
    seed: int
    n_recorded_nodes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cycle came to, and what the steps after it need."""

    decision: Decision
    state: CycleState
    found: FilterResult
    refilter: Refilter
    afresh: Callable[[Snapshot], FilterResult]
    signature: Hashable | None
    """See ``FailedSearch``; so for the two above."""


def run_cycle(cycle: Cycle, *, queued: QueuedPod, now_s: float) -> Outcome:
    """Choose a node for a pod.

    Raises:
        PluginError: A plugin broke its contract.
    """
    pod, snapshot = queued.pod, cycle.snapshot
    state = CycleState()
    run, found, rows = _find_feasible(cycle, state=state, pod=pod)
    node: str | None = None
    table: ScoreTable | None = None
    promised = snapshot.rows.get(cycle.nominations.node_of(pod.uid))
    if promised is not None and found.codes[promised] == Code.SUCCESS:
        # Room was made there for this pod.
        node = snapshot.names[promised]
    elif rows.size == 1:
        # Nothing to choose, so nothing to rate: as upstream.
        node = snapshot.names[int(rows[0])]
    elif rows.size > 1:
        result = rate(cycle, state=state, pod=pod, feasible=found.feasible, now_s=now_s)
        table = _table(result, cycle=cycle, pod=pod)
        node = table.nodes[0]
    decision = Decision(
        namespace=pod.namespace,
        name=pod.name,
        uid=pod.uid,
        profile=cycle.profile.scheduler_name,
        attempt=queued.attempts,
        decided_at_s=now_s,
        queued_s=now_s - queued.first_queued_at_s,
        node=node,
        n_nodes=snapshot.n_nodes,
        n_feasible=int(rows.size),
        refusals=found.counts(),
        verdicts=_verdicts(found, snapshot=snapshot, limit=cycle.n_recorded_nodes),
        scores=table,
        message="" if node is not None else found.message(),
        prediction=_note(cycle, pod=pod, table=table, now_s=now_s),
    )
    return Outcome(decision, state, found, run.refilter, run.afresh, run.signature)


def _find_feasible(
    cycle: Cycle, *, state: CycleState, pod: PodFacts
) -> tuple[FilterRun, FilterResult, Rows]:
    meter, name = cycle.profile.meter, cycle.profile.scheduler_name
    began_s = meter.now_s()
    run = filter_run(cycle, state=state, pod=pod)
    # What is kept of the filters' answers was brought up to date: a part of Filter.
    keeping_s = meter.now_s() - began_s
    refused = run.pre_filter()
    word = _FOUND if refused is None else _REFUSED
    asked_s = meter.passed("PreFilter", profile=name, status=word, since_s=began_s + keeping_s)
    if refused is not None:
        return run, refused, np.flatnonzero(refused.feasible)
    found = run.filter()
    rows = np.flatnonzero(found.feasible)
    word = _FOUND if rows.size else _REFUSED
    meter.passed("Filter", profile=name, status=word, since_s=asked_s - keeping_s)
    return run, found, rows


def filter_run(cycle: Cycle, *, state: CycleState, pod: PodFacts) -> FilterRun:
    """Prepare to run the filters, on what is kept of their answers."""
    return FilterRun(
        cycle.profile,
        state=state,
        pod=pod,
        snapshot=cycle.snapshot,
        nominations=cycle.nominations,
        standing=cycle.standings.of(pod, snapshot=cycle.snapshot),
    )


def rate(
    cycle: Cycle, *, state: CycleState, pod: PodFacts, feasible: BoolColumn, now_s: float
) -> ScoreResult:
    """Score the nodes that are *feasible* (shape ``(n_nodes,)``), by what was predicted, too.

    Raises:
        PluginError: A plugin broke its contract.
    """
    state.write(Surroundings(now_s, _with(cycle.waiting, pod)))
    if cycle.book.get(pod.shape, now_s=now_s) is not None:
        state.write(cycle.book.scores(pod.shape, snapshot=cycle.snapshot))
    return run_scores(
        cycle.profile,
        state=state,
        pod=pod,
        snapshot=cycle.snapshot,
        feasible=feasible,
        standing=cycle.standings.of(pod, snapshot=cycle.snapshot),
    )


def _with(waiting: QueueState, pod: PodFacts) -> QueueState:
    return QueueState(
        waiting.n_pending + 1,
        waiting.cpu_request_milli + pod.requests.get(CPU, 0),
        waiting.memory_request_bytes + pod.requests.get(MEMORY, 0),
    )


def _table(result: ScoreResult, *, cycle: Cycle, pod: PodFacts) -> ScoreTable:
    """Sort the best nodes; equally good ones by a hash that is different for every pod.

    The hash makes the choice uniform, as a die would, and the same whenever the same pod meets the
    same nodes, in whatever order they are stored.
    """
    ties = _ties(result.rows, snapshot=cycle.snapshot, pod=pod, seed=cycle.seed)
    # One number to sort by: a total fits 31 bits, and 32 bits of the hash are enough to part ties.
    keys = (result.totals << 32) + (ties >> np.uint64(32)).view(np.int64)
    keep = min(cycle.n_recorded_nodes, keys.size)
    best = np.argpartition(keys, -keep)[-keep:]
    order = best[np.argsort(keys[best])[::-1]]
    return ScoreTable(
        nodes=tuple([cycle.snapshot.names[row] for row in result.rows[order].tolist()]),
        totals=result.totals[order],
        by_plugin=result.at(order),
    )


def _ties(
    rows: NDArray[np.intp], *, snapshot: Snapshot, pod: PodFacts, seed: int
) -> NDArray[np.uint64]:
    """Mix each node's hash with the pod's (the finalizer of splitmix64)."""
    drawn = np.uint64(stable_hash(pod.uid or pod.key, seed=seed))
    hashes = snapshot.name_hashes.view(np.uint64)
    mixed = (hashes if rows.size == hashes.size else hashes[rows]) ^ drawn
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX[0]
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX[1]
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _verdicts(found: FilterResult, *, snapshot: Snapshot, limit: int) -> tuple[NodeVerdict, ...]:
    statuses = found.statuses(snapshot.names, limit=limit)
    return tuple(
        NodeVerdict(node, plugin, status.code.word, status.reasons)
        for node, (plugin, status) in statuses.items()
    )


def _note(cycle: Cycle, *, pod: PodFacts, table: ScoreTable | None, now_s: float) -> PredictionNote:
    if NodePrediction.name not in cycle.profile.weights:
        return PredictionNote("not asked")
    prediction = cycle.book.get(pod.shape, now_s=now_s)
    if prediction is None:
        return PredictionNote(cycle.book.outage(pod.shape, now_s=now_s) or "not asked")
    note = _described(prediction, now_s=now_s)
    if table is None:
        return note
    if NodePrediction.name not in table.by_plugin:
        return replace(note, use="unavailable", prediction_id="")
    return replace(note, use="used", p_success=prediction.p_success(table.nodes[0]))


def _described(prediction: Prediction, *, now_s: float) -> PredictionNote:
    answer = prediction.answer
    return PredictionNote(
        "skipped",
        prediction_id=prediction.prediction_id,
        algorithm=answer.algorithm,
        model_version=answer.model_version,
        snapshot_age_s=max(0.0, now_s - answer.snapshot_at_s),
    )
