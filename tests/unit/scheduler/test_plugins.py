"""Every built-in plugin keeps its contract; single rules are in tests/conformance."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scheduler.errors import PluginError
from scheduler.framework.checks import check_filter_plugin, check_score_plugin
from scheduler.framework.cycle import CycleState
from scheduler.framework.interface import FilterPlugin, ScorePlugin, default_normalize
from scheduler.framework.status import SKIP, Code, Verdicts
from scheduler.model import PODS, HostPort
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.learned.policy import LearnedPolicy
from scheduler.plugins.metadata.node_metadata import NodeMetadata
from scheduler.plugins.network.network_traffic import NetworkTraffic
from scheduler.plugins.node_ports import conflict
from scheduler.plugins.node_resources import NodeResourcesFit, NodeResourcesFitArgs
from scheduler.plugins.prediction import NodeLoad, NodePrediction, PredictedScores
from scheduler.plugins.queue_order import SchedulingGates
from tests.unit.scheduler.worlds import GI, make_facts, make_pending, make_snapshot

PLUGINS = {
    plugin.name: plugin(plugin.args_type())
    for plugin in built_in_registry()
    # Do nothing without a network, a key or an address; have tests of their own.
    if plugin not in (LearnedPolicy, NodeMetadata, NetworkTraffic)
}


def named(point):
    return sorted(name for name, plugin in PLUGINS.items() if isinstance(plugin, point))


@pytest.mark.parametrize("name", named(FilterPlugin))
def test_every_filter_keeps_the_contract(name):
    check_filter_plugin(PLUGINS[name])


@pytest.mark.parametrize("name", named(ScorePlugin))
def test_every_score_keeps_the_contract(name):
    check_score_plugin(PLUGINS[name])


class Broken(FilterPlugin, ScorePlugin):
    name = "Broken"
    reads_pods = False

    def sign_pod(self, pod):
        return "alike" if self.args.kind in ("counts nodes", "reads") else None

    def filter(self, state, *, pod, snapshot):
        refused = np.ones(snapshot.n_nodes, dtype=np.bool_)
        if self.args.kind in ("counts nodes", "reads"):
            odd = np.array([self.is_odd(snapshot, row) for row in range(snapshot.n_nodes)], bool)
            return Verdicts.refuse(odd, reason="no", code=Code.UNSCHEDULABLE)
        reasons = () if self.args.kind == "silent" else (("no", refused),)
        if self.args.kind == "sums":
            refused &= snapshot.requested[PODS].sum() > 10
            return Verdicts.refuse(refused, reason="no", code=Code.UNSCHEDULABLE)
        code = Code.ERROR if self.args.kind == "wrong code" else Code.UNSCHEDULABLE
        return Verdicts(np.full(snapshot.n_nodes, code, dtype=np.uint8), reasons)

    def is_odd(self, snapshot, row):
        if self.args.kind == "reads":
            return snapshot.requested.value(row, key=PODS) % 2 == 1
        return snapshot.n_nodes % 3 == 1

    def score(self, state, *, pod, snapshot):
        if self.args.kind in ("counts nodes", "reads"):
            odd = [self.is_odd(snapshot, row) for row in range(snapshot.n_nodes)]
            return np.array(odd, dtype=np.int64)
        if self.args.kind == "by row":
            return np.arange(snapshot.n_nodes, dtype=np.int64)
        return np.full(snapshot.n_nodes, 101, dtype=np.int64)


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        pytest.param("silent", "explains itself", id="refuses without a reason"),
        pytest.param("wrong code", "passed or refused", id="calls a refusal an error"),
        pytest.param("sums", "only that row's changes", id="sums what is only tried"),
        pytest.param("counts nodes", "that node alone", id="signs and looks at other nodes"),
        pytest.param("reads", "pods change nothing", id="reads pods and does not say so"),
    ],
)
def test_the_checker_catches_a_broken_filter(kind, law):
    with pytest.raises(PluginError, match=law):
        check_filter_plugin(Broken(SimpleNamespace(kind=kind)))


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        pytest.param("too much", "from 0 to 100", id="scores above 100"),
        pytest.param("by row", "whatever its row", id="scores rows instead of nodes"),
        pytest.param("counts nodes", "that node alone", id="signs and looks at other nodes"),
        pytest.param("reads", "pods change nothing", id="reads pods and does not say so"),
    ],
)
def test_the_checker_catches_a_broken_score(kind, law):
    with pytest.raises(PluginError, match=law):
        check_score_plugin(Broken(SimpleNamespace(kind=kind)))


@pytest.mark.parametrize(
    "ignored", [{"ignored_resources": ("a.b/c",)}, {"ignored_resource_groups": ("a.b",)}]
)
def test_ignored_resources_are_not_looked_at(ignored):
    plugin = NodeResourcesFit(NodeResourcesFitArgs(**ignored))
    pod = make_pending(requests={"a.b/c": 1})

    assert plugin.filter(CycleState(), pod=pod, snapshot=make_snapshot(make_facts())) is None


def test_only_extended_resources_can_be_ignored():
    names = ("memory", "hugepages-2Mi", "kubernetes.io/x")
    plugin = NodeResourcesFit(
        NodeResourcesFitArgs(ignored_resources=names, ignored_resource_groups=("kubernetes.io",))
    )
    pod = make_pending(memory_bytes=99 * GI, requests=dict.fromkeys(names[1:], 1))

    found = plugin.filter(CycleState(), pod=pod, snapshot=make_snapshot(make_facts()))

    assert [reason for reason, _ in found.reasons] == [f"Insufficient {name}" for name in names]


@pytest.mark.parametrize(("scores", "expected"), [([0, 1, 2], [100, 50, 0]), ([0, 0], [100, 100])])
def test_normalizing_in_reverse_makes_the_lowest_best(scores, expected):
    assert default_normalize(np.array(scores), reverse=True).tolist() == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(("0.0.0.0", "TCP", 80), ("10.0.0.1", "TCP", 80), True, id="wildcard"),
        pytest.param(("10.0.0.2", "TCP", 80), ("10.0.0.1", "TCP", 80), False, id="other address"),
        pytest.param(("0.0.0.0", "TCP", 80), ("0.0.0.0", "UDP", 80), False, id="other protocol"),
        pytest.param(("0.0.0.0", "TCP", 80), ("0.0.0.0", "TCP", 81), False, id="other port"),
    ],
)
def test_ports_meet_on_the_same_address_or_the_wildcard(one, other, expected):
    assert conflict(HostPort(*one), HostPort(*other)) is expected
    assert conflict(HostPort(*other), HostPort(*one)) is expected


def test_a_gated_pod_is_kept_away_and_told_by_what():
    status = PLUGINS[SchedulingGates.name].pre_enqueue(make_pending(scheduling_gates=("a", "b")))

    assert status.reasons == ("waiting for scheduling gates: [a b]",)


def predicted(scores, unseen, load=None):
    state = CycleState()
    load = None if load is None else np.array(load, dtype=np.float64)
    state.write(PredictedScores(np.array(scores, dtype=np.float64), np.array(unseen), load=load))
    return state


def test_load_tells_nodes_apart_that_are_equally_healthy():
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"), make_facts("n3"))
    state = predicted([99.0, 99.0, 99.0], [0.0, 0.0, 0.5], load=[40.0, 80.0, 80.0])

    scores = PLUGINS[NodeLoad.name].score(state, pod=make_pending(), snapshot=snapshot)

    assert scores.tolist() == [40, 80, 40]


def test_load_stands_aside_where_the_prediction_is_the_load():
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"))
    feasible = np.array([True, True])

    def pre_score(state):
        return PLUGINS[NodeLoad.name].pre_score(
            state, pod=make_pending(), snapshot=snapshot, feasible=feasible
        )

    assert pre_score(predicted([40.0, 80.0], [0.0, 0.0])) is SKIP
    assert pre_score(CycleState()) is SKIP
    assert pre_score(predicted([99.0, 99.0], [0.0, 0.0], load=[np.nan, np.nan])) is SKIP
    assert pre_score(predicted([99.0, 99.0], [0.0, 0.0], load=[40.0, np.nan])).is_success


def test_a_node_without_a_prediction_gets_the_middle_score():
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"))
    state = predicted([90.0, np.nan], [0.0, 0.0])

    scores = PLUGINS[NodePrediction.name].score(state, pod=make_pending(), snapshot=snapshot)

    assert scores.tolist() == [90, 50]


def test_what_was_placed_since_lowers_the_predicted_score():
    snapshot = make_snapshot(make_facts("n1"), make_facts("n2"))
    state = predicted([90.0, 85.0], [0.25, 0.0])

    scores = PLUGINS[NodePrediction.name].score(state, pod=make_pending(), snapshot=snapshot)

    assert scores.tolist() == [68, 85]


def test_prediction_stands_aside_where_nothing_is_known():
    snapshot = make_snapshot(make_facts("n1"))
    feasible = np.array([True])
    plugin, pod = PLUGINS[NodePrediction.name], make_pending()

    unknown = plugin.pre_score(
        predicted([np.nan], [0.0]), pod=pod, snapshot=snapshot, feasible=feasible
    )
    absent = plugin.pre_score(CycleState(), pod=pod, snapshot=snapshot, feasible=feasible)

    assert unknown.is_skip
    assert absent.is_skip


def test_the_plugin_that_the_contributors_guide_shows_keeps_its_contract():
    guide = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    module = {}
    exec(compile(code, "CONTRIBUTING.md", "exec"), module)

    tests = [name for name in module if name.startswith("test_")]
    for name in tests:
        module[name]()
    assert len(tests) == 2
