"""What a profile's plugins say of the pods and nodes that kube-scheduler asks about.

They look at the engine's own snapshot, so the engine's thread must ask them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from scheduler.errors import PluginError
from scheduler.extender.wire import (
    Candidates,
    FilterResult,
    HostPriority,
    MetaPod,
    MetaVictims,
    PreemptionResult,
    Victims,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.filter_result import FilterResult as Found
from scheduler.framework.runtime import ScoreResult
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import MAX_NODE_SCORE, Code
from scheduler.model import PodFacts
from scheduler.selection import Cycle, filter_run, rate

MAX_SCORE: Final = 10
"""The best that an extender can say of a node."""
_NO_INFORMATION: Final = 5
"""Neither draws pods to a node nor drives them off it."""
_UNKNOWN: Final = "node(s) not known to the extender yet"


def filter_nodes(cycle: Cycle, *, pod: PodFacts, candidates: Candidates) -> FilterResult:
    """Say which nodes would do, by the profile's filters.

    Nodes that were given whole, and that the watch has not shown yet, take part like the others.
    Of one that is known by name alone nothing can be promised, and no eviction would change that.

    Raises:
        BadQuestionError: A node that was given makes no sense.
    """
    with _joined(cycle.snapshot, candidates=candidates):
        try:
            found, _ = _filter(cycle, pod=pod)
        except PluginError as error:
            return FilterResult(error=str(error))
        statuses = found.statuses(cycle.snapshot.names, limit=cycle.snapshot.n_nodes)
        known = {name for name in candidates.names if name in cycle.snapshot.rows}
    failed: dict[str, str] = {}
    unresolvable = {name: _UNKNOWN for name in candidates.names if name not in known}
    for name in candidates.names:
        if name in known and name in statuses:
            _, status = statuses[name]
            why = ", ".join(status.reasons)
            if status.code is Code.ERROR:
                return FilterResult(error=why)
            is_final = status.code is Code.UNSCHEDULABLE_AND_UNRESOLVABLE
            (unresolvable if is_final else failed)[name] = why
    passed = [name for name in candidates.names if not (name in failed or name in unresolvable)]
    return FilterResult(
        nodes=candidates.only(passed),
        node_names=passed if candidates.items is None else None,
        failed_nodes=failed,
        failed_and_unresolvable_nodes=unresolvable,
    )


def rate_nodes(
    cycle: Cycle, *, pod: PodFacts, candidates: Candidates, now_s: float
) -> list[HostPriority]:
    """Say how good each node is, from 0 to 10.

    That is the mean of what the profile's score plugins say (0 to 100), weighted as in the profile,
    divided by ten and rounded; plugins that have nothing to say of this pod are left out of the
    mean. The learned ``NodePrediction`` is one of them, if the predictor has answered in time.
    kube-scheduler multiplies it by ten and by the extender's ``weight``, so that with weight 1 all
    of our plugins together count as one of its own with weight 1.

    A node that the filters refuse gets 0; one that is known by name alone the middle.

    Raises:
        BadQuestionError: A node that was given makes no sense.
        PluginError: A plugin broke its contract.
    """
    snapshot = cycle.snapshot
    with _joined(snapshot, candidates=candidates):
        found, state = _filter(cycle, pod=pod)
        feasible = np.zeros(snapshot.n_nodes, dtype=np.bool_)
        feasible[[snapshot.rows[name] for name in candidates.names if name in snapshot.rows]] = True
        feasible &= found.feasible
        scores = dict.fromkeys((n for n in candidates.names if n in snapshot.rows), 0)
        if feasible.any():
            result = rate(cycle, state=state, pod=pod, feasible=feasible, now_s=now_s)
            scores |= _scaled(result, cycle=cycle)
    return [
        HostPriority(host=name, score=scores.get(name, _NO_INFORMATION))
        for name in candidates.names
    ]


def trim_victims(snapshot: Snapshot, *, victims: Iterable[tuple[str, Victims]]) -> PreemptionResult:
    """Leave out the nodes where a gang would lose some of its members and keep others.

    A gang goes whole or is spared, and kube-scheduler evicts only on the node that it preempts.
    """
    return PreemptionResult(
        node_name_to_meta_victims={
            node: MetaVictims(
                pods=[MetaPod(uid=uid) for uid in each.pods],
                num_pdb_violations=each.n_violations,
            )
            for node, each in victims
            if not _breaks_a_gang(snapshot, node=node, victims=each)
        }
    )


def _filter(cycle: Cycle, *, pod: PodFacts) -> tuple[Found, CycleState]:
    state = CycleState()
    return filter_run(cycle, state=state, pod=pod).run(), state


def _scaled(result: ScoreResult, *, cycle: Cycle) -> dict[str, int]:
    """Turn totals into 0..10, by node."""
    most = MAX_NODE_SCORE * sum(cycle.profile.weights[name] for name in result.columns)
    names = [cycle.snapshot.names[row] for row in result.rows.tolist()]
    if most == 0:
        return dict.fromkeys(names, _NO_INFORMATION)
    scores = np.rint(MAX_SCORE * result.totals / most).astype(np.int64)
    return dict(zip(names, scores.tolist(), strict=True))


@contextmanager
def _joined(snapshot: Snapshot, *, candidates: Candidates) -> Iterator[None]:
    """Have nodes take part, for one question, that only the question tells of."""
    joined: list[str] = []
    try:
        for name in candidates.names:
            facts = None if name in snapshot.rows else candidates.facts(name)
            if facts is not None:
                snapshot.set_node(facts)
                joined.append(name)
        yield
    finally:
        # The last first, so that no row of the others moves.
        for name in reversed(joined):
            snapshot.remove_node(name)


def _breaks_a_gang(snapshot: Snapshot, *, node: str, victims: Victims) -> bool:
    row = snapshot.rows.get(node)
    here = {} if row is None else {pod.uid: pod for pod in snapshot.pods_on(row)}
    pods = [here.get(uid, told) for uid, told in victims.pods.items()]
    gangs = {pod.group_key for pod in pods if pod is not None and pod.pod_group}
    return any(
        member.uid not in victims.pods and not member.is_terminating
        for gang in gangs
        for member in snapshot.gang(gang)
    )
