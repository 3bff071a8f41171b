"""A pod is never placed where its kubelet finds it no zones, whatever its kubelet does."""

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from itertools import product

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kube.custom import NodeResourceTopology
from kube.qos import Qos
from kube.quantity import CPU
from scheduler.events import Bind, BindFailed, BindSucceeded, ObjectSeen, PodGone, PodSeen, Tick
from scheduler.plugins.numa.fingerprint import fingerprint
from tests.unit.scheduler.numa_worlds import (
    GPU,
    cluster,
    make_aligned,
    make_numa_engine,
    make_topology,
    plugin_for,
    refusals,
    scores,
)
from tests.unit.scheduler.worlds import make_facts

NODES = ("n1", "n2")
cores = st.integers(0, 4)
zones_of_a_node = st.lists(st.tuples(cores, st.integers(0, 2)), min_size=1, max_size=3)
large_zones = st.lists(st.tuples(st.integers(2, 8), st.integers(0, 2)), min_size=1, max_size=3)
containers = st.lists(st.tuples(cores, st.integers(0, 1)), min_size=1, max_size=3)


def amounts(asked):
    number, devices = asked
    return {name: n for name, n in ((CPU, 1000 * number), (GPU, devices)) if n}


def steps_of(pod, scope):
    """What the kubelet aligns, one after the other; and whether it is over before the next."""
    if scope == "pod":
        return [(dict(pod.requests), False)]
    return [(dict(each.requests), each.is_brief) for each in pod.containers]


def ways(steps, zones):
    """All ways to give every step a zone of its own or a shared one, as zones' numbers."""
    for choice in product(range(len(zones)), repeat=len(steps)):
        left = [Counter(zone) for zone in zones]
        for (asked, is_brief), number in zip(steps, choice, strict=True):
            if any(left[number][name] < amount for name, amount in asked.items()):
                break
            if not is_brief:
                left[number].subtract(asked)
        else:
            yield choice


def what_is_taken(steps, choice, n_zones):
    taken = [Counter() for _ in range(n_zones)]
    for (asked, is_brief), number in zip(steps, choice, strict=True):
        if not is_brief:
            taken[number].update(asked)
    return taken


