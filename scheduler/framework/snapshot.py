"""All nodes as one cycle sees them, in columns that are updated in place, never rebuilt."""

import copy
import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from kube.quantity import CPU, MEMORY
from scheduler.framework.carried_terms import CarriedTerms
from scheduler.framework.changes import Changes
from scheduler.framework.columns import Amounts, IntColumn, Labels
from scheduler.framework.disks import Disk, disks_of
from scheduler.framework.images import HeldImage, HeldImages
from scheduler.framework.measures import Measure
from scheduler.framework.namespaced_pods import NamespacedPods
from scheduler.framework.nominations import Nominations
from scheduler.framework.objects import ClusterObjects
from scheduler.framework.pod_counts import PodCounts, PodQuery
from scheduler.framework.status import BoolColumn
from scheduler.framework.uses import Uses
from scheduler.model import PODS, HostPort, NodeFacts, PodFacts, Taint, Usage, UsageWindow

T = TypeVar("T")

_UNSCHEDULABLE = "unschedulable"
_NAME_HASH = "name_hash"
_MEASURED = "measured"
_TERMINATING = "terminating"


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node with its pods and sums."""

    facts: NodeFacts
    requested: Mapping[str, int]
    pods: tuple[PodFacts, ...]


class Snapshot:
    """The nodes, one row each; columns have the shape ``(n_nodes,)``.

    Plugins read it and must not change it; ``scheduler.cache`` writes it. Rows move when a node
    is removed: keep a row number no longer than a cycle, or compare ``generation``. Pods beside
    nodes (``by_namespace``, ``nominations``, gangs) are those of ``actual`` in what-ifs, too.
    """

    def __init__(self) -> None:  # noqa: PLR0915 - a line for each thing that there is to know
        self.names: list[str] = []
        self.rows: dict[str, int] = {}
        self.generation = 0
        """Grows whenever a row is added or moved."""
        self.allocatable: Amounts[str] = Amounts()
        """By resource."""
        self.capacity: Amounts[str] = Amounts()
        """By resource (cpu, memory): all that the machine has."""
        self.requested: Amounts[str] = Amounts()
        """By resource: what the pods on the node ask for; ``pods`` is their number."""
        self.scored_requested: Amounts[str] = Amounts()
        """As above, with defaults for containers that ask for no cpu or memory."""
        self.usage: Amounts[str] = Amounts()
        """By resource (cpu, memory): what was last measured; see ``is_measured``."""
        self.usage_mean: Amounts[str] = Amounts()
        """By resource: the mean over a window of minutes; what was last measured where no window
        is known."""
        self.usage_std: Amounts[str] = Amounts()
        """By resource: the standard deviation over that window; 0 where it is not known."""
        self.unseen: Amounts[str] = Amounts()
        """What pods will use that are too new for ``usage_mean``, by resource as their requests
        say; kept up to date, with more keys, by ``framework.unseen``."""
        self.measures: Amounts[Measure] = Amounts()
        """See ``measured``."""
        self.measured_by: Amounts[Measure] = Amounts()
        """Non-zero where ``measures`` is known."""
        self.limits: Amounts[str] = Amounts()
        """By resource (cpu, memory): limits of the pods on the node (``PodFacts.limits``)."""
        self.taints: Amounts[Taint] = Amounts()
        """Non-zero where the node has the taint."""
        self.host_ports: Amounts[HostPort] = Amounts()
        """How many pods take the port."""
        self.by_scheduler: Amounts[str] = Amounts()
        """How many pods on the node have the scheduler name."""
        self.labels = Labels()
        self.annotations = Labels()
        self.seccomp_profiles: Amounts[tuple[str, ...]] = Amounts()
        """How many pods on the node run under these profiles together (``PodFacts``)."""
        self.claims: Uses[str] = Uses()
        """How many pods on the node use the claim (``namespace/name``)."""
        self.disks: Uses[Disk] = Uses()
        """How many pods on the node name the disk themselves."""
        self.carried_terms = CarriedTerms()
        """How many pods on the node carry a term of affinity."""
        self.objects = ClusterObjects()
        self.by_namespace = NamespacedPods()
        self.nominations = Nominations()
        self._gangs: dict[str, dict[str, PodFacts]] = {}
        self.actual: Snapshot = self
        """What is believed to be; of a what-if, what it departs from."""
        self.changes: Changes[int] = Changes()
        self.node_changes: Changes[int] = Changes()
        """Rows whose nodes changed; ``changes``: whose nodes, or the pods on them, did."""
        self._pod_counts = PodCounts()
        self._images = HeldImages()
        self._own_rows: set[int] | None = None
        self._marks: Amounts[str] = Amounts()
        self._pod_marks: Amounts[str] = Amounts()
        self._facts: list[NodeFacts] = []
        self._pods: list[dict[str, PodFacts]] = []

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return len(self.names)

    @property
    def unschedulable(self) -> BoolColumn:
        """Which nodes are cordoned."""
        return np.not_equal(self._marks[_UNSCHEDULABLE], 0)

    @property
    def is_measured(self) -> BoolColumn:
        """Of which nodes the usage is known."""
        return np.not_equal(self._marks[_MEASURED], 0)

    def measured(self, measure: Measure) -> tuple[IntColumn, BoolColumn]:
        """Return what a plugin asked for of each node, and of which nodes it is known."""
        return self.measures[measure], np.not_equal(self.measured_by[measure], 0)

    @property
    def n_terminating(self) -> IntColumn:
        """How many pods on each node are asked to go."""
        return self._pod_marks[_TERMINATING]

    @property
    def name_hashes(self) -> IntColumn:
        """A number drawn from each node's name: the same in every process, in any order of rows."""
        return self._marks[_NAME_HASH]

    def node(self, name: str) -> NodeInfo:
        """Return a node with its pods and sums.

        Raises:
            KeyError: There is no such node.
        """
        row = self.rows[name]
        pods = tuple(self._pods[row].values())
        requested = {key: self.requested.value(row, key=key) for key in self.requested.present()}
        return NodeInfo(self._facts[row], requested, pods)

    def facts(self, row: int) -> NodeFacts:
        """Return what is known of the node in *row*."""
        return self._facts[row]

    def pods_on(self, row: int) -> Iterable[PodFacts]:
        """Go through the pods on the node in *row*, oldest known first."""
        return self._pods[row].values()

    def gang(self, key: str) -> Iterable[PodFacts]:
        """Go through the placed members of a gang (``namespace/name``)."""
        return self.actual._gangs.get(key, {}).values()  # noqa: SLF001 - another of us

    def count(self, query: PodQuery) -> IntColumn:
        """Count the pods on each node that *query* matches.

        Returns:
            Shape ``(n_nodes,)``; a view that must not be written to.
        """
        return self._pod_counts[query]

    def image(self, name: str) -> HeldImage:
        """Tell which nodes hold an image; *name* as nodes spell it, with tag or digest."""
        return self._images.find(name, images=(facts.images for facts in self._facts))

    def what_if(self) -> "Snapshot":
        """Make a snapshot to try changes of pods on, for as long as this one does not change.

        A verdict on a row of it holds as if the changes on that row were the only ones. Columns
        that say something of a row's own node just change with it; whoever sums over nodes takes
        the sums of ``actual`` and adds what changed on the row itself (``framework.topology``).
        """
        fork = copy.copy(self)
        # What departs from a what-if departs from the cluster where that does, too.
        fork.changes = Changes() if self.actual is self else self.changes.fork()
        for name in _POD_COLUMNS:
            setattr(fork, name, getattr(self, name).fork())
        fork._pods, fork._own_rows = list(self._pods), set()  # noqa: SLF001 - another of us
        return fork

    def copy(self) -> "Snapshot":
        """Copy the cluster, to try changes on that matter beyond the nodes that they are made on.

        For as long as this one does not change; nodes may be neither added nor removed.
        """
        other = self.what_if()
        other.actual = other
        other.by_namespace = self.actual.by_namespace.copy()
        other._gangs = {key: dict(gang) for key, gang in self.actual._gangs.items()}  # noqa: SLF001 - another of us
        return other

    def rows_apart(self, cluster: "Snapshot") -> Collection[int]:
        """Tell on which rows this, a what-if or a copy, may differ from the cluster.

        Args:
            cluster: What it departs from, at once or by way of a copy.
        """
        tried = self.changes.since(0)
        copied = frozenset[int]() if self.actual is cluster else self.actual.changes.since(0)
        if tried is None or copied is None:
            return range(self.n_nodes)
        return tried | copied

    def set_node(self, facts: NodeFacts) -> None:
        """Add a node, or replace what is known of it; its pods stay."""
        row = self.rows.get(facts.name)
        if row is None:
            row = self._append(facts)
        else:
            self._write_facts(row, self._facts[row], sign=-1)
        self._facts[row] = facts
        self._write_facts(row, facts, sign=1)

    def remove_node(self, name: str) -> tuple[PodFacts, ...]:
        """Drop a node.

        Returns:
            The pods that were on it.

        Raises:
            KeyError: There is no such node.
        """
        row = self.rows.pop(name)
        pods = tuple(self._pods[row].values())
        last = self.n_nodes - 1
        for columns in self._columns():
            columns.remove_row(row)
        for pod in pods:
            self._count_beside_nodes(pod, sign=-1)
        _swap_remove(self.names, row=row)
        _swap_remove(self._facts, row=row)
        _swap_remove(self._pods, row=row)
        if row != last:
            self.rows[self.names[row]] = row
        self.generation += 1
        self._forget_changes()
        return pods

    def set_usage(
        self, usage: Mapping[str, Usage], *, windows: Mapping[str, UsageWindow] | None = None
    ) -> None:
        """Replace what is known of the nodes' usage; of those not named, nothing is any more.

        Args:
            usage: By node, the latest.
            windows: By node, what is known of the minutes before.
        """
        windows = windows or {}
        rows = [(self.rows[name], name) for name in usage if name in self.rows]
        columns = np.zeros((7, self.n_nodes), dtype=np.int64)
        for row, name in rows:
            window = windows.get(name)
            mean, std = (usage[name], None) if window is None else (window.mean, window.std)
            columns[:, row] = (*usage[name], *mean, *(std or (0, 0)), 1)
        for i, amounts in enumerate((self.usage, self.usage_mean, self.usage_std)):
            amounts.put(CPU, column=columns[2 * i])
            amounts.put(MEMORY, column=columns[2 * i + 1])
        self._marks.put(_MEASURED, column=columns[6])
        self.changes.forget()

    def set_measured(self, measure: Measure, *, values: Mapping[str, int]) -> None:
        """Replace what is known of a measure; of nodes not named, nothing is any more."""
        columns = np.zeros((2, self.n_nodes), dtype=np.int64)
        for name, value in values.items():
            row = self.rows.get(name)
            if row is not None:
                columns[:, row] = value, 1
        self.measures.put(measure, column=columns[0])
        self.measured_by.put(measure, column=columns[1])
        self.changes.forget()

    def add_pod(self, pod: PodFacts, *, node: str) -> None:
        """Count a pod on a node.

        Raises:
            KeyError: There is no such node.
        """
        row = self.rows[node]
        self._own_pods(row)[pod.uid] = pod
        self._count(row, pod, sign=1)

    def remove_pod(self, pod: PodFacts, *, node: str) -> None:
        """Take a pod back that was counted.

        Raises:
            KeyError: There is no such node, or the pod is not on it.
        """
        row = self.rows[node]
        self._count(row, self._own_pods(row).pop(pod.uid), sign=-1)

    def restate_pod(self, pod: PodFacts, *, node: str) -> None:
        """Take in what changed of a pod that was counted, and counts as before.

        Raises:
            KeyError: There is no such node.
        """
        row = self.rows[node]
        pods = self._own_pods(row)
        if pods[pod.uid].annotations != pod.annotations:
            self.changes.note(row)
        pods[pod.uid] = pod
        self.by_namespace.restate(pod)
        if pod.pod_group:
            self._gangs[pod.group_key][pod.uid] = pod

    def _own_pods(self, row: int) -> dict[str, PodFacts]:
        if self._own_rows is not None and row not in self._own_rows:
            self._own_rows.add(row)
            self._pods[row] = dict(self._pods[row])
        return self._pods[row]

    def _append(self, facts: NodeFacts) -> int:
        row = self.n_nodes
        self.names.append(facts.name)
        self.rows[facts.name] = row
        self._facts.append(facts)
        self._pods.append({})
        for columns in self._columns():
            columns.append_row()
        self.generation += 1
        self._forget_changes()
        return row

    def _forget_changes(self) -> None:
        self.changes.forget()
        self.node_changes.forget()

    def _columns(self) -> Iterable[Amounts[str] | Labels | Uses[str] | PodCounts | HeldImages]:
        return [getattr(self, name) for name in (*_NODE_COLUMNS, *_POD_COLUMNS)]

    def _write_facts(self, row: int, facts: NodeFacts, *, sign: int) -> None:
        self.changes.note(row)
        self.node_changes.note(row)
        for resource, amount in facts.allocatable.items():
            self.allocatable.add(row, key=resource, amount=sign * amount)
        for resource, amount in facts.capacity.items():
            self.capacity.add(row, key=resource, amount=sign * amount)
        for taint in set(facts.taints):
            self.taints.add(row, key=taint, amount=sign)
        for key, value in facts.labels.items():
            self.labels.set(row, key=key, value=value if sign > 0 else None)
        for key, value in facts.annotations.items():
            self.annotations.set(row, key=key, value=value if sign > 0 else None)
        self._images.set_row(row, facts.images, sign=sign)
        self._marks.add(row, key=_UNSCHEDULABLE, amount=sign * facts.is_unschedulable)
        self._marks.add(row, key=_NAME_HASH, amount=sign * stable_hash(facts.name))

    def _count(self, row: int, pod: PodFacts, *, sign: int) -> None:
        self.changes.note(row)
        for resource, amount in pod.requests.items():
            self.requested.add(row, key=resource, amount=sign * amount)
        self.requested.add(row, key=PODS, amount=sign)
        for resource, amount in pod.limits.items():
            self.limits.add(row, key=resource, amount=sign * amount)
        self.by_scheduler.add(row, key=pod.scheduler_name, amount=sign)
        self.seccomp_profiles.add(row, key=pod.seccomp_profiles, amount=sign)
        self._pod_marks.add(row, key=_TERMINATING, amount=sign * pod.is_terminating)
        for resource in (CPU, MEMORY):
            amount = pod.scored_requests.get(resource, 0)
            self.scored_requested.add(row, key=resource, amount=sign * amount)
        for port in pod.host_ports:
            self.host_ports.add(row, key=port, amount=sign)
        for claim in pod.claims:
            self.claims.add(row, key=claim, amount=sign)
        for disk in disks_of(pod):
            self.disks.add(row, key=disk, amount=sign)
        self.carried_terms.count(row, pod, sign=sign)
        self._pod_counts.count(row, pod, sign=sign)
        if self.actual is self:
            self._count_beside_nodes(pod, sign=sign)

    def _count_beside_nodes(self, pod: PodFacts, *, sign: int) -> None:
        """Count a pod where it does not matter on which node it is."""
        if sign > 0:
            self.by_namespace.add(pod)
        else:
            self.by_namespace.remove(pod)
        if pod.pod_group:
            self._count_in_gang(pod, sign=sign)

    def _count_in_gang(self, pod: PodFacts, *, sign: int) -> None:
        gang = self._gangs.setdefault(pod.group_key, {})
        if sign > 0:
            gang[pod.uid] = pod
            return
        del gang[pod.uid]
        if not gang:
            del self._gangs[pod.group_key]


_NODE_COLUMNS = (
    "allocatable",
    "capacity",
    "usage",
    "usage_mean",
    "usage_std",
    "unseen",
    "measures",
    "measured_by",
    "taints",
    "labels",
    "annotations",
    "_images",
    "_marks",
)
_POD_COLUMNS = (
    "requested",
    "limits",
    "scored_requested",
    "host_ports",
    "by_scheduler",
    "seccomp_profiles",
    "_pod_marks",
    "claims",
    "disks",
    "carried_terms",
    "_pod_counts",
)


def _swap_remove(items: list[T], *, row: int) -> None:
    items[row] = items[-1]
    items.pop()


def stable_hash(text: str, *, seed: int = 0) -> int:
    """Hash *text* to a 62-bit number that is the same in every process."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, salt=seed.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") >> 2
