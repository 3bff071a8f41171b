"""The heart: events go in, actions come out.

``Engine.handle`` does no I/O, reads no clock and rolls no dice. The real cluster and the simulator
are two shells round it. Events other than ``Tick`` only change what the engine believes; ``Tick``
runs scheduling cycles, so that a shell can first hand in all the news it has and pods are then
taken by priority.

All nodes are looked at for every pod, so ``percentageOfNodesToScore`` has no effect.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from kube.custom import CustomResource, PodGroup
from scheduler.attempts import Attempts, Desk
from scheduler.cache import ClusterCache, pod_change
from scheduler.events import (
    Action,
    AskPrediction,
    BindFailed,
    BindSucceeded,
    Event,
    Evict,
    EvictFailed,
    MeasureTaken,
    NodeGone,
    NodeSeen,
    NodesMeasured,
    ObjectGone,
    ObjectSeen,
    PodGone,
    PodSeen,
    Predicted,
    PredictionFailed,
    PredictionWanted,
    ReportFailure,
    Tick,
    UtilizationMeasured,
    WriteFailed,
    Written,
)
from scheduler.framework.interface import Change, ClusterEvent, SortKey, Waiting
from scheduler.framework.measures import Measure
from scheduler.framework.profile import Profile
from scheduler.framework.snapshot import Snapshot
from scheduler.gang_attempts import GangAttempts
from scheduler.gangs import GATE, Gang, GangBook
from scheduler.model import PodFacts, Shape
from scheduler.placing import Placer
from scheduler.plugins.coscheduling import Coscheduling
from scheduler.plugins.prediction import PREDICTED
from scheduler.predictions import PredictionBook, PredictionSettings
from scheduler.queue import Pool, QueuedPod, QueueSettings, SchedulingQueue
from scheduler.selection import Cycle

_PATIENCE_S: Final = 5.0
"""Members of a gang come one after another; only after this is one missing."""


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
    max_evicting: int = 10_000
    """No room is made for others while so many pods are asked to go."""
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
        plugins = [plugin for each in profiles.values() for plugin in each.plugins().values()]
        self._cache = ClusterCache(follows_usage=any(plugin.reads_usage for plugin in plugins))
        self._book = PredictionBook(settings.prediction)
        self._plugins = {
            (scheduler, name): plugin
            for scheduler, profile in profiles.items()
            for name, plugin in profile.plugins().items()
        }
        self._nominations = self._cache.snapshot.nominations
        self._evicting: set[str] = set()
        """Pods that we have asked to go, and that are still there."""
        self._asking: set[Shape] = set()
        self._short: dict[str, float] = {}
        """Gangs that lack members, and when to say so."""
        self._gangs = GangBook(
            self._cache.snapshot.objects,
            arguments={
                scheduler: plugin.arguments
                for (scheduler, _), plugin in self._plugins.items()
                if isinstance(plugin, Coscheduling)
            },
        )
        # All profiles have the same queueSort plugin, for there is one queue.
        self._order = next(iter(profiles.values())).queue_sort
        self._is_sorted = True
        self._queue = SchedulingQueue(
            rank=self._rank, gate=self._gate, hint=self._may_help, settings=settings.queue
        )
        self._placer = Placer(
            profiles,
            cache=self._cache,
            book=self._book,
            queue=self._queue,
            events_for=self._events_for,
            on_taken_back=self._on_taken_back,
        )
        self._attempts = Attempts(
            Desk(
                profiles=profiles,
                cache=self._cache,
                book=self._book,
                queue=self._queue,
                placer=self._placer,
                nominations=self._nominations,
                gangs=self._gangs,
                evicting=self._evicting,
                events_for=self._events_for,
                on_gang=self._on_gang,
                seed=settings.seed,
                n_recorded_nodes=settings.n_recorded_nodes,
                max_evicting=settings.max_evicting,
            )
        )
        self._gang_attempts = GangAttempts(self._attempts)

    @property
    def scheduler_names(self) -> frozenset[str]:
        """Whose pods are decided on."""
        return frozenset(self._profiles)

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """By scheduler name."""
        return self._profiles

    @property
    def snapshot(self) -> Snapshot:
        """The nodes as the next cycle will see them."""
        return self._cache.snapshot

    @property
    def n_binding(self) -> int:
        """How many pods are decided on and not bound yet."""
        return len(self._placer)

    @property
    def cache_sizes(self) -> dict[str, int]:
        """How much the cache holds: nodes, pods, assumed pods."""
        return {
            "nodes": self._cache.snapshot.n_nodes,
            "pods": self._cache.n_pods,
            "assumed_pods": self._cache.n_assumed,
        }

    @property
    def reads_usage(self) -> bool:
        """Whether any plugin wants to know what nodes use (``NodesMeasured``)."""
        return any(plugin.reads_usage for plugin in self._plugins.values())

    @property
    def measures(self) -> frozenset[Measure]:
        """What else plugins want to know of nodes (``MeasureTaken``)."""
        return frozenset(m for plugin in self._plugins.values() for m in plugin.measures)

    @property
    def reads(self) -> frozenset[type[CustomResource]]:
        """Which custom resources plugins read, or gangs are made from (``ObjectSeen``)."""
        return frozenset({PodGroup}.union(*(plugin.reads for plugin in self._plugins.values())))

    @property
    def keeps(self) -> frozenset[type[CustomResource]]:
        """Of which of these plugins want the status to be kept."""
        return frozenset().union(*(plugin.keeps for plugin in self._plugins.values()))

    def n_pending(self, pool: Pool) -> int:
        """How many pods wait in *pool*."""
        return self._queue.size(pool)

    @property
    def incoming(self) -> Mapping[tuple[Pool, str], int]:
        """See ``SchedulingQueue.incoming``; to be read before the next event."""
        return self._queue.incoming

    @property
    def refusals(self) -> Mapping[tuple[str, str], int]:
        """See ``SchedulingQueue.refusals``; to be read before the next event."""
        return self._queue.refusals

    def cycle(self, profile: str) -> Cycle:
        """Return what the next cycle of *profile* will work with, to be looked at until then.

        Raises:
            KeyError: There is no such profile.
        """
        return self._attempts.cycle(profile)

    def wants_prediction(self, pod: PodFacts, *, profile: str, now_s: float) -> bool:
        """Tell whether *profile* asks the predictor about a pod, and has not heard from it yet."""
        return (
            not PREDICTED.isdisjoint(self._profiles[profile].weights)
            and self.snapshot.n_nodes > 0
            and not self._book.is_settled(pod.shape, now_s=now_s)
        )

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
            case BindSucceeded() | BindFailed() | Written() | WriteFailed():
                return self._carry_on(event, now_s)
            case Predicted() | PredictionFailed():
                self._take_prediction(event, now_s)
            case NodesMeasured(usage, windows):
                self._cache.set_usage(usage, windows=windows)
            case UtilizationMeasured(means, deviations, start_s, end_s):
                self._cache.set_utilization(
                    means, deviations=deviations, start_s=start_s, end_s=end_s
                )
            case MeasureTaken(measure, values):
                self.snapshot.set_measured(measure, values=values)
            case PredictionWanted(shape):
                return self._ask([shape], now_s)
            case _:
                self._learn(event, now_s)
        return []

    def _carry_on(
        self, event: BindSucceeded | BindFailed | Written | WriteFailed, now_s: float
    ) -> list[Action]:
        match event:
            case BindSucceeded(uid):
                return self._placer.on_bound(uid, now_s=now_s)
            case BindFailed():
                return self._placer.on_failed(event, now_s=now_s)
            case Written(uid):
                return self._placer.on_written(uid, now_s=now_s)
            case WriteFailed(uid, message):
                return self._placer.on_failed(BindFailed(uid, message), now_s=now_s)

    def _take_prediction(self, event: Predicted | PredictionFailed, now_s: float) -> None:
        match event:
            case Predicted(answer):
                self._asking.difference_update(answer.shapes)
                self._book.take(answer, now_s=now_s)
            case PredictionFailed(shapes, outage):
                self._asking.difference_update(shapes)
                self._book.take_failure(shapes, outage=outage, now_s=now_s)

    def _learn(
        self,
        event: NodeSeen | NodeGone | PodSeen | PodGone | ObjectSeen | ObjectGone | EvictFailed,
        now_s: float,
    ) -> None:
        match event:
            case NodeSeen(node):
                self._queue.wake(self._cache.set_node(node), now_s=now_s)
            case NodeGone(name):
                self._queue.wake(self._cache.remove_node(name), now_s=now_s)
            case PodSeen(pod):
                self._on_pod(pod, now_s)
            case PodGone(key, uid):
                self._on_pod_gone(key, uid, now_s)
            case ObjectSeen(found):
                self._on_object(self._cache.set_object(found), found.metadata.key, now_s)
            case ObjectGone(kind, key):
                self._on_object(self._cache.remove_object(kind, key), key, now_s)
            case EvictFailed(uid):
                self._on_evict_failed(uid, now_s)

    # ------------------------------------------------------------------ what the cluster says

    def _on_pod(self, pod: PodFacts, now_s: float) -> None:
        if pod.is_finished:
            has_profile = pod.scheduler_name in self._profiles
            self._on_pod_gone(pod.key, pod.uid, now_s, finished=pod if has_profile else None)
        elif pod.node_name:
            self._on_assigned(pod, now_s)
        elif self._cache.is_assumed(pod.uid):
            self._on_assumed(pod, now_s)
        elif pod.is_terminating or pod.scheduler_name not in self._profiles:
            self._queue.remove(pod.key)
            self._end_promise(pod.uid, now_s)
            self._on_gang(self._gangs.forget(pod.uid), now_s)
        else:
            self._on_pending(pod, now_s)

    def _on_assumed(self, pod: PodFacts, now_s: float) -> None:
        """Take in news of a pod from before our binding, which the watch has yet to show."""
        placing, assumed = self._placer.find(pod.uid), self._cache.pod(pod.uid)
        if placing is not None:
            placing.queued.pod = pod
        if assumed is not None:
            self._cache.assume(self._as_asked(pod), node=assumed.node_name, now_s=now_s)
            if pod.uid not in self._evicting:
                self._on_gang(self._gangs.see(pod, now_s=now_s), now_s)

    def _as_asked(self, pod: PodFacts) -> PodFacts:
        """What the watch shows of a pod may be from before we asked it to go."""
        if pod.uid not in self._evicting:
            return pod
        return replace(pod, is_terminating=True, is_preempted=True)

    def _on_taken_back(self, pod: PodFacts, now_s: float) -> None:
        self._gangs.take_back(pod.uid)
        if pod.uid in self._evicting:
            # It is pending again; should it go all the same, the watch will say so.
            self._evicting.discard(pod.uid)
            self._on_gang(self._gangs.see(pod, now_s=now_s), now_s)

    def _on_pending(self, pod: PodFacts, now_s: float) -> None:
        is_known = self._gangs.find(pod) is not None
        gang = self._gangs.see(pod, now_s=now_s)
        promised = self._nominations.node_of(pod.uid)
        if not promised and pod.key not in self._queue:
            # From before a restart of ours: its victims are on their way.
            promised = pod.nominated_node_name
        if promised and (gang is None or self._gangs.has_quorum(gang)):
            self._nominations.put(self._gangs.as_member(pod), node=promised)
        is_news = gang is not None and self._gangs.refresh(gang)
        self._queue.put(pod, now_s=now_s)
        if gang is not None and is_news:
            self._reconsider(gang, now_s)
        if gang is not None and not is_known and not self._gangs.has_quorum(gang):
            self._short.setdefault(gang.key, now_s + _PATIENCE_S)

    def _on_object(self, change: Change, key: str, now_s: float) -> None:
        """Take in that something changed that is neither node nor pod."""
        self._queue.wake(change, now_s=now_s)
        self._on_gang(self._gangs.named(key), now_s)
        self._is_sorted &= not self._order.moves_pods(change)

    def _on_gang(self, gang: Gang | None, now_s: float) -> None:
        """Take in that something about a gang changed."""
        if gang is not None and self._gangs.refresh(gang):
            self._reconsider(gang, now_s)

    def _end_promise(self, uid: str, now_s: float) -> None:
        """Let others have the room that a pod was promised."""
        promised = self._nominations.remove(uid)
        if promised is not None:
            change = Change(ClusterEvent.ASSIGNED_POD_DELETE, before=promised)
            self._queue.wake(change, now_s=now_s)

    def _reconsider(self, gang: Gang, now_s: float) -> None:
        self._short.pop(gang.key, None)
        if not self._gangs.has_quorum(gang):
            self._short[gang.key] = now_s + _PATIENCE_S
            for uid in gang.pending:
                self._end_promise(uid, now_s)
        self._queue.reconsider([pod.key for pod in gang.pending.values()], now_s=now_s)

    def _on_assigned(self, pod: PodFacts, now_s: float) -> None:
        before = self._cache.pod(pod.uid)
        self._queue.remove(pod.key)
        self._nominations.remove(pod.uid)
        pod = self._as_asked(pod)
        self._cache.add_pod(pod, now_s=now_s)
        if pod.scheduler_name in self._profiles:
            self._on_gang(self._gangs.see(pod, now_s=now_s), now_s)
        if before is None and not pod.start_time_s:
            # Bound a moment ago by someone else, perhaps on our advice as an extender: what the
            # predictor said cannot know of it.
            self._book.note_placed(pod, node=pod.node_name, now_s=now_s)
        if before is not None and before.node_name != pod.node_name:
            # Someone else bound it; what we held for it is free again.
            self._book.note_placed(pod, node=before.node_name, now_s=now_s, sign=-1)
        self._queue.wake(pod_change(before, pod), now_s=now_s)
        if before is not None and pod.priority < before.priority:
            # To those that may evict it from now on it is as good as gone.
            self._queue.wake(Change(ClusterEvent.ASSIGNED_POD_DELETE, before=before), now_s=now_s)

    def _on_pod_gone(
        self, key: str, uid: str, now_s: float, *, finished: PodFacts | None = None
    ) -> None:
        """Take in that a pod is no longer there, or has come to its end."""
        self._queue.remove(key)
        self._end_promise(uid, now_s)
        self._placer.on_gone(uid)
        self._evicting.discard(uid)
        gang = self._gangs.forget(uid) if finished is None else self._gangs.finish(finished)
        self._on_gang(gang, now_s)
        gone = self._cache.pod(uid)
        if self._cache.remove_pod(uid):
            self._queue.wake(Change(ClusterEvent.ASSIGNED_POD_DELETE, before=gone), now_s=now_s)

    def _on_evict_failed(self, uid: str, now_s: float) -> None:
        """Have its preemptor look for room anew."""
        self._evicting.discard(uid)
        self._cache.mark_preempted(uid, is_preempted=False)
        victim = self._cache.pod(uid)
        if victim is not None:
            self._on_gang(self._gangs.keep(victim, now_s=now_s), now_s)
            self._queue.wake(Change(ClusterEvent.ASSIGNED_POD_DELETE, before=victim), now_s=now_s)

    # ------------------------------------------------------------------------------- deciding

    def _tick(self, now_s: float) -> list[Action]:
        self._queue.flush(now_s=now_s)
        if not self._is_sorted:
            self._queue.sort()
            self._is_sorted = True
        actions = [*self._placer.advance(now_s=now_s), *self._disband(now_s)]
        actions += self._tell_short(now_s)
        for _ in range(self._settings.max_cycles_per_tick):
            queued = self._queue.peek()
            if queued is None or self.n_binding >= self._settings.max_binding:
                break
            pod = queued.pod
            if self.wants_prediction(pod, profile=pod.scheduler_name, now_s=now_s):
                # Of all active pods at once: each one's wait begins when it comes, not when its
                # turn does.
                actions += self._ask(self._queue.active_shapes(), now_s)
                break
            actions += self._attempt(queued, now_s)
        return actions

    def _attempt(self, queued: QueuedPod, now_s: float) -> list[Action]:
        gang = self._gangs.find(queued.pod)
        if gang is not None and self._gangs.n_missing(gang):
            return self._gang_attempts.attempt(gang, now_s=now_s)
        self._queue.pop()
        return self._attempts.attempt(queued, now_s=now_s)

    def _disband(self, now_s: float) -> list[Action]:
        """Take gangs off their nodes that did not become whole in time."""
        actions: list[Action] = []
        for gang in self._gangs.overdue(now_s=now_s):
            for member in list(gang.placed.values()):
                self._attempts.take_for_gone(member, now_s=now_s)
                actions.append(Evict.incomplete(member, gang=gang.key))
        return actions

    def _tell_short(self, now_s: float) -> list[Action]:
        """Say on pods, once they have waited a moment, that their gang is not all there."""
        actions: list[Action] = []
        for key in [key for key, due_s in self._short.items() if due_s <= now_s]:
            del self._short[key]
            gang = self._gangs.named(key)
            why = "" if gang is None else self._gangs.why_short(gang)
            if gang is not None and why:
                actions += [ReportFailure(p, "Unschedulable", why) for p in gang.pending.values()]
        return actions

    def _ask(self, wanted: Iterable[Shape], now_s: float) -> list[Action]:
        """Ask for the shapes that are neither settled nor asked for."""
        shapes = tuple(
            shape
            for shape in wanted
            if shape not in self._asking and not self._book.is_settled(shape, now_s=now_s)
        )
        self._asking.update(shapes)
        return [AskPrediction(shapes)] if shapes else []

    def _events_for(self, pod: PodFacts, rejectors: frozenset[str]) -> ClusterEvent:
        events = ClusterEvent(0) if self.snapshot.n_nodes else ClusterEvent.NODE_ADD
        for name in rejectors:
            plugin = self._plugins.get((pod.scheduler_name, name))
            events |= ClusterEvent(0) if plugin is None else plugin.wakes_on
        return events

    def _may_help(self, queued: QueuedPod, change: Change) -> bool:
        """Ask the plugins that refused a pod; without any, every change of its kinds may help."""
        scheduler = queued.pod.scheduler_name
        plugins = (self._plugins.get((scheduler, name)) for name in queued.rejectors)
        refused_by = [plugin for plugin in plugins if plugin is not None]
        return not refused_by or any(
            plugin.wakes_for(change) and plugin.may_help(queued.pod, change=change)
            for plugin in refused_by
        )

    def _gate(self, pod: PodFacts) -> str | None:
        for plugin in self._profiles[pod.scheduler_name].pre_enqueue:
            if not plugin.pre_enqueue(pod).is_success:
                return plugin.name
        gang = self._gangs.find(pod)
        return None if gang is None or self._gangs.has_quorum(gang) else GATE

    def _rank(self, queued: QueuedPod) -> SortKey:
        """Give a pod's place in the queue; a gang's members share theirs."""
        pod = queued.pod
        gang = self._gangs.find(pod)
        priority, size, _ = (pod.priority, 1, True) if gang is None else gang.standing
        waiting = Waiting(
            pod=pod,
            priority=priority,
            size=size,
            queued_at_s=queued.queued_at_s,
            since_s=queued.first_queued_at_s if gang is None else self._gangs.since_s(gang),
        )
        return self._order.sort_key(waiting, objects=self.snapshot.objects)
