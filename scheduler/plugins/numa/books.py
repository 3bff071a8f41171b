"""Which report holds for a node, and which of its pods that report does not know of yet.

An agent tells what is free in zones a while after that has changed, and nobody but the kubelet
knows which zone a pod went to. So what a pod asks for is taken from *every* zone of its node until
a report takes the pod into account, which the report's fingerprint tells. What is available can so
be put too low, and never too high.

Which pods are on a node is read from the snapshot, where a pod counts from the moment that the node
is chosen for it until it is gone; so there are no books that could differ from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np

from kube.custom import NodeResourceTopology
from scheduler.framework.changes import NEVER, Changes
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts
from scheduler.plugins.numa.demand import has_exclusive
from scheduler.plugins.numa.fingerprint import fingerprint
from scheduler.plugins.numa.reports import Report, read_report
from scheduler.plugins.numa.zones import Zones

_MAX_OWN: Final = 256
"""More scheduler names than profiles; pods of others count as foreign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """What a profile says about it."""

    is_cached: bool
    """Whether pods are taken into account that reports do not know of; else the latest report
    holds, whatever has happened since."""
    foreign: Literal["All", "None", "OnlyExclusiveResources"]
    """Whose appearance, if placed by another scheduler, makes a node unknown until a report."""
    counted: Literal["Autodetect", "All", "OnlyExclusiveResources"]
    """Which pods fingerprints are of."""


class _Claim(NamedTuple):
    """What a pod takes that a report does not know of."""

    pod: PodFacts
    taken: Iterable[tuple[str, int]] = ()
    is_foreign: bool = False


@dataclass(slots=True, kw_only=True)
class _Account:
    """What is known of a node's zones."""

    latest: NodeResourceTopology
    """What its agent said last."""
    report: Report
    """What holds."""
    covered: Mapping[str, str]
    """The pods that it takes into account: uids, with ``namespace/name``."""
    pending: Report | None = None
    """What was said last, if it does not hold yet."""
    claims: dict[str, "_Claim"] = field(default_factory=dict)
    """By uid, of the node's pods: read once, for nodes change with every pod, and pods do not."""
    taken: Mapping[str, int] = field(default_factory=dict)
    is_known: bool = True
    is_written: bool = False

    def covers(self, pod: PodFacts) -> bool:
        """Tell whether what holds takes a pod into account.

        Reports know pods by name. One that comes back under its name, as those of stateful sets do,
        may leave a report as it was, which is then not written anew.
        """
        if pod.uid in self.covered:
            return True
        return bool(pod.start_time_s) and pod.key in self.covered.values()


