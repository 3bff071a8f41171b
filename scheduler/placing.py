"""From the choice of a node to the binding: assume, reserve, permit, prepare, bind.

Until the API server has the binding everything can be taken back, and is if anything fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from scheduler.cache import ClusterCache
from scheduler.events import (
    Action,
    Bind,
    BindFailed,
    ReportFailure,
    ReportScheduled,
    WriteFirst,
)
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.framework.profile import Profile
from scheduler.framework.status import Code, Status
from scheduler.model import PodFacts
from scheduler.predictions import PredictionBook
from scheduler.queue import QueuedPod, SchedulingQueue

MAX_PERMIT_WAIT_S: Final = 15 * 60.0
_SUCCESS: Final = Code.SUCCESS.word


class Stage(Enum):
    """What a pod with a node waits for."""

    PERMIT = auto()
    """A Permit plugin."""
    WRITES = auto()
    """Writes of a PreBind plugin, which are under way."""
    OBJECTS = auto()
    """Objects to become what a PreBind plugin needs."""
    BINDING = auto()
    """The API server's answer to the binding."""


@dataclass(slots=True, kw_only=True)
class Placing:
    """A pod on its way to a node."""

    queued: QueuedPod
    node: str
    prediction_id: str
    state: CycleState
    stage: Stage = Stage.PERMIT
    deadlines_s: dict[str, float]
    """When the patience of a plugin that said Wait is over."""


