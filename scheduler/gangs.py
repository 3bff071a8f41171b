"""Gangs: pods that are worth running only together.

A gang is the pods of one namespace that name the same group, by annotation ``pod-group`` or by the
label of a ``PodGroup`` of ``scheduling.x-k8s.io/v1alpha1``. Once it has run whole, a member that
dies is replaced, and one that comes late joins, like any other pod.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from kube.custom import PodGroup
from scheduler.framework.objects import ClusterObjects
from scheduler.model import POD_GROUP_LABEL, PodFacts
from scheduler.plugins.coscheduling import Coscheduling, CoschedulingArgs

GATE: Final = Coscheduling.name
"""What keeps a pod out of the queue while too few of its gang are known."""

_DEFAULTS: Final = CoschedulingArgs()


@dataclass(slots=True)
class Gang:
    """What is known of one gang."""

    key: str
    pending: dict[str, PodFacts] = field(default_factory=dict)
    """Members without a node, by uid."""
    placed: dict[str, PodFacts] = field(default_factory=dict)
    """Members that the API server says are on a node, and that are there to stay, by uid."""
    succeeded: dict[str, str] = field(default_factory=dict)
    """Members that have done their part, for as long as the API server knows of them: the uids of
    their controllers by their own."""
    coming: set[str] = field(default_factory=set)
    """Members that were given nodes together and are not all known to be bound yet."""
    n_coming: int = 0
    """How many they were."""
    deadline_s: float | None = None
    """By when they must be; ``None``: nothing is under way."""
    is_old: bool = False
    """It was found in part on nodes, longer than its timeout after that began."""
    standing: tuple[int, int, bool] = (0, 0, False)
    """Priority, size and quorum, as ``GangBook.refresh`` found them last; of size 0 before."""
    made_at_s: float = float("inf")
    """When the first of its members was made."""
    failed_at_s: float | None = None
    """When it was last found not to fit as a whole."""
    rests_until_s: float = 0.0
    """It is not tried before."""
    has_run: bool = False
    """It was whole once: what is left of it is not a subset that should not be."""

    @property
    def members(self) -> Iterable[PodFacts]:
        """All that are known."""
        return [*self.placed.values(), *self.pending.values()]

    @property
    def n_done(self) -> int:
        """How many have done their part for the members that are there.

        A controller's next run, such as a cron job's, has nothing from the last one's.
        """
        controllers = {_controller_uid(member) for member in self.members} if self.succeeded else ()
        return sum(controller in controllers for controller in self.succeeded.values())

    @property
    def priority(self) -> int:
        """The least of its members'; 0 if all have succeeded."""
        return min((member.priority for member in self.members), default=0)


