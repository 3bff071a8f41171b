"""NetworkTraffic: who has received little, and what if nobody can tell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.edge.settings import SettingsError
from scheduler.engine import Engine, EngineSettings
from scheduler.errors import ConfigError
from scheduler.events import MeasureTaken, NodeSeen, PodSeen
from scheduler.framework.checks import check_score_plugin
from scheduler.framework.cycle import CycleState
from scheduler.framework.part import SnapshotPart
from scheduler.model import MAX_AMOUNT, QueueState
from scheduler.plugins.learned.surroundings import Surroundings
from scheduler.plugins.network.network_traffic import NetworkTraffic, NetworkTrafficArgs
from tests.networks import write_network
from tests.unit.scheduler.network_worlds import load_profiles
from tests.unit.scheduler.worlds import (
    decisions,
    feed,
    make_facts,
    make_pending,
    make_snapshot,
    placements,
)

ADDRESS = "http://prometheus:9090"


def make_plugin(**args):
    return NetworkTraffic(NetworkTrafficArgs(prometheus_address=ADDRESS, **args))


def scores_of(plugin, received, *, feasible=None, state=None):
    """Rate nodes n0, n1 … that have received so many bytes; ``None`` where that is not known."""
    snapshot = make_snapshot(*(make_facts(f"n{i}") for i in range(len(received))))
    values = {f"n{i}": each for i, each in enumerate(received) if each is not None}
    snapshot.set_measured(plugin.measures[0], values=values)
    state, pod = state or CycleState(), make_pending()
    allowed = np.array(feasible or [True] * len(received), dtype=np.bool_)
    status = plugin.pre_score(state, pod=pod, snapshot=snapshot, feasible=allowed)
    if status.is_skip:
        return None
    scores = plugin.normalize(plugin.score(state, pod=pod, snapshot=snapshot)[allowed])
    return scores.tolist()


@pytest.mark.parametrize(
    ("received", "scores"),
    [
        pytest.param([1_000_000, 1_200_000, 1_400_000], [29, 15, 0], id="by the busiest"),
        pytest.param([0, 0], [100, 100], id="nothing at all"),
        pytest.param([5], [0], id="alone"),
        pytest.param([0, 7], [100, 0], id="idle and busy"),
        pytest.param([0, 50, 100, None], [100, 50, 0, 50], id="unknown is as the mean"),
        pytest.param([7, 7, None], [0, 0, 0], id="unknown is no better than all the others"),
        pytest.param([None, None], None, id="nobody is known"),
        pytest.param([], None, id="nobody is there"),
    ],
)
def test_who_received_less_is_better(received, scores):
    assert scores_of(make_plugin(), received) == scores


def test_only_feasible_nodes_count():
    assert scores_of(make_plugin(), [10, 20, 90], feasible=[True, True, False]) == [50, 0]
    assert scores_of(make_plugin(), [None, None, 20], feasible=[True, True, False]) == [0, 0]


@given(st.lists(st.one_of(st.none(), st.integers(0, MAX_AMOUNT)), min_size=1, max_size=8))
def test_less_is_never_worse_and_no_number_is_too_large(received):
    scores = scores_of(make_plugin(), received)

    if scores is None:
        assert set(received) == {None}
        return
    assert all(0 <= score <= 100 for score in scores)
    known = sorted((r, -s) for r, s in zip(received, scores, strict=True) if r is not None)
    assert [s for _, s in known] == sorted(s for _, s in known)


@pytest.mark.parametrize(
    ("args", "query"),
    [
        (
            {},
            "sum by (kubernetes_node)"
            ' (increase(node_network_receive_bytes_total{device="ens192"}[5m]))',
        ),
        (
            {
                "network_interface": "eth0",
                "time_range_in_minutes": 10,
                "node_label": "node",
                "function": "sum_over_time",
            },
            'sum by (node) (sum_over_time(node_network_receive_bytes_total{device="eth0"}[10m]))',
        ),
    ],
)
def test_asks_prometheus_once_for_all_nodes(args, query):
    [measure] = make_plugin(**args).measures

    assert (measure.address, measure.query) == (ADDRESS, query)
    assert measure.node_label == args.get("node_label", "kubernetes_node")


def configured(folder, **args):
    plugins = {"multiPoint": {"enabled": [{"name": "NetworkTraffic", "weight": 50}]}}
    return load_profiles(folder, plugins=plugins, args={"NetworkTraffic": args})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "NetworkTraffic: prometheusAddress"),
        ({"prometheusAddress": "prometheus:9090"}, "prometheusAddress"),
        ({"prometheusAddress": ADDRESS, "timeRangeInMinutes": 0}, "timeRangeInMinutes"),
        ({"prometheusAddress": ADDRESS, "networkInterface": 'a"} or b'}, "networkInterface"),
        ({"prometheusAddress": ADDRESS, "nodeLabel": "a-b"}, "nodeLabel"),
        ({"prometheusAddress": ADDRESS, "function": "rate"}, "function"),
        ({"prometheusAddress": ADDRESS, "interface": "eth0"}, "interface"),
        ({"prometheusAddress": ADDRESS, "path": "/"}, "NetworkTraffic.*path: cannot read /"),
    ],
)
def test_wrong_arguments_stop_the_scheduler(tmp_path, args, message):
    with pytest.raises((SettingsError, ConfigError), match=message) as refused:
        configured(tmp_path, **args)

    assert "NetworkTraffic" in str(refused.value)


def test_keeps_the_contract_of_its_point():
    check_score_plugin(make_plugin())


# ------------------------------------------------------------------------------ a learned policy


def policy_state(now_s=0.0):
    state = CycleState()
    state.write(Surroundings(now_s, QueueState(1, 500, 2**29)))
    return state


def test_a_policy_rates_and_prometheus_where_it_has_no_answer(tmp_path):
    path = write_network(tmp_path / "policy.onnx", weights={"cpu_size_ratio": 1.0})
    plugin = make_plugin(path=str(path))

    by_policy = scores_of(plugin, [0, 100], state=policy_state())
    by_traffic = scores_of(plugin, [0, 100])

    assert plugin.reads_usage
    assert not make_plugin().reads_usage
    assert by_policy == [100, 100]
    assert by_traffic == [100, 0]


def test_while_a_policy_has_no_network_prometheus_rates(tmp_path):
    plugin = make_plugin(path=str(tmp_path / "policy.onnx"))

    assert scores_of(plugin, [0, 100], state=policy_state()) == [100, 0]
    assert plugin.lacks == f"path: there is no {tmp_path}/policy.onnx"


# ---------------------------------------------------------------------------------- in the engine


def test_what_prometheus_says_reaches_the_plugin_until_it_says_nothing(tmp_path):
    profiles = configured(tmp_path, prometheusAddress=ADDRESS)
    engine = Engine(profiles, settings=EngineSettings())
    for name in ("n1", "n2"):
        engine.handle(NodeSeen(make_facts(name)), now_s=0.0)
    [measure] = engine.measures

    unknown = decisions(feed(engine, [PodSeen(make_pending("a"))]))
    taken = MeasureTaken(measure, {"n1": 900, "n2": 10, "gone": 5})
    known = feed(engine, [taken, PodSeen(make_pending("b"))])
    swapped = MeasureTaken(measure, {"n1": 10, "n2": 900})
    then = feed(engine, [swapped, PodSeen(make_pending("c"))])
    outage = decisions(feed(engine, [MeasureTaken(measure, {}), PodSeen(make_pending("d"))]))

    assert "NetworkTraffic" not in str(unknown)
    assert placements(known) == {"b": "n2"}
    assert placements(then) == {"c": "n1"}
    assert "NetworkTraffic" not in str(outage)


def test_what_is_measured_follows_its_node():
    plugin = make_plugin()
    [measure] = plugin.measures
    snapshot = make_snapshot(*(make_facts(f"n{i}") for i in range(3)))
    snapshot.set_measured(measure, values={"n0": 1, "n2": 3})
    part = SnapshotPart(snapshot, rows=np.array([1, 2]))
    of_part = [column.tolist() for column in part.measured(measure)]

    snapshot.remove_node("n0")

    assert of_part == [[0, 3], [False, True]]
    assert [column.tolist() for column in snapshot.measured(measure)] == [[3, 0], [True, False]]
