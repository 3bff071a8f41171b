"""What must hold of all that an engine asks for, judged from what it has been told.

The ledger keeps its own books in plain dicts and adds up anew each time: it shares no code
with what it judges.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import groupby, product

from scheduler.events import (
    Bind,
    BindFailed,
    Evict,
    EvictFailed,
    NodeGone,
    NodeSeen,
    ObjectSeen,
    PodGone,
    PodSeen,
    Record,
)
from scheduler.model import PODS

MAX_BACKOFF_S = 10.0
GANG_TIMEOUT_S = 60.0


def has_room(pod, node, pods):
    """Whether a node can hold *pod* beside *pods*."""
    held = Counter()
    for each in pods:
        held.update(each.requests)
        held[PODS] += 1
    asked = {name: amount for name, amount in pod.requests.items() if amount} | {PODS: 1}
    return all(
        held[name] + amount <= node.allocatable.get(name, 0) for name, amount in asked.items()
    )


def is_let_in(pod, node):
    """Whether cordon and taints let a pod onto a node; pods tolerate everything or nothing."""
    repels = node.is_unschedulable or any(t.effect != "PreferNoSchedule" for t in node.taints)
    return bool(pod.tolerations) or not repels


def fits(pod, node, pods):
    return is_let_in(pod, node) and has_room(pod, node, pods)


def fit_together(members, nodes, held):
    """Whether members fit at once, by trying all ways; *held* gives each node's pods."""
    for choice in product(nodes.values(), repeat=len(members)):
        pods = {name: list(held[name]) for name in nodes}
        for member, node in zip(members, choice, strict=True):
            if not fits(member, node, pods[node.name]):
                break
            pods[node.name].append(member)
        else:
            return True
    return False