@given(
    zones=zones_of_a_node,
    asked=containers,
    init=st.lists(st.tuples(cores, st.integers(0, 1)), max_size=2),
    scope=st.sampled_from(["container", "pod"]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_what_passes_can_be_aligned_and_what_fits_alone_passes(zones, asked, init, scope):
    pod = make_aligned("p", *map(amounts, asked), init=[amounts(each) for each in init])
    node = make_facts("n1", allocatable={CPU: 99_000, GPU: 9})
    available = [Counter(amounts(zone)) for zone in zones]
    reported = [{CPU: number, GPU: devices} for number, devices in zones]
    snapshot = cluster(node, topologies=[make_topology(zones=reported, scope=scope)])

    is_refused = bool(refusals(plugin_for(), pod, snapshot))

    possible = set(ways(steps_of(pod, scope), available))
    assert is_refused or possible
    if len(steps_of(pod, scope)) == 1:
        assert is_refused == (not possible)


STRATEGIES = ["LeastAllocated", "MostAllocated", "BalancedAllocation", "LeastNUMANodes"]
names = st.sampled_from(["n1", "n2", "n3", "n4"])
a_report = st.fixed_dictionaries(
    {
        "zones": zones_of_a_node,
        "scope": st.sampled_from(["container", "pod"]),
        "policy": st.sampled_from(["single-numa-node", "single-numa-node", "none"]),
        "knows": st.booleans(),
    }
)
what_happens = st.one_of(
    st.tuples(st.just("node"), names),
    st.tuples(st.just("no node"), names),
    st.tuples(st.just("report"), names, a_report),
    st.tuples(st.just("no report"), names),
    st.tuples(st.just("pod"), names, cores),
    st.tuples(st.just("no pod"), names),
    st.just(("nothing",)),
)


class Cluster:
    """A snapshot to which things happen."""

    def __init__(self):
        self.snapshot = cluster(topologies=())
        self.n_happened = 0

    def happen(self, what, name="", *more):
        self.n_happened += 1
        is_there = name in self.snapshot.rows
        match what:
            case "node":
                self.snapshot.set_node(make_facts(name, allocatable={CPU: 99_000, GPU: 9}))
            case "no node" if is_there:
                self.snapshot.remove_node(name)
            case "report":
                self.report(name, **more[0])
            case "no report":
                self.snapshot.objects.remove(NodeResourceTopology, name)
            case "pod" if is_there:
                pod = make_aligned(f"p{self.n_happened}", {CPU: 1000 * more[0]})
                self.snapshot.add_pod(pod, node=name)
            case "no pod" if is_there:
                for pod in list(self.pods_on(name))[:1]:
                    self.snapshot.remove_pod(pod, node=name)

    def report(self, name, *, zones, knows, **more):
        known = self.pods_on(name) if knows else ()
        zones = [{CPU: number, GPU: devices} for number, devices in zones]
        made = make_topology(name, zones=zones, fingerprint=fingerprint(known), **more)
        self.snapshot.objects.put(made)

    def pods_on(self, name):
        return self.snapshot.node(name).pods if name in self.snapshot.rows else ()


@given(
    happenings=st.lists(what_happens, max_size=25),
    asked=containers,
    strategy=st.sampled_from(STRATEGIES),
    period_s=st.sampled_from([0, 5]),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_what_is_kept_is_what_would_be_found_now(happenings, asked, strategy, period_s):
    pod, plugin = (
        make_aligned("asking", *map(amounts, asked)),
        plugin_for(strategy, period_s=period_s),
    )
    tried = Cluster()
    for each in [("node", "n1"), ("node", "n2"), *happenings]:
        tried.happen(*each)
        snapshot = tried.snapshot
        # What-ifs are answered from scratch.
        anew = snapshot.what_if()
        kept = refusals(plugin, pod, snapshot), scores(plugin, pod, snapshot)
        assert kept == (refusals(plugin, pod, anew), scores(plugin, pod, anew))
        if not period_s:
            other = plugin_for(strategy)
            assert kept == (refusals(other, pod, snapshot), scores(other, pod, snapshot))


@dataclass
class Kubelet:
    """Gives pods zones as it likes, and says what is free when its agent looks."""

    name: str
    zones: list
    scope: str
    bound: deque = field(default_factory=deque)
    """Pods that it has not looked at yet."""
    taken: dict = field(default_factory=dict)
    """By uid, of the pods that it has admitted: what they have of each zone."""
    reports: deque = field(default_factory=deque)
    """What its agent found and has not written yet."""
    pods: dict = field(default_factory=dict)
    n_looks: int = 0

    def free(self):
        left = [Counter(zone) for zone in self.zones]
        for each in self.taken.values():
            for zone, gone in zip(left, each, strict=True):
                zone.subtract(gone)
        return left

    def look(self):
        self.n_looks += 1
        free = [{CPU: zone[CPU] // 1000, GPU: zone[GPU]} for zone in self.free()]
        self.reports.append(
            make_topology(
                self.name,
                zones=free,
                scope=self.scope,
                fingerprint=fingerprint(self.pods[uid] for uid in self.taken),
                version=self.n_looks,
            )
        )


class AnyKubelet(RuleBasedStateMachine):
    """Pods come and go; kubelets, agents and the API server are late, each in its own way.

    Only bindings to one node do not overtake each other, nor do other schedulers' ours: they go by
    nothing.
    """

    @initialize(
        zones=st.tuples(large_zones, large_zones),
        scopes=st.tuples(*[st.sampled_from(["container", "pod"])] * 2),
        detect=st.sampled_from(["All", "None", "OnlyExclusiveResources"]),
    )
    def start(self, zones, scopes, detect):
        self.kubelets = {
            name: Kubelet(name, [Counter(amounts(zone)) for zone in each], scope)
            for name, each, scope in zip(NODES, zones, scopes, strict=True)
        }
        nodes = [make_facts(name, allocatable={CPU: 99_000, GPU: 9}) for name in NODES]
        for kubelet in self.kubelets.values():
            kubelet.look()
        self.engine = make_numa_engine(
            *nodes,
            *(each.reports.popleft() for each in self.kubelets.values()),
            cacheResyncPeriodSeconds=5,
            cache={"foreignPodsDetect": detect},
        )
        self.now_s, self.n_made = 0.0, 0
        self.binding, self.gone = {}, []

    @rule(asked=st.lists(containers, min_size=1, max_size=3))
    def pods_come(self, asked):
        for each in asked:
            self.n_made += 1
            self.tell(PodSeen(make_aligned(f"p{self.n_made}", *map(amounts, each))))
        self.time_passes()

    @rule(asked=containers, name=st.sampled_from(NODES))
    def another_scheduler_places_a_pod(self, asked, name):
        self.n_made += 1
        for uid in [uid for uid, pod in self.binding.items() if pod.node_name == name]:
            self.settle(uid, is_done=True)
        pod = make_aligned(f"p{self.n_made}", *map(amounts, asked))
        pod = replace(pod, scheduler_name="other", node_name=name)
        self.kubelets[name].bound.append(pod)
        self.tell(PodSeen(pod))

    @rule(number=st.integers(1, 3))
    def a_pod_comes_that_shares(self, number):
        self.n_made += 1
        asked = {CPU: 1000 * number}
        self.tell(PodSeen(make_aligned(f"p{self.n_made}", asked, qos=Qos.BURSTABLE)))

    @precondition(lambda self: self.binding)
    @rule(data=st.data(), is_done=st.sampled_from([True, True, True, False]))
    def a_binding_is_settled(self, data, is_done):
        first = {pod.node_name: uid for uid, pod in reversed(self.binding.items())}
        self.settle(data.draw(st.sampled_from(sorted(first.values()))), is_done=is_done)

    @precondition(lambda self: self.binding)
    @rule(data=st.data(), is_told=st.booleans())
    def all_is_carried_out(self, data, is_told):
        for uid in list(self.binding):
            self.settle(uid, is_done=True)
        for name, kubelet in self.kubelets.items():
            while kubelet.bound:
                self.a_kubelet_takes_a_pod(name, data, is_told)

    def settle(self, uid, *, is_done):
        pod = self.binding.pop(uid)
        if not is_done:
            self.tell(BindFailed(pod.uid, "no luck"))
            return
        self.kubelets[pod.node_name].bound.append(pod)
        self.tell(BindSucceeded(pod.uid))
        self.tell(PodSeen(pod))

    @rule(name=st.sampled_from(NODES), data=st.data(), is_told=st.booleans())
    def a_kubelet_takes_a_pod(self, name, data, is_told):
        kubelet = self.kubelets[name]
        if not kubelet.bound:
            return
        pod = kubelet.bound.popleft()
        steps = steps_of(pod, kubelet.scope) if pod.qos is Qos.GUARANTEED else []
        possible = list(ways(steps, kubelet.free()))
        if not possible:
            assert pod.scheduler_name == "other", f"{pod.name} cannot be aligned on {name}"
            self.gone.append(pod)
            return
        choice = data.draw(st.sampled_from(possible))
        kubelet.taken[pod.uid] = what_is_taken(steps, choice, len(kubelet.zones))
        kubelet.pods[pod.uid] = pod
        if is_told:
            self.tell(PodSeen(replace(pod, start_time_s=1.0)))

    @rule(name=st.sampled_from(NODES), data=st.data())
    def a_pod_ends(self, name, data):
        kubelet = self.kubelets[name]
        if kubelet.taken:
            uid = data.draw(st.sampled_from(sorted(kubelet.taken)))
            del kubelet.taken[uid]
            self.gone.append(kubelet.pods[uid])

    @precondition(lambda self: self.gone)
    @rule()
    def the_api_server_says_that_it_ended(self):
        pod = self.gone.pop(0)
        self.tell(PodGone(pod.key, pod.uid))

    @rule(name=st.sampled_from(NODES), is_prompt=st.booleans())
    def an_agent_looks(self, name, is_prompt):
        self.kubelets[name].look()
        if is_prompt:
            while self.kubelets[name].reports:
                self.an_agent_writes(name)

    @rule(name=st.sampled_from(NODES))
    def an_agent_writes(self, name):
        if self.kubelets[name].reports:
            self.tell(ObjectSeen(self.kubelets[name].reports.popleft()))

    @rule()
    def time_passes(self):
        self.now_s += 20.0
        self.tell(Tick())

    def tell(self, event):
        for action in self.engine.handle(event, now_s=self.now_s):
            if isinstance(action, Bind):
                self.binding[action.pod.uid] = replace(action.pod, node_name=action.node)


def test_a_pod_is_never_placed_where_it_cannot_be_aligned():
    run_state_machine_as_test(
        AnyKubelet,
        settings=settings(
            max_examples=100,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
