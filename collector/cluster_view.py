"""The cluster as it is now: nodes, pods and their latest samples, as the contract words them.

Pure and single-threaded: whoever shares a view between threads holds a lock. States of nodes are
kept until something about the node changes, because a snapshot is asked for far more often than
most nodes change.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from collector.contract import ClusterState, NodeState, WorkloadHistory, cluster_state
from collector.facts import NodeFacts, PodFacts
from collector.history import History, Standing, Subject
from collector.outcomes import STARVED_RATIO
from collector.samples import NodeSample, PodSample

MAX_WINDOW_S: Final = 900.0
"""For so long a node's samples are remembered."""
_SAMPLES_KEPT: Final = 4
"""Per node, however old: enough to find one that is older than a placement which we learn of
late."""
_MAX_SAMPLES: Final = 240
"""Per node: the newest, where a source is asked more often than every four seconds."""


@dataclass(slots=True)
class _Entry:
    """A node's name, and what stands under it; the node itself may be yet unknown."""

    facts: NodeFacts | None = None
    pods: dict[str, PodFacts] = field(default_factory=dict)
    """By uid; those that have not ended."""
    requested_cpu_milli: int = 0
    requested_memory_bytes: int = 0
    samples: deque[NodeSample] = field(default_factory=lambda: deque(maxlen=_MAX_SAMPLES))
    """Newest last."""
    gone_cpu_milli: int = 0
    """Usage in the newest sample of pods that have gone since."""
    gone_memory_bytes: int = 0

    def take(self, sample: NodeSample) -> None:
        self.samples.append(sample)
        while (
            len(self.samples) > _SAMPLES_KEPT and self.samples[0].at_s < sample.at_s - MAX_WINDOW_S
        ):
            self.samples.popleft()

    def newest(self, *, until_s: float | None) -> NodeSample | None:
        for sample in reversed(self.samples):
            if until_s is None or sample.at_s <= until_s:
                return sample
        return None


