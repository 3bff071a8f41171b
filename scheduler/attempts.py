"""Attempts to place a pod, and what is done when there is no room."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from scheduler.cache import ClusterCache
from scheduler.errors import PluginError
from scheduler.events import Action, Evict, Record, ReportFailure
from scheduler.framework.blame import blaming_plugins
from scheduler.framework.interface import ClusterEvent, FailedSearch, PostFilterResult
from scheduler.framework.nominations import Nominations
from scheduler.framework.profile import Profile
from scheduler.framework.runtime import run_post_filters
from scheduler.framework.standing import Standings
from scheduler.gangs import Gang, GangBook
from scheduler.model import PodFacts
from scheduler.placing import Placer, Stage
from scheduler.predictions import PredictionBook
from scheduler.queue import QueuedPod, SchedulingQueue
from scheduler.selection import Cycle, Outcome, run_cycle

EventsFor = Callable[[PodFacts, frozenset[str]], ClusterEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What attempts work with; the engine's own parts."""

    profiles: Mapping[str, Profile]
    cache: ClusterCache
    book: PredictionBook
    queue: SchedulingQueue
    placer: Placer
    nominations: Nominations
    gangs: GangBook
    evicting: set[str]
    """Pods that we have asked to go, and that are still there."""
    events_for: EventsFor
    on_gang: Callable[[Gang | None, float], None]
    """Told of every gang that something changed about, and when."""
    seed: int
    n_recorded_nodes: int
    max_evicting: int


@dataclass(frozen=True, slots=True)
class Room:
    """Where a pod would find room, and without whom."""

    pod: PodFacts
    node: str
    victims: tuple[PodFacts, ...] = ()
    plugin: str = ""
    """Who found it, if nobody has it yet."""

    @classmethod
    def found(cls, pod: PodFacts, result: PostFilterResult) -> "Room":
        """Read what a PostFilter plugin found."""
        return cls(pod, result.node or "", result.victims, result.plugin)


