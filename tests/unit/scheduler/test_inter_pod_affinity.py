"""InterPodAffinity against a plain reading of kube-scheduler's rules, pod by pod."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.objects import Namespace, ObjectMeta
from kube.selectors import LabelQuery, Requirement, labels_query
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code
from scheduler.model import AffinityTerm, NodeFacts, PodFacts, PodTerm, WeightedTerm
from scheduler.plugins.inter_pod_affinity import InterPodAffinity, InterPodAffinityArgs

NAMESPACES = {"a": {"team": "one"}, "b": {"team": "two"}}
"""Labels by name; the namespace ``c`` is not known."""

TOO_FAR = ("UnschedulableAndUnresolvable", "node(s) didn't match pod affinity rules")
TOO_NEAR = ("Unschedulable", "node(s) didn't match pod anti-affinity rules")
KEPT_OUT = ("Unschedulable", "node(s) didn't satisfy existing pods anti-affinity rules")
FINE = ("Success", "")

Pair = tuple[str, str]


# --------------------------------------------------------------------------------- plain reading


@dataclass(frozen=True)
class World:
    nodes: Mapping[str, NodeFacts]
    pods: tuple[PodFacts, ...]

    def snapshot(self) -> Snapshot:
        snapshot = Snapshot()
        for name, labels in NAMESPACES.items():
            metadata = ObjectMeta(name=name, labels=labels)
            snapshot.objects.put(Namespace(metadata=metadata))
        for node in self.nodes.values():
            snapshot.set_node(node)
        for pod in self.pods:
            if pod.node_name in self.nodes:
                snapshot.add_pod(pod, node=pod.node_name)
        return snapshot

    def placed(self) -> Iterator[tuple[PodFacts, Mapping[str, str]]]:
        """Each pod with its node's labels."""
        for pod in self.pods:
            if pod.node_name in self.nodes:
                yield pod, self.nodes[pod.node_name].labels


def speaks_of(term: AffinityTerm, pod: PodFacts) -> bool:
    pods = term.pods
    in_reach = pod.namespace in pods.namespaces
    if pods.namespace_query is not None:
        labels = NAMESPACES.get(pod.namespace)
        everywhere = not pods.namespace_query.requirements
        # Only a namespace whose object is known has labels, or lacks them.
        known = labels is not None and pods.namespace_query.matches(labels)
        in_reach = in_reach or everywhere or known
    return in_reach and pods.query is not None and pods.query.matches(pod.labels)


def about_incoming(term: AffinityTerm, pod: PodFacts) -> bool:
    """A running pod's term: the labels of an unknown namespace count as empty."""
    pods = term.pods
    labels = NAMESPACES.get(pod.namespace, {})
    in_reach = pod.namespace in pods.namespaces or (
        pods.namespace_query is not None and pods.namespace_query.matches(labels)
    )
    return in_reach and pods.query is not None and pods.query.matches(pod.labels)


def matches_all(terms: Iterable[AffinityTerm], pod: PodFacts) -> bool:
    terms = tuple(terms)
    return bool(terms) and all(speaks_of(term, pod) for term in terms)


class Reading:
    """What PreFilter counts of a world."""

    def __init__(self, world: World, pod: PodFacts) -> None:
        self.pod = pod
        self.near: Counter[Pair] = Counter()
        self.apart: Counter[Pair] = Counter()
        self.against: Counter[Pair] = Counter()
        for other, labels in world.placed():
            if matches_all(pod.pod_affinity, other):
                count(self.near, pod.pod_affinity, labels)
            count(self.apart, (t for t in pod.pod_anti_affinity if speaks_of(t, other)), labels)
            against = (t for t in other.pod_anti_affinity if about_incoming(t, pod))
            count(self.against, against, labels)

    @property
    def is_skipped(self) -> bool:
        return not (self.pod.pod_affinity or self.pod.pod_anti_affinity or self.against)

    def verdict(self, labels: Mapping[str, str]) -> tuple[str, str]:
        pod = self.pod
        if any(term.topology_key not in labels for term in pod.pod_affinity):
            return TOO_FAR
        pairs = [(t.topology_key, labels[t.topology_key]) for t in pod.pod_affinity]
        is_first = not self.near and matches_all(pod.pod_affinity, pod)
        if pairs and not is_first and any(not self.near[pair] for pair in pairs):
            return TOO_FAR
        keys = {term.topology_key for term in pod.pod_anti_affinity}
        if any(self.apart[key, labels[key]] for key in keys & set(labels)):
            return TOO_NEAR
        return KEPT_OUT if any(self.against[pair] for pair in labels.items()) else FINE


