"""How plugins are run together, and how selectors and tolerations match."""

import dataclasses

import numpy as np
import pytest

from kube.objects import (
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Toleration,
)
from scheduler.engine import Engine, EngineSettings
from scheduler.errors import PluginError
from scheduler.events import NodeSeen, PodSeen, ReportFailure
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import (
    PluginArgs,
    PreFilterPlugin,
    PreFilterResult,
    ScorePlugin,
)
from scheduler.framework.matching import matches_any_term, matches_term, named_nodes, tolerates
from scheduler.framework.runtime import FilterRun, run_scores
from scheduler.framework.snapshot import Snapshot
from scheduler.framework.status import Code, unschedulable
from scheduler.model import Taint
from scheduler.plugins.node_affinity import NodeAffinity as NodeAffinityPlugin
from scheduler.plugins.node_affinity import NodeAffinityArgs
from scheduler.plugins.node_name import NodeName
from tests.unit.scheduler.worlds import (
    decisions,
    feed,
    make_engine,
    make_facts,
    make_pending,
    make_profile,
)


def world(*nodes):
    snapshot = Snapshot()
    for node in nodes:
        snapshot.set_node(node)
    return snapshot


NODES = world(
    make_facts("n1", labels={"zone": "a", "cores": "4"}),
    make_facts("n2", labels={"zone": "b", "cores": "16"}),
    make_facts("n3"),
)


def requirement(key, operator, *values):
    return NodeSelectorRequirement(key=key, operator=operator, values=list(values))


def required(*terms):
    return NodeAffinity(
        required_during_scheduling_ignored_during_execution=NodeSelector(
            node_selector_terms=list(terms)
        )
    )


def on_nodes(*names):
    return NodeSelectorTerm(match_fields=[requirement("metadata.name", "In", *names)])


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("In", ["a"], ["n1"]),
        ("In", [], []),
        ("NotIn", ["a"], ["n2", "n3"]),
        ("NotIn", [], []),
        ("Exists", [], ["n1", "n2"]),
        ("Exists", ["a"], []),
        ("DoesNotExist", [], ["n3"]),
        ("Like", ["a"], []),
    ],
)
def test_label_requirements(operator, values, expected):
    term = NodeSelectorTerm(match_expressions=[requirement("zone", operator, *values)])

    assert [NODES.names[i] for i in np.flatnonzero(matches_term(NODES, term=term))] == expected


@pytest.mark.parametrize(
    ("operator", "values", "expected"),
    [
        ("Gt", ["4"], ["n2"]),
        ("Lt", ["5"], ["n1"]),
        ("Gt", ["four"], []),
        ("Gt", ["1", "2"], []),
    ],
)
def test_numeric_requirements(operator, values, expected):
    term = NodeSelectorTerm(match_expressions=[requirement("cores", operator, *values)])

    assert [NODES.names[i] for i in np.flatnonzero(matches_term(NODES, term=term))] == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (requirement("metadata.name", "In", "n2"), ["n2"]),
        (requirement("metadata.name", "NotIn", "n2"), ["n1", "n3"]),
        (requirement("metadata.name", "In", "n9"), []),
        (requirement("metadata.name", "Exists", "n2"), []),
        (requirement("metadata.name", "In", "n1", "n2"), []),
        (requirement("spec.unschedulable", "In", "true"), []),
    ],
)
def test_field_requirements(field, expected):
    term = NodeSelectorTerm(match_fields=[field])

    assert [NODES.names[i] for i in np.flatnonzero(matches_term(NODES, term=term))] == expected


