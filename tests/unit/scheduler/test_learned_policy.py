"""LearnedPolicy: a network decides, or the others do."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from kube.edge.settings import SettingsError
from scheduler.engine import Engine, EngineSettings
from scheduler.errors import ConfigError
from scheduler.events import NodeSeen, NodesMeasured, PodSeen
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.configuration import load_configuration
from scheduler.framework.cycle import CycleState
from scheduler.framework.profile import make_profiles
from scheduler.framework.status import SKIP
from scheduler.model import QueueState, Usage
from scheduler.plugins.defaults import built_in_registry
from scheduler.plugins.learned.network import VERSION_KEY, own_metadata
from scheduler.plugins.learned.policy import (
    NO_INFORMATION_SCORE,
    LearnedPolicy,
    LearnedPolicyArgs,
    scores_of,
)
from scheduler.plugins.learned.surroundings import Surroundings
from tests.networks import write_network
from tests.unit.scheduler.worlds import (
    GI,
    decide,
    feed,
    make_facts,
    make_pending,
    make_snapshot,
    placements,
)

SURROUNDINGS = Surroundings(now_s=1e9, queue=QueueState(1, 500, GI))
SHIPPED = Path(__file__).parents[3] / "config" / "profiles" / "learned.yaml"
PROFILE = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: ai-scheduler
    plugins:
      multiPoint: {enabled: [{name: LearnedPolicy}]}
      score: {disabled: [{name: "*"}], enabled: [{name: LearnedPolicy}]}
    pluginConfig:
      - name: LearnedPolicy
        args: ARGS
"""


@pytest.fixture
def fullest(tmp_path):
    """A network that likes nodes of which much is requested."""
    return write_network(tmp_path / "fullest.onnx", weights={"cpu_requested_ratio": 3.0})


def plugin_of(path):
    return LearnedPolicy(LearnedPolicyArgs(path=str(path)))


def profile_of(tmp_path, args):
    path = tmp_path / "profile.yaml"
    path.write_text(PROFILE.replace("ARGS", args))
    configuration = load_configuration(path, registry=built_in_registry())
    return make_profiles(configuration, registry=built_in_registry())


def test_keeps_the_contract_of_score_plugins(fullest):
    class Told(LearnedPolicy):
        """Is told what surrounds the pod, as by the engine."""

        def pre_score(self, state, *, pod, snapshot, feasible):
            state.write(SURROUNDINGS)
            return super().pre_score(state, pod=pod, snapshot=snapshot, feasible=feasible)

    check_score_plugin(Told(LearnedPolicyArgs(path=str(fullest))))


def test_the_choice_alone_gets_the_highest_score():
    logits = np.array([1.0, 1.0001, -3.0, 9.0], dtype=np.float32)

    scores = scores_of(logits, feasible=np.array([True, True, True, False]))

    assert scores.tolist() == [99, 100, 1, 0]


def test_the_example_of_the_page_is_true():
    logits = np.array([1.0, 0.3, -1.2], dtype=np.float32)

    assert scores_of(logits, feasible=np.ones(3, dtype=np.bool_)).tolist() == [100, 49, 11]


def test_the_best_is_told_from_the_next_best_there_is():
    best = np.float32(0.001)
    logits = np.array([np.nextafter(best, np.float32(0.0)), best])

    assert scores_of(logits, feasible=np.array([True, True])).tolist() == [99, 100]


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [
        pytest.param({"cpu_requested_ratio": 3.0}, "busy", id="fullest"),
        pytest.param({"is_used": -3.0, "memory_usage_ratio": -1.0}, "idle", id="emptiest"),
        pytest.param({"memory_usage_ratio": 3.0}, "hot", id="by what is used"),
        pytest.param({"is_usage_known": -3.0, "is_used": 1.0}, "busy", id="not measured"),
    ],
)
def test_alone_it_decides_as_the_network_does(tmp_path, weights, chosen):
    path = write_network(tmp_path / "policy.onnx", weights=weights)
    engine = Engine(profile_of(tmp_path, f"{{path: {path}}}"), settings=EngineSettings())
    running = make_pending("running", cpu_milli=2000, node_name="busy")
    events = [NodeSeen(make_facts(name)) for name in ("busy", "idle", "hot")]
    events += [
        PodSeen(running),
        NodesMeasured({"hot": Usage(100, 6 * GI), "idle": Usage(0, 0)}),
    ]
    for event in events:
        engine.handle(event, now_s=0.0)

    actions = feed(engine, [PodSeen(make_pending("web"))]) + decide(engine)

    assert placements(actions) == {"web": chosen}


def test_what_is_kept_of_nodes_is_what_would_be_seen_afresh(tmp_path):
    weights = {"cpu_requested_ratio": 1.0, "pods_ratio": 2.0, "cpu_usage_ratio": 3.0, "is_used": 1}
    path = write_network(tmp_path / "policy.onnx", weights=weights)
    snapshot, kept = make_snapshot(make_facts("a"), make_facts("b")), plugin_of(path)
    first, second = (make_pending(name, cpu_milli=700) for name in ("first", "second"))
    changes = [
        lambda: snapshot.add_pod(first, node="a"),
        lambda: snapshot.add_pod(second, node="b"),
        lambda: snapshot.set_usage({"b": Usage(1500, 0)}),
        lambda: snapshot.remove_pod(first, node="a"),
        lambda: snapshot.set_node(make_facts("b", cpu_milli=9000)),
        lambda: snapshot.set_node(make_facts("c")),
        lambda: snapshot.remove_node("a"),
    ]
    for change in changes:
        change()

        assert said(kept, snapshot) == said(plugin_of(path), snapshot)


