import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.samples import NodeSample
from collector.usage_windows import window_of
from tests.builders import EPOCH_S
from tests.unit.collector.makers import (
    GIB,
    WEB,
    make_facts,
    make_node_facts,
    make_node_sample,
    make_pod_sample,
    make_running,
    make_view,
)

NOW_S = EPOCH_S + 1000


def state(view, name="n1"):
    return next(s for s in view.node_states(now_s=NOW_S) if s.name == name)


def test_a_pod_counts_on_its_node_until_it_ends_or_goes():
    view = make_view("n1")
    view.put_pod(make_running("a"))
    view.put_pod(make_running("b"))

    assert (state(view).n_pods, state(view).requested_cpu_milli) == (2, 1000)
    view.put_pod(make_running("a", phase="Succeeded"))
    assert (state(view).n_pods, state(view).requested_cpu_milli) == (1, 500)
    view.remove_pod("uid-of-b")
    assert (state(view).n_pods, state(view).requested_cpu_milli) == (0, 0)


def test_a_waiting_pod_counts_nowhere():
    view = make_view("n1")
    view.put_pod(make_facts())

    assert state(view).n_pods == 0


def test_pods_are_known_before_their_node_is():
    view = make_view()
    view.put_pod(make_running())
    view.put_node(make_node_facts("n1"))

    assert state(view).n_pods == 1


def test_a_node_that_is_gone_is_no_longer_told():
    view = make_view("n1", "n2")
    view.put_pod(make_running())
    view.remove_node("n1")

    assert [s.name for s in view.node_states(now_s=NOW_S)] == ["n2"]


def test_a_node_never_sampled_says_so_and_has_the_prior():
    node = state(make_view("n1"))

    assert (node.usage_cpu_milli, node.sampled_at_s) == (None, None)
    assert (node.failure_rate, node.n_observations) == (0.05, 0)


def test_a_pod_placed_since_the_sample_counts_with_its_request():
    view = make_view("n1")
    view.take_node_sample(make_node_sample(at_s=10))
    view.put_pod(make_running("old", since_s=5))
    view.put_pod(make_running("new", since_s=11))
    view.put_pod(make_facts("pulling", node="n1", scheduled_at_s=EPOCH_S + 5))

    assert state(view).placed_cpu_milli == 2 * 500