def test_what_asks_for_nothing_matches_nothing():
    assert not matches_term(NODES, term=NodeSelectorTerm()).any()
    assert not matches_any_term(NODES, terms=[]).any()


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        pytest.param([], None, id="no term"),
        pytest.param([on_nodes("n1"), on_nodes("n2")], {"n1", "n2"}, id="either"),
        pytest.param([on_nodes("n1"), NodeSelectorTerm()], None, id="a term names none"),
        pytest.param(
            [
                NodeSelectorTerm(
                    match_fields=[
                        requirement("metadata.name", "In", "n1"),
                        requirement("metadata.name", "In", "n2"),
                    ]
                )
            ],
            set(),
            id="both at once",
        ),
    ],
)
def test_finds_the_nodes_that_terms_name(terms, expected):
    assert named_nodes(terms) == expected


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        (Toleration(key="k", value="v"), True),
        (Toleration(key="k", operator="Equal", value="w"), False),
        (Toleration(key="k", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="k", operator="Exists", effect="NoExecute"), False),
        (Toleration(key="k", operator="Exists", effect="NoSchedule"), True),
        (Toleration(key="l", operator="Exists"), False),
        (Toleration(key="k", operator="Gt", value="1"), False),
    ],
)
def test_tolerations(toleration, expected):
    assert tolerates([toleration], taint=Taint("k", "v", "NoSchedule")) is expected


def run(pod, *nodes, profile=None):
    snapshot = world(*nodes)
    profile = profile or make_profile()
    return FilterRun(profile, state=CycleState(), pod=pod, snapshot=snapshot).run()


def test_terms_that_contradict_each_other_refuse_the_pod_before_any_node_is_looked_at():
    both = [requirement("metadata.name", "In", name) for name in ("n1", "n2")]
    pod = make_pending(node_affinity=required(NodeSelectorTerm(match_fields=both)))

    found = run(pod, make_facts("n1"), make_facts("n2"))

    assert found.message() == "0/2 nodes are available: pod affinity terms conflict."
    assert found.codes.tolist() == [Code.UNSCHEDULABLE_AND_UNRESOLVABLE] * 2
    assert found.rejectors == {"NodeAffinity"}


class OnlyN2(PreFilterPlugin):
    name = "OnlyN2"

    def pre_filter(self, state, *, pod, snapshot):
        return PreFilterResult(node_names=frozenset({"n2"}))


class Refuses(PreFilterPlugin):
    name = "Refuses"

    def pre_filter(self, state, *, pod, snapshot):
        return PreFilterResult(unschedulable("not today"))


def with_pre_filter(plugin_type):
    profile = make_profile()
    plugin = plugin_type(PluginArgs())
    return dataclasses.replace(profile, pre_filter=(*profile.pre_filter, plugin))


def test_plugins_that_leave_no_node_between_them_are_named():
    pod = make_pending(node_affinity=required(on_nodes("n1")))

    found = run(pod, make_facts("n1"), make_facts("n2"), profile=with_pre_filter(OnlyN2))

    assert found.message() == (
        "0/2 nodes are available: "
        "node(s) didn't satisfy plugin(s) [NodeAffinity OnlyN2] simultaneously."
    )
    assert found.rejectors == {"NodeAffinity", "OnlyN2"}


class OnlyNowhere(PreFilterPlugin):
    name = "OnlyNowhere"

    def pre_filter(self, state, *, pod, snapshot):
        return PreFilterResult(node_names=frozenset())


def test_a_plugin_that_leaves_no_node_by_itself_is_named():
    profile = with_pre_filter(OnlyNowhere)
    profile = dataclasses.replace(profile, pre_filter=(*profile.pre_filter, Refuses(PluginArgs())))

    found = run(make_pending(), make_facts("n1"), profile=profile)

    assert found.message() == (
        "0/1 nodes are available: node(s) didn't satisfy plugin OnlyNowhere."
    )
    assert found.rejectors == {"OnlyNowhere"}


def test_a_pod_refused_before_filtering_is_refused_everywhere():
    found = run(make_pending(), make_facts("n1"), profile=with_pre_filter(Refuses))

    assert found.message() == "0/1 nodes are available: not today."
    assert not found.feasible.any()


