"""An API server in miniature with an engine beside it: what can happen, and how news of it travels.

Watches tell of each kind in order, but of one kind later than of another; answers to writes come
when they like. All this is for the caller to choose, so that a run can be repeated.
"""

from dataclasses import replace

from kube.custom import PodGroup, PodGroupSpec
from kube.objects import (
    LabelSelector,
    PodDisruptionBudget,
    PodDisruptionBudgetSpec,
    PodDisruptionBudgetStatus,
    Toleration,
)
from scheduler.events import (
    Bind,
    BindFailed,
    BindSucceeded,
    Evict,
    EvictFailed,
    NodeGone,
    NodeSeen,
    ObjectSeen,
    PodGone,
    PodSeen,
    ReportFailure,
    Tick,
)
from scheduler.model import PODS, Taint
from scheduler.queue import Pool
from tests.builders import make_meta
from tests.unit.scheduler.laws import (
    GANG_TIMEOUT_S,
    Ledger,
    fit_together,
    fits,
    has_room,
    is_let_in,
)
from tests.unit.scheduler.worlds import make_engine, make_facts, make_pending

EVERYTHING = (Toleration(operator="Exists"),)
TAINT = Taint("dedicated", "", "NoSchedule")
SMALL = {PODS: 5}


class ApiModel:
    """The truth, what is on its way to the engine, and the engine.

    Args:
        new_engine: Makes an engine that knows nothing.
    """

    def __init__(self, new_engine=make_engine):
        self.new_engine = new_engine
        self.engine = new_engine()
        self.ledger = Ledger()
        self.now_s = 1000.0
        self.nodes, self.pods, self.objects = {}, {}, {}
        self.news = {"nodes": [], "pods": [], "objects": []}
        self.binds, self.evictions, self.answers = [], [], []
        self.partial_since_s = {}
        self.whole = set()
        self.crowded = set()
        """Nodes that shrank, or that another scheduler filled: not our doing."""
        self.n_made = 0
        self.history = []
        """What the engine was told and said, for a second one to be held to."""

    # ------------------------------------------------------------------------------ telling

    def tell(self, event):
        self.ledger.hear(event, now_s=self.now_s)
        actions = self.engine.handle(event, now_s=self.now_s)
        self.history.append((event, self.now_s, actions))
        self.ledger.judge(actions)
        for action in actions:
            match action:
                case Bind():
                    self.binds.append(action)
                case Evict():
                    self.evictions.append(action)
                case ReportFailure(pod, _, _, str(node)):
                    self.write_nomination(pod.uid, node)
        return actions

    def tick(self, after_s=0.0):
        self.now_s += after_s
        self.tell(Tick())
        self.check()

    def deliver(self, kind, n=1):
        for event in self.news[kind][:n]:
            self.tell(event)
        del self.news[kind][:n]

    def relist(self, kind):
        """Let a watch break: a list tells what is, not what was in between."""
        latest = {self.identity(event): event for event in self.news[kind]}
        gone = [event for event in latest.values() if isinstance(event, PodGone | NodeGone)]
        known = {**self.ledger.pods, **self.ledger.nodes}
        self.news[kind] = [event for event in gone if self.identity(event) in known]
        self.news[kind] += [event for event in latest.values() if event not in gone]
        self.deliver(kind, len(self.news[kind]))

    def identity(self, event):
        match event:
            case NodeSeen(node):
                return node.name
            case NodeGone(name):
                return name
            case PodSeen(pod):
                return pod.uid
            case PodGone(_, uid):
                return uid
            case ObjectSeen(found):
                return found.metadata.key

    def restart(self):
        """Kill the scheduler: writes under way are done or never will be, answers are lost."""
        self.binds, self.evictions, self.answers = [], [], []
        self.engine = self.new_engine()
        self.ledger = Ledger(n_checks=self.ledger.n_checks)
        self.news = {
            "objects": [ObjectSeen(found) for found in self.objects.values()],
            "pods": [PodSeen(pod) for pod in self.pods.values()],
            "nodes": [NodeSeen(node) for node in self.nodes.values()],
        }
        self.history.append(None)
        for kind in self.news:
            self.deliver(kind, len(self.news[kind]))
        self.ledger.restarted()

    # -------------------------------------------------------------------- what users do

    def put_node(self, name, **changes):
        """Add a node, or change it."""
        old = self.nodes.get(name)
        cpu_milli = changes.pop("cpu_milli", old.allocatable["cpu"] if old else 4000)
        if old is not None and cpu_milli < old.allocatable["cpu"]:
            self.crowded.add(name)
        fields = (
            {"is_unschedulable": False, "taints": ()}
            if old is None
            else {"is_unschedulable": old.is_unschedulable, "taints": old.taints}
        )
        node = make_facts(name, cpu_milli=cpu_milli, allocatable=SMALL, **{**fields, **changes})
        self.nodes[name] = node
        self.news["nodes"].append(NodeSeen(node))

    def remove_node(self, name):
        del self.nodes[name]
        self.crowded.add(name)
        self.news["nodes"].append(NodeGone(name))

    def create(self, *, cpu_milli, priority=0, gang="", size=None, **more):
        self.n_made += 1
        pod = make_pending(
            f"{gang or 'pod'}-{self.n_made}",
            cpu_milli=cpu_milli,
            memory_bytes=2**20,
            priority=priority,
            pod_group=gang,
            pod_group_size=size,
            **more,
        )
        self.put_pod(pod)
        return pod

    def put_pod(self, pod):
        self.pods[pod.uid] = pod
        self.news["pods"].append(PodSeen(pod))

    def change(self, uid, **fields):
        self.put_pod(replace(self.pods[uid], **fields))

    def delete(self, uid):
        """Ask a pod to go; one that runs takes its time."""
        if self.pods[uid].node_name:
            self.change(uid, is_terminating=True)
        else:
            self.remove(uid)

    def remove(self, uid):
        pod = self.pods.pop(uid)
        self.news["pods"].append(PodGone(pod.key, uid))

    def finish(self, uid):
        self.change(uid, is_finished=True)

    def bind_elsewhere(self, uid, node):
        """Let another scheduler be faster."""
        self.crowded.add(node)
        self.change(uid, node_name=node, start_time_s=self.now_s)

    def put_group(self, name, min_member):
        group = PodGroup(
            metadata=make_meta(name, namespace="default"), spec=PodGroupSpec(min_member=min_member)
        )
        self.put_object(group)

    def put_budget(self, n_allowed):
        budget = PodDisruptionBudget(
            metadata=make_meta("budget", namespace="default"),
            spec=PodDisruptionBudgetSpec(selector=LabelSelector(match_labels={"app": "kept"})),
            status=PodDisruptionBudgetStatus(disruptions_allowed=n_allowed),
        )
        self.put_object(budget)

    def put_object(self, found):
        self.objects[found.metadata.key] = found
        self.news["objects"].append(ObjectSeen(found))

    # ------------------------------------------------------------ what the API server does

    def write_nomination(self, uid, node):
        if uid in self.pods and not self.pods[uid].node_name:
            self.change(uid, nominated_node_name=node)

    def end_binding(self, bind, *, is_refused=False):
        """Carry a binding out, or refuse it; the answer is on its way."""
        self.binds.remove(bind)
        uid = bind.pod.uid
        pod = self.pods.get(uid)
        if is_refused:
            self.answers.append(BindFailed(uid, "HTTP 500"))
        elif pod is None or pod.is_finished or pod.node_name not in ("", bind.node):
            self.answers.append(BindFailed(uid, "lost", is_lost_race=True))
        else:
            self.change(uid, node_name=bind.node, nominated_node_name="", start_time_s=self.now_s)
            self.answers.append(BindSucceeded(uid))
            self.look_at_gangs()

    def end_eviction(self, evict, *, is_refused=False):
        self.evictions.remove(evict)
        uid = evict.victim.uid
        if is_refused:
            self.answers.append(EvictFailed(uid))
        elif uid in self.pods:
            self.change(uid, is_preempted=True)
            self.delete(uid)

    def answer(self, event):
        self.answers.remove(event)
        self.tell(event)

    # ------------------------------------------------------------------------------ judging

    def bound(self, name=None):
        pods = [pod for pod in self.pods.values() if not pod.is_finished]
        return [p for p in pods if (p.node_name if name is None else p.node_name == name)]

    def pending(self):
        return [pod for pod in self.pods.values() if not pod.node_name]

    def members(self, key, *, of=None):
        pods = self.bound() if of is None else of
        return [p for p in pods if p.group_key == key and not p.is_terminating]

    def needed(self, key):
        group = self.objects.get(key)
        if group is not None:
            return group.spec.min_member
        return max(p.pod_group_size or 0 for p in self.pods.values() if p.group_key == key)

    def check(self):
        """Look at the truth: no node holds too much, and no gang is in part on nodes for long."""
        for name, node in self.nodes.items():
            pods = self.bound(name)
            is_full = all(
                has_room(pod, node, [each for each in pods if each is not pod]) for pod in pods
            )
            assert is_full or name in self.crowded, f"{name} is over-committed"
        self.look_at_gangs()

    def look_at_gangs(self):
        gangs = {pod.group_key for pod in self.bound() if pod.pod_group}
        placed = {key: len(self.members(key)) for key in gangs}
        self.whole |= {key for key in gangs if placed[key] >= self.needed(key)} | self.ledger.whole
        self.whole &= {key for key in gangs if placed[key]}
        partial = {key for key in gangs if placed[key] and key not in self.whole}
        self.partial_since_s = {
            key: self.partial_since_s.get(key, self.now_s) for key in sorted(partial)
        }

    def calm_down(self):
        """Let everything under way end well, and pass the time until nobody is waiting for it."""
        for pod in self.bound():
            if pod.node_name not in self.nodes:
                self.delete(pod.uid)
        for _ in range(3):
            for _ in range(14):
                self.settle()
                self.tick(after_s=1.0)
            self.settle()
            self.tick(after_s=301.0)
        for _ in range(14):
            self.settle()
            self.tick(after_s=1.0)

    def settle(self):
        """Carry out, answer and tell all that is there."""
        while self.is_busy():
            for bind in list(self.binds):
                self.end_binding(bind)
            for evict in list(self.evictions):
                self.end_eviction(evict)
            for pod in self.stopping():
                self.remove(pod.uid)
            for event in list(self.answers):
                self.answer(event)
            for kind in self.news:
                self.deliver(kind, len(self.news[kind]))

    def is_busy(self):
        under_way = (self.binds, self.evictions, self.answers, self.stopping())
        return any(under_way) or any(self.news.values())

    def stopping(self):
        return [pod for pod in self.pods.values() if pod.is_terminating]

    def check_calm(self):
        """Nobody waits who need not, and nothing is left over in the books."""
        held = {name: self.bound(name) for name in self.nodes}
        late = {k: s for k, s in self.partial_since_s.items() if self.now_s - s > GANG_TIMEOUT_S}
        assert not late, f"{late} are there in part"
        alone = [pod for pod in self.pending() if self.goes_alone(pod)]
        for pod in alone:
            self.check_refusal(pod, held)
        for key in {pod.group_key for pod in self.pending()} - {pod.group_key for pod in alone}:
            self.check_gang_refusal(key, held)
        assert sum(self.engine.n_pending(pool) for pool in Pool) == len(self.pending())
        assert self.engine.n_binding == 0
        sizes = {"nodes": len(self.nodes), "pods": len(self.bound()), "assumed_pods": 0}
        assert self.engine.cache_sizes == sizes

    def goes_alone(self, pod):
        return not pod.pod_group or bool(self.members(pod.group_key))

    def priority(self, pod):
        gang = [p for p in self.pods.values() if p.group_key == pod.group_key and not p.is_finished]
        return min(member.priority for member in gang) if pod.pod_group else pod.priority

    def check_refusal(self, pod, held):
        mine = self.priority(pod)
        for name, node in self.nodes.items():
            assert not fits(pod, node, held[name]), f"{pod.uid} waits, and fits on {name}"
            left = [p for p in held[name] if p.priority >= mine or self.must_spare(p, mine)]
            assert not (is_let_in(pod, node) and has_room(pod, node, left)), (
                f"{pod.uid} ({mine}) waits, and could have room made on {name}"
            )

    def must_spare(self, victim, priority):
        gang = self.members(victim.group_key) if victim.pod_group else []
        return any(member.priority >= priority for member in gang)

    def check_gang_refusal(self, key, held):
        members = self.members(key, of=self.pending())
        needed = self.needed(key)
        if len(members) >= needed and len({pod.requests["cpu"] for pod in members}) == 1:
            assert not fit_together(members[:needed], self.nodes, held), f"{key} waits, and fits"


def replay(history, new_engine=make_engine):
    """Tell a second engine the same, and give what it says differently first, if anything."""
    engine = new_engine()
    for line in history:
        if line is None:
            engine = new_engine()
            continue
        event, now_s, actions = line
        said = engine.handle(event, now_s=now_s)
        if plan(said) != plan(actions):
            return event, plan(actions), plan(said)
    return None


def plan(actions):
    """What actions come to, in their order."""
    words = []
    for action in actions:
        match action:
            case Bind(pod, node):
                words.append((pod.uid, node))
            case Evict(victim, cause):
                words.append((victim.uid, cause))
            case ReportFailure(pod, reason, message, node):
                words.append((pod.uid, reason, message, node))
    return words
