"""The heart: events go in, actions come out.

``Engine.handle`` does no I/O, reads no clock and rolls no dice. The real cluster and the simulator
are two shells round it. Events other than ``Tick`` only change what the engine believes; ``Tick``
runs scheduling cycles, so that a shell can first hand in all the news it has and pods are then
taken by priority.

All nodes are looked at for every pod, so ``percentageOfNodesToScore`` has no effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.cache import ClusterCache
from scheduler.errors import PluginError
from scheduler.events import (
    Action,
    AskPrediction,
    Bind,
    BindFailed,
    BindSucceeded,
    Event,
    NodeGone,
    NodeSeen,
    PodGone,
    PodSeen,
    Predicted,
    PredictionFailed,
    Record,
    ReportFailure,
    ReportScheduled,
    Tick,
)
from scheduler.framework.interface import ClusterEvent
from scheduler.framework.profile import Profile
from scheduler.framework.snapshot import Snapshot
from scheduler.model import PodFacts, Shape
from scheduler.plugins.prediction import NodePrediction
from scheduler.predictions import PredictionBook, PredictionSettings
from scheduler.queue import Pool, QueuedPod, QueueSettings, SchedulingQueue
from scheduler.selection import Cycle, run_cycle


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an operator can turn."""

    queue: QueueSettings = field(default_factory=QueueSettings)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)
    seed: int = 0
    """Breaks ties between equally good nodes, the same way every time."""
    max_cycles_per_tick: int = 100
    """So that news is taken in between."""
    max_binding: int = 500
    """No more pods are decided on while so many bindings are under way."""
    n_recorded_nodes: int = 50
    """How many nodes' verdicts and scores a decision keeps."""


