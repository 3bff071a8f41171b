"""Attempts to place pods, alone or as a gang, and what is done when there is no room."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from scheduler.cache import ClusterCache
from scheduler.decision import Decision, PredictionNote
from scheduler.errors import PluginError
from scheduler.events import Action, Evict, Record, ReportFailure
from scheduler.framework.interface import ClusterEvent, FailedSearch, PostFilterResult
from scheduler.framework.nominations import Nominations
from scheduler.framework.profile import Profile
from scheduler.framework.runtime import run_post_filters
from scheduler.framework.standing import Standings
from scheduler.gangs import Gang, GangBook
from scheduler.model import PodFacts
from scheduler.placing import Placer, Stage
from scheduler.plugins.default_preemption import DefaultPreemption
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
class _Room:
    """Where a member of a gang would find room, and without whom."""

    pod: PodFacts
    node: str
    victims: tuple[PodFacts, ...] = ()


class Attempts:
    """Places pods that the queue gave out, or gives them back to it.

    Args:
        desk: What to work with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._standings = {name: Standings(each) for name, each in desk.profiles.items()}

    # ---------------------------------------------------------------------------------- one pod

    def attempt(self, queued: QueuedPod, *, now_s: float) -> list[Action]:
        """Try to place a pod that goes alone."""
        try:
            outcome = self._run_cycle(queued, now_s=now_s)
            refused = self._assume(queued, outcome, now_s=now_s)
        except PluginError as error:
            return self._fail([queued], error, now_s=now_s)
        if outcome.decision.node is None:
            return self._make_room(queued, outcome, now_s=now_s)
        if refused is not None:
            return self._refuse(queued, outcome, refused, now_s=now_s)
        self._desk.nominations.remove(queued.pod.uid)
        return [Record(outcome.decision), *self._go_on(queued, now_s=now_s)]

    def cycle(self, scheduler_name: str) -> Cycle:
        """Return what the next cycle of a profile will work with."""
        desk = self._desk
        return Cycle(
            profile=desk.profiles[scheduler_name],
            book=desk.book,
            snapshot=desk.cache.snapshot,
            standings=self._standings[scheduler_name],
            nominations=desk.nominations,
            seed=desk.seed,
            n_recorded_nodes=desk.n_recorded_nodes,
        )

    def _run_cycle(self, queued: QueuedPod, *, now_s: float) -> Outcome:
        return run_cycle(self.cycle(queued.pod.scheduler_name), queued=queued, now_s=now_s)

    def _assume(
        self, queued: QueuedPod, outcome: Outcome, *, now_s: float
    ) -> tuple[str, str] | None:
        """Count a pod on the node chosen for it.

        Returns:
            The plugin that refused, and why; ``None`` if none did, or no node was chosen.
        """
        decision = outcome.decision
        if decision.node is None:
            return None
        refused = self._desk.placer.assume(
            queued,
            node=decision.node,
            state=outcome.state,
            prediction_id=decision.prediction.prediction_id,
            now_s=now_s,
        )
        return None if refused is None else (refused[0], ", ".join(refused[1].reasons))

    def _go_on(self, queued: QueuedPod, *, now_s: float) -> list[Action]:
        placing = self._desk.placer.find(queued.pod.uid)
        return [] if placing is None else self._desk.placer.go_on(placing, now_s=now_s)

    def _refuse(
        self, queued: QueuedPod, outcome: Outcome, refused: tuple[str, str], *, now_s: float
    ) -> list[Action]:
        plugin, message = refused
        self._put_back(queued, frozenset({plugin}), now_s=now_s)
        decision = replace(outcome.decision, node=None, message=message)
        return [Record(decision), ReportFailure(queued.pod, "Unschedulable", message)]

    def _fail(self, members: list[QueuedPod], error: PluginError, *, now_s: float) -> list[Action]:
        for queued in members:
            self._desk.queue.retry(queued, now_s=now_s)
        return [ReportFailure(queued.pod, "SchedulerError", str(error)) for queued in members]

    def _put_back(self, queued: QueuedPod, rejectors: frozenset[str], *, now_s: float) -> None:
        events = self._desk.events_for(queued.pod, rejectors)
        self._desk.queue.put_back(queued, wakes_on=events, rejectors=rejectors, now_s=now_s)

    # --------------------------------------------------------------------------------- preemption

    def _make_room(self, queued: QueuedPod, outcome: Outcome, *, now_s: float) -> list[Action]:
        """Ask the PostFilter plugins, and say what came of it."""
        pod, decision = self._desk.gangs.as_member(queued.pod), outcome.decision
        rejectors, nominated, evictions = outcome.found.rejectors, None, list[Action]()
        result = self._post_filter(pod, outcome)
        if result is not None:
            nominated = result.node
            if result.status.is_success:
                rejectors |= {DefaultPreemption.name}
                evictions = self._preempt(_Room(pod, result.node or "", result.victims), now_s)
            decision = replace(
                decision,
                message=" ".join((decision.message, *result.status.reasons)),
                nominated_node=nominated or "",
                victims=tuple(victim.key for victim in result.victims),
            )
        if nominated == "":
            self._desk.nominations.remove(pod.uid)
        self._put_back(queued, rejectors, now_s=now_s)
        return [Record(decision), *evictions, _report(pod, decision.message, nominated)]

    def _post_filter(self, pod: PodFacts, outcome: Outcome) -> PostFilterResult | None:
        desk = self._desk
        if len(desk.evicting) >= desk.max_evicting:
            return None
        search = FailedSearch(
            snapshot=desk.cache.snapshot,
            found=outcome.found,
            refilter=outcome.refilter,
            nominations=desk.nominations,
            signature=outcome.signature,
        )
        profile = desk.profiles[pod.scheduler_name]
        return run_post_filters(profile, state=outcome.state, pod=pod, search=search)

    def _preempt(self, room: _Room, now_s: float) -> list[Action]:
        """Nominate a pod, and ask to go who is in its way, or was promised its room for less."""
        desk, actions = self._desk, list[Action]()
        for other in desk.nominations.on_node(room.node):
            if other.priority < room.pod.priority:
                desk.nominations.remove(other.uid)
        desk.nominations.put(room.pod, node=room.node)
        for victim in room.victims:
            waiting = desk.placer.find(victim.uid)
            if waiting is not None and waiting.stage is not Stage.BINDING:
                # Not at the API server yet: it need not be deleted.
                actions += desk.placer.reject(
                    victim.uid, plugin=DefaultPreemption.name, reason="preempted", now_s=now_s
                )
            elif victim.uid not in desk.evicting:
                desk.evicting.add(victim.uid)
                desk.cache.mark_preempted(victim.uid, is_preempted=True)
                desk.on_gang(desk.gangs.forget(victim.uid), now_s)
                actions.append(Evict.preempted(victim, by=room.pod, node=room.node))
        return actions

    # -------------------------------------------------------------------------------------- gangs

    def attempt_gang(self, gang: Gang, *, now_s: float) -> list[Action]:
        """Try to place the pending members of a gang together: enough of them, or none."""
        desk = self._desk
        pending = sorted(gang.pending.values(), key=lambda pod: (-pod.priority, pod.key))
        members = desk.queue.take([pod.key for pod in pending])
        n_missing = desk.gangs.n_missing(gang)
        if len(members) < n_missing:
            return self._wait_for_others(gang, members, n_missing=n_missing, now_s=now_s)
        promised = self._promised(members)
        try:
            placed, failed = self._place_members(members, n_missing=n_missing, now_s=now_s)
        except PluginError as error:
            self._take_back(members, promised, now_s=now_s)
            return self._fail(members, error, now_s=now_s)
        if len(placed) >= n_missing:
            return self._send_off(gang, placed, failed, now_s=now_s)
        self._take_back(members, promised, now_s=now_s)
        return self._give_up(gang, members, failed, n_placed=len(placed), now_s=now_s)

    def _wait_for_others(
        self, gang: Gang, members: list[QueuedPod], *, n_missing: int, now_s: float
    ) -> list[Action]:
        """Put members back that others, which are gated, keep waiting."""
        why = f"gang {gang.key}: {len(members)} of {n_missing} members may be scheduled"
        actions: list[Action] = []
        for queued in members:
            self._put_back(queued, frozenset(), now_s=now_s)
            actions += [Record(self._untried(queued, why, now_s)), _report(queued.pod, why, None)]
        return actions

    def _untried(self, queued: QueuedPod, why: str, now_s: float) -> Decision:
        """Write down that no node was looked at for a pod."""
        pod = queued.pod
        return Decision(
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid,
            profile=pod.scheduler_name,
            attempt=queued.attempts,
            decided_at_s=now_s,
            queued_s=now_s - queued.first_queued_at_s,
            node=None,
            n_nodes=self._desk.cache.snapshot.n_nodes,
            n_feasible=0,
            refusals={},
            message=why,
            prediction=PredictionNote("not asked"),
        )

    def _place_members(
        self, members: list[QueuedPod], *, n_missing: int, now_s: float
    ) -> tuple[list[tuple[QueuedPod, Outcome]], list[tuple[QueuedPod, Outcome]]]:
        """Assume members one after another, until it is clear that too few will fit."""
        placed: list[tuple[QueuedPod, Outcome]] = []
        failed: list[tuple[QueuedPod, Outcome]] = []
        for queued in members:
            outcome = self._run_cycle(queued, now_s=now_s)
            refused = self._assume(queued, outcome, now_s=now_s)
            if refused is not None:
                decision = replace(outcome.decision, node=None, message=refused[1])
                outcome = replace(outcome, decision=decision)
            (failed if outcome.decision.node is None else placed).append((queued, outcome))
            if outcome.decision.node is not None:
                # It has the room that it was promised, or other: the rest need not leave it any.
                self._desk.nominations.remove(queued.pod.uid)
            if len(members) - len(failed) < n_missing:
                break
        return placed, failed

    def _take_back(
        self, members: list[QueuedPod], promised: list[tuple[PodFacts, str]], *, now_s: float
    ) -> None:
        for queued in reversed(members):
            self._desk.placer.take_back(queued.pod.uid, now_s=now_s)
        self._promise(promised)

    def _promised(self, members: list[QueuedPod]) -> list[tuple[PodFacts, str]]:
        """Tell which members are promised room, and where."""
        pods = [self._desk.gangs.as_member(queued.pod) for queued in members]
        nodes = [self._desk.nominations.node_of(pod.uid) for pod in pods]
        return [(pod, node) for pod, node in zip(pods, nodes, strict=True) if node]

    def _promise(self, promised: list[tuple[PodFacts, str]]) -> None:
        for pod, node in promised:
            self._desk.nominations.put(pod, node=node)

    def _send_off(
        self,
        gang: Gang,
        placed: list[tuple[QueuedPod, Outcome]],
        failed: list[tuple[QueuedPod, Outcome]],
        *,
        now_s: float,
    ) -> list[Action]:
        """Bind the members that have nodes; the others are more than are needed, and wait."""
        actions: list[Action] = []
        self._desk.gangs.begin(gang, [queued.pod.uid for queued, _ in placed], now_s=now_s)
        for queued, outcome in placed:
            actions += [Record(outcome.decision), *self._go_on(queued, now_s=now_s)]
        for queued, outcome in failed:
            actions += self._make_room(queued, outcome, now_s=now_s)
        return actions

    def _give_up(
        self,
        gang: Gang,
        members: list[QueuedPod],
        failed: list[tuple[QueuedPod, Outcome]],
        *,
        n_placed: int,
        now_s: float,
    ) -> list[Action]:
        """Put all members back, and make room for all of them if that can be done."""
        first = failed[0][1].decision
        needed = self._desk.gangs.n_missing(gang)
        why = f"gang {gang.key}: {n_placed} of {needed} members fit; {first.message}"
        rejectors = frozenset().union(*(outcome.found.rejectors for _, outcome in failed))
        rooms = self._find_rooms(gang, members, needed=needed, now_s=now_s)
        actions: list[Action] = []
        is_over = bool(rooms) or not self._awaits_victims(gang, members)
        if is_over:
            for queued in members:
                self._desk.nominations.remove(queued.pod.uid)
        for room in rooms:
            actions += self._preempt(room, now_s)
        rooms_by_uid = {room.pod.uid: room for room in rooms}
        rejectors |= {DefaultPreemption.name} if rooms else frozenset()
        records: list[Action] = []
        for queued in members:
            own = rooms_by_uid.get(queued.pod.uid)
            self._put_back(queued, rejectors, now_s=now_s)
            records.append(Record(_about(first, queued=queued, message=why, room=own)))
            none = "" if is_over else None
            actions.append(_report(queued.pod, why, none if own is None else own.node))
        return records + actions

    def _awaits_victims(self, gang: Gang, members: list[QueuedPod]) -> bool:
        """Tell whether pods have yet to go that were asked to for this gang."""
        snapshot = self._desk.cache.snapshot
        rows = {snapshot.rows[node] for _, node in self._promised(members) if node in snapshot.rows}
        return any(
            pod.is_terminating and pod.is_preempted and pod.priority < gang.priority
            for row in sorted(rows)
            for pod in snapshot.pods_on(row)
        )

    def _find_rooms(
        self, gang: Gang, members: list[QueuedPod], *, needed: int, now_s: float
    ) -> list[_Room]:
        """Find room for enough members at once, with the priority that all of them have.

        What is tried is undone: the victims are still there, and nobody is placed.
        """
        desk, snapshot = self._desk, self._desk.cache.snapshot
        rooms: list[_Room] = []
        promised = self._promised(members)
        try:
            for queued in members:
                pod = replace(queued.pod, priority=gang.priority)
                room = self._find_room(replace(queued, pod=pod), now_s=now_s)
                if room is None:
                    return []
                for victim in room.victims:
                    snapshot.remove_pod(victim, node=victim.node_name)
                desk.cache.assume(pod, node=room.node)
                desk.nominations.remove(pod.uid)
                rooms.append(room)
                if len(rooms) == needed:
                    break
        except PluginError:
            return []
        finally:
            for room in reversed(rooms):
                desk.cache.forget(room.pod.uid)
                for victim in room.victims:
                    snapshot.add_pod(victim, node=victim.node_name)
            self._promise(promised)
        return rooms if any(room.victims for room in rooms) else []

    def _find_room(self, queued: QueuedPod, *, now_s: float) -> _Room | None:
        outcome = self._run_cycle(queued, now_s=now_s)
        if outcome.decision.node is not None:
            return _Room(queued.pod, outcome.decision.node)
        result = self._post_filter(queued.pod, outcome)
        if result is None or not result.status.is_success or not result.node:
            return None
        return _Room(queued.pod, result.node, result.victims)


def _report(pod: PodFacts, message: str, nominated: str | None) -> ReportFailure:
    is_news = nominated is not None and nominated != pod.nominated_node_name
    return ReportFailure(
        pod, "Unschedulable", message, nominated_node=nominated if is_news else None
    )


def _about(decision: Decision, *, queued: QueuedPod, message: str, room: _Room | None) -> Decision:
    """Say of one member what was decided about its gang."""
    return replace(
        decision,
        namespace=queued.pod.namespace,
        name=queued.pod.name,
        uid=queued.pod.uid,
        attempt=queued.attempts,
        message=message,
        nominated_node="" if room is None else room.node,
        victims=() if room is None else tuple(victim.key for victim in room.victims),
    )
