"""PodTopologySpread against a plain reading of kube-scheduler's rules, node by node."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.edge.settings import SettingsError
from kube.objects import (
    LabelSelector,
    ObjectMeta,
    OwnerReference,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicationController,
    ReplicationControllerSpec,
    Service,
    ServiceSpec,
    StatefulSet,
    Toleration,
)
from kube.selectors import LabelQuery, Requirement, labels_query
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import Change, ClusterEvent
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code
from scheduler.model import NodeFacts, PodFacts, SpreadConstraint, Taint
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.pod_topology_spread import PodTopologySpread
from scheduler.plugins.spread_constraints import (
    HOSTNAME,
    ZONE,
    DefaultConstraint,
    PodTopologySpreadArgs,
    deduced_query,
)
from tests.unit.scheduler.worlds import make_pending

PLUGIN = PodTopologySpread(PodTopologySpreadArgs())
WEB = {"app": "web"}
DEDICATED = Taint("dedicated", "db", "NoSchedule")
TOLERATED = (Toleration(key="dedicated", operator="Exists"),)

UNEVEN = ("Unschedulable", "node(s) didn't match pod topology spread constraints")
MISSING = ("UnschedulableAndUnresolvable", f"{UNEVEN[1]} (missing required label)")
FINE = ("Success", "")


# --------------------------------------------------------------------------------- plain reading


@dataclass(frozen=True)
class World:
    nodes: Mapping[str, NodeFacts]
    pods: tuple[PodFacts, ...]

    def snapshot(self, *objects) -> Snapshot:
        snapshot = Snapshot()
        for found in objects:
            snapshot.objects.put(found)
        for node in self.nodes.values():
            snapshot.set_node(node)
        for pod in self.pods:
            if pod.node_name in self.nodes:
                snapshot.add_pod(pod, node=pod.node_name)
        return snapshot


def has_all(node: NodeFacts, constraints) -> bool:
    return all(each.topology_key in node.labels for each in constraints)


def is_included(node: NodeFacts, pod: PodFacts, constraint: SpreadConstraint) -> bool:
    if constraint.honors_node_affinity and pod.node_selector.items() - node.labels.items():
        return False
    is_tainted = any(taint.effect in ("NoSchedule", "NoExecute") for taint in node.taints)
    return not (constraint.honors_node_taints and is_tainted and not pod.tolerations)


def n_matching(world: World, name: str, *, pod: PodFacts, constraint: SpreadConstraint) -> int:
    query = constraint.query
    if query is None or not query.requirements:
        return 0
    return sum(
        other.node_name == name
        and other.namespace == pod.namespace
        and not other.is_terminating
        and query.matches(other.labels)
        for other in world.pods
    )


def plain_verdict(world: World, name: str, *, pod: PodFacts) -> tuple[str, str]:
    hard = [each for each in pod.spread if each.is_hard]
    for constraint in hard:
        key = constraint.topology_key
        if key not in world.nodes[name].labels:
            return MISSING
        counts: Counter[str] = Counter()
        for other, node in world.nodes.items():
            if has_all(node, hard) and is_included(node, pod, constraint):
                n = n_matching(world, other, pod=pod, constraint=constraint)
                counts[node.labels[key]] += n
        lowest = min(counts.values(), default=0)
        if len(counts) < constraint.min_domains:
            lowest = 0
        is_own = constraint.query is not None and constraint.query.matches(pod.labels)
        if counts[world.nodes[name].labels[key]] + is_own - lowest > constraint.max_skew:
            return UNEVEN
    return FINE


def plain_scores(
    world: World, pod: PodFacts, *, soft: list[SpreadConstraint], feasible: list[str], strict: bool
) -> dict[str, int]:
    rated = [name for name in feasible if not strict or has_all(world.nodes[name], soft)]
    costs = dict.fromkeys(rated, 0.0)
    for constraint in soft:
        key = constraint.topology_key
        values = {world.nodes[name].labels.get(key, "") for name in rated}
        weight = math.log((len(rated) if key == HOSTNAME else len(values)) + 2)
        counts: Counter[str] = Counter()
        for other, node in world.nodes.items():
            if (has_all(node, soft) or not strict) and is_included(node, pod, constraint):
                n = n_matching(world, other, pod=pod, constraint=constraint)
                counts[node.labels.get(key, "")] += n
        for name in rated:
            if key in world.nodes[name].labels:
                near = counts[world.nodes[name].labels[key]]
                if key == HOSTNAME:
                    near = n_matching(world, name, pod=pod, constraint=constraint)
                costs[name] += near * weight + constraint.max_skew - 1
    whole = {name: math.floor(cost + 0.5) for name, cost in costs.items()}
    highest, lowest = max(whole.values(), default=0), min(whole.values(), default=0)
    scores = {
        name: 100 if highest == 0 else 100 * (highest + lowest - cost) // highest
        for name, cost in whole.items()
    }
    return {name: scores.get(name, 0) for name in feasible}


# --------------------------------------------------------------------------------- random worlds

# Skewed towards what matters: most pods count, most nodes have the keys, most rules can bind.

APPS = st.sampled_from([WEB, WEB, WEB, {"app": "db"}, {}])
QUERIES = st.sampled_from(
    [
        labels_query(WEB),
        labels_query(WEB),
        LabelQuery((Requirement("app", "Exists"),)),
        LabelQuery((Requirement("app", "NotIn", frozenset(("db",))),)),
        LabelQuery(),
        None,
    ]
)


def constraints(is_hard):
    return st.builds(
        SpreadConstraint,
        topology_key=st.sampled_from(["zone", "zone", "rack", HOSTNAME]),
        max_skew=st.sampled_from([1, 1, 2, 3]),
        is_hard=st.sampled_from([is_hard, is_hard, is_hard, not is_hard]),
        query=QUERIES,
        min_domains=st.sampled_from([1, 1, 1, 2, 4]),
        honors_node_affinity=st.booleans(),
        honors_node_taints=st.booleans(),
    )


def incoming(is_hard):
    return st.builds(
        lambda spread, zone, **fields: make_pending(
            "incoming",
            spread=tuple(spread),
            node_selector={"zone": zone} if zone else {},
            **fields,
        ),
        labels=APPS,
        spread=st.lists(constraints(is_hard), min_size=1, max_size=3),
        zone=st.sampled_from(["", "a", "b"]),
        tolerations=st.sampled_from([(), (), TOLERATED]),
    )


@st.composite
def node_facts(draw, name):
    labels = {
        "zone": draw(st.sampled_from(["a", "a", "b", "b", "c", "c", "", None])),
        "rack": draw(st.sampled_from(["x", "x", "y", "y", None])),
        HOSTNAME: draw(st.sampled_from([name] * 5 + [None])),
    }
    return NodeFacts(
        name,
        labels={key: value for key, value in labels.items() if value is not None},
        taints=draw(st.sampled_from([(), (), (), (DEDICATED,)])),
    )


@st.composite
def placed_pods(draw, uid, nodes):
    return make_pending(
        uid,
        uid=uid,
        namespace=draw(st.sampled_from(["default"] * 4 + ["other"])),
        node_name=draw(st.sampled_from(nodes)),
        labels=draw(APPS),
        is_terminating=draw(st.sampled_from([False] * 5 + [True])),
    )


@st.composite
def worlds(draw):
    names = [f"n{i}" for i in range(draw(st.integers(1, 6)))]
    nodes = {name: draw(node_facts(name)) for name in names}
    n_pods = draw(st.sampled_from([0, 2, 4, 8, 12]))
    return World(nodes, tuple(draw(placed_pods(f"p{i}", names)) for i in range(n_pods)))


def verdicts(plugin, pod, snapshot, *, what_if=None):
    state, asked = CycleState(), snapshot if what_if is None else what_if
    found = None
    if not plugin.pre_filter(state, pod=pod, snapshot=snapshot).status.is_skip:
        found = plugin.filter(state, pod=pod, snapshot=asked)
    if found is None:
        return dict.fromkeys(snapshot.names, FINE)
    reasons = [
        "".join(reason for reason, nodes in found.reasons if nodes[row])
        for row in range(snapshot.n_nodes)
    ]
    codes = [Code(code).word for code in found.codes.tolist()]
    return dict(zip(snapshot.names, zip(codes, reasons, strict=True), strict=True))


def scores(plugin, pod, snapshot, *, feasible=None):
    names = snapshot.names if feasible is None else feasible
    mask = np.isin(snapshot.names, names)
    state = CycleState()
    if plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=mask).is_skip:
        return None
    found = plugin.normalize(plugin.score(state, pod=pod, snapshot=snapshot)[mask])
    return dict(zip(np.array(snapshot.names)[mask].tolist(), found.tolist(), strict=True))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(world=worlds(), pod=incoming(True))
def test_refuses_as_a_plain_reading_does(world, pod):
    found = verdicts(PLUGIN, pod, world.snapshot())

    assert found == {name: plain_verdict(world, name, pod=pod) for name in world.nodes}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(world=worlds(), pod=incoming(True), data=st.data())
def test_of_a_what_if_each_node_sees_only_its_own_changes(world, pod, data):
    going = [each for each in world.pods if data.draw(st.booleans())]
    coming = [
        data.draw(placed_pods(f"q{i}", list(world.nodes)))
        for i in range(data.draw(st.integers(0, 4)))
    ]
    snapshot = world.snapshot()
    what_if = snapshot.what_if()
    for gone in going:
        what_if.remove_pod(gone, node=gone.node_name)
    for new in coming:
        what_if.add_pod(new, node=new.node_name)

    found = verdicts(PLUGIN, pod, snapshot, what_if=what_if)

    for name in world.nodes:
        kept = [p for p in world.pods if p.node_name != name or p not in going]
        alone = World(world.nodes, (*kept, *(p for p in coming if p.node_name == name)))
        assert found[name] == plain_verdict(alone, name, pod=pod)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(world=worlds(), pod=incoming(False), data=st.data())
def test_rates_as_a_plain_reading_does(world, pod, data):
    names = list(world.nodes)
    feasible = data.draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    soft = [each for each in pod.spread if not each.is_hard]

    found = scores(PLUGIN, pod, world.snapshot(), feasible=feasible)

    expected = plain_scores(world, pod, soft=soft, feasible=feasible, strict=True)
    assert found == (expected if soft else None)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(world=worlds(), data=st.data())
def test_rates_by_the_systems_defaults_as_a_plain_reading_does(world, data):
    renamed = {
        name: replace(node, labels={ZONE if k == "zone" else k: v for k, v in node.labels.items()})
        for name, node in world.nodes.items()
    }
    world = World(renamed, world.pods)
    feasible = data.draw(st.lists(st.sampled_from(list(renamed)), unique=True, min_size=1))
    pod = make_pending("incoming", labels=WEB)
    query = labels_query(WEB)
    defaults = [
        SpreadConstraint(HOSTNAME, max_skew=3, is_hard=False, query=query),
        SpreadConstraint(ZONE, max_skew=5, is_hard=False, query=query),
    ]

    found = scores(PLUGIN, pod, world.snapshot(make_service(WEB)), feasible=feasible)

    assert found == plain_scores(world, pod, soft=defaults, feasible=feasible, strict=False)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(world=worlds(), pod=incoming(True), data=st.data())
def test_whatever_lets_a_refused_pod_in_is_hinted_at(world, pod, data):
    after, change = data.draw(changes(world))

    before_fine = {n for n, v in verdicts(PLUGIN, pod, world.snapshot()).items() if v == FINE}
    after_fine = {n for n, v in verdicts(PLUGIN, pod, after.snapshot()).items() if v == FINE}

    assert change.event in PodTopologySpread.wakes_on
    assert after_fine <= before_fine or PLUGIN.may_help(pod, change=change)


@st.composite
def changes(draw, world):
    kinds = ["add pod", "add node", "change node", "remove node"]
    kind = draw(st.sampled_from([*kinds, "change pod", "remove pod"] if world.pods else kinds))
    nodes, pods = dict(world.nodes), list(world.pods)
    if kind == "add pod":
        pods.append(new := draw(placed_pods("new", list(nodes))))
        change = Change(ClusterEvent.ASSIGNED_POD_ADD, None, new)
    elif kind == "change pod":
        i = draw(st.integers(0, len(pods) - 1))
        old, pods[i] = pods[i], replace(pods[i], labels=draw(APPS))
        change = Change(ClusterEvent.ASSIGNED_POD_LABEL, old, pods[i])
    elif kind == "remove pod":
        gone = pods.pop(draw(st.integers(0, len(pods) - 1)))
        change = Change(ClusterEvent.ASSIGNED_POD_DELETE, gone, None)
    elif kind == "add node":
        nodes["new"] = draw(node_facts("new"))
        change = Change(ClusterEvent.NODE_ADD, None, nodes["new"])
    else:
        name = draw(st.sampled_from(list(nodes)))
        old = nodes.pop(name)
        if kind == "change node":
            nodes[name] = draw(node_facts(name))
        change = Change(ClusterEvent.NODE_LABEL, old, nodes.get(name))
    return World(nodes, tuple(pods)), change


# -------------------------------------------------------------------------------- single rules


def make_service(selector, *, name="svc", namespace="default"):
    metadata = ObjectMeta(name=name, namespace=namespace)
    return Service(metadata=metadata, spec=ServiceSpec(selector=selector))


def make_zones(*n_pods, key="zone"):
    nodes = {f"n{i}": NodeFacts(f"n{i}", labels={key: f"z{i}"}) for i in range(len(n_pods))}
    pods = [
        make_pending(f"p{i}-{j}", labels=WEB, node_name=f"n{i}")
        for i, n in enumerate(n_pods)
        for j in range(n)
    ]
    return World(nodes, tuple(pods))


def make_constraint(key="zone", *, is_hard=True, **more):
    fields = {"max_skew": 1, "query": labels_query(WEB), **more}
    return SpreadConstraint(key, is_hard=is_hard, **fields)


def test_the_zone_with_the_fewest_pods_is_best():
    pod = make_pending(labels=WEB, spread=(make_constraint(is_hard=False),))

    assert scores(PLUGIN, pod, make_zones(2, 0, 1).snapshot()) == {"n0": 0, "n1": 100, "n2": 33}


def test_a_default_may_be_hard():
    args = PodTopologySpreadArgs(
        defaulting_type="List",
        default_constraints=(
            DefaultConstraint(
                max_skew=1, topology_key="zone", when_unsatisfiable="DoNotSchedule", min_domains=3
            ),
        ),
    )
    pod = make_pending(labels=WEB)

    found = verdicts(PodTopologySpread(args), pod, make_zones(1, 0).snapshot(make_service(WEB)))

    assert found == {"n0": UNEVEN, "n1": FINE}


def test_a_list_of_defaults_leaves_nodes_without_the_key_unrated():
    constraint = DefaultConstraint(
        max_skew=1, topology_key="zone", when_unsatisfiable="ScheduleAnyway"
    )
    args = PodTopologySpreadArgs(defaulting_type="List", default_constraints=(constraint,))
    world = make_zones(1, 0)
    world = World({**world.nodes, "bare": NodeFacts("bare")}, world.pods)

    found = scores(
        PodTopologySpread(args), make_pending(labels=WEB), world.snapshot(make_service(WEB))
    )

    assert found == {"n0": 0, "n1": 100, "bare": 0}


def test_no_default_holds_for_a_pod_with_constraints_of_its_own():
    pod = make_pending(labels=WEB, spread=(make_constraint(),))

    assert scores(PLUGIN, pod, make_zones(1, 0).snapshot(make_service(WEB))) is None


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param((), id="nothing"),
        pytest.param([make_service({"app": "db"})], id="a service of other pods"),
        pytest.param([make_service(WEB, namespace="other")], id="a service elsewhere"),
        pytest.param([make_service(None)], id="a service without a selector"),
        pytest.param([make_service({})], id="a service of all pods"),
    ],
)
def test_no_default_holds_for_a_pod_that_nothing_selects(objects):
    pod = make_pending(labels=WEB)

    assert scores(PLUGIN, pod, make_zones(1, 0).snapshot(*objects)) is None


def test_a_service_that_is_gone_selects_nothing():
    snapshot = make_zones(1, 0).snapshot(make_service({"tier": "x"}), make_service(WEB))
    pod = make_pending(labels=WEB)

    selected = scores(PLUGIN, pod, snapshot)
    snapshot.objects.remove(Service, "default/svc")

    assert selected is not None
    assert scores(PLUGIN, pod, snapshot) is None


META = ObjectMeta(name="owner", namespace="default")


@pytest.mark.parametrize(
    ("kind", "objects", "expected"),
    [
        pytest.param(
            "ReplicationController",
            [ReplicationController(META, ReplicationControllerSpec({"tier": "x"}))],
            {"app": "web", "tier": "x"},
            id="replication controller",
        ),
        pytest.param(
            "ReplicaSet",
            [ReplicaSet(META, ReplicaSetSpec(LabelSelector(match_labels={"tier": "x"})))],
            {"app": "web", "tier": "x"},
            id="replica set",
        ),
        pytest.param(
            "StatefulSet",
            [StatefulSet(META, ReplicaSetSpec(LabelSelector(match_labels={"tier": "x"})))],
            {"app": "web", "tier": "x"},
            id="stateful set",
        ),
        pytest.param("ReplicaSet", [ReplicaSet(META)], WEB, id="one without a selector"),
        pytest.param("ReplicaSet", [], WEB, id="one that is not known"),
        pytest.param("Job", [], WEB, id="another kind"),
    ],
)
def test_defaults_count_the_pods_of_services_and_of_the_controller(kind, objects, expected):
    snapshot = make_zones(0).snapshot(make_service(WEB), *objects)
    pod = make_pending(
        labels={"app": "web", "tier": "x"}, owner=OwnerReference(kind=kind, name="owner")
    )

    assert deduced_query(pod, snapshot.objects) == labels_query(expected)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, {"labels": {"a": "b"}}, True, id="labels"),
        pytest.param({}, {"tolerations": TOLERATED}, True, id="a toleration"),
        pytest.param({}, {"priority": 7}, False, id="something else"),
    ],
)
def test_waits_until_the_pod_itself_counts_otherwise(before, after, expected):
    constraint = make_constraint(honors_node_taints=True)
    old = make_pending(spread=(constraint,), **before)
    new = make_pending(spread=(constraint,), **after)

    change = Change(ClusterEvent.POD_UPDATE, old, new)

    assert PLUGIN.may_help(new, change=change) is expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"labels": {"app": "db"}}, False, id="a pod that does not count"),
        pytest.param({"namespace": "other", "labels": WEB}, False, id="a pod elsewhere"),
        pytest.param({"labels": WEB}, True, id="a pod that counts"),
    ],
)
def test_waits_for_pods_that_count(change, expected):
    pod = make_pending(labels=WEB, spread=(make_constraint(),))
    added = make_pending("added", node_name="n1", **change)

    found = PLUGIN.may_help(pod, change=Change(ClusterEvent.ASSIGNED_POD_ADD, None, added))

    assert found is expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(None, {}, False, id="a node without the key"),
        pytest.param(None, {"labels": {"zone": "a"}}, True, id="a node with the key"),
        pytest.param(
            {"labels": {"zone": "a"}},
            {"labels": {"zone": "a", "other": "b"}},
            False,
            id="another label",
        ),
        pytest.param({"labels": {"zone": "a"}}, {"labels": {"zone": "b"}}, True, id="its zone"),
        pytest.param({}, {"taints": (DEDICATED,)}, False, id="a taint where nothing counts"),
        pytest.param(
            {"labels": {"zone": "a"}},
            {"labels": {"zone": "a"}, "taints": (DEDICATED,)},
            True,
            id="a taint",
        ),
    ],
)
def test_waits_for_nodes_that_count(before, after, expected):
    pod = make_pending(labels=WEB, spread=(make_constraint(),))
    old = None if before is None else NodeFacts("n1", **before)

    change = Change(ClusterEvent.NODE_LABEL, old, NodeFacts("n1", **after))

    assert PLUGIN.may_help(pod, change=change) is expected


def test_waits_for_nodes_that_leave_what_the_pod_selects():
    pod = make_pending(labels=WEB, spread=(make_constraint(),), node_selector={"disk": "ssd"})
    old = NodeFacts("n1", labels={"zone": "a", "disk": "ssd"})

    change = Change(ClusterEvent.NODE_LABEL, old, NodeFacts("n1", labels={"zone": "a"}))

    assert PLUGIN.may_help(pod, change=change)


HEAD = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- pluginConfig:
  - name: PodTopologySpread
    args:
"""