@dataclass
class Ledger:
    """What the engine has been told and has asked for."""

    now_s: float = 0.0
    nodes: dict = field(default_factory=dict)
    pods: dict = field(default_factory=dict)
    """By uid, as the watch showed them last."""
    in_flight: dict = field(default_factory=dict)
    """uid to node, of bindings whose end is not known."""
    nominated: dict = field(default_factory=dict)
    """uid to node, of all that were ever promised room and are still pending."""
    going: set = field(default_factory=set)
    """Pods that were asked to go and are still there."""
    sizes: dict = field(default_factory=dict)
    """minMember by gang."""
    whole: set = field(default_factory=set)
    """Gangs that have been whole and have had a member on a node ever since."""
    unsure: set = field(default_factory=set)
    """Gangs that a new engine found in part on nodes: whether they were whole cannot be told."""
    refused_at_s: dict = field(default_factory=dict)
    n_checks: Counter = field(default_factory=Counter)
    """How often each law had something to judge."""

    # ------------------------------------------------------------------------------ being told

    def hear(self, event, *, now_s):
        self.now_s = now_s
        match event:
            case NodeSeen(node):
                self.nodes[node.name] = node
            case NodeGone(name):
                self.nodes.pop(name, None)
            case ObjectSeen(found) if hasattr(found.spec, "min_member"):
                self.sizes[found.metadata.key] = found.spec.min_member
            case _:
                self.hear_of_pod(event)
        self.settle()

    def hear_of_pod(self, event):
        match event:
            case PodSeen(pod) if not pod.is_finished:
                self.see(pod)
            case PodSeen(pod):
                self.drop(pod.uid)
            case PodGone(_, uid):
                self.drop(uid)
            case BindFailed(uid):
                self.in_flight.pop(uid, None)
                self.going.discard(uid)
                self.refused_at_s[uid] = self.now_s
            case EvictFailed(uid):
                self.going.discard(uid)

    def see(self, pod):
        old = self.pods.get(pod.uid)
        if old is not None and old.node_name and not pod.node_name:
            raise AssertionError("the model took a binding back")
        self.pods[pod.uid] = pod
        if pod.node_name:
            self.in_flight.pop(pod.uid, None)
            self.nominated.pop(pod.uid, None)
        elif pod.nominated_node_name and old is None:
            self.nominated[pod.uid] = pod.nominated_node_name

    def drop(self, uid):
        for book in (self.pods, self.in_flight, self.nominated, self.refused_at_s):
            book.pop(uid, None)
        self.going.discard(uid)

    def settle(self):
        """See which gangs are whole, and which have nothing left."""
        for key in self.gang_keys():
            live = self.live(key)
            if len(live) >= self.needed(key):
                self.whole.add(key)
        self.whole &= {key for key in self.whole if self.live(key)}

    def restarted(self):
        """Take in that what is on nodes now is all that a new engine has to go by."""
        for key in self.gang_keys():
            live = self.live(key)
            oldest_s = min((p.start_time_s for p in live), default=self.now_s)
            if live and key not in self.whole:
                self.unsure.add(key)
            if live and self.now_s - oldest_s > GANG_TIMEOUT_S:
                self.whole.add(key)

    # ------------------------------------------------------------------------------ looking up

    def gang_keys(self):
        return {pod.group_key for pod in self.pods.values() if pod.pod_group}

    def members(self, key):
        return [pod for pod in self.pods.values() if pod.group_key == key]

    def live(self, key):
        """Members on nodes that are there to stay."""
        return [p for p in self.members(key) if p.node_name and not self.is_going(p)]

    def n_placed(self, key):
        return len(self.live(key)) + sum(p.uid in self.in_flight for p in self.members(key))

    def needed(self, key):
        sizes = [pod.pod_group_size or 0 for pod in self.members(key)]
        return self.sizes.get(key) or max(sizes) or len(sizes)

    def priority(self, pod):
        if not pod.pod_group:
            return pod.priority
        staying = [each for each in self.members(pod.group_key) if not self.is_going(each)]
        return min(each.priority for each in staying or [pod])

    def is_going(self, pod):
        return pod.is_terminating or pod.uid in self.going

    def place(self, pod):
        return pod.node_name or self.in_flight.get(pod.uid, "")

    def on_node(self, name):
        return [pod for pod in self.pods.values() if self.place(pod) == name]

    def promised(self, pod, name):
        """Who else was promised room on a node and must be left it."""
        return [
            other
            for uid, node in self.nominated.items()
            if node == name
            and uid != pod.uid
            and uid in self.pods
            and not self.place(self.pods[uid])
            for other in [self.pods[uid]]
            if other.priority >= self.priority(pod)
        ]

    def fits_somewhere(self, pod):
        return any(
            fits(pod, node, self.on_node(name) + self.promised(pod, name))
            for name, node in self.nodes.items()
        )

    def pending(self):
        return [pod for pod in self.pods.values() if not self.place(pod) and not pod.is_terminating]

    # -------------------------------------------------------------------------------- judging

    def judge(self, actions):
        """Hold all that one event led to against the laws."""
        before = set(self.in_flight)
        for is_evicting, some in groupby(actions, key=lambda action: isinstance(action, Evict)):
            if is_evicting:
                self.judge_evictions(list(some))
                continue
            for action in some:
                match action:
                    case Record(decision) if decision.node is None:
                        self.note_refusal(decision)
                    case Bind():
                        self.judge_binding(action)
                        self.in_flight[action.pod.uid] = action.node
        self.judge_gangs(set(self.in_flight) - before)

    def note_refusal(self, decision):
        self.refused_at_s[decision.uid] = self.now_s
        if decision.nominated_node:
            self.nominated[decision.uid] = decision.nominated_node

    def judge_binding(self, bind):
        uid = bind.pod.uid
        assert uid in self.pods, f"{uid} is bound and unknown, or gone"
        assert uid not in self.in_flight, f"{uid} is bound twice at once"
        assert not self.pods[uid].node_name, f"{uid} is bound again"
        assert bind.node in self.nodes, f"{uid} is bound to {bind.node}, which is gone"
        node, pods = self.nodes[bind.node], self.on_node(bind.node)
        assert is_let_in(bind.pod, node), f"{uid} must not be on {bind.node}"
        assert has_room(bind.pod, node, pods), f"{bind.node} is over-committed by {uid}"
        self.n_checks["bound"] += 1
        self.judge_order(bind)

    def judge_order(self, bind):
        """Nobody who is worth more, and could have had the room, waits."""
        mine = self.priority(self.pods[bind.pod.uid])
        node = self.nodes[bind.node]
        for other in self.pending():
            rested_s = self.now_s - self.refused_at_s.get(other.uid, float("-inf"))
            if other.pod_group or other.priority <= mine or rested_s <= MAX_BACKOFF_S:
                continue
            self.n_checks["waited"] += 1
            beside = self.on_node(node.name) + self.promised(other, node.name)
            assert not fits(other, node, beside), (
                f"{bind.pod.uid} ({mine}) takes {node.name} before {other.uid} ({other.priority})"
            )

    def judge_gangs(self, new):
        for key in {self.pods[uid].group_key for uid in new if self.pods[uid].pod_group}:
            n_placed = self.n_placed(key)
            self.n_checks["gang bound"] += 1
            assert key in self.whole or n_placed >= self.needed(key), (
                f"{n_placed} of {self.needed(key)} of {key} are bound"
            )

    def judge_evictions(self, evictions):
        by_preemptor = defaultdict(list)
        already = set(self.going)
        self.going |= {evict.victim.uid for evict in evictions}
        for evict in evictions:
            assert evict.victim.uid not in already, f"{evict.victim.uid} is asked to go twice"
            assert evict.victim.uid in self.pods, f"{evict.victim.uid} is gone"
            if evict.cause == "Preempted":
                _, _, _, uid, _, _, node = evict.note.split()
                by_preemptor[uid, node].append(evict.victim)
            else:
                self.n_checks["disbanded"] += 1
                key = evict.victim.group_key
                is_whole = key in self.whole and key not in self.unsure
                assert not is_whole, f"{key} is whole, and sent away"
        gangs = defaultdict(list)
        for (uid, node), victims in by_preemptor.items():
            preemptor = self.pods[uid]
            assert not self.place(preemptor), f"{uid} needs no room"
            key = preemptor.group_key
            if key and key not in self.whole and self.n_placed(key) < self.needed(key):
                gangs[key] += victims
            else:
                self.judge_preemption(preemptor, node, victims, already)
            self.judge_victims(self.priority(preemptor) if key else preemptor.priority, victims)
        for key, victims in gangs.items():
            self.judge_gang_preemption(key, victims)

    def judge_victims(self, priority, victims):
        for victim in victims:
            mine = self.pods[victim.uid]
            assert mine.priority < priority, f"{victim.uid} is worth as much as its preemptor"
            self.n_checks["evicted"] += 1
            for member in self.members(victim.group_key) if victim.pod_group else ():
                assert self.place(member) not in self.nodes or self.is_going(member), (
                    f"{victim.uid} goes without {member.uid}"
                )

    def judge_preemption(self, preemptor, name, victims, already):
        node, chosen = self.nodes[name], {victim.uid for victim in victims}
        pods = self.on_node(name)
        left = [
            pod
            for pod in pods
            if pod.uid not in chosen
            and not (
                pod.priority < preemptor.priority and (pod.is_terminating or pod.uid in already)
            )
        ]
        assert fits(preemptor, node, left), (
            f"{chosen} go, and {preemptor.uid} fits all the same not"
        )
        assert not self.fits_somewhere(preemptor), f"{preemptor.uid} would have fitted anyway"
        left = [pod for pod in pods if pod.uid not in chosen] + self.promised(preemptor, name)
        # A gang that goes with one of its own may leave more room than was asked for.
        for victim in () if any(victim.pod_group for victim in victims) else victims:
            assert not fits(preemptor, node, [*left, victim]), f"{victim.uid} goes for nothing"

    def judge_gang_preemption(self, key, victims):
        self.n_checks["gang preempts"] += 1
        chosen = {victim.uid for victim in victims} | self.going
        waiting = [pod for pod in self.members(key) if not self.place(pod)]
        priority = self.priority(waiting[0])
        n_missing = self.needed(key) - len(self.live(key))
        members = [replace(pod, priority=priority) for pod in waiting]
        held = {name: self.on_node(name) for name in self.nodes}
        left = {name: [p for p in pods if p.uid not in chosen] for name, pods in held.items()}
        some = members[:n_missing]
        alike = all(m.requests == some[0].requests for m in members)
        assert fit_together(some, self.nodes, left) or not alike, f"{chosen} go for nothing"
        crowded = {n: pods + self.promised(members[0], n) for n, pods in held.items()}
        assert not fit_together(some, self.nodes, crowded), f"{key} would have fitted anyway"