class Attempts:
    """Places pods that the queue gave out, or gives them back to it.

    Args:
        desk: What to work with.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._standings = {name: Standings(each) for name, each in desk.profiles.items()}

    # ---------------------------------------------------------------------------------- one pod

    def attempt(self, queued: QueuedPod, *, now_s: float) -> list[Action]:
        """Try to place a pod that goes alone."""
        try:
            outcome = self.run_cycle(queued, now_s=now_s)
            refused = self.assume(queued, outcome, now_s=now_s)
            if outcome.decision.node is None:
                return self.make_room(queued, outcome, now_s=now_s)
        except PluginError as error:
            return self.fail([queued], error, now_s=now_s)
        if refused is not None:
            return self._refuse(queued, outcome, refused, now_s=now_s)
        self.desk.nominations.remove(queued.pod.uid)
        return [Record(outcome.decision), *self.go_on(queued, now_s=now_s)]

    def cycle(self, scheduler_name: str) -> Cycle:
        """Return what the next cycle of a profile will work with."""
        desk = self.desk
        return Cycle(
            profile=desk.profiles[scheduler_name].for_cycle(),
            book=desk.book,
            snapshot=desk.cache.snapshot,
            standings=self._standings[scheduler_name],
            nominations=desk.nominations,
            waiting=desk.queue.waiting,
            seed=desk.seed,
            n_recorded_nodes=desk.n_recorded_nodes,
        )

    def run_cycle(self, queued: QueuedPod, *, now_s: float) -> Outcome:
        """Look for a node, and find out why there is none.

        Raises:
            PluginError: A plugin broke its contract, or failed.
        """
        with blaming_plugins():
            return run_cycle(self.cycle(queued.pod.scheduler_name), queued=queued, now_s=now_s)

    def assume(
        self, queued: QueuedPod, outcome: Outcome, *, now_s: float
    ) -> tuple[str, str] | None:
        """Count a pod on the node chosen for it.

        Returns:
            The plugin that refused, and why; ``None`` if none did, or no node was chosen.
        """
        decision = outcome.decision
        if decision.node is None:
            return None
        refused = self.desk.placer.assume(
            queued,
            node=decision.node,
            state=outcome.state,
            prediction_id=decision.prediction.prediction_id,
            now_s=now_s,
        )
        return None if refused is None else (refused[0], ", ".join(refused[1].reasons))

    def go_on(self, queued: QueuedPod, *, now_s: float) -> list[Action]:
        """Take a pod that was assumed as far as its plugins let it."""
        placing = self.desk.placer.find(queued.pod.uid)
        return [] if placing is None else self.desk.placer.go_on(placing, now_s=now_s)

    def _refuse(
        self, queued: QueuedPod, outcome: Outcome, refused: tuple[str, str], *, now_s: float
    ) -> list[Action]:
        plugin, message = refused
        self.put_back(queued, frozenset({plugin}), now_s=now_s)
        decision = replace(outcome.decision, node=None, message=message)
        return [Record(decision), ReportFailure(queued.pod, "Unschedulable", message)]

    def fail(self, members: list[QueuedPod], error: PluginError, *, now_s: float) -> list[Action]:
        """Try pods again after back-off for which a plugin broke its contract."""
        for queued in members:
            self.desk.queue.retry(queued, now_s=now_s)
        return [ReportFailure(queued.pod, "SchedulerError", str(error)) for queued in members]

    def put_back(
        self,
        queued: QueuedPod,
        rejectors: frozenset[str],
        *,
        retry_at_s: float = math.inf,
        now_s: float,
    ) -> None:
        """Keep a pod until something changes that may sway those who refused it, or that time."""
        gang = self.desk.gangs.find(queued.pod)
        self.desk.queue.put_back(
            queued,
            wakes_on=self.desk.events_for(queued.pod, rejectors),
            rejectors=rejectors,
            rests_until_s=0.0 if gang is None else gang.rests_until_s,
            retry_at_s=retry_at_s,
            now_s=now_s,
        )

    # --------------------------------------------------------------------------------- preemption

    def make_room(self, queued: QueuedPod, outcome: Outcome, *, now_s: float) -> list[Action]:
        """Ask the PostFilter plugins, and say what came of it.

        Raises:
            PluginError: One of them failed; nothing was changed.
        """
        pod, decision = self.desk.gangs.as_member(queued.pod), outcome.decision
        rejectors, nominated, evictions = outcome.found.rejectors, None, list[Action]()
        retry_at_s = math.inf
        result = self.post_filter(pod, outcome)
        if result is not None:
            nominated, retry_at_s = result.node, result.retry_at_s
            if result.status.is_success:
                rejectors |= {result.plugin}
                evictions = self.preempt(Room.found(pod, result), now_s)
            decision = replace(
                decision,
                message=" ".join((decision.message, *result.status.reasons)),
                nominated_node=nominated or "",
                victims=tuple(victim.key for victim in result.victims),
            )
        if nominated == "":
            self.desk.nominations.remove(pod.uid)
        self.put_back(queued, rejectors, retry_at_s=retry_at_s, now_s=now_s)
        return [Record(decision), *evictions, report(pod, decision.message, nominated)]

    def post_filter(self, pod: PodFacts, outcome: Outcome) -> PostFilterResult | None:
        """Ask the PostFilter plugins; ``None`` if there is none, or too many are asked to go.

        Raises:
            PluginError: One of them failed.
        """
        desk = self.desk
        if len(desk.evicting) >= desk.max_evicting:
            return None
        search = FailedSearch(
            snapshot=desk.cache.snapshot,
            found=outcome.found,
            refilter=outcome.refilter,
            afresh=outcome.afresh,
            nominations=desk.nominations,
            now_s=outcome.decision.decided_at_s,
            signature=outcome.signature,
        )
        profile = desk.profiles[pod.scheduler_name].for_rest_of_cycle()
        with blaming_plugins():
            return run_post_filters(profile, state=outcome.state, pod=pod, search=search)

    def take_for_gone(self, pod: PodFacts, *, now_s: float) -> None:
        """Count a pod that is asked to go as one that is going, and no longer in its gang."""
        desk = self.desk
        desk.evicting.add(pod.uid)
        desk.cache.mark_preempted(pod.uid, is_preempted=True)
        desk.on_gang(desk.gangs.forget(pod.uid), now_s)

    def preempt(self, room: Room, now_s: float) -> list[Action]:
        """Nominate a pod, and ask to go who is in its way, or was promised its room for less."""
        desk, actions = self.desk, list[Action]()
        for other in desk.nominations.on_node(room.node):
            if other.priority < room.pod.priority:
                desk.nominations.remove(other.uid)
        desk.nominations.put(room.pod, node=room.node)
        for victim in room.victims:
            waiting = desk.placer.find(victim.uid)
            if waiting is not None and waiting.stage is not Stage.BINDING:
                # Not at the API server yet: it need not be deleted.
                actions += desk.placer.reject(
                    victim.uid, plugin=room.plugin, reason="preempted", now_s=now_s
                )
            elif victim.uid not in desk.evicting:
                self.take_for_gone(victim, now_s=now_s)
                actions.append(Evict.preempted(victim, by=room.pod, node=room.node))
        return actions


def report(pod: PodFacts, message: str, nominated: str | None) -> ReportFailure:
    """Say why a pod waits, and where it is nominated, if that is news."""
    is_news = nominated is not None and nominated != pod.nominated_node_name
    return ReportFailure(
        pod, "Unschedulable", message, nominated_node=nominated if is_news else None
    )