def read_args(path, text):
    path.write_text(HEAD + "".join(f"      {line}\n" for line in text.splitlines()))
    configuration = load_configuration(path, registry=built_in_registry())
    return configuration.profiles[0].plugin_config[0].args


def test_reads_upstreams_arguments(tmp_path):
    args = read_args(
        tmp_path / "profile.yaml",
        "apiVersion: kubescheduler.config.k8s.io/v1\n"
        "kind: PodTopologySpreadArgs\n"
        "defaultingType: List\n"
        "defaultConstraints:\n"
        "- {maxSkew: 2, topologyKey: example.com/rack, whenUnsatisfiable: ScheduleAnyway,"
        " nodeTaintsPolicy: Honor}",
    )

    [constraint] = args.default_constraints
    assert constraint.constraint() == SpreadConstraint(
        "example.com/rack", max_skew=2, is_hard=False, query=None, honors_node_taints=True
    )


BY_ZONE = "{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}"
SELECTING = "{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, labelSelector: {}}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(f"defaultConstraints: [{BY_ZONE}]", "must be empty", id="system and list"),
        pytest.param("defaultingType: Cluster", "Cluster", id="unknown type"),
        pytest.param(
            f"defaultingType: List\ndefaultConstraints: [{SELECTING}]",
            "labelSelector",
            id="a selector",
        ),
        pytest.param(
            f"defaultingType: List\ndefaultConstraints: [{BY_ZONE}, {BY_ZONE}]",
            "twice",
            id="a key twice",
        ),
        pytest.param(
            "defaultingType: List\ndefaultConstraints:\n"
            "- {maxSkew: 0, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}",
            "maxSkew",
            id="no skew allowed",
        ),
        pytest.param(
            "defaultingType: List\ndefaultConstraints:\n"
            "- {maxSkew: 1, topologyKey: 'a/b/c', whenUnsatisfiable: ScheduleAnyway}",
            "topologyKey",
            id="no label key",
        ),
        pytest.param(
            "defaultingType: List\ndefaultConstraints:\n"
            "- {maxSkew: 1, topologyKey: zone, whenUnsatisfiable: Never}",
            "whenUnsatisfiable",
            id="unknown action",
        ),
    ],
)
def test_refuses_what_upstream_refuses(tmp_path, text, problem):
    with pytest.raises(SettingsError, match=problem):
        read_args(tmp_path / "profile.yaml", text)