def test_the_first_plugin_that_refuses_a_node_keeps_the_refusal():
    hostile = make_facts(
        "n1", cpu_milli=1, taints=(Taint("k", "", "NoSchedule"),), is_unschedulable=True
    )

    found = run(make_pending(), hostile)

    assert found.counts() == {("NodeUnschedulable", "node(s) were unschedulable"): 1}
    assert found.rejectors == {"NodeUnschedulable"}


def test_a_cordon_can_be_tolerated():
    pod = make_pending(
        tolerations=(Toleration(key="node.kubernetes.io/unschedulable", operator="Exists"),)
    )

    assert run(pod, make_facts("n1", is_unschedulable=True)).feasible.all()


@pytest.mark.parametrize(("name", "expected"), [("n2", [False, True]), ("n9", [False, False])])
def test_a_pod_that_names_its_node_gets_no_other(name, expected):
    snapshot = world(make_facts("n1"), make_facts("n2"))
    pod = make_pending(node_name=name)

    found = NodeName(PluginArgs()).filter(CycleState(), pod=pod, snapshot=snapshot)

    assert (found.codes == Code.SUCCESS).tolist() == expected


def test_an_affinity_of_the_profile_goes_before_the_pods_own():
    zone_a = NodeSelectorTerm(match_expressions=[requirement("zone", "In", "a")])
    plugin = NodeAffinityPlugin(NodeAffinityArgs(added_affinity=required(zone_a)))
    pod = make_pending(node_selector={"cores": "16"})

    found = plugin.filter(CycleState(), pod=pod, snapshot=NODES)

    told = {reason: np.flatnonzero(nodes).tolist() for reason, nodes in found.reasons}
    assert told == {
        "node(s) didn't match scheduler-enforced node affinity": [1, 2],
        "node(s) didn't match Pod's node affinity/selector": [0],
    }


class TooProud(ScorePlugin):
    name = "TooProud"

    def score(self, state, *, pod, snapshot):
        return np.full(snapshot.n_nodes, 101, dtype=np.int64)


def proud_profile():
    profile = make_profile()
    plugin = TooProud(PluginArgs())
    weights = {**profile.weights, plugin.name: 1}
    return dataclasses.replace(profile, score=(*profile.score, plugin), weights=weights)


def test_a_score_out_of_range_is_an_error():
    feasible = np.ones(NODES.n_nodes, dtype=np.bool_)

    with pytest.raises(PluginError, match="TooProud"):
        run_scores(
            proud_profile(),
            state=CycleState(),
            pod=make_pending(),
            snapshot=NODES,
            feasible=feasible,
        )


def test_a_broken_plugin_costs_the_pod_an_attempt_and_not_the_scheduler():
    engine = Engine({"ai-scheduler": proud_profile()}, settings=EngineSettings())
    nodes = [NodeSeen(make_facts("n1")), NodeSeen(make_facts("n2"))]

    [failure] = feed(engine, [*nodes, PodSeen(make_pending())])

    assert isinstance(failure, ReportFailure)
    assert failure.reason == "SchedulerError"
    assert "TooProud" in failure.message


def test_a_decision_keeps_the_best_nodes_of_many():
    nodes = [make_facts(f"n{i}", cpu_milli=4000 + 400 * i) for i in range(30)]
    engine = make_engine(*nodes, n_recorded_nodes=5)

    [decision] = decisions(feed(engine, [PodSeen(make_pending())]))

    totals = decision.scores.totals.tolist()
    assert len(decision.scores.nodes) == 5
    assert totals == sorted(totals, reverse=True)
    assert decision.n_feasible == 30
    assert decision.node == decision.scores.nodes[0]


def test_the_state_of_a_cycle_keeps_one_fact_of_a_type():
    state = CycleState()
    state.write("first")
    state.write("second")

    assert state.read(str) == "second"
    assert state.read(int) is None