def count(pairs: Counter[Pair], terms: Iterable[AffinityTerm], labels: Mapping[str, str]) -> None:
    for term in terms:
        if term.topology_key in labels:
            pairs[term.topology_key, labels[term.topology_key]] += 1


def plain_scores(
    world: World, pod: PodFacts, *, feasible: list[str], args: InterPodAffinityArgs
) -> list[int]:
    pull: Counter[Pair] = Counter()
    if args.ignore_preferred_terms_of_existing_pods and not pod.preferred_terms:
        return [0] * len(feasible)
    for other, labels in world.placed():
        weighted = [(w, t) for w, t in pod.preferred_terms if speaks_of(t, other)]
        weighted += [(w, t) for w, t in other.preferred_terms if about_incoming(t, pod)]
        weighted += [
            (args.hard_pod_affinity_weight, t) for t in other.pod_affinity if about_incoming(t, pod)
        ]
        for weight, term in weighted:
            if term.topology_key in labels:
                pull[term.topology_key, labels[term.topology_key]] += weight
    raw = [sum(pull[pair] for pair in world.nodes[name].labels.items()) for name in feasible]
    low, high = min(raw, default=0), max(raw, default=0)
    return [0 if low == high else int(100.0 * ((n - low) / (high - low))) for n in raw]


# --------------------------------------------------------------------------------- random worlds

queries = st.sampled_from(
    [
        None,
        LabelQuery(),
        labels_query({"app": "red"}),
        labels_query({"app": "red", "tier": "web"}),
        LabelQuery((Requirement("app", "In", frozenset(("red", "green"))),)),
        LabelQuery((Requirement("app", "NotIn", frozenset(("green",))),)),
        LabelQuery((Requirement("tier", "Exists"),)),
    ]
)
namespace_queries = st.sampled_from(
    [
        None,
        None,
        LabelQuery(),
        labels_query({"team": "one"}),
        LabelQuery((Requirement("team", "DoesNotExist"),)),
    ]
)
terms = st.builds(
    AffinityTerm,
    st.sampled_from(["zone", "host"]),
    st.builds(PodTerm, queries, st.frozensets(st.sampled_from("abc")), namespace_queries),
)
few_terms = st.lists(terms, max_size=2).map(tuple)
pods = st.builds(
    PodFacts,
    namespace=st.sampled_from("abc"),
    name=st.just("incoming"),
    uid=st.just("incoming"),
    labels=st.fixed_dictionaries(
        {}, optional={"app": st.sampled_from(["red", "green"]), "tier": st.just("web")}
    ),
    pod_affinity=few_terms,
    pod_anti_affinity=few_terms,
    preferred_terms=st.lists(
        st.builds(WeightedTerm, st.sampled_from([-100, -3, 1, 50]), terms), max_size=2
    ).map(tuple),
)
node_labels = st.fixed_dictionaries(
    {}, optional={"zone": st.sampled_from("xyz"), "host": st.sampled_from("hijk")}
)