def said(plugin, snapshot):
    state = CycleState()
    state.write(Surroundings(0.0, QueueState(1, 100, 0)))
    everywhere = np.ones(snapshot.n_nodes, dtype=np.bool_)
    pod = make_pending("web")
    assert plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=everywhere) is not SKIP
    return plugin.score(state, pod=pod, snapshot=snapshot).tolist()


def test_skips_where_nothing_is_said_of_the_surroundings(fullest):
    snapshot = make_snapshot(make_facts("a"), make_facts("b"))
    plugin, pod, state = plugin_of(fullest), make_pending(), CycleState()

    status = plugin.pre_score(
        state, pod=pod, snapshot=snapshot, feasible=np.ones(2, dtype=np.bool_)
    )

    assert status is SKIP
    scores = plugin.score(state, pod=pod, snapshot=snapshot)
    assert scores.tolist() == [NO_INFORMATION_SCORE] * 2


@pytest.mark.parametrize("feasible", [[True, True], [False, False]])
def test_skips_where_the_network_has_no_answer(tmp_path, feasible):
    path = write_network(tmp_path / "broken.onnx", weights={"is_feasible": float("nan")})
    snapshot = make_snapshot(make_facts("a"), make_facts("b"))
    state = CycleState()
    state.write(SURROUNDINGS)

    status = plugin_of(path).pre_score(
        state, pod=make_pending(), snapshot=snapshot, feasible=np.array(feasible)
    )

    assert status is SKIP


@pytest.mark.parametrize(
    ("args", "message"),
    [
        pytest.param("{}", r"LearnedPolicy: path: name the network's file", id="no path"),
        pytest.param("{path: /}", r"LearnedPolicy: path: cannot read /", id="a folder"),
        pytest.param("{file: a.onnx}", r"pluginConfig\.0\.args\.file: unknown key", id="a typo"),
        pytest.param("{path: 7}", r"pluginConfig\.0\.args\.path: Expected", id="wrong type"),
    ],
)
def test_wrong_arguments_stop_the_scheduler(tmp_path, args, message):
    with pytest.raises(SettingsError, match=message):
        profile_of(tmp_path, args)


def test_while_there_is_no_such_file_the_other_plugins_decide(tmp_path):
    profiles = profile_of(tmp_path, f"{{path: {tmp_path}/nowhere.onnx}}")
    engine = Engine(profiles, settings=EngineSettings())
    engine.handle(NodeSeen(make_facts("a")), now_s=0.0)

    actions = feed(engine, [PodSeen(make_pending("web"))]) + decide(engine)

    assert placements(actions) == {"web": "a"}
    [plugin] = profiles["ai-scheduler"].score
    assert plugin.lacks == f"path: there is no {tmp_path}/nowhere.onnx"
    assert not plugin.reads_usage
    assert skips(plugin, make_snapshot(make_facts("a")))


def skips(plugin, snapshot):
    state = CycleState()
    state.write(SURROUNDINGS)
    everywhere = np.ones(snapshot.n_nodes, dtype=np.bool_)
    pod = make_pending()
    return plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=everywhere) is SKIP


@pytest.mark.parametrize("content", [b"", b"no network", bytes(200)])
def test_a_file_that_is_no_network_stops_the_scheduler(tmp_path, content):
    path = tmp_path / "policy.onnx"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"LearnedPolicy: path: .*policy\.onnx is no network"):
        plugin_of(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"metadata": {}}, "does not say what it observes", id="of others"),
        pytest.param(
            {"metadata": {**own_metadata(), VERSION_KEY: "999"}},
            "observations of version 999; this scheduler makes version",
            id="of another version",
        ),
        pytest.param(
            {"metadata": {**own_metadata(), "features": "{}"}},
            "other features, or in another order",
            id="of other features",
        ),
        pytest.param({"output": "values"}, "its output is not 'logits'", id="of another output"),
    ],
)
def test_a_network_for_other_observations_stops_the_scheduler(tmp_path, changes, message):
    path = write_network(tmp_path / "policy.onnx", weights={}, **changes)

    with pytest.raises(ConfigError, match=message):
        plugin_of(path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        pytest.param({"shapes": {"clock": [1, 2]}}, "cannot rate 1 node", id="of another rank"),
        pytest.param({"shapes": {"nodes": [5, 12]}}, "cannot rate 1 node", id="of 5 nodes"),
        pytest.param({"skips": False}, r"gives float32 of shape \(1,\)", id="without skipping"),
        pytest.param({"shapes": {"clock": []}}, "its inputs are not nodes, pod", id="of a number"),
    ],
)
def test_a_network_of_another_shape_stops_the_scheduler(tmp_path, shape, message):
    path = write_network(tmp_path / "policy.onnx", weights={}, **shape)

    with pytest.raises(ConfigError, match=rf"LearnedPolicy: path: .*{message}"):
        plugin_of(path)


def test_says_what_to_install(fullest, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(ConfigError, match=r"needs onnxruntime.*the extra `learned`"):
        plugin_of(fullest)


def test_the_shipped_profile_wants_a_network_alone(tmp_path, monkeypatch):
    shipped = yaml.safe_load(SHIPPED.read_text())
    args = shipped["profiles"][0]["pluginConfig"][0]["args"]
    write_network(tmp_path / args["path"], weights={})
    profile = tmp_path / "learned.yaml"
    profile.write_text(yaml.safe_dump(shipped))
    monkeypatch.chdir(tmp_path)

    configuration = load_configuration(profile, registry=built_in_registry())
    [made] = make_profiles(configuration, registry=built_in_registry()).values()

    assert dict(made.weights) == {"LearnedPolicy": 1}