class Placer:
    """Pods that have a node and are not bound yet.

    Args:
        profiles: By scheduler name.
        cache: Counts the pods on their nodes from now on.
        book: Is told what was given away, and taken back.
        queue: Where pods go that must try again.
        events_for: What wakes a pod that some plugins refused.
        on_taken_back: Told of every pod that is no longer on its way, and when.
    """

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        *,
        cache: ClusterCache,
        book: PredictionBook,
        queue: SchedulingQueue,
        events_for: Callable[[PodFacts, frozenset[str]], ClusterEvent],
        on_taken_back: Callable[[PodFacts, float], None],
    ) -> None:
        self._profiles = profiles
        self._cache = cache
        self._book = book
        self._queue = queue
        self._events_for = events_for
        self._on_taken_back = on_taken_back
        self._placing: dict[str, Placing] = {}

    def __len__(self) -> int:
        return len(self._placing)

    def find(self, uid: str) -> Placing | None:
        """Return a pod that is on its way."""
        return self._placing.get(uid)

    def assume(
        self,
        queued: QueuedPod,
        *,
        node: str,
        state: CycleState,
        prediction_id: str,
        now_s: float,
    ) -> tuple[str, Status] | None:
        """Count a pod on its node and set aside what it needs there.

        Returns:
            The plugin that refused to, with its reason, and then nothing is left assumed;
            ``None`` if all agreed.
        """
        pod = queued.pod
        self._cache.assume(pod, node=node, now_s=now_s)
        self._book.note_placed(pod, node=node, now_s=now_s)
        self._placing[pod.uid] = Placing(
            queued=queued, node=node, prediction_id=prediction_id, state=state, deadlines_s={}
        )
        profile = self._profile(pod)
        meter, since_s = profile.meter, profile.meter.now_s()
        for plugin in profile.reserve:
            status = plugin.reserve(state, pod=pod, node=node, snapshot=self._cache.snapshot)
            if not status.is_success:
                self.take_back(pod.uid, now_s=now_s)
                return plugin.name, status
        name = profile.scheduler_name
        meter.passed("Reserve", profile=name, status=_SUCCESS, since_s=since_s)
        return None

    def take_back(self, uid: str, *, now_s: float) -> Placing | None:
        """Undo ``assume``; a pod that is not on its way is no error."""
        placing = self._placing.pop(uid, None)
        if placing is None:
            return None
        self._unreserve(placing)
        pod = placing.queued.pod
        self._on_taken_back(pod, now_s)
        if self._cache.forget(uid):
            self._book.note_placed(pod, node=placing.node, now_s=now_s, sign=-1)
        return placing

    def advance(self, *, now_s: float) -> list[Action]:
        """Ask the plugins that made pods wait."""
        waiting = [
            each for each in self._placing.values() if each.stage in (Stage.PERMIT, Stage.OBJECTS)
        ]
        return [action for each in waiting for action in self.go_on(each, now_s=now_s)]

    def go_on(self, placing: Placing, *, now_s: float) -> list[Action]:
        """Take a pod as far as its plugins let it."""
        if placing.stage is Stage.PERMIT:
            refused = self._permit(placing, now_s=now_s)
            if refused is not None:
                return refused
        return self._prepare(placing, now_s=now_s)

    def on_written(self, uid: str, *, now_s: float) -> list[Action]:
        """Go on with a pod whose writes are done."""
        placing = self._placing.get(uid)
        return [] if placing is None else self._prepare(placing, now_s=now_s)

    def on_bound(self, uid: str, *, now_s: float) -> list[Action]:
        """Let a pod go that the API server has bound."""
        placing = self._placing.pop(uid, None)
        placed = self._cache.pod(uid)
        if placing is None or placed is None:
            return []
        for plugin in self._profile(placed).post_bind:
            plugin.post_bind(placed, node=placed.node_name)
        queued = placing.queued
        pending_s = now_s - queued.first_queued_at_s
        return [ReportScheduled(placed, placed.node_name, queued.attempts, pending_s)]

    def on_failed(self, failed: BindFailed, *, now_s: float) -> list[Action]:
        """Take back a pod that the API server did not bind, and try it again after back-off."""
        is_assumed = self._cache.is_assumed(failed.uid)
        placing = self.take_back(failed.uid, now_s=now_s)
        if placing is None or not is_assumed:
            return []
        queued = placing.queued
        self._wake_others(queued.pod, now_s=now_s)
        if not queued.pod.is_terminating:
            # Even a lost race: whatever the pod is now, the watch says so before back-off is over.
            self._queue.retry(queued, now_s=now_s)
        if failed.is_lost_race:
            return []
        return [ReportFailure(queued.pod, "SchedulerError", failed.message)]

    def on_gone(self, uid: str) -> None:
        """Forget a pod that was deleted on its way."""
        placing = self._placing.pop(uid, None)
        if placing is not None:
            self._unreserve(placing)

    def reject(self, uid: str, *, plugin: str, reason: str, now_s: float) -> list[Action]:
        """Refuse a pod on its way, and keep it until something changes."""
        placing = self.take_back(uid, now_s=now_s)
        if placing is None:
            return []
        queued, rejectors = placing.queued, frozenset({plugin})
        self._wake_others(queued.pod, now_s=now_s)
        self._queue.put_back(
            queued,
            wakes_on=self._events_for(queued.pod, rejectors),
            rejectors=rejectors,
            now_s=now_s,
        )
        return [ReportFailure(queued.pod, "Unschedulable", reason)]

    def _permit(self, placing: Placing, *, now_s: float) -> list[Action] | None:
        """Ask the Permit plugins; ``None`` if all agree."""
        pod = placing.queued.pod
        for plugin in self._profile(pod).permit:
            result = plugin.permit(placing.state, pod=pod, node=placing.node)
            if result.status.is_success:
                continue
            patience_s = min(result.timeout_s, MAX_PERMIT_WAIT_S)
            if self._may_wait(placing, plugin.name, result.status, patience_s, now_s=now_s):
                return []
            return self._refuse(placing, plugin.name, result.status, now_s=now_s)
        return None

    def _prepare(self, placing: Placing, *, now_s: float) -> list[Action]:
        """Ask the PreBind plugins what is missing; bind if nothing is."""
        pod, snapshot = placing.queued.pod, self._cache.snapshot
        for plugin in self._profile(pod).pre_bind:
            result = plugin.pre_bind(placing.state, pod=pod, node=placing.node, snapshot=snapshot)
            if result.writes:
                placing.stage = Stage.WRITES
                return [WriteFirst(pod, tuple(result.writes))]
            if result.status.is_success:
                continue
            placing.stage = Stage.OBJECTS
            patience_s = result.timeout_s
            if self._may_wait(placing, plugin.name, result.status, patience_s, now_s=now_s):
                return []
            return self._refuse(placing, plugin.name, result.status, now_s=now_s)
        placing.stage = Stage.BINDING
        for binder in self._profile(pod).bind:
            if binder.bind(pod, node=placing.node).is_success:
                return [Bind(pod, placing.node, placing.prediction_id)]
        status = Status(Code.ERROR, ("no Bind plugin takes this pod",))
        return self._refuse(placing, "", status, now_s=now_s)

    def _may_wait(
        self, placing: Placing, plugin: str, status: Status, patience_s: float, *, now_s: float
    ) -> bool:
        if status.code is not Code.WAIT:
            return False
        return now_s < placing.deadlines_s.setdefault(plugin, now_s + patience_s)

    def _refuse(
        self, placing: Placing, plugin: str, status: Status, *, now_s: float
    ) -> list[Action]:
        uid = placing.queued.pod.uid
        if status.code is Code.ERROR:
            return self.on_failed(BindFailed(uid, ", ".join(status.reasons)), now_s=now_s)
        is_late = status.code is Code.WAIT
        reason = f"waited too long for {plugin}" if is_late else ", ".join(status.reasons)
        return self.reject(uid, plugin=plugin, reason=reason, now_s=now_s)

    def _unreserve(self, placing: Placing) -> None:
        pod = placing.queued.pod
        for plugin in reversed(self._profile(pod).reserve):
            plugin.unreserve(placing.state, pod=pod, node=placing.node)

    def _wake_others(self, pod: PodFacts, *, now_s: float) -> None:
        """What the pod held is free again, for others."""
        self._queue.wake(Change(ClusterEvent.ASSIGNED_POD_DELETE, before=pod), now_s=now_s)

    def _profile(self, pod: PodFacts) -> Profile:
        return self._profiles[pod.scheduler_name]
