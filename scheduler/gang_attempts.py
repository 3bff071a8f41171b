"""Attempts to place gangs: whole, or not at all."""

import math
from dataclasses import dataclass, field, replace

from scheduler.attempts import Attempts, Room, report
from scheduler.decision import Decision, PredictionNote
from scheduler.errors import PluginError
from scheduler.events import Action, Record
from scheduler.gangs import Gang
from scheduler.model import PodFacts
from scheduler.queue import QueuedPod
from scheduler.selection import Outcome


@dataclass(frozen=True, slots=True)
class _Rooms:
    """What came of looking for room for a gang."""

    found: list[Room] = field(default_factory=list)
    """Enough, with victims; empty if that cannot be."""
    promises_stand: bool = False
    """What members were promised before is still to come, or nothing was found out about it."""
    retry_at_s: float = math.inf
    """When to look again though nothing has changed."""


class GangAttempts:
    """Places the members of gangs together, or gives them back to the queue.

    Args:
        single: Places one pod.
    """

    def __init__(self, single: Attempts) -> None:
        self._single = single

    def attempt(self, gang: Gang, *, now_s: float) -> list[Action]:
        """Try to place the pending members of a gang together: enough of them, or none."""
        desk = self._single.desk
        pending = sorted(gang.pending.values(), key=lambda pod: (-pod.priority, pod.key))
        members = desk.queue.take([pod.key for pod in pending])
        if now_s < gang.rests_until_s:
            for queued in members:
                desk.queue.rest(queued, until_s=gang.rests_until_s)
            return []
        n_missing = desk.gangs.n_missing(gang)
        if len(members) < n_missing:
            return self._wait_for_others(gang, members, n_missing=n_missing, now_s=now_s)
        promised = self._promised(members)
        try:
            placed, failed = self._place_members(members, n_missing=n_missing, now_s=now_s)
        except PluginError as error:
            self._take_back(members, promised, now_s=now_s)
            return self._single.fail(members, error, now_s=now_s)
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
            self._single.put_back(queued, frozenset(), now_s=now_s)
            actions += [Record(self._untried(queued, why, now_s)), report(queued.pod, why, None)]
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
            n_nodes=self._single.desk.cache.snapshot.n_nodes,
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
            outcome = self._single.run_cycle(queued, now_s=now_s)
            refused = self._single.assume(queued, outcome, now_s=now_s)
            if refused is not None:
                decision = replace(outcome.decision, node=None, message=refused[1])
                outcome = replace(outcome, decision=decision)
            (failed if outcome.decision.node is None else placed).append((queued, outcome))
            if outcome.decision.node is not None:
                # It has the room that it was promised, or other: the rest need not leave it any.
                self._single.desk.nominations.remove(queued.pod.uid)
            if len(members) - len(failed) < n_missing:
                break
        return placed, failed

    def _take_back(
        self, members: list[QueuedPod], promised: list[tuple[PodFacts, str]], *, now_s: float
    ) -> None:
        for queued in reversed(members):
            self._single.desk.placer.take_back(queued.pod.uid, now_s=now_s)
        self._promise(promised)

    def _promised(self, members: list[QueuedPod]) -> list[tuple[PodFacts, str]]:
        """Tell which members are promised room, and where."""
        pods = [self._single.desk.gangs.as_member(queued.pod) for queued in members]
        nodes = [self._single.desk.nominations.node_of(pod.uid) for pod in pods]
        return [(pod, node) for pod, node in zip(pods, nodes, strict=True) if node]

    def _promise(self, promised: list[tuple[PodFacts, str]]) -> None:
        for pod, node in promised:
            self._single.desk.nominations.put(pod, node=node)

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
        self._single.desk.gangs.begin(gang, [queued.pod.uid for queued, _ in placed], now_s=now_s)
        for queued, outcome in placed:
            actions += [Record(outcome.decision), *self._single.go_on(queued, now_s=now_s)]
        for queued, outcome in failed:
            try:
                actions += self._single.make_room(queued, outcome, now_s=now_s)
            except PluginError as error:
                actions += self._single.fail([queued], error, now_s=now_s)
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
        needed = self._single.desk.gangs.n_missing(gang)
        why = f"gang {gang.key}: {n_placed} of {needed} members fit; {first.message}"
        rejectors = frozenset().union(*(outcome.found.rejectors for _, outcome in failed))
        rooms = self._find_rooms(gang, members, needed=needed, now_s=now_s)
        self._single.desk.gangs.fail(gang, now_s=now_s)
        actions: list[Action] = []
        is_over = not rooms.promises_stand
        if is_over:
            for queued in members:
                self._single.desk.nominations.remove(queued.pod.uid)
        for room in rooms.found:
            actions += self._single.preempt(room, now_s)
        rooms_by_uid = {room.pod.uid: room for room in rooms.found}
        rejectors |= {room.plugin for room in rooms.found if room.plugin}
        records: list[Action] = []
        for queued in members:
            own = rooms_by_uid.get(queued.pod.uid)
            self._single.put_back(queued, rejectors, retry_at_s=rooms.retry_at_s, now_s=now_s)
            records.append(Record(_about(first, queued=queued, message=why, room=own)))
            none = "" if is_over else None
            actions.append(report(queued.pod, why, none if own is None else own.node))
        return records + actions

    def _find_rooms(
        self, gang: Gang, members: list[QueuedPod], *, needed: int, now_s: float
    ) -> _Rooms:
        """Find room for enough members at once, with the priority that all of them have.

        What is tried is undone: the victims are still there, and nobody is placed.
        """
        desk, snapshot = self._single.desk, self._single.desk.cache.snapshot
        rooms: list[Room] = []
        promised = self._promised(members)
        try:
            for queued in members:
                pod = replace(queued.pod, priority=gang.priority)
                room = self._find_room(replace(queued, pod=pod), now_s=now_s)
                if isinstance(room, _Rooms):
                    return room
                for victim in room.victims:
                    snapshot.remove_pod(victim, node=victim.node_name)
                desk.cache.assume(pod, node=room.node)
                desk.nominations.remove(pod.uid)
                rooms.append(room)
                if len(rooms) == needed:
                    break
        except PluginError:
            return _Rooms(promises_stand=True)
        finally:
            for room in reversed(rooms):
                desk.cache.forget(room.pod.uid)
                for victim in room.victims:
                    snapshot.add_pod(victim, node=victim.node_name)
            self._promise(promised)
        return _Rooms(rooms if any(room.victims for room in rooms) else [])

    def _find_room(self, queued: QueuedPod, *, now_s: float) -> Room | _Rooms:
        """Find room for one member, or say why there is none for the gang."""
        outcome = self._single.run_cycle(queued, now_s=now_s)
        if outcome.decision.node is not None:
            return Room(queued.pod, outcome.decision.node)
        result = self._single.post_filter(queued.pod, outcome)
        if result is None:
            return _Rooms(promises_stand=True)
        if not result.status.is_success or not result.node:
            # A refusal that leaves the nomination as it is waits for what it was made for.
            return _Rooms(promises_stand=result.node is None, retry_at_s=result.retry_at_s)
        return Room.found(queued.pod, result)


def _about(decision: Decision, *, queued: QueuedPod, message: str, room: Room | None) -> Decision:
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