@st.composite
def some_pods(draw: st.DrawFn, nodes: list[str], prefix: str) -> tuple[PodFacts, ...]:
    found = draw(st.lists(st.tuples(pods, st.sampled_from(nodes)), max_size=6))
    return tuple(
        replace(pod, name=f"{prefix}{i}", uid=f"{prefix}{i}", node_name=node)
        for i, (pod, node) in enumerate(found)
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    labels = draw(st.lists(node_labels, min_size=1, max_size=5))
    nodes = {f"n{i}": NodeFacts(f"n{i}", labels=each) for i, each in enumerate(labels)}
    return World(nodes, draw(some_pods(list(nodes), "p")))


def make_plugin(**args) -> InterPodAffinity:
    return InterPodAffinity(InterPodAffinityArgs(**args))


def verdicts(plugin, state, pod, snapshot) -> dict[str, tuple[str, str]]:
    found = plugin.filter(state, pod=pod, snapshot=snapshot)
    if found is None:
        return dict.fromkeys(snapshot.names, FINE)
    return {
        name: (
            Code(int(found.codes[row])).word,
            " and ".join(reason for reason, nodes in found.reasons if nodes[row]),
        )
        for row, name in enumerate(snapshot.names)
    }


@settings(max_examples=150)
@given(world=worlds(), pod=pods, data=st.data())
def test_filters_as_a_plain_reading_does_and_of_what_ifs_row_by_row(world, pod, data):
    snapshot, state, plugin = world.snapshot(), CycleState(), make_plugin()
    reading = Reading(world, pod)

    result = plugin.pre_filter(state, pod=pod, snapshot=snapshot)

    assert result.status.is_skip == reading.is_skipped
    if reading.is_skipped:
        return
    expected = {name: reading.verdict(node.labels) for name, node in world.nodes.items()}
    assert verdicts(plugin, state, pod, snapshot) == expected

    coming = data.draw(some_pods(list(world.nodes), "q"))
    going = data.draw(
        st.lists(st.sampled_from(world.pods), unique_by=id) if world.pods else st.just([])
    )
    what_if = snapshot.what_if()
    for each in going:
        what_if.remove_pod(each, node=each.node_name)
    for each in coming:
        what_if.add_pod(each, node=each.node_name)
    changed = {
        name: World(
            world.nodes,
            tuple(p for p in world.pods if p not in going or p.node_name != name)
            + tuple(p for p in coming if p.node_name == name),
        )
        for name in world.nodes
    }

    found = verdicts(plugin, state, pod, what_if)

    assert found == {
        name: Reading(changed[name], pod).verdict(node.labels) for name, node in world.nodes.items()
    }
    assert verdicts(plugin, state, pod, snapshot) == expected


@settings(max_examples=150)
@given(
    world=worlds(),
    pod=pods,
    args=st.builds(
        InterPodAffinityArgs,
        hard_pod_affinity_weight=st.sampled_from([0, 1, 100]),
        ignore_preferred_terms_of_existing_pods=st.booleans(),
    ),
    data=st.data(),
)
def test_scores_as_a_plain_reading_does(world, pod, args, data):
    snapshot, state, plugin = world.snapshot(), CycleState(), InterPodAffinity(args)
    feasible = np.array([data.draw(st.booleans()) for _ in snapshot.names])
    names = [
        name for name, is_feasible in zip(snapshot.names, feasible, strict=True) if is_feasible
    ]

    status = plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=feasible)

    found = [0] * len(names)
    if not status.is_skip:
        raw = plugin.score(state, pod=pod, snapshot=snapshot)
        found = plugin.normalize(raw[feasible]).tolist()
    assert found == plain_scores(world, pod, feasible=names, args=args)


# ----------------------------------------------------------------------------------------- hints


@st.composite
def changes(draw: st.DrawFn, world: World) -> tuple[World, Change]:
    """Change one thing; gives the world after it, and what is said of it."""
    kind = draw(st.sampled_from(["add", "delete", "relabel", "node", "node labels", "node gone"]))
    nodes = dict(world.nodes)
    if kind in ("delete", "relabel") and world.pods:
        before = draw(st.sampled_from(world.pods))
        others = tuple(p for p in world.pods if p is not before)
        if kind == "delete":
            return World(nodes, others), Change(ClusterEvent.ASSIGNED_POD_DELETE, before)
        after = replace(before, labels=draw(pods).labels)
        event = ClusterEvent.ASSIGNED_POD_LABEL
        return World(nodes, (*others, after)), Change(event, before, after)
    if kind == "node gone" and len(nodes) > 1:
        gone = nodes.pop(draw(st.sampled_from(list(nodes))))
        return World(nodes, world.pods), Change(ClusterEvent.NODE_DELETE, gone)
    if kind.startswith("node"):
        name = draw(st.sampled_from([*nodes, "new"]))
        known, after = nodes.get(name), NodeFacts(name, labels=draw(node_labels))
        nodes[name] = after
        event = ClusterEvent.NODE_ADD if known is None else ClusterEvent.NODE_LABEL
        return World(nodes, world.pods), Change(event, known, after)
    node = draw(st.sampled_from(list(nodes)))
    after = replace(draw(pods), name="new", uid="new", node_name=node)
    return World(nodes, (*world.pods, after)), Change(ClusterEvent.ASSIGNED_POD_ADD, None, after)


@settings(max_examples=250)
@given(world=worlds(), pod=pods, data=st.data())
def test_whatever_makes_a_refused_pod_fit_wakes_it(world, pod, data):
    reading = Reading(world, pod)
    if any(reading.verdict(node.labels) == FINE for node in world.nodes.values()):
        return
    after, change = data.draw(changes(world))
    new = Reading(after, pod)
    if any(new.verdict(node.labels) == FINE for node in after.nodes.values()):
        assert change.event in InterPodAffinity.wakes_on
        assert make_plugin().may_help(pod, change=change)


RED, GREEN = {"app": "red"}, {"app": "green"}


def make_term(labels: Mapping[str, str], *, key: str = "zone", **more) -> AffinityTerm:
    fields = {"namespaces": frozenset("a"), "namespace_query": None, **more}
    return AffinityTerm(key, PodTerm(labels_query(labels), **fields))