def test_a_pod_placed_since_the_sample_counts_with_its_workloads_usual_usage():
    view = make_view("n1")
    view.take_node_sample(make_node_sample(at_s=10))
    view._history.count_usage(WEB, at_s=EPOCH_S, cpu_milli=80, memory_bytes=GIB // 4)
    view.put_pod(make_running("new", since_s=11))

    assert state(view).placed_cpu_milli == 80
    assert state(view).placed_memory_bytes == GIB // 4


def test_the_next_sample_shows_what_was_placed():
    view = make_view("n1")
    view.put_pod(make_running("new", since_s=11))
    view.take_node_sample(make_node_sample(at_s=40))

    assert state(view).placed_cpu_milli == 0


def test_a_pod_gone_since_the_sample_is_taken_off_until_the_next_one():
    view = make_view("n1")
    view.put_pod(make_running(since_s=0))
    view.take_node_sample(make_node_sample(at_s=10, cpu_milli=300))
    view.take_pod_sample(make_pod_sample(at_s=10, cpu_milli=250))

    view.remove_pod("uid-of-web-1")

    assert state(view).placed_cpu_milli == -250
    view.take_node_sample(make_node_sample(at_s=40, cpu_milli=50))
    assert state(view).placed_cpu_milli == 0


def test_expected_usage_never_falls_below_zero():
    view = make_view("n1")
    view.put_pod(make_running(since_s=0))
    view.take_node_sample(make_node_sample(at_s=10, cpu_milli=100))
    view.take_pod_sample(make_pod_sample(at_s=10, cpu_milli=250))

    view.remove_pod("uid-of-web-1")

    assert state(view).placed_cpu_milli == -100


def test_a_sample_with_a_known_time_is_no_news():
    view = make_view("n1")
    view.put_pod(make_running())

    assert view.take_node_sample(make_node_sample(at_s=10))
    assert not view.take_node_sample(make_node_sample(at_s=10))
    assert view.take_pod_sample(make_pod_sample(at_s=10)) is not None
    assert view.take_pod_sample(make_pod_sample(at_s=10)) is None


def test_samples_of_unknown_nodes_and_pods_are_ignored():
    view = make_view()

    assert not view.take_node_sample(make_node_sample("ghost"))
    assert view.take_pod_sample(make_pod_sample("ghost")) is None


def test_state_at_an_instant_holds_the_sample_of_that_time():
    view = make_view("n1", "n2")
    for at_s in (10, 20, 30):
        view.take_node_sample(make_node_sample("n1", at_s=at_s, cpu_milli=at_s * 10))
        view.take_node_sample(make_node_sample("n2", at_s=at_s, cpu_milli=at_s * 10))

    node, cluster = view.state_at("n1", until_s=EPOCH_S + 25)

    assert node.usage_cpu_milli == 200
    assert cluster.cpu_usage_ratio == pytest.approx(400 / 8000)
    assert view.state_at("n3", until_s=EPOCH_S) is None


def test_a_node_is_saturated_when_its_sample_leaves_no_cpu():
    view = make_view("n1")
    view.take_node_sample(make_node_sample(at_s=1, cpu_milli=3919))
    assert not view.is_saturated("n1")

    view.take_node_sample(make_node_sample(at_s=2, cpu_milli=3920))
    assert view.is_saturated("n1")


def test_the_version_grows_with_material_changes_alone():
    view = make_view("n1")
    view.put_pod(make_running())
    before = view.version

    view.put_pod(make_running())
    view.put_node(make_node_facts("n1"))
    assert view.version == before

    view.put_pod(make_running(n_restarts=1))
    assert view.version > before


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(["", "n1", "n2", "ghost"]),
            st.sampled_from(["Pending", "Running", "Succeeded", "gone"]),
            st.integers(0, 1000),
        )
    )
)
def test_running_sums_are_what_counting_anew_gives(changes):
    view = make_view("n1", "n2")
    pods = {}
    for name, node, phase, cpu_milli in changes:
        if phase == "gone":
            view.remove_pod(f"uid-of-{name}")
            pods.pop(name, None)
            continue
        pods[name] = make_facts(name, node=node, phase=phase, cpu_milli=cpu_milli)
        view.put_pod(pods[name])

    for node in ("n1", "n2"):
        held = [p for p in pods.values() if p.node == node and not p.is_terminal]
        assert state(view, node).n_pods == len(held)
        assert state(view, node).requested_cpu_milli == sum(p.cpu_milli for p in held)


def test_samples_are_remembered_for_a_quarter_of_an_hour_and_the_latest_longer():
    view = make_view("n1")
    for minute in range(60):
        view.take_node_sample(NodeSample("n1", EPOCH_S + 60.0 * minute, 1000 + minute, GIB))
    late_s = EPOCH_S + 60.0 * 59

    ages_s = [late_s - sample.at_s for sample in view.node_samples(since_s=0.0)["n1"]]
    five_minutes = [s.cpu_milli for s in view.node_samples(since_s=late_s - 300)["n1"]]

    assert ages_s == [60.0 * minute for minute in range(15, -1, -1)]
    assert five_minutes == [1054, 1055, 1056, 1057, 1058, 1059]


def test_a_window_tells_mean_and_deviation_and_of_one_sample_no_deviation():
    samples = [NodeSample("n1", EPOCH_S + i, cpu, 10 * GIB) for i, cpu in enumerate((1, 2, 3, 6))]

    window, single = window_of(samples), window_of(samples[:1])

    assert (window.n_samples, window.start_s, window.end_s) == (4, EPOCH_S, EPOCH_S + 3)
    assert (window.cpu_mean_milli, window.cpu_std_milli) == (3.0, math.sqrt(3.5))
    assert (window.memory_mean_bytes, window.memory_std_bytes) == (10 * GIB, 0.0)
    assert (single.cpu_mean_milli, single.cpu_std_milli) == (1.0, None)
    assert window_of([]) is None