class GangBook:
    """All gangs with members that are pending, placed or done; as large as those are many.

    Args:
        objects: Where PodGroups are found.
        arguments: Of the plugin that stands for gangs, by scheduler name; where a profile has no
            such plugin, its defaults hold.
    """

    def __init__(
        self, objects: ClusterObjects, *, arguments: Mapping[str, CoschedulingArgs] | None = None
    ) -> None:
        self._objects = objects
        self._arguments = arguments or {}
        self._gangs: dict[str, Gang] = {}
        self._group_of: dict[str, str] = {}
        self._timed: set[str] = set()
        """Gangs with a deadline."""

    def find(self, pod: PodFacts) -> Gang | None:
        """Return the gang that a pod is a known member of, if any."""
        return self._gangs.get(self._group_of.get(pod.uid, ""))

    def as_member(self, pod: PodFacts) -> PodFacts:
        """Give a pod the priority that it has as a member of its gang, if it is one."""
        gang = self.find(pod)
        return pod if gang is None else replace(pod, priority=gang.priority)

    def see(self, pod: PodFacts, *, now_s: float) -> Gang | None:
        """Take in a pod that is pending, or on a node; gives its gang, if it has one.

        One that is asked to go counts as gone: what is then left is whole without it, or is not.
        """
        if pod.is_terminating:
            return self.forget(pod.uid)
        if self._group_of.get(pod.uid, pod.group_key) != pod.group_key:
            self.forget(pod.uid)
        if not pod.pod_group:
            return None
        gang = self._gangs.setdefault(pod.group_key, Gang(pod.group_key))
        self._group_of[pod.uid] = gang.key
        gang.made_at_s = min(gang.made_at_s, pod.created_at_s)
        if not pod.node_name:
            gang.pending[pod.uid] = pod
            return gang
        gang.pending.pop(pod.uid, None)
        gang.placed[pod.uid] = pod
        gang.coming.discard(pod.uid)
        self._settle(gang, pod, now_s=now_s)
        return gang

    def keep(self, pod: PodFacts, *, now_s: float) -> Gang | None:
        """Take in that a placed pod that was asked to go is there to stay; gives its gang."""
        if not pod.pod_group:
            return None
        gang = self._gangs.setdefault(pod.group_key, Gang(pod.group_key))
        if not gang.has_run and gang.deadline_s is None:
            # How long it has been there says nothing: it was to go because it was not whole.
            self._set_deadline(gang, from_s=now_s)
        return self.see(pod, now_s=now_s)

    def finish(self, pod: PodFacts) -> Gang | None:
        """Take in that a pod has come to its end; gives the gang it leaves behind, if any is left.

        Who succeeded has done its part: whoever is to replace others need not wait for it.
        """
        if not (pod.pod_group and pod.has_succeeded):
            return self.forget(pod.uid)
        gang = self._gangs.setdefault(pod.group_key, Gang(pod.group_key))
        self._group_of[pod.uid] = gang.key
        gang.pending.pop(pod.uid, None)
        gang.placed.pop(pod.uid, None)
        gang.coming.discard(pod.uid)
        gang.succeeded[pod.uid] = _controller_uid(pod)
        self._settle_rest(gang)
        return gang

    def forget(self, uid: str) -> Gang | None:
        """Take in that a pod is gone; gives the gang it leaves behind, if any is left."""
        gang = self._gangs.get(self._group_of.pop(uid, ""))
        if gang is None:
            return None
        gang.pending.pop(uid, None)
        gang.placed.pop(uid, None)
        gang.succeeded.pop(uid, None)
        if uid in gang.coming:
            gang.coming.discard(uid)
            gang.n_coming -= 1
        if not (gang.pending or gang.placed or gang.succeeded):
            del self._gangs[gang.key]
            self._timed.discard(gang.key)
            return None
        self._settle_rest(gang)
        return gang

    def min_members(self, gang: Gang) -> int:
        """Tell how many members must run together: all that are known, if nobody says."""
        group = self._objects.find(PodGroup, gang.key)
        if group is not None:
            return group.spec.min_member
        sizes = [m.pod_group_size for m in gang.members if m.pod_group_size is not None]
        if sizes:
            return max(sizes)
        return gang.n_coming or len(gang.placed) + len(gang.pending)

    def n_missing(self, gang: Gang) -> int:
        """Tell how many more members must be placed together; 0 if each may go alone."""
        if gang.has_run:
            return 0
        n_there = len(gang.placed) + len(gang.coming) + gang.n_done
        return max(0, self.min_members(gang) - n_there)

    def has_quorum(self, gang: Gang) -> bool:
        """Tell whether enough members are known for an attempt."""
        if self._awaits_group(gang):
            return False
        return len(gang.pending) - len(gang.coming) >= self.n_missing(gang)

    def why_short(self, gang: Gang) -> str:
        """Say what an attempt waits for; empty if for nothing."""
        if self._awaits_group(gang):
            return f"gang {gang.key}: its PodGroup is not there"
        if self.has_quorum(gang):
            return ""
        n_known = len(gang.pending) + len(gang.placed) + gang.n_done
        return f"gang {gang.key}: {n_known} of {self.min_members(gang)} members are there"

    def _awaits_group(self, gang: Gang) -> bool:
        """Tell whether only a PodGroup that is not there (yet) could say how many are needed."""
        if gang.has_run or self._objects.find(PodGroup, gang.key) is not None:
            return False
        return any(m.labels.get(POD_GROUP_LABEL) == m.pod_group for m in gang.members) and all(
            m.pod_group_size is None for m in gang.members
        )

    def refresh(self, gang: Gang) -> bool:
        """Find out anew what its members' places in the queue depend on; tell if that changed."""
        self._settle_rest(gang)
        standing = (gang.priority, max(1, self.n_missing(gang)), self.has_quorum(gang))
        is_news = standing != gang.standing
        gang.standing = standing
        return is_news

    def named(self, key: str) -> Gang | None:
        """Return a gang by its key."""
        return self._gangs.get(key)

    def begin(self, gang: Gang, uids: Iterable[str], *, now_s: float) -> None:
        """Take in that members were given nodes together, and are to be bound."""
        gang.coming |= set(uids)
        gang.n_coming = len(gang.coming) + len(gang.placed)
        gang.failed_at_s = None
        self._set_deadline(gang, from_s=now_s)

    def fail(self, gang: Gang, *, now_s: float) -> None:
        """Take in that a gang was tried as a whole, and did not fit."""
        gang.failed_at_s = now_s
        gang.rests_until_s = now_s + self._arguments_of(gang).pod_group_backoff_seconds

    def since_s(self, gang: Gang) -> float:
        """Tell since when a gang waits: it was made then, or refused."""
        if gang.failed_at_s is not None:
            return gang.failed_at_s
        group = self._objects.find(PodGroup, gang.key)
        created = None if group is None else group.metadata.creation_timestamp
        if created is not None:
            return created.timestamp()
        return gang.made_at_s

    def take_back(self, uid: str) -> None:
        """Take in that a member could not be bound: it is merely pending again."""
        gang = self._gangs.get(self._group_of.get(uid, ""))
        if gang is not None and uid in gang.coming:
            gang.coming.discard(uid)
            self._settle_rest(gang)

    def overdue(self, *, now_s: float) -> list[Gang]:
        """List the gangs that have been in part on nodes for too long.

        Each is told again after another such time, for what could not be taken off by then.
        """
        for key in sorted(self._timed):
            gang = self._gangs[key]
            if gang.is_old and not _lacks_a_first_member(gang):
                self._done(gang)
        late = [
            gang
            for key in sorted(self._timed)
            if (gang := self._gangs[key]).deadline_s is not None
            and gang.deadline_s <= now_s
            and gang.placed
        ]
        for gang in late:
            self._set_deadline(gang, from_s=now_s)
        return late

    def _settle(self, gang: Gang, pod: PodFacts, *, now_s: float) -> None:
        """See whether a gang is whole, now that a member is on a node."""
        if gang.has_run:
            return
        if self._is_whole(gang):
            self._done(gang)
        elif gang.deadline_s is None:
            # Found in part on nodes, as after a restart of ours.
            began_s = pod.start_time_s or now_s
            gang.is_old = now_s - began_s > self._timeout_s(gang)
            self._set_deadline(gang, from_s=now_s if gang.is_old else began_s)

    def _settle_rest(self, gang: Gang) -> None:
        """See what a gang is without a member that is gone, or by another size."""
        if not gang.placed and not gang.coming:
            # Nothing of it is left on nodes: what comes next must be whole again.
            gang.has_run, gang.n_coming, gang.deadline_s = False, 0, None
            self._timed.discard(gang.key)
        elif gang.deadline_s is not None and self._is_whole(gang):
            self._done(gang)

    def _is_whole(self, gang: Gang) -> bool:
        return len(gang.placed) + gang.n_done >= self.min_members(gang)

    def _done(self, gang: Gang) -> None:
        gang.has_run = True
        gang.coming.clear()
        gang.deadline_s, gang.is_old = None, False
        self._timed.discard(gang.key)

    def _set_deadline(self, gang: Gang, *, from_s: float) -> None:
        gang.deadline_s = from_s + self._timeout_s(gang)
        self._timed.add(gang.key)

    def _timeout_s(self, gang: Gang) -> float:
        group = self._objects.find(PodGroup, gang.key)
        seconds = group.spec.schedule_timeout_seconds if group is not None else None
        if seconds is None:
            seconds = self._arguments_of(gang).permit_waiting_time_seconds
            return float(seconds or _DEFAULTS.permit_waiting_time_seconds)
        return float(seconds)

    def _arguments_of(self, gang: Gang) -> CoschedulingArgs:
        names = {member.scheduler_name for member in gang.members}
        # Of several, or of none that is known, it is as if no profile said anything.
        return self._arguments.get(names.pop(), _DEFAULTS) if len(names) == 1 else _DEFAULTS


def _controller_uid(pod: PodFacts) -> str:
    return "" if pod.owner is None else pod.owner.uid


def _lacks_a_first_member(gang: Gang) -> bool:
    """Tell whether a member waits that was there when the others were started.

    Then the gang was never whole; who came later replaces one that died.
    """
    started_s = min((m.start_time_s for m in gang.placed.values() if m.start_time_s), default=0.0)
    return any(member.created_at_s <= started_s for member in gang.pending.values())