def make_pod(name: str = "p", **fields) -> PodFacts:
    return PodFacts(**{"namespace": "a", "name": name, "uid": name, **fields})


joins_red = make_pod(pod_affinity=(make_term(RED),))
shuns_red = make_pod(pod_anti_affinity=(make_term(RED),))
red = make_pod("r", labels=RED, node_name="n1")
green = make_pod("g", labels=GREEN, node_name="n1")
shuns_all = make_pod("s", pod_anti_affinity=(make_term({}),), node_name="n1")


@pytest.mark.parametrize(
    ("pod", "event", "before", "after", "helps"),
    [
        pytest.param(joins_red, "ASSIGNED_POD_ADD", None, red, True, id="somebody to join"),
        pytest.param(joins_red, "ASSIGNED_POD_ADD", None, green, False, id="somebody else"),
        pytest.param(joins_red, "ASSIGNED_POD_DELETE", red, None, False, id="one fewer to join"),
        pytest.param(joins_red, "ASSIGNED_POD_LABEL", green, red, True, id="now one to join"),
        pytest.param(shuns_red, "ASSIGNED_POD_DELETE", red, None, True, id="one fewer to shun"),
        pytest.param(shuns_red, "ASSIGNED_POD_DELETE", green, None, False, id="never shunned"),
        pytest.param(shuns_red, "ASSIGNED_POD_LABEL", red, green, True, id="shunned no more"),
        pytest.param(shuns_red, "ASSIGNED_POD_ADD", None, red, False, id="one more to shun"),
        pytest.param(green, "ASSIGNED_POD_DELETE", shuns_all, None, True, id="its shunner went"),
        pytest.param(
            replace(joins_red, labels=RED), "ASSIGNED_POD_DELETE", red, None, True, id="is first"
        ),
        pytest.param(joins_red, "NODE_ADD", None, NodeFacts("n"), False, id="without the key"),
        pytest.param(
            joins_red, "NODE_ADD", None, NodeFacts("n", labels={"zone": "x"}), True, id="with it"
        ),
        pytest.param(shuns_red, "NODE_ADD", None, NodeFacts("n"), True, id="nobody there"),
        pytest.param(joins_red, "POD_UPDATE", joins_red, shuns_red, True, id="the pod changed"),
    ],
)
def test_wakes_for_what_may_help_alone(pod, event, before, after, helps):
    change = Change(ClusterEvent[event], before, after)

    assert make_plugin().may_help(pod, change=change) is helps


# ---------------------------------------------------------------------------------- single rules


@pytest.mark.parametrize(
    ("raw", "normalized"),
    [
        ([-10, 0, 30], [0, 25, 100]),
        ([0, 29, 100], [0, 28, 100]),
        ([7, 7], [0, 0]),
        ([], []),
    ],
)
def test_scores_are_stretched_as_upstream_stretches_them(raw, normalized):
    assert make_plugin().normalize(np.array(raw, dtype=np.int64)).tolist() == normalized


def test_all_namespaces_are_more_than_the_known_ones():
    stranger = make_pod("stranger", namespace="c", labels=RED, node_name="n1")
    world = World({"n1": NodeFacts("n1", labels={"zone": "x"})}, (stranger,))
    everywhere = make_term(RED, namespaces=frozenset(), namespace_query=LabelQuery())
    pod = make_pod(pod_anti_affinity=(everywhere,))

    assert verdicts(make_plugin(), CycleState(), pod, world.snapshot()) == {"n1": TOO_NEAR}


def test_a_namespace_that_gets_the_labels_is_in_reach_at_once():
    elsewhere = make_pod("elsewhere", namespace="b", labels=RED, node_name="n1")
    snapshot = World({"n1": NodeFacts("n1", labels={"zone": "x"})}, (elsewhere,)).snapshot()
    reach = labels_query({"team": "one"})
    pod = make_pod(pod_anti_affinity=(make_term(RED, namespace_query=reach),))
    before = verdicts(make_plugin(), CycleState(), pod, snapshot)

    snapshot.objects.put(Namespace(metadata=ObjectMeta(name="b", labels={"team": "one"})))

    after = verdicts(make_plugin(), CycleState(), pod, snapshot)
    assert (before, after) == ({"n1": FINE}, {"n1": TOO_NEAR})


def test_a_term_nobody_carries_any_more_keeps_nobody_out():
    snapshot = World({"n1": NodeFacts("n1", labels={"zone": "x"})}, (shuns_all,)).snapshot()
    snapshot.remove_pod(shuns_all, node="n1")

    status = make_plugin().pre_filter(CycleState(), pod=green, snapshot=snapshot).status

    assert status.is_skip