class ClusterView:
    """Nodes, pods and latest samples.

    Args:
        history: What is known of nodes and workloads; asked, never changed.
        version: Where versions start; they grow with every change from there.
    """

    def __init__(self, history: History, *, version: int) -> None:
        self._history = history
        self._entries: dict[str, _Entry] = {}
        self._pods: dict[str, PodFacts] = {}
        self._uids: dict[str, str] = {}
        self._pod_samples: dict[str, PodSample] = {}
        self._states: dict[str, NodeState] = {}
        self._stale: set[str] = set()
        """Names whose state must be made anew, or dropped."""
        self._newest_sample_s = float("-inf")
        self.version = version

    @property
    def pods(self) -> Mapping[str, PodFacts]:
        """All pods by uid; look up only."""
        return self._pods

    @property
    def newest_sample_s(self) -> float | None:
        """When the newest sample was measured; ``None`` if there is none."""
        return self._newest_sample_s if self._newest_sample_s > float("-inf") else None

    @property
    def n_nodes(self) -> int:
        """How many nodes there are."""
        return sum(entry.facts is not None for entry in self._entries.values())

    def put_node(self, node: NodeFacts) -> None:
        """Add or replace a node."""
        entry = self._entries.setdefault(node.name, _Entry())
        if entry.facts != node:
            entry.facts = node
            self.touch(node.name)

    def remove_node(self, name: str) -> None:
        """Forget a node; pods still bound to it stay."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.facts = None
        entry.samples.clear()
        self.touch(name)
        self._drop_if_empty(name)

    def node(self, name: str) -> NodeFacts | None:
        """Look up a node."""
        entry = self._entries.get(name)
        return entry.facts if entry is not None else None

    def put_pod(self, pod: PodFacts) -> None:
        """Add or replace a pod."""
        old = self._pods.get(pod.uid)
        if old == pod:
            return
        self._pods[pod.uid] = pod
        self._uids[pod.key] = pod.uid
        self._rebind(old, pod)
        self.version += 1

    def remove_pod(self, uid: str) -> None:
        """Forget a pod."""
        old = self._pods.pop(uid, None)
        if old is None:
            return
        if self._uids.get(old.key) == uid:
            del self._uids[old.key]
        self._rebind(old, None)
        self._pod_samples.pop(uid, None)
        self.version += 1

    def pod_named(self, key: str) -> PodFacts | None:
        """Look up a pod by ``namespace/name``."""
        uid = self._uids.get(key)
        return self._pods.get(uid) if uid is not None else None

    def take_node_sample(self, sample: NodeSample) -> bool:
        """Take in a sample; tell whether it is news (another time than the last one's)."""
        entry = self._entries.get(sample.node)
        if entry is None or entry.facts is None:
            return False
        if entry.samples and entry.samples[-1].at_s == sample.at_s:
            return False
        entry.take(sample)
        entry.gone_cpu_milli = entry.gone_memory_bytes = 0
        self._newest_sample_s = sample.at_s
        self.touch(sample.node)
        return True

    def take_pod_sample(self, sample: PodSample) -> PodFacts | None:
        """Take in a sample; give the pod if the sample is news, else ``None``."""
        pod = self.pod_named(f"{sample.namespace}/{sample.name}")
        if pod is None:
            return None
        last = self._pod_samples.get(pod.uid)
        if last is not None and last.at_s == sample.at_s:
            return None
        self._pod_samples[pod.uid] = sample
        self.version += 1
        return pod

    def pod_sample(self, uid: str) -> PodSample | None:
        """Look up a pod's newest sample."""
        return self._pod_samples.get(uid)

    def is_saturated(self, name: str) -> bool:
        """Tell whether the node's newest sample leaves no CPU to spare."""
        entry = self._entries.get(name)
        if entry is None or entry.facts is None or not entry.samples:
            return False
        allocatable_milli = entry.facts.allocatable_cpu_milli
        return 0 < STARVED_RATIO * allocatable_milli <= entry.samples[-1].cpu_milli

    def touch(self, *names: str) -> None:
        """Note that something about these nodes has changed."""
        self._stale.update(names)
        self.version += 1

    def touch_all(self) -> None:
        """Work out all nodes anew, as histories age."""
        self._stale.update(self._entries)
        self.version += 1

    def node_states(self, *, now_s: float) -> list[NodeState]:
        """Tell how all nodes are, sorted by name.

        Args:
            now_s: The cluster's time, for histories to age.
        """
        self._refresh(now_s)
        return sorted(self._states.values(), key=lambda state: state.name)

    def node_samples(self, *, since_s: float) -> dict[str, list[NodeSample]]:
        """Tell what each node used since an instant, oldest first, up to ``MAX_WINDOW_S`` ago."""
        return {
            name: [sample for sample in entry.samples if sample.at_s >= since_s]
            for name, entry in self._entries.items()
        }

    def state_at(self, name: str, *, until_s: float) -> tuple[NodeState, ClusterState] | None:
        """Tell how a node and the cluster are, without samples newer than an instant.

        Args:
            name: The node.
            until_s: The instant, of the cluster's clock.

        Returns:
            ``None`` if there is no such node.
        """
        entry = self._entries.get(name)
        if entry is None or entry.facts is None:
            return None
        if self._newest_sample_s <= until_s:
            self._refresh(until_s)
            return self._states[name], cluster_state(list(self._states.values()))
        states = [
            self._make_state(entry.facts, entry, now_s=until_s, until_s=until_s)
            for entry in self._entries.values()
            if entry.facts is not None
        ]
        return next(s for s in states if s.name == name), cluster_state(states)

    def workload(self, key: str, *, now_s: float) -> WorkloadHistory:
        """Tell what is known of a workload; one never seen has the prior."""
        namespace, kind, name = key.split("/", 2)
        standing = self._history.standing(Subject.WORKLOAD, key, now_s=now_s)
        total = standing.total
        return WorkloadHistory(
            namespace=namespace,
            kind=kind,
            name=name,
            failure_rate=standing.failure_rate,
            stability=standing.stability,
            n_observations=total.n_observations,
            n_failures=total.n_failures,
            n_restarts=total.n_restarts,
            n_oom_kills=total.n_oom_kills,
            n_evictions=total.n_evictions,
            usual_cpu_milli=standing.usual_cpu_milli,
            usual_memory_bytes=standing.usual_memory_bytes,
        )

    def _rebind(self, old: PodFacts | None, new: PodFacts | None) -> None:
        """Move what a pod holds from where it was to where it is."""
        if old is not None and old.node:
            entry = self._entries.get(old.node)
            if entry is not None and entry.pods.pop(old.uid, None) is not None:
                entry.requested_cpu_milli -= old.cpu_milli
                entry.requested_memory_bytes -= old.memory_bytes
                if new is None or new.is_terminal:
                    self._note_gone(entry, old)
            self.touch(old.node)
        if new is not None and new.node and not new.is_terminal:
            entry = self._entries.setdefault(new.node, _Entry())
            entry.pods[new.uid] = new
            entry.requested_cpu_milli += new.cpu_milli
            entry.requested_memory_bytes += new.memory_bytes
            self.touch(new.node)
        if old is not None:
            self._drop_if_empty(old.node)

    def _note_gone(self, entry: _Entry, pod: PodFacts) -> None:
        """Remember that the node's newest sample holds usage that has ended since."""
        sample, node_sample = self._pod_samples.get(pod.uid), entry.newest(until_s=None)
        if sample is None or node_sample is None or _is_since(pod, node_sample):
            return
        entry.gone_cpu_milli += sample.cpu_milli
        entry.gone_memory_bytes += sample.memory_bytes

    def _drop_if_empty(self, name: str) -> None:
        entry = self._entries.get(name)
        if entry is not None and entry.facts is None and not entry.pods:
            del self._entries[name]

    def _refresh(self, now_s: float) -> None:
        for name in self._stale:
            entry = self._entries.get(name)
            if entry is None or entry.facts is None:
                self._states.pop(name, None)
            else:
                self._states[name] = self._make_state(entry.facts, entry, now_s=now_s, until_s=None)
        self._stale.clear()

    def _make_state(
        self, facts: NodeFacts, entry: _Entry, *, now_s: float, until_s: float | None
    ) -> NodeState:
        sample = entry.newest(until_s=until_s)
        placed_cpu_milli, placed_memory_bytes = self._placed_since(entry, sample, now_s=now_s)
        standing = self._history.standing(Subject.NODE, facts.name, now_s=now_s)
        return NodeState(
            name=facts.name,
            is_ready=facts.is_ready,
            is_schedulable=facts.is_schedulable,
            taints=list(facts.taints),
            pressures=list(facts.pressures),
            allocatable_cpu_milli=facts.allocatable_cpu_milli,
            allocatable_memory_bytes=facts.allocatable_memory_bytes,
            allocatable_pods=facts.allocatable_pods,
            requested_cpu_milli=entry.requested_cpu_milli,
            requested_memory_bytes=entry.requested_memory_bytes,
            n_pods=len(entry.pods),
            usage_cpu_milli=sample.cpu_milli if sample is not None else None,
            usage_memory_bytes=sample.memory_bytes if sample is not None else None,
            sampled_at_s=sample.at_s if sample is not None else None,
            placed_cpu_milli=placed_cpu_milli,
            placed_memory_bytes=placed_memory_bytes,
            stability=standing.stability,
            failure_rate=standing.failure_rate,
            n_observations=standing.total.n_observations,
            n_failed_pods=standing.total.n_failures,
            n_restarts=standing.total.n_restarts,
            n_oom_kills=standing.total.n_oom_kills,
            n_evictions=standing.total.n_evictions,
        )

    def _placed_since(
        self, entry: _Entry, sample: NodeSample | None, *, now_s: float
    ) -> tuple[int, int]:
        """Sum up what the sample cannot show yet, less what has gone since, usage and all."""
        cpu_milli, memory_bytes = -entry.gone_cpu_milli, -entry.gone_memory_bytes
        for pod in entry.pods.values():
            if _is_since(pod, sample):
                usual = self._history.standing(Subject.WORKLOAD, pod.workload, now_s=now_s)
                cpu_milli += _expected(usual, pod)[0]
                memory_bytes += _expected(usual, pod)[1]
        if sample is None:
            return max(0, cpu_milli), max(0, memory_bytes)
        return max(-sample.cpu_milli, cpu_milli), max(-sample.memory_bytes, memory_bytes)


def _is_since(pod: PodFacts, sample: NodeSample | None) -> bool:
    """Tell whether a pod's usage is not in its node's sample: it started later, or not yet."""
    if sample is None:
        return True
    if pod.phase == "Pending":
        return True
    return pod.n_restarts == 0 and (pod.started_at_s or 0.0) > sample.at_s


def _expected(usual: Standing, pod: PodFacts) -> tuple[int, int]:
    if usual.usual_cpu_milli is None or usual.usual_memory_bytes is None:
        return pod.cpu_milli, pod.memory_bytes
    return usual.usual_cpu_milli, usual.usual_memory_bytes