class Engine:
    """Decides where pods go.

    Args:
        profiles: By scheduler name.
        settings: What an operator can turn.
    """

    def __init__(self, profiles: Mapping[str, Profile], *, settings: EngineSettings) -> None:
        self._profiles = profiles
        self._settings = settings
        self._cache = ClusterCache()
        self._book = PredictionBook(settings.prediction)
        self._wakes_on = {
            (scheduler, name): plugin.wakes_on
            for scheduler, profile in profiles.items()
            for name, plugin in profile.plugins().items()
        }
        self._binding: dict[str, QueuedPod] = {}
        self._asking: set[Shape] = set()
        # All profiles have the same queueSort plugin, for there is one queue.
        order = next(iter(profiles.values())).queue_sort
        self._queue = SchedulingQueue(order=order, gate=self._gate, settings=settings.queue)

    @property
    def scheduler_names(self) -> frozenset[str]:
        """Whose pods are decided on."""
        return frozenset(self._profiles)

    @property
    def snapshot(self) -> Snapshot:
        """The nodes as the next cycle will see them."""
        return self._cache.snapshot

    @property
    def n_binding(self) -> int:
        """How many pods are decided on and not bound yet."""
        return len(self._binding)

    @property
    def cache_sizes(self) -> dict[str, int]:
        """How much the cache holds: nodes, pods, assumed pods."""
        return {
            "nodes": self._cache.snapshot.n_nodes,
            "pods": self._cache.n_pods,
            "assumed_pods": self._cache.n_assumed,
        }

    def n_pending(self, pool: Pool) -> int:
        """How many pods wait in *pool*."""
        return self._queue.size(pool)

    def handle(self, event: Event, *, now_s: float) -> list[Action]:
        """Take in one event and say what to do about it.

        Args:
            event: What happened.
            now_s: When, in Unix seconds of the cluster's clock; never less than before.

        Returns:
            What the shell has to do, in order.
        """
        match event:
            case Tick():
                return self._tick(now_s)
            case BindSucceeded(uid):
                return self._on_bound(uid, now_s)
            case BindFailed():
                return self._on_bind_failed(event, now_s)
            case _:
                self._learn(event, now_s)
                return []

    def _learn(
        self,
        event: NodeSeen | NodeGone | PodSeen | PodGone | Predicted | PredictionFailed,
        now_s: float,
    ) -> None:
        match event:
            case NodeSeen(node):
                self._queue.wake(self._cache.set_node(node), now_s=now_s)
            case NodeGone(name):
                self._cache.remove_node(name)
            case PodSeen(pod):
                self._on_pod(pod, now_s)
            case PodGone(key, uid):
                self._on_pod_gone(key, uid, now_s)
            case Predicted(answer):
                self._asking.difference_update(answer.shapes)
                self._book.take(answer, now_s=now_s)
            case PredictionFailed(shapes, outage):
                self._asking.difference_update(shapes)
                self._book.take_failure(shapes, outage=outage, now_s=now_s)

    # ------------------------------------------------------------------ what the cluster says

    def _on_pod(self, pod: PodFacts, now_s: float) -> None:
        if pod.is_finished:
            self._on_pod_gone(pod.key, pod.uid, now_s)
        elif pod.node_name:
            self._on_assigned(pod, now_s)
        elif pod.uid in self._binding:
            self._binding[pod.uid].pod = pod
        elif self._cache.is_assumed(pod.uid):
            pass  # from before our binding, which the watch has yet to show
        elif pod.is_terminating or pod.scheduler_name not in self._profiles:
            self._queue.remove(pod.key)
        else:
            self._queue.put(pod, now_s=now_s)

    def _on_assigned(self, pod: PodFacts, now_s: float) -> None:
        before = self._cache.pod(pod.uid)
        self._queue.remove(pod.key)
        self._cache.add_pod(pod)
        if before is None:
            return
        is_elsewhere = before.node_name != pod.node_name
        if is_elsewhere:
            # Someone else bound it; what we held for it is free again.
            self._book.note_placed(pod, node=before.node_name, now_s=now_s, sign=-1)
        if is_elsewhere or any(n > pod.requests.get(r, 0) for r, n in before.requests.items()):
            self._queue.wake(ClusterEvent.ASSIGNED_POD_DELETE, now_s=now_s)

    def _on_pod_gone(self, key: str, uid: str, now_s: float) -> None:
        self._queue.remove(key)
        self._binding.pop(uid, None)
        if self._cache.remove_pod(uid):
            self._queue.wake(ClusterEvent.ASSIGNED_POD_DELETE, now_s=now_s)

    def _on_bound(self, uid: str, now_s: float) -> list[Action]:
        queued = self._binding.pop(uid, None)
        placed = self._cache.pod(uid)
        if queued is None or placed is None:
            return []
        pending_s = now_s - queued.first_queued_at_s
        return [ReportScheduled(placed, placed.node_name, queued.attempts, pending_s)]

    def _on_bind_failed(self, event: BindFailed, now_s: float) -> list[Action]:
        queued = self._binding.pop(event.uid, None)
        placed = self._cache.pod(event.uid)
        if queued is None or placed is None or not self._cache.forget(event.uid):
            return []
        self._book.note_placed(placed, node=placed.node_name, now_s=now_s, sign=-1)
        self._queue.wake(ClusterEvent.ASSIGNED_POD_DELETE, now_s=now_s)
        if not queued.pod.is_terminating:
            # Even a lost race: whatever the pod is now, the watch says so before back-off is over.
            self._queue.retry(queued, now_s=now_s)
        if event.is_lost_race:
            return []
        return [ReportFailure(queued.pod, "SchedulerError", event.message)]

    # ------------------------------------------------------------------------------- deciding

    def _tick(self, now_s: float) -> list[Action]:
        self._queue.flush(now_s=now_s)
        actions: list[Action] = []
        for _ in range(self._settings.max_cycles_per_tick):
            queued = self._queue.peek()
            if queued is None or self.n_binding >= self._settings.max_binding:
                break
            if self._wants_prediction(queued.pod, now_s):
                actions += self._ask(now_s)
                break
            self._queue.pop()
            actions += self._schedule(queued, now_s)
        return actions

    def _wants_prediction(self, pod: PodFacts, now_s: float) -> bool:
        profile = self._profiles[pod.scheduler_name]
        return (
            NodePrediction.name in profile.weights
            and self.snapshot.n_nodes > 0
            and not self._book.is_settled(pod.shape, now_s=now_s)
        )

    def _ask(self, now_s: float) -> list[Action]:
        """Ask for the shapes of all active pods that are neither settled nor asked for.

        Not for the head's alone: each pod's wait begins when it comes, not when its turn does.
        """
        shapes = tuple(
            shape
            for shape in self._queue.active_shapes()
            if shape not in self._asking and not self._book.is_settled(shape, now_s=now_s)
        )
        self._asking.update(shapes)
        return [AskPrediction(shapes)] if shapes else []

    def _schedule(self, queued: QueuedPod, now_s: float) -> list[Action]:
        pod = queued.pod
        cycle = Cycle(
            profile=self._profiles[pod.scheduler_name],
            book=self._book,
            snapshot=self.snapshot,
            seed=self._settings.seed,
            n_recorded_nodes=self._settings.n_recorded_nodes,
        )
        try:
            decision, rejectors = run_cycle(cycle, queued=queued, now_s=now_s)
        except PluginError as error:
            self._queue.retry(queued, now_s=now_s)
            return [ReportFailure(pod, "SchedulerError", str(error))]
        if decision.node is None:
            self._queue.put_back(queued, wakes_on=self._events_for(pod, rejectors), now_s=now_s)
            failure = ReportFailure(pod, "Unschedulable", decision.message)
            return [Record(decision), failure]
        self._cache.assume(pod, node=decision.node)
        self._book.note_placed(pod, node=decision.node, now_s=now_s)
        self._binding[pod.uid] = queued
        bind = Bind(pod, decision.node, decision.prediction.prediction_id)
        return [Record(decision), bind]

    def _events_for(self, pod: PodFacts, rejectors: frozenset[str]) -> ClusterEvent:
        events = ClusterEvent(0) if self.snapshot.n_nodes else ClusterEvent.NODE_ADD
        for name in rejectors:
            events |= self._wakes_on[pod.scheduler_name, name]
        return events

    def _gate(self, pod: PodFacts) -> str | None:
        for plugin in self._profiles[pod.scheduler_name].pre_enqueue:
            if not plugin.pre_enqueue(pod).is_success:
                return plugin.name
        return None
