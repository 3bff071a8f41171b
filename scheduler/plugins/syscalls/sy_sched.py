"""SySched: pods together that make the same system calls."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from kube.custom import CustomResource, SeccompProfile
from scheduler.framework.columns import Rows
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    PluginArgs,
    PreScorePlugin,
    ScorePlugin,
    default_normalize,
)
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import SKIP, SUCCESS, BoolColumn, ScoreColumn, Status
from scheduler.model import PodFacts
from scheduler.plugins.syscalls.profiles import Calls, CallsOfProfiles

_MAX_KEPT: Final = 64

Name = Annotated[str, msgspec.Meta(min_length=1)]


class SySchedArgs(PluginArgs, frozen=True):
    """Arguments of SySched: the profile of pods that have none."""

    default_profile_namespace: Name = "default"
    default_profile_name: Name = "all-syscalls"


@dataclass(frozen=True, slots=True)
class _Table:
    """The calls that pods on nodes make and a new one does not."""

    present: list[tuple[str, ...]]
    """All sets of profiles that pods run under."""
    known: list[tuple[str, ...]]
    """Those of which something is known: the rows of what follows."""
    makes: NDArray[np.float32]
    """Shape ``(n_known, n_calls)``: 1 where it includes the call. Products of integer matrices are
    ten times slower than of floats."""
    n_calls: NDArray[np.int64]
    """Shape ``(n_known,)``; how many calls it includes, those that the new one makes as well."""


@dataclass(slots=True)
class _Kept:
    """Scores for pods with the same calls, of a state of the cluster."""

    snapshot: Snapshot
    version: int
    table: _Table
    scores: ScoreColumn


class SySched(PreScorePlugin, ScorePlugin):
    """Prefers nodes where it adds the least to what pods are exposed to.

    A call is extraneous to a pod if another pod on its node may make it, and it may not: through a
    flaw of the kernel behind that call it may be attacked without having any use of it.
    """

    name = "SySched"
    args_type: ClassVar[type[PluginArgs]] = SySchedArgs
    reads: ClassVar[tuple[type[CustomResource], ...]] = (SeccompProfile,)

    def __init__(self, args: SySchedArgs) -> None:
        super().__init__(args)
        default = f"{args.default_profile_namespace}/{args.default_profile_name}"
        self._profiles = CallsOfProfiles(default)
        self._kept: OrderedDict[tuple[int, Calls], _Kept] = OrderedDict()

    def pre_score(
        self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot, feasible: BoolColumn
    ) -> Status:
        """Skip pods of which nothing is known, or to which all others are alike."""
        self._profiles.follow(snapshot.objects)
        own = self._profiles[pod.seccomp_profiles]
        others = {self._profiles[paths] for paths in snapshot.seccomp_profiles.present()}
        return SUCCESS if own and others - {own, Calls()} else SKIP

    def score(self, state: CycleState, *, pod: PodFacts, snapshot: Snapshot) -> ScoreColumn:
        """Count the extraneous calls that there would be, the pod's and the others'."""
        self._profiles.follow(snapshot.objects)
        own = self._profiles[pod.seccomp_profiles]
        key = self._profiles.version, own
        kept = self._kept.get(key)
        changed = None
        if kept is not None and kept.snapshot is snapshot:
            changed = snapshot.changes.since(kept.version)
        if kept is None or changed is None:
            every = np.arange(snapshot.n_nodes)
            table = self._table(own, snapshot)
            scores = _score(own, table=table, snapshot=snapshot, rows=every)
            kept = self._kept[key] = _Kept(snapshot, snapshot.changes.version, table, scores)
        elif changed:
            if kept.table.present != snapshot.seccomp_profiles.present():
                kept.table = self._table(own, snapshot)
            rows = np.fromiter(changed, dtype=np.intp, count=len(changed))
            kept.scores[rows] = _score(own, table=kept.table, snapshot=snapshot, rows=rows)
            kept.version = snapshot.changes.version
        self._kept.move_to_end(key)
        if len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return kept.scores.copy()

    def normalize(self, scores: ScoreColumn) -> ScoreColumn:
        """Make the node with the fewest extraneous calls best."""
        return default_normalize(scores, reverse=True)

    def _table(self, own: Calls, snapshot: Snapshot) -> _Table:
        present = snapshot.seccomp_profiles.present()
        found = {paths: calls for paths in present if (calls := self._profiles[paths])}
        extra = sorted(Calls().union(*found.values()) - own)
        makes = [[call in calls for call in extra] for calls in found.values()]
        return _Table(
            present,
            list(found),
            np.array(makes, dtype=np.float32).reshape(len(found), len(extra)),
            np.array([len(calls) for calls in found.values()], dtype=np.int64),
        )


def _score(own: Calls, *, table: _Table, snapshot: Snapshot, rows: Rows) -> ScoreColumn:
    """Add up |host - pod| and, over the pods on the host, |(host + pod) - theirs|.

    What a pod on the host may call is part of what all of them may, so the latter is
    |pod| + |host - pod| - |theirs| for each.
    """
    amounts = snapshot.seccomp_profiles
    if not table.known:
        return np.zeros(rows.size, dtype=np.int64)
    n_pods = np.array([amounts[paths][rows] for paths in table.known])
    times = (n_pods > 0).astype(np.float32).T @ table.makes
    n_extra = np.count_nonzero(times, axis=1)
    exposed = n_extra + n_pods.sum(axis=0) * (len(own) + n_extra)
    total: ScoreColumn = exposed - table.n_calls @ n_pods
    return total
