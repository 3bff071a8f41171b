"""Watches the API server over a connection of its own, and holds what it sees to the promises.

Every state that a pod goes through is seen, in the order of the resource versions: what was wrong
for a moment only is found, too.
"""

import threading
import time
from collections import Counter, defaultdict, deque

import msgspec

from kube.client import Client
from kube.config import Cluster
from kube.decoding import decode_object
from kube.errors import KubeError
from kube.objects import Node, Pod
from scheduler.model import NodeFacts, PodFacts
from tests.unit.scheduler.laws import fit_together, fits, has_room, is_let_in

USER_AGENT = "soak"
"""Faults spare who says so."""
GANG_TIMEOUT_S = 60.0
N_REMEMBERED = 12


def connect(url):
    return Client(Cluster(server=url, auth_headers=dict), user_agent=USER_AGENT)


class _WatchEvent(msgspec.Struct):
    type: str
    object: msgspec.Raw


class Observer:
    """What the cluster is like, and what went wrong.

    Args:
        url: The API server.
        grace_s: How much longer than its timeout a gang may be in part on nodes, in wall seconds:
            a scheduler may have been killed, and its successor had to wait for the lease.
        speed: Virtual seconds a second.
    """

    def __init__(self, url, *, grace_s, speed):
        self.client = connect(url)
        self.violations = []
        self.counts = Counter()
        self.nodes, self.pods = {}, {}
        self.lock = threading.RLock()
        self._capacity = {}
        self._patience_s = GANG_TIMEOUT_S / speed + grace_s
        self._history = defaultdict(lambda: deque(maxlen=N_REMEMBERED))
        self._whole, self._partial_since_s = set(), {}
        self._evicted_since_s = {}
        self._waited = deque(maxlen=2_000)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=watched, daemon=True)
            for watched in (
                ("/api/v1/nodes", Node, self._on_node),
                ("/api/v1/pods", Pod, self._on_pod),
            )
        ]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self.client.close()

    # ------------------------------------------------------------------------------- watching

    def _watch(self, path, kind, on_event):
        items, version = self.client.list_objects(path, kind)
        for item in items:
            on_event("ADDED", item)
        while not self._stop.is_set():
            params = {"watch": "true", "resourceVersion": version}
            try:
                with self.client.stream(path, params=params, read_timeout_s=60.0) as stream:
                    for line in stream:
                        event = decode_object(line, _WatchEvent)
                        if event.type == "ERROR":
                            self._blame("the observer lost its place in the watch", "observer")
                            return
                        item = decode_object(event.object, kind)
                        version = item.metadata.resource_version
                        on_event(event.type, item)
            except KubeError as error:
                if not self._stop.is_set():
                    self._blame(f"the observer cannot watch: {error}", "observer")
                return

    def _on_node(self, kind, node):
        with self.lock:
            if kind == "DELETED":
                self.nodes.pop(node.metadata.name, None)
            else:
                facts = NodeFacts.from_node(node)
                self.nodes[facts.name] = self._capacity[facts.name] = facts
                self._check_node(facts.name)

    def _on_pod(self, kind, pod):
        facts, old = PodFacts.from_pod(pod), self.pods.get(pod.metadata.uid)
        with self.lock:
            self._note(kind, facts)
            if old is not None and not old.node_name:
                self._waited.append((time.monotonic(), self._priority(old)))
            if kind == "DELETED" or facts.is_finished:
                self.pods.pop(facts.uid, None)
                self._evicted_since_s.pop(facts.uid, None)
            else:
                self.pods[facts.uid] = facts
                self._compare(old, facts)
            if facts.pod_group:
                self._look_at_gang(facts.group_key)

    def _note(self, kind, pod):
        words = f"{kind} node={pod.node_name} priority={pod.priority} gang={pod.pod_group}"
        marks = f"preempted={pod.is_preempted} terminating={pod.is_terminating}"
        self._history[pod.key].append(f"{time.strftime('%H:%M:%S')} {words} {marks}")

    def _compare(self, old, pod):
        """See what one step in a pod's life means."""
        before = "" if old is None else old.node_name
        if before and before != pod.node_name:
            self._blame(f"{pod.key} was moved from {before} to {pod.node_name}", pod.key)
        if pod.node_name and not before:
            self.counts["bindings"] += 1
            self._check_node(pod.node_name)
        if pod.is_preempted and not (old is not None and old.is_preempted):
            self.counts["evictions"] += 1
            self._evicted_since_s[pod.uid] = time.monotonic()
            self._check_victim(pod)

    # -------------------------------------------------------------------------------- judging

    def _blame(self, what, *keys):
        self.violations.append((what, {key: list(self._history[key]) for key in keys}))

    def _on(self, name):
        return [pod for pod in self.pods.values() if pod.node_name == name]

    def _check_node(self, name):
        node = self._capacity.get(name)
        if node is None:
            return
        pods = self._on(name)
        for pod in pods:
            if not has_room(pod, node, [each for each in pods if each is not pod]):
                self._blame(f"{name} is over-committed", *(each.key for each in pods))
                return

    def _check_victim(self, victim):
        mine = self._priority(victim)
        waiting = [p for p in self.pods.values() if not p.node_name and self._priority(p) > mine]
        if not waiting and not self._was_waiting(mine):
            self._blame(f"{victim.key} had to go for nobody", victim.key)

    def _was_waiting(self, priority):
        """Whether a preemptor has come and gone, or found room, since it was decided."""
        since_s = time.monotonic() - self._patience_s
        return any(at_s >= since_s and theirs > priority for at_s, theirs in self._waited)

    def _priority(self, pod):
        if not pod.pod_group:
            return pod.priority
        gang = [p for p in self.pods.values() if p.group_key == pod.group_key]
        return min((member.priority for member in gang), default=pod.priority)

    def _standing(self, pod):
        """What a pod must be below to have it go: a gang goes whole, or not at all."""
        if not pod.pod_group:
            return pod.priority
        bound = [p for p in self.pods.values() if p.group_key == pod.group_key and p.node_name]
        return max((member.priority for member in bound), default=pod.priority)

    def _members(self, key):
        return [p for p in self.pods.values() if p.group_key == key and not p.is_terminating]

    def _look_at_gang(self, key):
        live = [pod for pod in self._members(key) if pod.node_name and not pod.is_preempted]
        if not live:
            self._whole.discard(key)
        elif len(live) >= max(pod.pod_group_size or 0 for pod in live):
            if key not in self._whole:
                self.counts["gangs placed"] += 1
            self._whole.add(key)
        if live and key not in self._whole:
            self._partial_since_s.setdefault(key, time.monotonic())
        else:
            self._partial_since_s.pop(key, None)

    def look(self):
        """Check what only time can show."""
        now_s = time.monotonic()
        with self.lock:
            for key, since_s in list(self._partial_since_s.items()):
                if now_s - since_s > self._patience_s:
                    self._partial_since_s[key] = float("inf")
                    keys = [pod.key for pod in self.pods.values() if pod.group_key == key]
                    self._blame(f"{key} has been in part on nodes for too long", *keys)
            for uid, since_s in list(self._evicted_since_s.items()):
                pod = self.pods[uid]
                if now_s - since_s > self._patience_s and not pod.is_terminating:
                    self._evicted_since_s[uid] = float("inf")
                    self._blame(f"{pod.key} was to go, and stayed", pod.key)

    # -------------------------------------------------------------------------- when it is calm

    def unrest(self):
        """Say who waits and need not; empty when all is as it should be."""
        with self.lock:
            held = {name: self._on(name) for name in self.nodes}
            pending = [p for p in self.pods.values() if not p.node_name and not p.is_terminating]
            stopping = [pod for pod in self.pods.values() if pod.is_terminating]
            if stopping:
                return [f"{pod.key} is still there, on {pod.node_name}" for pod in stopping]
            alone = [pod for pod in pending if not pod.pod_group or pod.group_key in self._whole]
            words = [found for pod in alone for found in self._why_waits(pod, held)]
            for key in sorted({pod.group_key for pod in pending} - {p.group_key for p in alone}):
                words += self._why_gang_waits(key, pending, held)
            return words + [f"{key} is there in part" for key in self._partial_since_s]

    def _why_waits(self, pod, held):
        mine = self._priority(pod)
        for name, node in self.nodes.items():
            if fits(pod, node, held[name]):
                yield f"{pod.key} waits, and fits on {name}"
            left = [p for p in held[name] if self._standing(p) >= mine]
            if is_let_in(pod, node) and has_room(pod, node, left):
                yield f"{pod.key} waits, and could have room made on {name}"

    def _why_gang_waits(self, key, pending, held):
        members = [pod for pod in pending if pod.group_key == key]
        needed = max(pod.pod_group_size or 0 for pod in members)
        alike = len({tuple(sorted(pod.requests.items())) for pod in members}) == 1
        # To try all ways takes long on many nodes: those that take at least one member are enough.
        nodes = {n: node for n, node in self.nodes.items() if fits(members[0], node, held[n])}
        few = dict(list(nodes.items())[:4])
        if len(members) >= needed and alike and fit_together(members[:needed], few, held):
            yield f"{key} waits, and fits"

    def blame_unrest(self, words):
        for word in words:
            self._blame(word, word.split()[0])

    def totals(self):
        with self.lock:
            n_bound = sum(bool(pod.node_name) for pod in self.pods.values())
            return {"pods bound": n_bound, "pending": len(self.pods) - n_bound, **self.counts}