class Books:
    """Keeps the zones of a snapshot's nodes up to date.

    Args:
        rules: What a profile says about it.
    """

    def __init__(self, rules: BookRules) -> None:
        self._rules = rules
        self.changes: Changes[int] = Changes()
        """Rows with zones whose node, or whose pods, or whose zones changed."""
        self._own: set[str] = set()
        self._start(Snapshot())

    def _start(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.changes.forget()
        self._zones = Zones()
        self._accounts: dict[str, _Account] = {}
        self._rows: dict[str, int] = {}
        self._generation = self._pods_version = self._topologies_version = NEVER

    def note_own(self, scheduler_name: str) -> None:
        """Take in whose pods are placed by us."""
        if scheduler_name not in self._own and len(self._own) < _MAX_OWN:
            self._own.add(scheduler_name)
            self._pods_version = NEVER
            for account in self._accounts.values():
                account.claims.clear()

    def zones(self, snapshot: Snapshot) -> Zones:
        """Return what is available in the zones, on the cluster or on a what-if of it."""
        if snapshot.objects is not self._snapshot.objects:
            # A state built anew; what-ifs have the objects of the cluster that they depart from.
            self._start(snapshot.actual)
        self._update()
        if snapshot is self._snapshot:
            return self._zones
        return self._zones_if(snapshot)

    def is_actual(self, snapshot: Snapshot) -> bool:
        """Tell whether a snapshot is the cluster's, after ``zones`` was asked about it."""
        return snapshot is self._snapshot

    def _zones_if(self, what_if: Snapshot) -> Zones:
        rows = what_if.rows_apart(self._snapshot)
        if not self._rules.is_cached or not rows:
            return self._zones
        fork = self._zones.fork()
        for row in rows:
            account = self._accounts.get(what_if.names[row])
            if account is not None:
                claims = self._claims(account, what_if.pods_on(row))
                taken, is_known = _sum(claims.values(), report=account.report)
                fork.fill(row, account.report, taken=taken, is_valid=is_known)
        return fork

    def _update(self) -> None:
        snapshot = self._snapshot
        rows = self._changed_rows()
        if snapshot.generation != self._generation:
            self._move(snapshot)
        self._pods_version = snapshot.changes.version
        self._topologies_version = snapshot.objects.version(NodeResourceTopology)
        for row in rows:
            self._settle(row)

    def _changed_rows(self) -> Iterable[int]:
        snapshot = self._snapshot
        pods = snapshot.changes.since(self._pods_version)
        version = self._topologies_version
        told = snapshot.objects.changed_since(NodeResourceTopology, version=version)
        if pods is None or told is None or snapshot.generation != self._generation:
            return range(snapshot.n_nodes)
        if not told:
            return pods
        return pods | {row for name in told if (row := snapshot.rows.get(name)) is not None}

    def _move(self, snapshot: Snapshot) -> None:
        """Follow nodes that came, went or have other rows."""
        self.changes.forget()
        known = self._rows
        sources = [known.get(name, NEVER) for name in snapshot.names]
        self._zones.move(np.array(sources, dtype=np.intp))
        self._accounts = {n: a for n, a in self._accounts.items() if n in snapshot.rows}
        for name in self._accounts.keys() - known.keys():
            self._accounts[name].is_written = False
        self._rows = dict(snapshot.rows)
        self._generation = snapshot.generation

    def _settle(self, row: int) -> None:
        name = self._snapshot.names[row]
        topology = self._snapshot.objects.find(NodeResourceTopology, name)
        if topology is None:
            if self._accounts.pop(name, None) is not None:
                self._zones.clear(row)
                self.changes.note(row)
            return
        self.changes.note(row)
        pods = list(self._snapshot.pods_on(row))
        account = self._hear(name, topology, pods)
        account.claims = self._claims(account, pods)
        taken, is_known = _sum(account.claims.values(), report=account.report)
        if account.is_written and (taken, is_known) == (account.taken, account.is_known):
            return
        if not account.is_written:
            self._zones.describe(row, account.report)
        self._zones.fill(row, account.report, taken=taken, is_valid=is_known)
        account.taken, account.is_known, account.is_written = taken, is_known, True

    def _hear(self, name: str, topology: NodeResourceTopology, pods: list[PodFacts]) -> _Account:
        account = self._accounts.get(name)
        if account is None or (not self._rules.is_cached and topology is not account.latest):
            account = self._open(topology, pods)
            self._accounts[name] = account
            return account
        if topology is not account.latest:
            account.latest, account.pending = topology, read_report(topology)
        if account.pending is not None:
            covered = self._covered(account.pending, pods)
            if covered is not None:
                account.report, account.covered, account.pending = account.pending, covered, None
                account.is_written = False
                account.claims.clear()
        return account

    def _open(self, topology: NodeResourceTopology, pods: list[PodFacts]) -> _Account:
        """Begin with what an agent has said; it may have been long ago."""
        report = read_report(topology)
        covered: Mapping[str, str] | None = None
        if not report.fingerprint:
            # It will never tell; but it cannot know of pods that its kubelet has not taken.
            covered = {pod.uid: pod.key for pod in pods if pod.start_time_s}
        elif self._rules.is_cached:
            covered = self._covered(report, pods)
        return _Account(latest=topology, report=report, covered=covered or {})

    def _covered(self, report: Report, pods: list[PodFacts]) -> Mapping[str, str] | None:
        """Say which pods a report takes into account; ``None`` if that cannot be told.

        It may be a little ahead of what kubelets say of pods at the API server, or behind.
        """
        if not report.fingerprint:
            return None
        for known in (pods, [pod for pod in pods if pod.start_time_s]):
            if fingerprint(self._counted(report, known)) == report.fingerprint:
                return {pod.uid: pod.key for pod in known}
        return None

    def _counted(self, report: Report, pods: Iterable[PodFacts]) -> list[PodFacts]:
        """Pick the pods that a report's fingerprint is of, if they are on the node by then."""
        is_of_all = self._rules.counted == "All" or (
            self._rules.counted == "Autodetect" and not report.counts_exclusive
        )
        zone_resources = report.available
        return [p for p in pods if is_of_all or has_exclusive(p, zone_resources=zone_resources)]

    def _claims(self, account: _Account, pods: Iterable[PodFacts]) -> dict[str, _Claim]:
        """Tell what each pod has taken that the report does not know of."""
        if not self._rules.is_cached:
            return {}
        known, claims = account.claims, {}
        for pod in pods:
            claim = known.get(pod.uid)
            if claim is None or claim.pod is not pod:
                claim = self._claim(account, pod)
            claims[pod.uid] = claim
        return claims

    def _claim(self, account: _Account, pod: PodFacts) -> _Claim:
        # Of pods that are not counted no report would ever tell; they take nothing that zones have.
        if account.covers(pod) or not self._counted(account.report, [pod]):
            return _Claim(pod)
        is_foreign = self._is_foreign(pod, account.report)
        return _Claim(pod, tuple(pod.requests.items()), is_foreign)

    def _is_foreign(self, pod: PodFacts, report: Report) -> bool:
        if self._rules.foreign == "None" or pod.scheduler_name in self._own:
            return False
        return self._rules.foreign == "All" or has_exclusive(pod, zone_resources=report.available)


def _sum(claims: Iterable[_Claim], *, report: Report) -> tuple[dict[str, int], bool]:
    """Tell what is taken altogether, by resource, and whether that is all that is."""
    taken: dict[str, int] = {}
    is_known = report.is_valid
    for _, amounts, is_foreign in claims:
        is_known = is_known and not is_foreign
        for name, amount in amounts:
            taken[name] = taken.get(name, 0) + amount
    return taken, is_known


def has_topologies(objects: ClusterObjects) -> bool:
    """Tell whether any node's zones are known."""
    return next(objects.all(NodeResourceTopology), None) is not None
