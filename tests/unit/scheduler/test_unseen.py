"""Pods that nodes' usage does not show yet."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.quantity import CPU, MEMORY
from scheduler.cache import ClusterCache
from scheduler.framework.unseen import CONTAINERS_UNSET_MILLI, CPU_LIMITED, CPU_REQUESTED
from scheduler.model import CpuTerms, Usage, UsageWindow
from tests.unit.scheduler.worlds import make_facts, make_pending

T0_S = 1_000_000.0
QUARTER_S = 900.0


def cache_with(*nodes):
    cache = ClusterCache(follows_usage=True)
    for name in nodes:
        cache.set_node(make_facts(name))
    return cache


def measure(cache, *nodes, end_s=T0_S, window_s=0.0):
    window = UsageWindow(Usage(1000, 10), None, end_s - window_s, end_s)
    cache.set_usage({name: Usage(1000, 10) for name in nodes}, windows=dict.fromkeys(nodes, window))


def place(cache, name, *, node="n1", at_s, **more):
    cache.assume(make_pending(name, cpu_milli=100, memory_bytes=7, **more), node=node, now_s=at_s)


def unseen(cache, node="n1", key=CPU):
    return cache.snapshot.unseen.value(cache.snapshot.rows[node], key=key)


@pytest.mark.parametrize(
    ("age_s", "counted"),
    [
        pytest.param(-5, 100, id="placed since the sample"),
        pytest.param(59, 100, id="placed in the minute before"),
        pytest.param(61, 0, id="placed before, and measured"),
    ],
)
@pytest.mark.parametrize("is_placed_first", [True, False])
def test_a_pod_counts_until_a_sample_shows_it(age_s, counted, is_placed_first):
    cache = cache_with("n1")
    if not is_placed_first:
        measure(cache, "n1")

    place(cache, "a", at_s=T0_S - age_s)
    if is_placed_first:
        measure(cache, "n1")

    assert unseen(cache) == counted
    assert unseen(cache, key=MEMORY) == (7 if counted else 0)


@pytest.mark.parametrize(
    ("age_s", "counted"), [(900, 0), (675, 25), (450, 50), (90, 90), (30, 100)]
)
def test_of_a_mean_a_pod_counts_for_the_part_in_which_it_was_not_there(age_s, counted):
    cache = cache_with("n1")
    place(cache, "a", at_s=T0_S - age_s)

    measure(cache, "n1", window_s=QUARTER_S)

    assert unseen(cache) == counted


def test_what_pods_will_use_is_told_by_limits_requests_and_containers_without_any():
    cache = cache_with("n1")
    measure(cache, "n1")

    place(cache, "a", at_s=T0_S, cpu_terms=CpuTerms(500, 300, 2))

    keys = (CPU_LIMITED, CPU_REQUESTED, CONTAINERS_UNSET_MILLI)
    assert [unseen(cache, key=key) for key in keys] == [500, 300, 2000]


def test_a_confirmed_pod_keeps_its_age():
    cache = cache_with("n1")
    measure(cache, "n1")
    place(cache, "a", at_s=T0_S - 30)
    confirmed = replace(make_pending("a", cpu_milli=100), node_name="n1", labels={"new": "label"})

    cache.add_pod(confirmed, now_s=T0_S + 600)
    measure(cache, "n1", end_s=T0_S + 45)

    assert unseen(cache) == 0


def test_pods_that_ran_before_we_looked_are_as_old_as_their_kubelet_says():
    cache = cache_with("n1")
    measure(cache, "n1")

    for name, start_s in (("old", T0_S - 3600), ("new", T0_S - 5), ("not yet", 0.0)):
        pod = make_pending(name, cpu_milli=100, node_name="n1", start_time_s=start_s)
        cache.add_pod(pod, now_s=T0_S)

    assert unseen(cache) == 200


def test_a_pod_that_is_taken_back_or_gone_counts_no_longer():
    cache = cache_with("n1")
    measure(cache, "n1")
    for name in ("a", "b"):
        place(cache, name, at_s=T0_S)

    cache.forget("uid-of-a")
    cache.remove_pod("uid-of-b")

    assert unseen(cache) == 0


def test_on_a_node_that_comes_back_pods_count_from_the_next_sample_on():
    cache = cache_with("n1", "n2")
    measure(cache, "n1")
    place(cache, "a", at_s=T0_S)

    cache.remove_node("n1")
    cache.set_node(make_facts("n1"))
    before = unseen(cache)
    measure(cache, "n1")

    assert (before, unseen(cache)) == (0, 100)
    cache.remove_pod("uid-of-a")
    assert unseen(cache) == 0


def test_when_nothing_is_known_of_usage_nothing_is_missing_from_it():
    cache = cache_with("n1")
    measure(cache, "n1")
    place(cache, "a", at_s=T0_S)

    measure(cache)

    assert unseen(cache) == 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, 9), st.sampled_from(["n1", "n2"])),
        st.tuples(st.just("gone"), st.integers(0, 9), st.just("")),
        st.tuples(st.just("measure"), st.just(0), st.just("")),
        st.tuples(st.just("lose"), st.just(0), st.sampled_from(["n1", "n2"])),
    ),
    max_size=30,
)


@given(steps=STEPS, window_s=st.sampled_from([0, 120, 900]))
def test_counts_are_those_of_a_plain_reading(steps, window_s):
    """After each sample, what is counted is what a look at all pods and their ages says."""
    cache, placed, now_s = cache_with("n1", "n2"), {}, T0_S
    for step, number, node in steps:
        now_s += 40.0
        match step:
            case "place" if str(number) not in placed:
                place(cache, str(number), node=node, at_s=now_s)
                placed[str(number)] = (node, now_s)
            case "gone":
                cache.remove_pod(f"uid-of-{number}")
                placed.pop(str(number), None)
            case "lose":
                cache.remove_node(node)
                cache.set_node(make_facts(node))
            case "measure":
                measure(cache, "n1", "n2", end_s=now_s, window_s=window_s)
                for name in ("n1", "n2"):
                    expected = sum(
                        100 if at_s > now_s - 60 else round(100 * share(at_s, now_s, window_s))
                        for where, at_s in placed.values()
                        if where == name
                    )
                    assert unseen(cache, name) == expected

    for name in list(placed):
        cache.remove_pod(f"uid-of-{name}")
    assert [unseen(cache, name) for name in ("n1", "n2")] == [0, 0]


def share(at_s, end_s, window_s):
    return max(0.0, 1.0 - (end_s - at_s) / window_s) if window_s else 0.0
